//! Dead letters: a small head each, in one partition, and the letter itself in pieces.
//!
//! The head decides whether there is a letter; it is written after the pieces and goes before
//! them. A letter is known by its record's place, so that one that comes again is no second one.
//! One of the consumer that was dropped or replayed leaves its head as a mark until the record
//! can no longer come again, so that a worker that is slow, or begins again, does not bring it back.
//!
//! How many there are is counted by reading the heads: they are few. Several workers may find room
//! at the same time, so each looks again behind its write, and takes its newest letters back
//! where they are too many. One that another worker relies on too (`claims`) stays.

use std::collections::HashMap;

use proto::{DeadLetter, Message};

use super::client::{Condition, Db};
use super::fault::Fault;
use super::item::{
    EXPIRES_AT, Item, PK, SK, bytes, bytes_of, damaged, expires_at, keyed, number, text, text_of, u64_of,
};
use super::keys::{self, Key, LETTERS, letter_place};
use super::scan::{Range, Selection};

/// Bytes of a piece: an item holds 400 KB.
const PIECE_BYTES: usize = 350_000;
/// Bytes of letters that one page of a listing shows at most; one letter may be larger.
const PAGE_BYTES_MAX: u64 = 16 << 20;

const KIND: &str = "kind";
const FAILED_AT_MS: &str = "failed_at_ms";
const BYTES: &str = "bytes";
const TOKEN: &str = "token";
const CLAIMS: &str = "claims";
const PIECE: &str = "piece";
/// What a head needs to be counted and ordered.
const COUNTED: [&str; 6] = [SK, KIND, FAILED_AT_MS, BYTES, TOKEN, CLAIMS];

/// Whose letter it is, and by which bound it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of a lane, which is in the ledger.
    Lane,
    /// A record of a stream that no lane wrote, and that is in no ledger.
    Foreign,
    /// Given, and the oldest make room.
    Given,
    /// Given, and none is discarded.
    Kept,
    /// It was one, and is none any more.
    Gone,
}

impl Kind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Lane, "lane"),
        (Self::Foreign, "foreign"),
        (Self::Given, "given"),
        (Self::Kept, "kept"),
        (Self::Gone, "gone"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Whether it counts against the bound at which the consumer stalls.
    pub fn is_of_consumer(self) -> bool {
        matches!(self, Self::Lane | Self::Foreign)
    }
}

/// What is known of a letter without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub place: String,
    pub kind: Kind,
    pub failed_at_ms: u64,
    /// Of the letter, encoded.
    pub bytes: u64,
    /// Of its pieces.
    token: u64,
    /// Workers that rely on it.
    claims: u64,
}

impl Head {
    fn of(letter: &DeadLetter, kind: Kind) -> Self {
        Self {
            place: letter_place(letter),
            kind,
            failed_at_ms: letter.failed_at_ms,
            bytes: letter.encoded_len() as u64,
            token: fastrand::u64(..),
            claims: 1,
        }
    }

    fn read(item: &Item) -> Result<Self, Fault> {
        let kind = text_of(item, KIND)?;
        let known = Kind::ALL.iter().find(|(_, name)| *name == kind);
        Ok(Self {
            place: text_of(item, SK)?.to_owned(),
            kind: known.map(|(kind, _)| *kind).ok_or_else(|| damaged(item, KIND))?,
            failed_at_ms: u64_of(item, FAILED_AT_MS)?,
            bytes: u64_of(item, BYTES)?,
            token: u64_of(item, TOKEN)?,
            claims: u64_of(item, CLAIMS)?,
        })
    }

    fn to_item(&self) -> Item {
        let mut item = keyed(&keys::letter(&self.place));
        item.insert(KIND.to_owned(), text(self.kind.name()));
        item.insert(FAILED_AT_MS.to_owned(), number(self.failed_at_ms));
        item.insert(BYTES.to_owned(), number(self.bytes));
        item.insert(TOKEN.to_owned(), number(self.token));
        item.insert(CLAIMS.to_owned(), number(self.claims));
        item
    }

    fn pieces(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).div_ceil(PIECE_BYTES)
    }

    fn piece_key(&self, piece: usize) -> Key {
        keys::letter_piece(&self.place, self.token, piece)
    }

    /// Its place in the order of deaths.
    pub fn order(&self) -> (u64, &str) {
        (self.failed_at_ms, &self.place)
    }
}

/// How many letters are held, by a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub letters: u64,
    pub bytes: u64,
}

