//! The keys of the table's items. Pure.
//!
//! The front page of this module's parent lists them. A program id stands in a key with its `#`
//! and `%` escaped, so `#` is always ours; and no two kinds share a partition key: an event's has
//! three parts, the last of two digits; an identity's has three, the last of 36 characters; every
//! other has one or two.

use proto::{BootId, DeadLetter, Uuid, ids};

use crate::decode::PROGRAM_BYTES_MAX;
use crate::table::Cursor;

/// Partitions of an hour of a program, so that none is hot at 10,000 hits a second.
pub(super) const EVENT_BUCKETS: u32 = 32;
/// Partitions of an hour of refused hits.
pub(super) const REJECTED_BUCKETS: u32 = 8;
/// Partitions of the lanes' items, which are written every ten seconds.
pub(super) const LANE_BUCKETS: u32 = 16;
/// Numbers of a block of the ledger.
pub(super) const BLOCK_NUMBERS: u64 = 256;

pub(super) const HOUR_MS: u64 = 60 * 60 * 1_000;

/// A whole primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub pk: String,
    pub sk: String,
}

/// The sort key of an item that is alone in its partition.
const ALONE: &str = "-";

/// The heads of all dead letters.
pub(super) const LETTERS: &str = "letters";
/// The hours of which there are refused hits.
pub(super) const REJECTED_HOURS: &str = "rejected-hours";

/// The hour of a time, as it stands in keys: eight digits.
pub(super) fn hour_text(hour: u64) -> String {
    format!("{hour:08}")
}

fn program_text(program: &str) -> String {
    program.replace('%', "%25").replace('#', "%23")
}

/// Whether an event can have this program at all.
pub(super) fn is_program(program: &str) -> bool {
    (1..=PROGRAM_BYTES_MAX).contains(&program.len())
}

pub(super) fn event_partition(program: &str, hour: u64, bucket: u32) -> String {
    format!("{}#{}#{bucket:02}", program_text(program), hour_text(hour))
}

/// The place of an event among those of its program.
pub(super) fn event_sort(received_at_ms: u64, id: Uuid) -> String {
    format!("{received_at_ms:012x}-{id}")
}

/// The key of an event.
pub(super) fn event(program: &str, received_at_ms: u64, id: Uuid) -> Key {
    let bucket = crc32c::crc32c(id.as_bytes()) % EVENT_BUCKETS;
    Key { pk: event_partition(program, received_at_ms / HOUR_MS, bucket), sk: event_sort(received_at_ms, id) }
}

/// The key of the entry that says which record has a sender's id.
pub(super) fn identity(program: &str, id: Uuid) -> Key {
    Key { pk: format!("id#{}#{id}", program_text(program)), sk: ALONE.to_owned() }
}

/// The partition with the hours of which a program has events.
pub(super) fn hours_partition(program: &str) -> String {
    format!("hours#{}", program_text(program))
}

pub(super) fn rejected_partition(hour: u64, bucket: u32) -> String {
    format!("rejected#{}-{bucket}", hour_text(hour))
}

/// The key of a refused hit, whose time nobody has checked.
pub(super) fn rejected(received_at_ms: u64, place: Place) -> Key {
    let received_at_ms = received_at_ms.min(ids::TIME_MS_MAX);
    let bucket = crc32c::crc32c(&place.number.to_be_bytes()) % REJECTED_BUCKETS;
    Key {
        pk: rejected_partition(received_at_ms / HOUR_MS, bucket),
        sk: format!("{received_at_ms:012x}-{place}"),
    }
}

pub(super) fn lanes_partition(bucket: u32) -> String {
    format!("lanes#{bucket:x}")
}

/// The key of what a lane says of itself.
pub(super) fn lane(boot: BootId, lane: u32) -> Key {
    let hash = crc32c::crc32c_append(crc32c::crc32c(boot.as_bytes()), &lane.to_be_bytes());
    Key { pk: lanes_partition(hash % LANE_BUCKETS), sk: lane_text(boot, lane) }
}

