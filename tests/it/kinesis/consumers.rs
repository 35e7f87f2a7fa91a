//! What consumers get of a stream: which events, how often, and what Amazon's would drop.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::{Message, TrackingEvent};
use stream::{Item, LaneItem, RecordKind};

use super::deaggregate::{UserRecord, deaggregate};
use super::stream::StoredRecord;

/// What lanes said, each with the sequence number of the record that it came in.
pub fn items(records: &[StoredRecord]) -> Vec<(String, LaneItem)> {
    let apart = deaggregate(records);
    let of_record = |(record, inside): (&StoredRecord, Vec<UserRecord>)| {
        let sequence = record.sequence_number.clone();
        let item = move |it: UserRecord| {
            let data = Bytes::from(it.data);
            let item = LaneItem::from_wire(data).unwrap_or_else(|error| panic!("{error}, in {sequence}"));
            (sequence.clone(), item)
        };
        inside.into_iter().map(item).collect::<Vec<_>>()
    };
    records.iter().zip(apart).flat_map(of_record).collect()
}

/// The message ids of all events in these records, and how often each is there.
pub fn ids(records: &[StoredRecord]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for (_, id) in ids_by_record(records) {
        *ids.entry(id).or_default() += 1;
    }
    ids
}

/// The message ids of all events in these records, each with the sequence number of the record
/// that it came in: with [`crate::aws_proxy::Trace`] this says why one came twice.
pub fn ids_by_record(records: &[StoredRecord]) -> Vec<(String, String)> {
    let id = |(sequence, said): (String, LaneItem)| match said.item {
        Item::Record(record) if record.kind == RecordKind::Event => {
            Some((sequence, TrackingEvent::decode(&record.payload[..]).unwrap().message_id))
        }
        _ => None,
    };
    items(records).into_iter().filter_map(id).collect()
}

/// What Amazon's consumers (KCL) drop without a word, one line for each aggregate: when one user
/// record hashes outside of the shard in which the aggregate is, the whole aggregate goes.
/// (AggregatorUtil.java of the KCL.)
pub fn dropped_by_kcl(records: &[StoredRecord]) -> Vec<String> {
    let apart = deaggregate(records);
    records.iter().zip(&apart).filter_map(|(record, inside)| why_dropped(record, inside)).collect()
}

fn why_dropped(record: &StoredRecord, inside: &[UserRecord]) -> Option<String> {
    let is_outside = |it: &&UserRecord| it.is_aggregated && !record.hashes.contains(&it.hash());
    let stray = inside.iter().find(is_outside)?;
    let StoredRecord { shard, sequence_number, .. } = record;
    let (key, hash) = (&stray.partition_key, stray.hash());
    let of = inside.len();
    Some(format!("{sequence_number}, an aggregate of {of} in {shard}: {key:?} hashes to {hash}"))
}
