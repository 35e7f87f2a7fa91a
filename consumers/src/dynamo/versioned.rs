//! Items that are read, changed and written back, by several processes at once.
//!
//! Each carries a random token, new with each write; a write is on condition that the token is the
//! one that was read. A condition that fails shows the item as it is now, and the change is made
//! again on that. A write whose answer was lost finds its own token.

use aws_sdk_dynamodb::types::AttributeValue;

use super::client::{Condition, Db};
use super::fault::Fault;
use super::item::{Item, keyed, number, u64_of};
use super::keys::Key;

const TOKEN: &str = "token";

/// How often a change is made again because another process was faster.
const CHANGES_MAX: usize = 64;

/// What an item holds.
pub(super) trait Content: Clone + Default {
    fn write_to(&self, item: &mut Item);

    fn read_from(item: &Item) -> Result<Self, Fault>;
}

/// The content of an item as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Held<T> {
    /// Of the item; `None` if there was none.
    token: Option<u64>,
    pub content: T,
}

impl<T: Content> Held<T> {
    pub fn of(item: Option<&Item>) -> Result<Self, Fault> {
        match item {
            None => Ok(Self::default()),
            Some(item) => Ok(Self { token: Some(u64_of(item, TOKEN)?), content: T::read_from(item)? }),
        }
    }

    pub fn exists(&self) -> bool {
        self.token.is_some()
    }
}

impl Db {
    pub async fn held<T: Content>(&self, key: &Key) -> Result<Held<T>, Fault> {
        Held::of(self.get(key).await?.as_ref())
    }

    /// Makes a change on top of whatever is there. `change` may be called several times, each time
    /// on what was read last; it says whether there is anything to write.
    pub async fn change<T: Content, R>(
        &self,
        key: &Key,
        mut held: Held<T>,
        mut change: impl FnMut(&mut T) -> (bool, R),
    ) -> Result<(Held<T>, R), Fault> {
        for _ in 0..CHANGES_MAX {
            let mut content = held.content.clone();
            let (is_changed, result) = change(&mut content);
            if !is_changed {
                return Ok((held, result));
            }
            let token = fastrand::u64(..);
            let written = Held { token: Some(token), content };
            match self.put_held(key, held.token, &written).await {
                Ok(()) => return Ok((written, result)),
                Err(Fault::Condition(item)) => {
                    // Without the item in the answer it is read.
                    held = match item {
                        Some(item) => Held::of(Some(&item))?,
                        None => self.held(key).await?,
                    };
                    // An earlier attempt of this very write, whose answer was lost.
                    if held.token == Some(token) {
                        return Ok((written, result));
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::Unavailable(format!("others write {:?} / {:?} all the time", key.pk, key.sk)))
    }

    async fn put_held<T: Content>(
        &self,
        key: &Key,
        expected: Option<u64>,
        held: &Held<T>,
    ) -> Result<(), Fault> {
        let mut item = keyed(key);
        held.content.write_to(&mut item);
        item.insert(TOKEN.to_owned(), number(held.token.unwrap_or_default()));
        let values: Vec<(&str, AttributeValue)> =
            expected.map(|token| (":token", number(token))).into_iter().collect();
        let condition = Condition {
            expression: if expected.is_some() { "#token = :token" } else { "attribute_not_exists(#pk)" },
            names: if expected.is_some() { &[("#token", TOKEN)] } else { &[("#pk", super::item::PK)] },
            values,
        };
        self.put(&item, Some(&condition)).await
    }
}