/// The lane of the sort key of its item.
pub(super) fn parse_lane(sort: &str) -> Option<(BootId, u32)> {
    let (boot, lane) = sort.split_at_checked(32)?;
    let lane = lane.strip_prefix('-').filter(|lane| lane.len() == 8)?;
    Some((BootId::try_parse(boot).ok()?, u32::from_str_radix(lane, 16).ok()?))
}

fn lane_text(boot: BootId, lane: u32) -> String {
    format!("{}-{lane:08x}", boot.simple())
}

/// The partition with the blocks of a lane.
pub(super) fn blocks_partition(boot: BootId, lane: u32) -> String {
    format!("ledger#{}", lane_text(boot, lane))
}

/// The key of the block that has a number.
pub(super) fn block(boot: BootId, lane: u32, block: u64) -> Key {
    Key { pk: blocks_partition(boot, lane), sk: format!("{block:014x}") }
}

/// The block of the sort key of its item.
pub(super) fn parse_block(sort: &str) -> Option<u64> {
    u64::from_str_radix(sort, 16).ok().filter(|_| sort.len() == 14)
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub boot: BootId,
    pub lane: u32,
    pub number: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:08x}-{:016x}", self.boot.simple(), self.lane, self.number)
    }
}

/// What identifies a dead letter: who wrote it, and the record that died.
pub(super) fn letter_place(letter: &DeadLetter) -> String {
    use std::fmt::Write;
    let mut text = format!("{}-", letter.stage);
    for byte in &letter.boot {
        let _ = write!(text, "{byte:02x}");
    }
    let _ = write!(text, "-{:08x}-{:016x}", letter.lane, letter.number);
    text
}

/// The key of the head of a letter.
pub(super) fn letter(place: &str) -> Key {
    Key { pk: LETTERS.to_owned(), sk: place.to_owned() }
}

/// The key of one of the pieces of a letter.
///
/// `token` tells the pieces of one writing of it from those of another.
pub(super) fn letter_piece(place: &str, token: u64, piece: usize) -> Key {
    Key { pk: format!("letter#{place}"), sk: format!("{token:016x}-{piece:03}") }
}

/// A position in a listing by time: an item's sort key, or right behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub sort: String,
    /// The item itself was listed already.
    pub is_behind: bool,
}

impl Position {
    /// Before everything.
    pub fn first() -> Self {
        Self { sort: "000000000000-".to_owned(), is_behind: false }
    }

    pub fn at(sort: &str) -> Self {
        Self { sort: sort.to_owned(), is_behind: false }
    }

    pub fn behind(sort: &str) -> Self {
        Self { sort: sort.to_owned(), is_behind: true }
    }

    /// The hour in which it is.
    pub fn hour(&self) -> u64 {
        self.sort.get(..12).and_then(|time| u64::from_str_radix(time, 16).ok()).unwrap_or(0) / HOUR_MS
    }

    pub fn cursor(&self) -> Cursor {
        Cursor::new(if self.is_behind { format!("{}+", self.sort) } else { self.sort.clone() })
    }

