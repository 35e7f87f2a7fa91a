//! From the bytes of a batch to what is to be written. Pure.
//!
//! A record that cannot become an item is *poison*. It becomes a dead letter with
//! its reason and its bytes, and the records behind it go on. A record of a kind
//! that only a newer version knows goes the same way: it is kept, and
//! `dead-letters replay` after the upgrade stores it.
//!
//! Not poison: an event whose own boot, lane or number differ from where it was
//! found (the log's place counts, the event is kept as it is), and one without
//! `received_at_ms`, as an unchanged AWS sample sends it.

use bytes::Bytes;
use proto::{BootId, DeadLetter, LaneReport, Message, Rejected, TrackingEvent, Uuid};
use stream::{Batch, Item, Record, RecordKind};

use crate::ledger::{LaneEnd, Report};

/// The stage in the dead letters of this crate.
pub(crate) const STAGE: &str = "consumer";

/// The longest program id that a table takes, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 255;

/// What one transaction is to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// The pieces in the order of the source.
    pub pieces: Vec<Piece>,
    /// The consumer's clock when it decoded them, milliseconds since 1970.
    pub now_ms: u64,
}

impl Work {
    /// Decodes `batches`.
    pub fn of(batches: &[Batch], now_ms: u64) -> Self {
        Self { pieces: batches.iter().map(|batch| decode(batch, now_ms)).collect(), now_ms }
    }
}

/// A decoded batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The process start that wrote it.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// Its records, in order.
    pub entries: Vec<Entry>,
    /// Numbers that never became durable, as half-open ranges.
    pub abandoned: Vec<(u64, u64)>,
    /// The lane's end, if this batch has it.
    pub end: Option<LaneEnd>,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the lane.
    pub number: u64,
    /// What to do with it.
    pub what: What,
}

/// What a record is to a table.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An event to store.
    Event(Event),
    /// A refused hit to keep for some days.
    Rejected {
        /// When, milliseconds since 1970.
        received_at_ms: u64,
        /// The record as it came: a `proto::Rejected`.
        payload: Bytes,
    },
    /// A lane's report for the ledger.
    Report(Report),
    /// Poison.
    Dead(Box<DeadLetter>),
}

/// An event, with what the table's keys need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its program: 1 to [`PROGRAM_BYTES_MAX`] bytes.
    pub program: String,
    /// Its message id.
    pub id: Uuid,
    /// When the edge got it, milliseconds since 1970; the consumer's clock if it does not say.
    pub received_at_ms: u64,
    /// The record as it came, so that fields which only a newer version knows are kept.
    pub payload: Bytes,
}

/// Decodes one batch; `now_ms` is the time of death of its poison.
pub fn decode(batch: &Batch, now_ms: u64) -> Piece {
    let mut piece = Piece {
        boot: batch.boot,
        lane: batch.lane,
        entries: Vec::with_capacity(batch.items.len()),
        abandoned: Vec::new(),
        end: None,
    };
    for item in &batch.items {
        match item {
            Item::Record(record) => {
                let what = understand(record, now_ms).unwrap_or_else(|reason| {
                    What::Dead(Box::new(batch.dead_letter(record, STAGE, reason, now_ms)))
                });
                piece.entries.push(Entry { number: record.number, what });
            }
            Item::Abandoned { first, count } => {
                piece.abandoned.push((*first, first.saturating_add(*count)));
            }
            Item::End { issued, clean } => {
                piece.end = Some(LaneEnd { issued: *issued, clean: *clean });
            }
        }
    }
    piece
}

fn understand(record: &Record, now_ms: u64) -> Result<What, String> {
    match record.kind {
        RecordKind::Event => event(record, now_ms).map(What::Event),
        RecordKind::Rejected => {
            let rejected: Rejected = message(record, "Rejected")?;
            let received_at_ms = received_at(rejected.received_at_ms, now_ms);
            Ok(What::Rejected { received_at_ms, payload: record.payload.clone() })
        }
        RecordKind::LaneReport => {
            message::<LaneReport>(record, "LaneReport").map(|report| What::Report(report.into()))
        }
        RecordKind::CoreData => Err("core data does not belong into the log of events".to_owned()),
        RecordKind::Other(code) => {
            Err(format!("record kind {code} is not known to this version; replay it after an upgrade"))
        }
    }
}

fn event(record: &Record, now_ms: u64) -> Result<Event, String> {
    let event: TrackingEvent = message(record, "TrackingEvent")?;
    let id = Uuid::try_parse(&event.message_id)
        .map_err(|error| format!("message_id {:?} is not a UUID: {error}", clipped(&event.message_id)))?;
    if event.programid.is_empty() {
        return Err("programid is empty".to_owned());
    }
    if event.programid.len() > PROGRAM_BYTES_MAX {
        return Err(format!(
            "programid has {} bytes, at most {PROGRAM_BYTES_MAX} are taken",
            event.programid.len()
        ));
    }
    Ok(Event {
        program: event.programid,
        id,
        received_at_ms: received_at(event.received_at_ms, now_ms),
        payload: record.payload.clone(),
    })
}