impl Room {
    pub fn of<'a>(heads: impl IntoIterator<Item = &'a Head>) -> Self {
        heads.into_iter().fold(Self::default(), |room, head| room.with(head.bytes))
    }

    pub fn with(self, bytes: u64) -> Self {
        Self { letters: self.letters + 1, bytes: self.bytes.saturating_add(bytes) }
    }

    pub fn is_within(self, max: Self) -> bool {
        self.letters <= max.letters && self.bytes <= max.bytes
    }
}

/// What putting a letter came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is one now.
    New(Head),
    /// It was one before.
    Known,
    /// It was one, and an operator has dealt with it.
    Gone,
}

impl Db {
    /// The heads of the letters that there are, in the order of their deaths.
    pub async fn heads(&self) -> Result<Vec<Head>, Fault> {
        let items = self.all_in(&Range::all(LETTERS.to_owned()), &Selection::Attributes(&COUNTED)).await?;
        let mut heads = items.iter().map(Head::read).collect::<Result<Vec<_>, _>>()?;
        heads.retain(|head| head.kind != Kind::Gone);
        heads.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(heads)
    }

    /// The head at a place, a mark too.
    pub async fn head(&self, place: &str) -> Result<Option<Head>, Fault> {
        self.get(&keys::letter(place)).await?.as_ref().map(Head::read).transpose()
    }

    /// Keeps a letter.
    pub async fn put_letter(&self, letter: &DeadLetter, kind: Kind) -> Result<Put, Fault> {
        let head = Head::of(letter, kind);
        if let Some(known) = self.head(&head.place).await? {
            return self.rely_on(&known).await;
        }
        self.put_pieces(&head, letter).await?;
        let absent =
            Condition { expression: "attribute_not_exists(#pk)", names: &[("#pk", PK)], values: vec![] };
        match self.put(&head.to_item(), Some(&absent)).await {
            Ok(()) => Ok(Put::New(head)),
            Err(Fault::Condition(_)) => {
                let Some(known) = self.head(&head.place).await? else {
                    return Err(Fault::Unavailable("a dead letter came and went meanwhile".to_owned()));
                };
                // The answer of an earlier attempt was lost.
                if known.token == head.token {
                    return Ok(Put::New(head));
                }
                self.delete_pieces(&head).await?;
                self.rely_on(&known).await
            }
            Err(fault) => Err(fault),
        }
    }

    /// Says that one more worker relies on a letter, so that no other takes it back.
    async fn rely_on(&self, known: &Head) -> Result<Put, Fault> {
        if known.kind == Kind::Gone {
            return Ok(Put::Gone);
        }
        let more = Head { claims: known.claims + 1, ..known.clone() };
        match self.replace_head(known, &more).await? {
            true => Ok(Put::Known),
            false => Err(Fault::Unavailable("others write the same dead letter".to_owned())),
        }
    }

    /// Puts a head where another is; false if that changed meanwhile.
    async fn replace_head(&self, known: &Head, head: &Head) -> Result<bool, Fault> {
        self.replace_head_item(known, head.to_item()).await
    }

    async fn replace_head_item(&self, known: &Head, item: Item) -> Result<bool, Fault> {
        match self.put(&item, Some(&is_still(known))).await {
            Ok(()) => Ok(true),
            // A lost answer: it is there as we wanted it.
            Err(Fault::Condition(Some(found))) => Ok(found == item),
            Err(Fault::Condition(None)) => Ok(self.get(&keys::letter(&known.place)).await? == Some(item)),
            Err(fault) => Err(fault),
        }
    }

    /// Takes back a letter that this worker has just put; false if another relies on it by now.
    pub async fn take_back(&self, head: &Head) -> Result<bool, Fault> {
        match self.delete(&keys::letter(&head.place), Some(&is_still(head))).await {
            Ok(()) => {}
            Err(Fault::Condition(_)) => {
                // It is gone after all if the answer was lost.
                if self.head(&head.place).await?.is_some() {
                    return Ok(false);
                }
            }
            Err(fault) => return Err(fault),
        }
        self.delete_pieces(head).await?;
        Ok(true)
    }

    /// Removes a letter that is in no ledger and does not come again by itself; false if there is
    /// none.
    pub async fn discard(&self, place: &str) -> Result<bool, Fault> {
        let Some(head) = self.head(place).await? else { return Ok(false) };
        self.delete(&keys::letter(place), None).await?;
        self.delete_pieces(&head).await?;
        Ok(true)
    }