    /// The position that a cursor names; `None` if no listing by time made it.
    pub fn parse(cursor: &Cursor) -> Option<Self> {
        let text = cursor.as_str();
        let (sort, is_behind) = text.strip_suffix('+').map_or((text, false), |sort| (sort, true));
        let (time, rest) = sort.split_at_checked(12)?;
        let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let is_rest = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let rest = rest.strip_prefix('-')?;
        let is_first = rest.is_empty() && time == "000000000000";
        let is_sort = is_time && rest.bytes().all(is_rest) && (is_first || (36..=58).contains(&rest.len()));
        is_sort.then(|| Self { sort: sort.to_owned(), is_behind })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const BOOT: BootId = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    const TIME: u64 = 1_790_000_000_000;

    fn place(number: u64) -> Place {
        Place { boot: BOOT, lane: 3, number }
    }

    #[test]
    fn keys_are_these_texts_for_ever() {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
        let texts = [
            event("a#b%", TIME, id),
            identity("p", id),
            rejected(TIME, place(258)),
            lane(BOOT, 3),
            block(BOOT, 3, 258 / BLOCK_NUMBERS),
            letter_piece("1-07-00000000-0000000000000001", 7, 2),
        ]
        .map(|key| format!("{} {}", key.pk, key.sk));
        assert_eq!(
            texts,
            [
                "a%23b%25#00497222#21 01a0c4506c00-01900000-0000-7000-8000-000000000002",
                "id#p#01900000-0000-7000-8000-000000000002 -",
                "rejected#00497222-2 01a0c4506c00-01900000000070008000000000000001-00000003-0000000000000102",
                "lanes#f 01900000000070008000000000000001-00000003",
                "ledger#01900000000070008000000000000001-00000003 00000000000001",
                "letter#1-07-00000000-0000000000000001 0000000000000007-002",
            ]
        );
        assert_eq!(hours_partition("p"), "hours#p");
    }

    #[test]
    fn what_a_key_says_is_read_back() {
        let key = lane(BOOT, u32::MAX);
        assert_eq!(parse_lane(&key.sk), Some((BOOT, u32::MAX)));
        assert_eq!(parse_block(&block(BOOT, 0, u64::MAX / BLOCK_NUMBERS).sk), Some(u64::MAX / BLOCK_NUMBERS));
        for bad in ["", "0", "01900000000070008000000000000001-3"] {
            assert_eq!((parse_lane(bad), parse_block(bad)), (None, None), "{bad}");
        }
        let sort = event_sort(TIME, BOOT);
        for position in [Position::first(), Position::at(&sort), Position::behind(&sort)] {
            assert_eq!(Position::parse(&position.cursor()), Some(position));
        }
        assert_eq!(Position::at(&sort).hour(), TIME / HOUR_MS);
        for bad in ["", "-1", "soon", "0x1", "1 ", "ffffffffffff-", "000000000001-", "\u{1f980}", "+"] {
            assert_eq!(Position::parse(&Cursor::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_letter_is_known_by_its_stage_and_place() {
        let letter =
            DeadLetter { stage: 1, boot: vec![0xab, 1], lane: 2, number: 3, ..DeadLetter::default() };
        assert_eq!(letter_place(&letter), "1-ab01-00000002-0000000000000003");
        assert_ne!(letter_place(&DeadLetter { stage: 2, ..letter.clone() }), letter_place(&letter));
    }

    /// Ids that look like our own keys, and any others.
    fn program() -> impl Strategy<Value = String> {
        prop_oneof!["(id|lease|ledger|lanes|hours|rejected|letter|letters)(#[0-9a-f#%-]{0,12})?", ".{1,12}"]
    }

    proptest! {
        #[test]
        fn no_two_things_share_a_key(
            (a, b) in (program(), program()),
            id in any::<u128>(),
            number in any::<u64>(),
        ) {
            let id = Uuid::from_u128(id);
            let mut keys = HashMap::new();
            let of = |program: &str| [
                (event(program, TIME, id), format!("event of {program}")),
                (identity(program, id), format!("identity of {program}")),
                (Key { pk: hours_partition(program), sk: hour_text(0) }, format!("hours of {program}")),
            ];
            let others = [
                (Key { pk: REJECTED_HOURS.into(), sk: hour_text(0) }, "rejected hours".to_owned()),
                (rejected(TIME, place(number)), "rejected".to_owned()),
                (lane(BOOT, 0), "lane".to_owned()),
                (block(BOOT, 0, number / BLOCK_NUMBERS), "block".to_owned()),
                (letter("1-00-00000000-0000000000000000"), "letter".to_owned()),
                (letter_piece("1-00-00000000-0000000000000000", 1, 0), "piece".to_owned()),
            ];
            for (key, what) in of(&a).into_iter().chain(of(&b)).chain(others) {
                let other = keys.insert(key.pk.clone(), what.clone());
                prop_assert!(other.as_ref().is_none_or(|other| *other == what), "{:?} and {what}: {}", other, key.pk);
                prop_assert!(!key.pk.starts_with("lease#") || key.pk.matches('#').count() == 2);
            }
        }
    }
}
