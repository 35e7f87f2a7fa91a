//! What the Kinesis records of a shard hold, as batches. Pure.
//!
//! A record that is no aggregate stands for itself, and so does one with a bad digest or too short
//! to be one, as for the KCL. The checkpoint of a batch names the last Kinesis record that is in it
//! *whole*: one record may make several batches, of which only the last is behind it.

use std::sync::Arc;

use bytes::Bytes;
use proto::{BootId, Uuid, kpl};

use super::config::Form;
use crate::record::{Number, Record, RecordKind};
use crate::source::{Batch, Checkpoint, ForeignRecord, Item};
use crate::wire::LaneItem;

/// What neighbouring records of one lane may grow to as one batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A Kinesis record.
#[derive(Clone, Debug)]
pub(super) struct KinesisRecord {
    pub sequence: Arc<str>,
    /// When Kinesis took it, milliseconds since 1970; 0 if it does not say.
    pub arrived_at_ms: u64,
    pub data: Bytes,
}

/// Where records come from.
#[derive(Clone, Debug)]
pub(super) struct ShardPlace {
    pub stream: Arc<str>,
    pub shard: Arc<str>,
    /// Both, as a checkpoint names them.
    pub name: Arc<str>,
    pub holding: u64,
}

impl ShardPlace {
    pub fn checkpoint(&self, sequence: &Arc<str>, ended: bool) -> Checkpoint {
        Checkpoint::Shard {
            shard: Arc::clone(&self.name),
            holding: self.holding,
            sequence: Arc::clone(sequence),
            ended,
        }
    }
}

/// The batches of `records`, which follow `previous`. Every record is in a batch, even one that holds
/// nothing: else the checkpoint would never pass it.
pub(super) fn unpack(
    form: Form,
    place: &ShardPlace,
    previous: &Arc<str>,
    records: Vec<KinesisRecord>,
) -> Vec<Batch> {
    let mut unpacked = Unpacked { form, place, before: Arc::clone(previous), batches: Vec::new() };
    for record in records {
        unpacked.record(record);
    }
    unpacked.batches
}

/// The end of a shard: nothing comes after `last`.
pub(super) fn end(place: &ShardPlace, last: &Arc<str>) -> Batch {
    Batch { boot: Uuid::nil(), lane: 0, items: Vec::new(), checkpoint: place.checkpoint(last, true) }
}

struct Unpacked<'a> {
    form: Form,
    place: &'a ShardPlace,
    /// The Kinesis record before the current one.
    before: Arc<str>,
    batches: Vec<Batch>,
}

impl Unpacked<'_> {
    fn record(&mut self, record: KinesisRecord) {
        match kpl::read(&record.data) {
            Some(users) => {
                for (user, number) in users.into_iter().zip(0..) {
                    self.user_record(&record, number, user.data);
                }
            }
            None => self.user_record(&record, 0, record.data.clone()),
        }
        let passed = self.place.checkpoint(&record.sequence, false);
        match self.batches.last_mut() {
            Some(last) => last.checkpoint = passed,
            // An aggregate of nothing, the first of all.
            None => {
                self.batches.push(Batch { boot: Uuid::nil(), lane: 0, items: Vec::new(), checkpoint: passed })
            }
        }
        self.before = record.sequence;
    }

    fn user_record(&mut self, record: &KinesisRecord, number: Number, data: Bytes) {
        match self.form {
            Form::Lanes => match LaneItem::from_wire(data.clone()) {
                Ok(LaneItem { boot, lane, item }) => self.push(boot, lane, item),
                Err(error) => {
                    let ShardPlace { stream, shard, .. } = self.place;
                    let reason = error.to_string();
                    let foreign = ForeignRecord::new(stream, shard, &record.sequence, number, reason, data);
                    self.push(foreign.place(), 0, Item::Foreign(foreign));
                }
            },
            Form::CoreData => {
                let boot = boot_of_core_data(self.place, record);
                let record = Record { number, kind: RecordKind::CoreData, payload: data };
                self.push(boot, 0, Item::Record(record));
            }
        }
    }

    /// Adds an item to the last batch if that is of the same lane and small, else begins one.
    fn push(&mut self, boot: BootId, lane: u32, item: Item) {
        if let Some(last) = self.batches.last_mut()
            && (last.boot, last.lane) == (boot, lane)
            && !last.items.is_empty()
            && last.bytes() < BATCH_BYTES_MAX
        {
            last.items.push(item);
            return;
        }
        // Until the current Kinesis record is whole, only the one before it has passed.
        let checkpoint = self.place.checkpoint(&self.before, false);
        self.batches.push(Batch { boot, lane, items: vec![item], checkpoint });
    }
}

