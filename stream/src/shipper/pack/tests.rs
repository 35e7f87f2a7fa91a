//! What shares a Kinesis record, and under which key.

use std::collections::BTreeSet;

use proto::{BootId, TrackingEvent};

use super::*;
use crate::record::{Record, RecordKind};
use crate::shipper::progress::Progress;
use crate::source::Item;

const BOOT: BootId = proto::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);

fn event(lane: u32, number: u64, program: &str, visitor: &str) -> Item {
    let event = TrackingEvent {
        programid: program.into(),
        message_id: format!("id-{lane}-{number}"),
        visitor_id: visitor.into(),
        user_agent: "x".repeat(300),
        boot: BOOT.as_bytes().to_vec(),
        lane,
        number,
        ..TrackingEvent::default()
    };
    Item::Record(Record { number, kind: RecordKind::Event, payload: event.encode_to_vec().into() })
}

fn events(lane: u32, count: u64) -> Batch {
    let visitor =
        |number: u64| if number.is_multiple_of(5) { String::new() } else { format!("v{}", number % 7) };
    let items = (0..count).map(|number| event(lane, number, &format!("p{}", number % 3), &visitor(number)));
    Batch::of_lane(BOOT, lane, items.collect())
}

fn pack(config: ShipperConfig, batches: Vec<Batch>) -> Vec<Entry> {
    let (mut packer, mut progress, mut entries) = (Packer::new(&config), Progress::default(), Vec::new());
    for batch in batches {
        let piece = progress.read(&batch, 0);
        packer.add(batch, piece, &mut entries);
    }
    packer.flush(&mut entries);
    assert_eq!(packer.open_bytes(), 0);
    entries
}

fn partitioned(partition_by: PartitionBy) -> ShipperConfig {
    ShipperConfig { partition_by, ..ShipperConfig::default() }
}

/// Lane and number of each record in an entry, and its bytes.
fn contents(entry: &Entry) -> Vec<(u32, u64, Bytes)> {
    let records = match kpl::read(&entry.data) {
        Some(records) => records.into_iter().map(|record| record.data).collect(),
        None => vec![entry.data.clone()],
    };
    let place = |data: Bytes| {
        let item = LaneItem::from_wire(data.clone()).unwrap();
        (item.lane, item.item.end() - 1, data)
    };
    records.into_iter().map(place).collect()
}

#[test]
fn an_aggregate_is_one_lanes_contiguous_range_of_at_most_50_kib() {
    let entries = pack(ShipperConfig::default(), vec![events(0, 400), events(1, 400)]);
    let mut next = [0, 0];
    for entry in &entries {
        assert!(entry.bytes() <= 51_200, "{}", entry.bytes());
        let records = contents(entry);
        assert_eq!(records.len() as u32, entry.records());
        let lane = records[0].0 as usize;
        for (at, number, _) in records {
            assert_eq!((at as usize, number), (lane, next[lane]));
            next[lane] += 1;
        }
    }
    assert_eq!(next, [400, 400]);
    assert!(entries.len() <= 8, "they are full but for the last of each lane: {}", entries.len());
    let keys: BTreeSet<&str> = entries.iter().map(|entry| entry.partition_key.as_str()).collect();
    assert_eq!(keys.len(), entries.len(), "each has a key of its own");
}

#[test]
fn a_record_larger_than_an_aggregate_goes_alone_and_raw() {
    let large = TrackingEvent {
        user_agent: "y".repeat(60_000),
        boot: BOOT.as_bytes().to_vec(),
        number: 1,
        ..TrackingEvent::default()
    };
    let payload: Bytes = large.encode_to_vec().into();
    let record = Record { number: 1, kind: RecordKind::Event, payload: payload.clone() };
    let items = vec![event(0, 0, "p", ""), Item::Record(record), event(0, 2, "p", "")];
    let entries = pack(ShipperConfig::default(), vec![Batch::of_lane(BOOT, 0, items)]);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].data, payload);
}

#[test]
fn everything_that_a_lane_says_travels_and_comes_out_as_it_went_in() {
    let report = Record { number: 1, kind: RecordKind::LaneReport, payload: Bytes::from_static(b"report") };
    let items = vec![
        event(0, 0, "p", "v"),
        Item::Record(report),
        Item::Abandoned { first: 2, count: 3 },
        event(0, 5, "p", "v"),
        Item::End { issued: 6, clean: true },
    ];
    for partition_by in [PartitionBy::None, PartitionBy::Visitor, PartitionBy::Program] {
        let entries = pack(partitioned(partition_by), vec![Batch::of_lane(BOOT, 0, items.clone())]);
        let travelled = entries.iter().flat_map(contents);
        let mut came: Vec<Item> =
            travelled.map(|(_, _, data)| LaneItem::from_wire(data).unwrap().item).collect();
        came.sort_by_key(|item| (item.end(), matches!(item, Item::End { .. })));
        assert_eq!(came, items, "{partition_by:?}");
    }
}

#[test]
fn one_visitor_or_program_has_one_key_on_every_lane_and_machine() {
    for (partition_by, groups) in [(PartitionBy::Visitor, 7), (PartitionBy::Program, 3)] {
        let entries = pack(partitioned(partition_by), vec![events(0, 100), events(1, 100)]);
        let mut keys: BTreeSet<(String, String)> = BTreeSet::new();
        for entry in &entries {
            for (_, _, data) in contents(entry) {
                let event = EventKeys::decode(&data[..]).unwrap();
                let group = match partition_by {
                    PartitionBy::Visitor => event.visitor_id,
                    _ => event.programid,
                };
                match entry.key {
                    Key::Bucket(_) => drop(keys.insert((group, entry.partition_key.clone()))),
                    _ => assert!(group.is_empty(), "only events without a visitor go by chance"),
                }
            }
        }
        assert_eq!(keys.len(), groups, "{keys:?}");
    }
    // The bucket is part of what machines agree on.
    let entries = pack(partitioned(PartitionBy::Program), vec![events(0, 1)]);
    assert_eq!(entries[0].partition_key, "bucket-36");
}

#[test]
fn without_aggregation_an_event_is_a_record_under_its_message_id_and_the_rest_goes_elsewhere() {
    let config = ShipperConfig { aggregate: Aggregation::None, ..ShipperConfig::default() };
    let items = vec![event(0, 0, "p", "v"), event(0, 1, "p", "v"), Item::End { issued: 2, clean: true }];
    let entries = pack(config, vec![Batch::of_lane(BOOT, 0, items)]);
    let found: Vec<(Target, &str)> =
        entries.iter().map(|entry| (entry.target, entry.partition_key.as_str())).collect();
    assert_eq!(found[..2], [(Target::Events, "id-0-0"), (Target::Events, "id-0-1")]);
    assert_eq!((found.len(), found[2].0), (3, Target::Control));
    assert!(proto::sample::TrackingEvent::decode(&entries[0].data[..]).is_ok_and(|it| it.programid == "p"));
}
