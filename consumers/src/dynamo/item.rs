//! Items and their attributes. Pure.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::fault::Fault;
use super::keys::Key;

/// An item as the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// The TTL attribute, in seconds since 1970.
pub(super) const EXPIRES_AT: &str = "expires_at";
/// Of an event: its bytes.
pub(super) const EVENT: &str = "event";
/// Of a refused hit: its bytes.
pub(super) const REJECTED: &str = "rejected";

/// What an item of DynamoDB may have, names and values (Service quotas, "Item size"): 400 KB. A
/// payload may have this much: keys and other attributes have below 2 KB.
pub(super) const PAYLOAD_BYTES_MAX: usize = 400 * 1_024 - 2_048;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// An item with nothing but its key.
pub(super) fn keyed(key: &Key) -> Item {
    HashMap::from([(PK.to_owned(), text(&key.pk)), (SK.to_owned(), text(&key.sk))])
}

/// The second from which on DynamoDB may remove what came at `from_ms` and is kept for `kept_ms`.
pub(super) fn expires_at(from_ms: u64, kept_ms: u64) -> u64 {
    from_ms.saturating_add(kept_ms) / 1_000 + 1
}

/// Whether an item is over at `now_ms`, although DynamoDB may have it for days still.
pub(super) fn is_expired(item: &Item, now_ms: u64) -> bool {
    item.contains_key(EXPIRES_AT) && u64_of(item, EXPIRES_AT).is_ok_and(|at| at <= now_ms / 1_000)
}

pub(super) fn key_of(item: &Item) -> Result<Key, Fault> {
    Ok(Key { pk: text_of(item, PK)?.to_owned(), sk: text_of(item, SK)?.to_owned() })
}

pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Result<&'a str, Fault> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| damaged(item, name))
}

pub(super) fn u64_of(item: &Item, name: &str) -> Result<u64, Fault> {
    let value = item.get(name).and_then(|value| value.as_n().ok());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| damaged(item, name))
}

pub(super) fn bytes_of<'a>(item: &'a Item, name: &str) -> Result<&'a [u8], Fault> {
    let value = item.get(name).and_then(|value| value.as_b().ok());
    value.map(AsRef::as_ref).ok_or_else(|| damaged(item, name))
}

/// What an operator needs to find an item that was not written by us.
pub(super) fn damaged(item: &Item, name: &str) -> Fault {
    let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("?", String::as_str);
    Fault::Damaged(format!(
        "the item {:?} / {:?} has no {name:?} of the right form: something else than clickgate wrote it",
        part(PK),
        part(SK)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_up_to_its_last_millisecond() {
        let kept_until = |from_ms, kept_ms, now_ms| {
            let item = Item::from([(EXPIRES_AT.to_owned(), number(expires_at(from_ms, kept_ms)))]);
            !is_expired(&item, now_ms)
        };
        assert!(kept_until(5_999, 1_000, 6_999), "never removed before its time");
        assert!(!kept_until(5_999, 1_000, 7_000));
        assert!(kept_until(u64::MAX, u64::MAX, u64::MAX - 1_000_000), "no overflow");
        assert!(!is_expired(&Item::new(), 1), "an item without the attribute stays");
    }

    #[test]
    fn a_strange_item_is_named() {
        let item = Item::from([(PK.to_owned(), text("a")), (SK.to_owned(), text("b"))]);
        let Err(Fault::Damaged(said)) = u64_of(&item, "lane") else { panic!("there is no lane") };
        assert!(said.contains("\"a\" / \"b\"") && said.contains("\"lane\""), "{said}");
    }
}