    /// Leaves a mark in place of a letter, for as long as its record can come again.
    pub async fn bury(&self, head: &Head, now_ms: u64, kept_ms: u64) -> Result<(), Fault> {
        let mark = Head { kind: Kind::Gone, bytes: 0, ..head.clone() };
        let mut item = mark.to_item();
        item.insert(EXPIRES_AT.to_owned(), number(expires_at(now_ms, kept_ms)));
        // Whoever relies on it meanwhile finds it dealt with.
        self.put(&item, None).await?;
        self.delete_pieces(head).await
    }

    /// Writes a letter anew under its head.
    pub async fn rewrite(&self, head: &Head, letter: &DeadLetter) -> Result<(), Fault> {
        let new = Head { token: fastrand::u64(..), bytes: letter.encoded_len() as u64, ..head.clone() };
        self.put_pieces(&new, letter).await?;
        let old = if self.replace_head(head, &new).await? { head } else { &new };
        self.delete_pieces(old).await
    }

    async fn put_pieces(&self, head: &Head, letter: &DeadLetter) -> Result<(), Fault> {
        let encoded = letter.encode_to_vec();
        for (piece, part) in encoded.chunks(PIECE_BYTES).enumerate() {
            let mut item = keyed(&head.piece_key(piece));
            item.insert(PIECE.to_owned(), bytes(part));
            self.put(&item, None).await?;
        }
        Ok(())
    }

    async fn delete_pieces(&self, head: &Head) -> Result<(), Fault> {
        let keys: Vec<Key> = (0..head.pieces()).map(|piece| head.piece_key(piece)).collect();
        self.delete_all(&keys).await
    }

    /// The letter of a head; `None` if it went meanwhile.
    pub async fn letter(&self, head: &Head) -> Result<Option<DeadLetter>, Fault> {
        Ok(self.letters(std::slice::from_ref(head)).await?.pop().flatten())
    }

    /// The letters of heads, in their order.
    pub async fn letters(&self, heads: &[Head]) -> Result<Vec<Option<DeadLetter>>, Fault> {
        let keys = heads.iter().flat_map(|head| (0..head.pieces()).map(|piece| head.piece_key(piece)));
        let mut pieces = HashMap::new();
        for item in self.get_all(keys.collect()).await? {
            pieces.insert(super::item::key_of(&item)?, bytes_of(&item, PIECE)?.to_vec());
        }
        let letter = |head: &Head| {
            let parts: Option<Vec<_>> =
                (0..head.pieces()).map(|piece| pieces.remove(&head.piece_key(piece))).collect();
            let Some(parts) = parts else { return Ok(None) };
            let letter = DeadLetter::decode(parts.concat().as_slice());
            letter.map(Some).map_err(|error| Fault::Damaged(format!("dead letter {}: {error}", head.place)))
        };
        heads.iter().map(letter).collect()
    }
}

/// The heads of a page that begins with the first of `heads`: at most `limit`, and no more bytes
/// than a page may have.
pub(super) fn page(heads: &[Head], limit: usize) -> &[Head] {
    let mut bytes = 0;
    let fits = |head: &&Head| {
        let is_first = bytes == 0;
        bytes += head.bytes;
        is_first || bytes <= PAGE_BYTES_MAX
    };
    let count = heads.iter().take(limit).take_while(fits).count();
    &heads[..count]
}

fn is_still(head: &Head) -> Condition<'static> {
    Condition {
        expression: "#token = :token AND #claims = :claims AND #kind = :kind",
        names: &[("#token", TOKEN), ("#claims", CLAIMS), ("#kind", KIND)],
        values: vec![
            (":token", number(head.token)),
            (":claims", number(head.claims)),
            (":kind", text(head.kind.name())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_by_bytes_and_shows_one_letter_at_least() {
        let head = |bytes| Head { bytes, ..Head::of(&DeadLetter::default(), Kind::Lane) };
        let heads = [head(PAGE_BYTES_MAX + 1), head(1), head(1)];
        assert_eq!(
            (page(&heads, 10).len(), page(&heads[1..], 10).len(), page(&heads[1..], 1).len()),
            (1, 2, 1)
        );
        assert_eq!(page(&[], 10).len(), 0);
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for (kind, _) in Kind::ALL {
            let head = Head::of(&DeadLetter { failed_at_ms: 7, ..DeadLetter::default() }, kind);
            assert_eq!(Head::read(&head.to_item()).unwrap(), head);
        }
    }
}