/// What stands for the boot of core data from a stream: its time is that at which Kinesis took the
/// record, so that a message without a revision gets one that grows along the shard, and it is the
/// same whenever the record is read.
fn boot_of_core_data(place: &ShardPlace, record: &KinesisRecord) -> BootId {
    let name = proto::ids::from_sender(&["kinesis", &place.stream, &place.shard, &record.sequence]);
    let mut bytes = name.into_bytes();
    bytes[..6].copy_from_slice(&record.arrived_at_ms.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proto::{Message, TrackingEvent, ids};

    use super::*;

    const BOOT: BootId = Uuid::from_u128(7);

    fn place() -> ShardPlace {
        ShardPlace { stream: "s".into(), shard: "shard-1".into(), name: "s/shard-1".into(), holding: 3 }
    }

    fn event(lane: u32, number: u64) -> Vec<u8> {
        TrackingEvent { boot: BOOT.as_bytes().to_vec(), lane, number, ..TrackingEvent::default() }
            .encode_to_vec()
    }

    fn aggregate(records: &[Vec<u8>]) -> Bytes {
        let mut aggregate = kpl::Aggregate::new("key");
        for record in records {
            aggregate.push(record);
        }
        aggregate.finish().into()
    }

    fn record(sequence: &str, data: impl Into<Bytes>) -> KinesisRecord {
        KinesisRecord { sequence: sequence.into(), arrived_at_ms: 1_790_000_000_000, data: data.into() }
    }

    /// Of each batch: lane, numbers, sequence of the checkpoint.
    fn shape(batches: &[Batch]) -> Vec<(u32, Vec<u64>, String)> {
        let shape = |batch: &Batch| {
            let Checkpoint::Shard { sequence, holding: 3, ended: false, .. } = &batch.checkpoint else {
                panic!("{:?}", batch.checkpoint)
            };
            (batch.lane, batch.items.iter().map(|item| item.end() - 1).collect(), sequence.to_string())
        };
        batches.iter().map(shape).collect()
    }

    fn unpacked(records: Vec<KinesisRecord>) -> Vec<Batch> {
        unpack(Form::Lanes, &place(), &"0".into(), records)
    }

    #[test]
    fn a_checkpoint_passes_a_record_only_with_the_last_of_its_batches() {
        let mixed = aggregate(&[event(1, 4), event(1, 5), event(2, 9)]);
        let batches =
            unpacked(vec![record("10", event(1, 3)), record("11", mixed), record("12", event(2, 10))]);
        let expected = [(1, vec![3, 4, 5], "10".to_owned()), (2, vec![9, 10], "12".to_owned())];
        assert_eq!(shape(&batches), expected);
    }

    #[test]
    fn an_aggregate_of_nothing_is_passed_too() {
        let empty = aggregate(&[]);
        assert!(kpl::read(&empty).is_some_and(|users| users.is_empty()), "it is an aggregate");
        assert_eq!(shape(&unpacked(vec![record("10", empty.clone())])), [(0, vec![], "10".to_owned())]);
        let behind = unpacked(vec![record("10", event(1, 3)), record("11", empty)]);
        assert_eq!(shape(&behind), [(1, vec![3], "11".to_owned())]);
    }

    #[test]
    fn what_no_lane_wrote_is_foreign_with_its_place() {
        let mut cut = aggregate(&[event(1, 4), event(1, 5)]).to_vec();
        let last = cut.len() - 1;
        cut[last] ^= 1;
        for data in [Bytes::new(), Bytes::from_static(b"hello"), cut.into()] {
            let batches = unpacked(vec![record("10", data.clone()), record("11", event(1, 6))]);
            let Item::Foreign(foreign) = &batches[0].items[0] else { panic!("{batches:?}") };
            assert_eq!((foreign.payload.clone(), foreign.number), (data, 0));
            assert_eq!(foreign.origin.broker_message_id, "10");
            assert_eq!((batches[0].boot, batches[1].lane), (foreign.place(), 1));
        }
        let in_an_aggregate =
            unpacked(vec![record("10", aggregate(&[event(1, 4), b"x".to_vec(), event(1, 5)]))]);
        let expected = [(1, vec![4], "0"), (0, vec![1], "0"), (1, vec![5], "10")];
        assert_eq!(
            shape(&in_an_aggregate),
            expected.map(|(lane, numbers, at)| (lane, numbers, at.to_owned()))
        );
    }

    #[test]
    fn a_message_of_core_data_has_the_time_at_which_kinesis_took_it_in_whatever_it_is_read_with() {
        let read = |records| unpack(Form::CoreData, &place(), &"0".into(), records);
        let alone = read(vec![record("10", "{}")]);
        let behind = read(vec![record("9", "{}"), record("10", "{}")]);
        assert_eq!(ids::time_ms(&alone[0].boot), 1_790_000_000_000);
        assert_eq!((alone[0].boot, &alone[0].items), (behind[1].boot, &behind[1].items));
        let Item::Record(record) = &alone[0].items[0] else { panic!("{alone:?}") };
        assert_eq!((record.kind, &record.payload[..]), (RecordKind::CoreData, &b"{}"[..]));
    }

    #[test]
    fn the_end_of_a_shard_is_a_checkpoint_of_its_own() {
        let batch = end(&place(), &"12".into());
        assert!(batch.items.is_empty());
        assert!(matches!(batch.checkpoint, Checkpoint::Shard { ended: true, .. }));
    }
}
