//! Decodes the bytes of a batch into what is to be written. Pure.
//!
//! A record that cannot become an item is *poison*. It becomes a dead letter with its reason and
//! its bytes, and the records after it go on. A record of a kind that only a newer version knows
//! is treated alike: it is kept, and `dead-letters replay` after the upgrade stores it.
//!
//! Everything that keeps an event from being stored is found here, before a table does anything:
//! a sender's id must not be taken by an event that then cannot be stored.
//!
//! Not poison: an event whose own boot, lane or number differ from its place in the log. The place
//! in the log counts, and the event is kept unchanged.

use bytes::Bytes;
use proto::{BootId, DeadLetter, LaneReport, Message, Rejected, Stage, TrackingEvent, Uuid, ids};
use stream::{Batch, Item, LaneItem, Record, RecordKind};

use crate::ledger::{LaneEnd, Report};

/// The longest program id that a table accepts, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 255;

/// The decoded batches of one call of [`Table::write`](crate::Table::write).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteBatch {
    /// The batches in the order of the source.
    pub batches: Vec<DecodedBatch>,
}

impl WriteBatch {
    /// Decodes `batches`; `now_ms` is the time of death of poison records.
    pub fn of(batches: &[Batch], now_ms: u64) -> Self {
        Self { batches: batches.iter().map(|batch| decode(batch, now_ms)).collect() }
    }
}

/// A decoded batch.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedBatch {
    /// The process start that wrote it.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// Its records, in order.
    pub records: Vec<DecodedRecord>,
    /// Numbers that never became durable, as half-open ranges.
    pub abandoned: Vec<(u64, u64)>,
    /// The lane's end, if this batch has it.
    pub end: Option<LaneEnd>,
    /// Records that no lane wrote, as the dead letters that they become. They belong in no ledger, and
    /// are known by their places: boot, lane and number of the letters.
    pub foreign: Vec<DeadLetter>,
}

impl DecodedBatch {
    /// The first number that it covers.
    pub(crate) fn first_number(&self) -> u64 {
        let of_records = self.records.first().map(|record| record.number);
        let of_abandoned = self.abandoned.first().map(|(first, _)| *first);
        let of_end = self.end.map(|end| end.issued);
        let of_foreign = self.foreign.first().map(|letter| letter.number);
        of_records.into_iter().chain(of_abandoned).chain(of_end).chain(of_foreign).min().unwrap_or(0)
    }
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedRecord {
    /// Its place in the lane.
    pub number: u64,
    /// What it is.
    pub decoded: Decoded,
}

/// A record as a table sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
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
    /// It cannot be stored.
    Poison(Box<DeadLetter>),
}

/// An event, with what the table's keys need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its program: 1 to [`PROGRAM_BYTES_MAX`] bytes.
    pub program: String,
    /// Its message id: a UUIDv7 of `received_at_ms`, or a UUIDv8 of a sender's id.
    pub id: Uuid,
    /// When the edge received it, milliseconds since 1970: 1 to [`ids::TIME_MS_MAX`].
    pub received_at_ms: u64,
    /// The record unchanged, so that fields of a newer version are kept.
    pub payload: Bytes,
}

/// Decodes one batch; `now_ms` is the time of death of its poison records.
pub fn decode(batch: &Batch, now_ms: u64) -> DecodedBatch {
    let mut decoded = DecodedBatch {
        boot: batch.boot,
        lane: batch.lane,
        records: Vec::with_capacity(batch.items.len()),
        abandoned: Vec::new(),
        end: None,
        foreign: Vec::new(),
    };
    for item in &batch.items {
        match item {
            Item::Record(record) => {
                let read = decode_record(record).unwrap_or_else(|reason| {
                    Decoded::Poison(Box::new(batch.dead_letter(record, Stage::Consumer, reason, now_ms)))
                });
                decoded.records.push(DecodedRecord { number: record.number, decoded: read });
            }
            Item::Abandoned { first, count } => {
                decoded.abandoned.push((*first, first.saturating_add(*count)));
            }
            Item::End { issued, clean } => {
                decoded.end = Some(LaneEnd { issued: *issued, clean: *clean });
            }
            Item::Foreign(foreign) => decoded.foreign.push(foreign.dead_letter(Stage::Consumer, now_ms)),
        }
    }
    decoded
}

fn decode_record(record: &Record) -> Result<Decoded, String> {
    match record.kind {
        RecordKind::Event => decode_event(record).map(Decoded::Event),
        RecordKind::Rejected => {
            let rejected: Rejected = message(record, "Rejected")?;
            Ok(Decoded::Rejected { received_at_ms: rejected.received_at_ms, payload: record.payload.clone() })
        }
        RecordKind::LaneReport => {
            message::<LaneReport>(record, "LaneReport").map(|report| Decoded::Report(report.into()))
        }
        RecordKind::CoreData => Err("core data does not belong in the log of events".to_owned()),
        RecordKind::Other(code) => {
            Err(format!("record kind {code} is not known to this version; replay it after an upgrade"))
        }
    }
}

fn decode_event(record: &Record) -> Result<Event, String> {
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
    // Never replaced by the consumer's clock: the same record must become the same item each time.
    let received_at_ms = event.received_at_ms;
    if received_at_ms == 0 {
        return Err("received_at_ms is missing".to_owned());
    }
    if received_at_ms > ids::TIME_MS_MAX {
        return Err(format!("received_at_ms {received_at_ms} is beyond {}", ids::TIME_MS_MAX));
    }
    match id.get_version_num() {
        // A look-up by a v7 id derives the key from the id's time.
        7 if ids::time_ms(&id) != received_at_ms => Err(format!(
            "message_id {id} is of the time {}, and received_at_ms says {received_at_ms}",
            ids::time_ms(&id)
        )),
        7 | 8 => Ok(Event { program: event.programid, id, received_at_ms, payload: record.payload.clone() }),
        version => Err(format!("message_id {id} is a UUID of version {version}, expected 7 or 8")),
    }
}

