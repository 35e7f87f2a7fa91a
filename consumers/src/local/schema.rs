//! The tables of the file, their keys, and the meaning of redb's errors.

use proto::{BootId, Uuid};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::decode::PROGRAM_BYTES_MAX;

/// The version that this program writes.
pub(super) const FORMAT: u64 = 1;

pub(super) const EVENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("events");
pub(super) const IDENTITIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("identities");
pub(super) const ARRIVALS: TableDefinition<u64, &[u8]> = TableDefinition::new("arrivals");
pub(super) const PROGRAMS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("programs");
pub(super) const REJECTED: TableDefinition<u64, &[u8]> = TableDefinition::new("rejected");
pub(super) const LETTERS: TableDefinition<u64, &[u8]> = TableDefinition::new("dead_letters");
/// Sequence of each letter that was given and may be discarded, and the place of its record.
pub(super) const GIVEN: TableDefinition<u64, &[u8]> = TableDefinition::new("given_letters");
/// The same of those that may not.
pub(super) const KEPT: TableDefinition<u64, &[u8]> = TableDefinition::new("kept_letters");
/// The inverse of [`GIVEN`] and [`KEPT`].
pub(super) const PLACES: TableDefinition<&[u8], u64> = TableDefinition::new("given_places");
pub(super) const LEDGER: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Names in `meta`.
pub(super) mod meta {
    pub(in super::super) const FORMAT: &str = "format";
    pub(in super::super) const NEXT_ARRIVAL: &str = "next_arrival";
    pub(in super::super) const NEXT_REJECTED: &str = "next_rejected";
    pub(in super::super) const NEXT_LETTER: &str = "next_dead_letter";
    /// Of the consumer's own dead letters.
    pub(in super::super) const LETTER_BYTES: &str = "dead_letter_bytes";
    pub(in super::super) const GIVEN_BYTES: &str = "given_bytes";
    pub(in super::super) const KEPT_BYTES: &str = "kept_bytes";
    pub(in super::super) const ITEMS: &str = "items";
    pub(in super::super) const EXPIRED: &str = "expired";
}

/// The key of an event in `events`, built into `key`; false for an invalid program id.
///
/// The time before the id, so that a program's events are in the order in which they were
/// received. 48 bits of it, as in a message id.
pub(super) fn event_key(program: &str, received_at_ms: u64, id: Uuid, key: &mut Vec<u8>) -> bool {
    let has_key = program_key(program, key);
    key.extend_from_slice(&received_at_ms.to_be_bytes()[2..]);
    key.extend_from_slice(id.as_bytes());
    has_key
}

/// The program, the time and the message id of a key.
pub(super) fn parse_event_key(key: &[u8]) -> Result<(&str, u64, Uuid), Fault> {
    let (rest, id) = key
        .split_last_chunk::<16>()
        .ok_or_else(|| Fault::damaged("events", "a key is shorter than a message id"))?;
    let (program, time) =
        rest.split_last_chunk::<6>().ok_or_else(|| Fault::damaged("events", "a key has no time"))?;
    let program = program
        .split_first()
        .and_then(|(_, program)| std::str::from_utf8(program).ok())
        .ok_or_else(|| Fault::damaged("events", "a key has no program id"))?;
    let mut time_ms = [0; 8];
    time_ms[2..].copy_from_slice(time);
    Ok((program, u64::from_be_bytes(time_ms), Uuid::from_bytes(*id)))
}

/// The key of an identity entry, built into `key`; false for an invalid program id.
pub(super) fn identity_key(program: &str, id: Uuid, key: &mut Vec<u8>) -> bool {
    let has_key = program_key(program, key);
    key.extend_from_slice(id.as_bytes());
    has_key
}

fn program_key(program: &str, key: &mut Vec<u8>) -> bool {
    key.clear();
    let Ok(length) = u8::try_from(program.len()) else {
        return false;
    };
    debug_assert!(program.len() <= PROGRAM_BYTES_MAX);
    key.push(length);
    key.extend_from_slice(program.as_bytes());
    length > 0
}

/// A record's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub boot: BootId,
    pub lane: u32,
    pub number: u64,
}

/// The record that has a sender's id, and when its event was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub received_at_ms: u64,
    pub place: Place,
}

impl Identity {
    pub fn encode(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..8].copy_from_slice(&self.received_at_ms.to_be_bytes());
        bytes[8..24].copy_from_slice(self.place.boot.as_bytes());
        bytes[24..28].copy_from_slice(&self.place.lane.to_be_bytes());
        bytes[28..].copy_from_slice(&self.place.number.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes: &[u8; 36] =
            bytes.try_into().map_err(|_| Fault::damaged("identities", "an entry is not 36 bytes long"))?;
        let number_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Ok(Self {
            received_at_ms: number_at(0),
            place: Place {
                boot: Uuid::from_slice(&bytes[8..24]).expect("16 bytes"),
                lane: u32::from_be_bytes(bytes[24..28].try_into().expect("four bytes")),
                number: number_at(28),
            },
        })
    }
}

/// `time_ms` in front of `rest`, built into `value`.
pub(super) fn timed(time_ms: u64, rest: &[u8], value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&time_ms.to_be_bytes());
    value.extend_from_slice(rest);
}

/// The time and the rest of a value of `table`.
pub(super) fn parse_timed<'v>(table: &'static str, value: &'v [u8]) -> Result<(u64, &'v [u8]), Fault> {
    let (time, rest) =
        value.split_first_chunk::<8>().ok_or_else(|| Fault::damaged(table, "a value has no time"))?;
    Ok((u64::from_be_bytes(*time), rest))
}

