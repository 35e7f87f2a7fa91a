//! Batches of the log become Kinesis records. Pure.
//!
//! | `partition_by` | `aggregate` | a Kinesis record | its key |
//! |---|---|---|---|
//! | `none` | `kpl` | what follows each other in one lane | random |
//! | `visitor`, `program` | `kpl` | events of one bucket, of any lanes; else as above | the bucket's name |
//! | any | `none` | one event | its message id |
//! | any | `none` | one record that is no event, for the control stream | random |
//!
//! The bucket is the lowest six bits of CRC-32C over the visitor id or the program, so all
//! machines put the same one into the same bucket.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::{Envelope, EventKeys, Message, kpl};

use super::config::{Aggregation, PartitionBy, ShipperConfig};
use super::entry::{Entry, Key, Run, Target, random_key};
use super::progress::PieceId;
use crate::cursor::LaneKey;
use crate::source::Batch;
use crate::wire::LaneItem;

#[cfg(test)]
mod tests;

/// Groups of events that go to one shard each.
const BUCKETS: u32 = 64;

/// Makes Kinesis records.
pub(crate) struct Packer {
    aggregate: Aggregation,
    partition_by: PartitionBy,
    bytes_max: usize,
    /// Aggregates that have room left; emptied at the end of each reading.
    open: BTreeMap<Group, Open>,
}

/// What shares an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Lane(LaneKey),
    Bucket(u8),
}

struct Open {
    partition_key: String,
    aggregate: kpl::Aggregate,
    runs: Vec<Run>,
}

impl Packer {
    pub fn new(config: &ShipperConfig) -> Self {
        let ShipperConfig { aggregate, partition_by, aggregate_bytes_max: bytes_max, .. } = *config;
        Self { aggregate, partition_by, bytes_max, open: BTreeMap::new() }
    }

    /// Adds a batch, which is `piece`; what is full by then goes to `ready`.
    pub fn add(&mut self, batch: Batch, piece: PieceId, ready: &mut Vec<Entry>) {
        let Batch { boot, lane, items, .. } = batch;
        for item in items {
            let data = LaneItem { boot, lane, item }.to_wire();
            match self.aggregate {
                Aggregation::None => ready.push(alone(data, piece)),
                Aggregation::Kpl => self.add_to_group(self.group(&data, (boot, lane)), &data, piece, ready),
            }
        }
    }

    /// Everything that was added becomes a Kinesis record, full or not.
    pub fn flush(&mut self, ready: &mut Vec<Entry>) {
        ready.extend(std::mem::take(&mut self.open).into_iter().map(|(group, open)| open.close(group)));
    }

    /// Bytes of aggregates that are not full.
    pub fn open_bytes(&self) -> usize {
        self.open.values().map(|open| open.aggregate.bytes_with(0)).sum()
    }

    fn group(&self, data: &Bytes, lane: LaneKey) -> Group {
        if self.partition_by == PartitionBy::None || is_envelope(data) {
            return Group::Lane(lane);
        }
        // What cannot be read was not made by us and goes by chance.
        let Ok(keys) = EventKeys::decode(&data[..]) else { return Group::Lane(lane) };
        let decides = match self.partition_by {
            PartitionBy::Visitor if keys.visitor_id.is_empty() => return Group::Lane(lane),
            PartitionBy::Visitor => keys.visitor_id,
            PartitionBy::Program | PartitionBy::None => keys.programid,
        };
        Group::Bucket((crc32c::crc32c(decides.as_bytes()) % BUCKETS) as u8)
    }

    fn add_to_group(&mut self, group: Group, data: &[u8], piece: PieceId, ready: &mut Vec<Entry>) {
        let open = self.open.entry(group).or_insert_with(|| Open::new(group));
        // The key counts as well: a byte more would be a payload unit more.
        let bytes = open.aggregate.bytes_with(data.len()) + open.partition_key.len();
        if open.aggregate.records() > 0 && bytes > self.bytes_max {
            ready.push(std::mem::replace(open, Open::new(group)).close(group));
        }
        open.add(data, piece);
    }
}

impl Open {
    fn new(group: Group) -> Self {
        let partition_key = match group {
            Group::Lane(_) => random_key(),
            Group::Bucket(bucket) => format!("bucket-{bucket:02}"),
        };
        let aggregate = kpl::Aggregate::new(&partition_key);
        Self { partition_key, aggregate, runs: Vec::new() }
    }

    fn add(&mut self, data: &[u8], piece: PieceId) {
        self.aggregate.push(data);
        match self.runs.last_mut().filter(|run| run.piece == piece) {
            Some(run) => run.records += 1,
            None => self.runs.push(Run { piece, records: 1 }),
        }
    }

    fn close(self, group: Group) -> Entry {
        let key = match group {
            Group::Lane(_) => Key::Random,
            Group::Bucket(bucket) => Key::Bucket(bucket),
        };
        let Self { partition_key, aggregate, runs } = self;
        let data = aggregate.finish().into();
        Entry { target: Target::Events, key, partition_key, data, runs, backoff: None, is_suspect: false }
    }
}

fn alone(data: Bytes, piece: PieceId) -> Entry {
    let runs = vec![Run { piece, records: 1 }];
    if is_envelope(&data) {
        let (target, key, partition_key) = (Target::Control, Key::Random, random_key());
        return Entry { target, key, partition_key, data, runs, backoff: None, is_suspect: false };
    }
    let message_id = EventKeys::decode(&data[..]).map(|keys| keys.message_id).unwrap_or_default();
    // One without an id would be refused for its key.
    let is_key = (1..=kpl::PARTITION_KEY_BYTES_MAX).contains(&message_id.len());
    let (key, partition_key) =
        if is_key { (Key::MessageId, message_id) } else { (Key::Random, random_key()) };
    // A record of its own memory: the chunk of the log that it was read with may go.
    let data = Bytes::copy_from_slice(&data);
    Entry { target: Target::Events, key, partition_key, data, runs, backoff: None, is_suspect: false }
}

fn is_envelope(data: &[u8]) -> bool {
    data.starts_with(&Envelope::MAGIC)
}