fn message<M: Message + Default>(record: &Record, name: &str) -> Result<M, String> {
    M::decode(record.payload.clone()).map_err(|error| format!("not a {name}: {error}"))
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Whether the letter is of a record that no lane wrote, and so in no ledger.
pub(crate) fn is_foreign(letter: &DeadLetter) -> bool {
    letter.stage() == Stage::Consumer && letter.origin.is_some()
}

/// The record of a dead letter of the consumer as a batch, to process it again.
pub(crate) fn batch_of(letter: &DeadLetter) -> Result<Batch, String> {
    if letter.stage() != Stage::Consumer {
        return Err(format!("it is of stage {:?}, not {:?}", letter.stage().name(), Stage::Consumer.name()));
    }
    if is_foreign(letter) {
        // A newer version may understand it; then it has a lane.
        let item = LaneItem::from_wire(letter.payload.clone().into()).map_err(|error| error.to_string())?;
        return Ok(Batch::of_lane(item.boot, item.lane, vec![item.item]));
    }
    let boot =
        BootId::from_slice(&letter.boot).map_err(|error| format!("its boot is not a UUID: {error}"))?;
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

    fn one(kind: RecordKind, payload: Vec<u8>) -> Decoded {
        let record = Record { number: 3, kind, payload: payload.into() };
        let batch = Batch::of_lane(BOOT, 1, vec![Item::Record(record)]);
        decode(&batch, NOW).records.remove(0).decoded
    }

    fn reason(decoded: Decoded) -> String {
        match decoded {
            Decoded::Poison(letter) => letter.reason,
            other => panic!("{other:?} is not poison"),
        }
    }

    /// A UUIDv7 of the time 17.
    fn id() -> Uuid {
        ids::MessageIds::new().next(17)
    }

    fn hit() -> TrackingEvent {
        TrackingEvent {
            programid: "212313".into(),
            message_id: id().to_string(),
            received_at_ms: 17,
            ..TrackingEvent::default()
        }
    }

    #[test]
    fn an_event_keeps_its_bytes_and_says_its_key() {
        let event = TrackingEvent { number: 99, lane: 9, ..hit() };
        let payload = event.encode_to_vec();
        let expected = Event {
            program: "212313".into(),
            id: event.message_id.parse().unwrap(),
            received_at_ms: 17,
            payload: payload.clone().into(),
        };
        assert_eq!(one(RecordKind::Event, payload), Decoded::Event(expected), "another place is not poison");
    }

    #[test]
    fn an_event_with_a_senders_id_may_be_of_any_time() {
        let id = ids::from_sender(&["212313", "conversion", "1"]);
        let payload = TrackingEvent { message_id: id.to_string(), ..hit() }.encode_to_vec();
        let Decoded::Event(event) = one(RecordKind::Event, payload) else { panic!("it is an event") };
        assert_eq!((event.id, event.received_at_ms), (id, 17));
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
        assert_eq!(with(|event| event.received_at_ms = 0), "received_at_ms is missing");
        let beyond = with(|event| event.received_at_ms = 1 << 48);
        assert_eq!(beyond, "received_at_ms 281474976710656 is beyond 281474976710655");
        let of_another_time = with(|event| event.received_at_ms = 18);
        assert!(
            of_another_time.ends_with("is of the time 17, and received_at_ms says 18"),
            "{of_another_time}"
        );
        let v4 = with(|event| event.message_id = Uuid::new_v4().to_string());
        assert!(v4.ends_with("is a UUID of version 4, expected 7 or 8"), "{v4}");
        let bytes = reason(one(RecordKind::Event, b"\xff\xff".to_vec()));
        assert!(bytes.starts_with("not a TrackingEvent: "), "{bytes}");
        let unknown = reason(one(RecordKind::Other(77), vec![]));
        assert!(unknown.starts_with("record kind 77 is not known"), "{unknown}");
    }

    #[test]
    fn a_dead_letter_becomes_the_batch_that_it_was() {
        let record = Record { number: 3, kind: RecordKind::Other(9), payload: Bytes::from_static(b"x") };
        let batch = Batch::of_lane(BOOT, 1, vec![Item::Record(record)]);
        let Decoded::Poison(letter) = decode(&batch, NOW).records.remove(0).decoded else {
            panic!("it is poison")
        };
        assert_eq!(batch_of(&letter).unwrap(), batch);

        let foreign = DeadLetter { stage: Stage::Shipper.into(), ..*letter };
        assert_eq!(batch_of(&foreign).unwrap_err(), "it is of stage \"shipper\", not \"consumer\"");
    }

    proptest! {
        #[test]
        fn no_bytes_of_any_kind_are_lost_or_panic(
            code in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            match one(RecordKind::from_code(code), payload.clone()) {
                Decoded::Event(event) => prop_assert_eq!(event.payload, payload),
                Decoded::Rejected { payload: kept, .. } => prop_assert_eq!(kept, payload),
                Decoded::Poison(letter) => prop_assert_eq!(letter.payload, payload),
                Decoded::Report(_) => prop_assert_eq!(code, 3),
            }
        }
    }
}