fn message<M: Message + Default>(record: &Record, name: &str) -> Result<M, String> {
    M::decode(record.payload.clone()).map_err(|error| format!("not a {name}: {error}"))
}

fn received_at(said_ms: u64, now_ms: u64) -> u64 {
    if said_ms == 0 { now_ms } else { said_ms }
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The batch that a dead letter of this crate once was, to process it again.
pub(crate) fn batch_of(letter: &DeadLetter) -> Result<Batch, String> {
    if letter.stage != STAGE {
        return Err(format!("it is of stage {:?}, not {STAGE:?}", letter.stage));
    }
    let boot = BootId::from_slice(&letter.boot).map_err(|error| format!("its boot is no UUID: {error}"))?;
    let code = u8::try_from(letter.record_kind).map_err(|_| "its record kind is above 255".to_owned())?;
    let record = Record {
        number: letter.number,
        kind: RecordKind::from_code(code),
        payload: letter.payload.clone().into(),
    };
    Ok(Batch::of_lane(boot, letter.lane, vec![Item::Record(record)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: BootId = Uuid::from_u128(7);
    const NOW: u64 = 1_790_000_000_000;

    fn one(kind: RecordKind, payload: Vec<u8>) -> What {
        let record = Record { number: 3, kind, payload: payload.into() };
        let batch = Batch::of_lane(BOOT, 1, vec![Item::Record(record)]);
        decode(&batch, NOW).entries.remove(0).what
    }

    fn reason(what: What) -> String {
        match what {
            What::Dead(letter) => letter.reason,
            other => panic!("{other:?} is not poison"),
        }
    }

    fn hit() -> TrackingEvent {
        TrackingEvent {
            programid: "212313".into(),
            message_id: Uuid::from_u128(5).to_string(),
            received_at_ms: 17,
            ..TrackingEvent::default()
        }
    }

    #[test]
    fn an_event_keeps_its_bytes_and_says_its_key() {
        let payload = TrackingEvent { number: 99, lane: 9, ..hit() }.encode_to_vec();
        let expected = Event {
            program: "212313".into(),
            id: Uuid::from_u128(5),
            received_at_ms: 17,
            payload: payload.clone().into(),
        };
        assert_eq!(one(RecordKind::Event, payload), What::Event(expected), "another place is no poison");
    }

    #[test]
    fn an_event_without_a_time_was_received_now() {
        let payload = TrackingEvent { received_at_ms: 0, ..hit() }.encode_to_vec();
        let What::Event(event) = one(RecordKind::Event, payload) else { panic!("it is an event") };
        assert_eq!(event.received_at_ms, NOW);
    }

    #[test]
    fn poison_says_what_is_wrong() {
        let with = |change: fn(&mut TrackingEvent)| {
            let mut event = hit();
            change(&mut event);
            reason(one(RecordKind::Event, event.encode_to_vec()))
        };
        let bad_id = with(|event| event.message_id = "17".into());
        assert!(bad_id.starts_with("message_id \"17\" is not a UUID"), "{bad_id}");
        assert_eq!(with(|event| event.programid.clear()), "programid is empty");
        assert_eq!(
            with(|event| event.programid = "p".repeat(256)),
            "programid has 256 bytes, at most 255 are taken"
        );
        let bytes = reason(one(RecordKind::Event, b"\xff\xff".to_vec()));
        assert!(bytes.starts_with("not a TrackingEvent: "), "{bytes}");
        let unknown = reason(one(RecordKind::Other(77), vec![]));
        assert!(unknown.starts_with("record kind 77 is not known"), "{unknown}");
    }

    #[test]
    fn a_dead_letter_becomes_the_batch_that_it_was() {
        let record = Record { number: 3, kind: RecordKind::Other(9), payload: Bytes::from_static(b"x") };
        let batch = Batch::of_lane(BOOT, 1, vec![Item::Record(record)]);
        let What::Dead(letter) = decode(&batch, NOW).entries.remove(0).what else { panic!("it is poison") };
        assert_eq!(batch_of(&letter).unwrap(), batch);

        let foreign = DeadLetter { stage: "shipper".into(), ..*letter };
        assert_eq!(batch_of(&foreign).unwrap_err(), "it is of stage \"shipper\", not \"consumer\"");
    }

    proptest! {
        #[test]
        fn no_bytes_of_any_kind_are_lost_or_panic(
            code in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            match one(RecordKind::from_code(code), payload.clone()) {
                What::Event(event) => prop_assert_eq!(event.payload, payload),
                What::Rejected { payload: kept, .. } => prop_assert_eq!(kept, payload),
                What::Dead(letter) => prop_assert_eq!(letter.payload, payload),
                What::Report(_) => prop_assert_eq!(code, 3),
            }
        }
    }
}