pub(super) fn ledger_key(boot: BootId, lane: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(boot.as_bytes());
    key[16..].copy_from_slice(&lane.to_be_bytes());
    key
}

pub(super) fn parse_ledger_key(key: &[u8]) -> Result<(BootId, u32), Fault> {
    let wrong = || Fault::damaged("ledger", "a key is not a boot and a lane");
    let (boot, lane) = key.split_first_chunk::<16>().ok_or_else(wrong)?;
    let lane = lane.try_into().map_err(|_| wrong())?;
    Ok((Uuid::from_bytes(*boot), u32::from_be_bytes(lane)))
}

/// A transaction whose commit is durable and leaves a file that opens at once after a crash.
///
/// Quick repair implies the two-phase commit. Without it redb walks the whole file after a kill,
/// which takes minutes for a table of 30 days.
pub(super) fn begin_write(db: &redb::Database) -> Result<WriteTransaction, Fault> {
    let mut tx = db.begin_write()?;
    tx.set_two_phase_commit(true);
    tx.set_quick_repair(true);
    Ok(tx)
}

pub(super) fn begin_read(db: &redb::Database) -> Result<ReadTransaction, Fault> {
    Ok(db.begin_read()?)
}

/// A number of `meta`; 0 if it was never written.
pub(super) fn number_of(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Fault> {
    Ok(meta.get(name)?.map_or(0, |number| number.value()))
}

/// An error inside one call of the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Redb(redb::Error),
    #[error("{0}")]
    Damaged(String),
}

impl Fault {
    pub(super) fn damaged(table: &'static str, what: impl std::fmt::Display) -> Self {
        Self::Damaged(format!("table {table}: {what}"))
    }

    /// Whether redb must be reopened: after an I/O error it refuses every call.
    pub(super) fn needs_reopening(&self) -> bool {
        use redb::Error::{DatabaseClosed, Io, LockPoisoned, PreviousIo, TransactionPoisoned};
        matches!(
            self,
            Self::Redb(Io(_) | PreviousIo | DatabaseClosed | LockPoisoned(_) | TransactionPoisoned)
        )
    }
}

macro_rules! faults_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
faults_from!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Fate, LaneEnd, LaneLedger, Report};

    const ID: Uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_and_values_of_format_1_are_these_bytes_for_ever() {
        let mut key = Vec::new();
        let mut value = Vec::new();
        assert!(event_key("212313", 0x0192_0000_0000, ID, &mut key));
        assert_eq!(hex(&key), "06323132333133019200000000019200000000700080000000000000ff");
        assert_eq!(parse_event_key(&key).unwrap(), ("212313", 0x0192_0000_0000, ID));

        assert!(identity_key("212313", ID, &mut key));
        assert_eq!(hex(&key), "06323132333133019200000000700080000000000000ff");
        let place = Place { boot: ID, lane: 3, number: 258 };
        let identity = Identity { received_at_ms: 1_790_000_000_123, place };
        let expected = "000001a0c4506c7b019200000000700080000000000000ff000000030000000000000102";
        assert_eq!(hex(&identity.encode()), expected);
        assert_eq!(Identity::decode(&identity.encode()).unwrap(), identity);

        timed(1_790_000_000_123, b"rest", &mut value);
        assert_eq!(hex(&value), "000001a0c4506c7b72657374");
        assert_eq!(parse_timed("arrivals", &value).unwrap(), (1_790_000_000_123, b"rest".as_slice()));

        let key = ledger_key(ID, 3);
        assert_eq!(hex(&key), "019200000000700080000000000000ff00000003");
        assert_eq!(parse_ledger_key(&key).unwrap(), (ID, 3));
    }

    #[test]
    fn a_ledger_of_format_1_is_this_json_for_ever() {
        let mut ledger = LaneLedger::default();
        for (number, fate) in [(0, Fate::Report), (1, Fate::Stored), (2, Fate::Dead)] {
            ledger.record(number, fate);
        }
        ledger.abandon(3, 5);
        ledger.record_end(LaneEnd { issued: 5, clean: false });
        let refused = [("expired".to_owned(), 7)].into();
        ledger.record_report(Report { issued: 1, refused, at_ms: 9, ..Report::default() });
        let json = concat!(
            r#"{"seen":[[0,3]],"fates":{"stored":1,"duplicates":0,"dead_letters":1,"dropped":0,"#,
            r#""rejected":0,"reports":1},"abandoned":[[3,5]],"end":{"issued":5,"clean":false},"#,
            r#""report":{"issued":1,"abandoned":0,"refused":{"expired":7},"shed":{},"at_ms":9,"closing":false}}"#,
        );
        assert_eq!(serde_json::to_string(&ledger).unwrap(), json);
        assert_eq!(serde_json::from_str::<LaneLedger>(json).unwrap(), ledger);
    }

    #[test]
    fn a_program_id_without_a_key_has_none() {
        let mut key = Vec::new();
        assert!(!event_key("", 1, ID, &mut key));
        assert!(event_key(&"p".repeat(PROGRAM_BYTES_MAX), 1, ID, &mut key));
        assert!(!event_key(&"p".repeat(PROGRAM_BYTES_MAX + 1), 1, ID, &mut key));
    }

    #[test]
    fn damaged_keys_and_values_are_errors() {
        for cut in 0..23 {
            assert!(parse_event_key(&vec![0xff; cut]).is_err(), "{cut} bytes");
        }
        assert!(parse_timed("arrivals", b"1234567").is_err());
        assert!(Identity::decode(&[0; 35]).is_err() && Identity::decode(&[0; 37]).is_err());
        assert!(parse_ledger_key(&[0; 19]).is_err());
        assert!(parse_ledger_key(&[0; 21]).is_err());
    }
}
