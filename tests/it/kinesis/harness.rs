//! The harness itself: that it sees what is in a stream, and does not see what is not.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use proto::{BootId, Message, TrackingEvent};

use super::consumers::{dropped_by_kcl, ids, ids_by_record};
use super::deaggregate::{can_deaggregate, deaggregate};
use super::server::KinesisServer;
use super::stream::{Shard, StoredRecord, Stream, hash};
use crate::world::eventually;

/// A KPL aggregate of (partition key, data), as Amazon's format description has it; with
/// explicit hash keys, the nth is that of the nth record.
pub fn aggregate(records: &[(&str, &[u8])], explicit_hash_keys: &[u128]) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, _) in records {
        field(1, key.as_bytes(), &mut message);
    }
    for key in explicit_hash_keys {
        field(2, key.to_string().as_bytes(), &mut message);
    }
    for (at, (_, data)) in records.iter().enumerate() {
        let mut record = vec![1 << 3, u8::try_from(at).unwrap()];
        if !explicit_hash_keys.is_empty() {
            record.extend([2 << 3, u8::try_from(at).unwrap()]);
        }
        field(3, data, &mut record);
        field(3, &record, &mut message);
    }
    let digest = Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &message, &digest].concat()
}

/// A field of protobuf that has a length.
fn field(number: u8, bytes: &[u8], message: &mut Vec<u8>) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length > 127 {
        message.push(length as u8 | 128);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

/// An event as it travels, of a lane.
fn event(message_id: &str, number: u64) -> Vec<u8> {
    let boot = BootId::from_u128(7).as_bytes().to_vec();
    TrackingEvent { message_id: message_id.to_owned(), boot, number, ..TrackingEvent::default() }
        .encode_to_vec()
}

/// A partition key that this shard takes.
fn key_of(shard: &Shard) -> String {
    (0..).map(|nth| format!("key {nth}")).find(|key| shard.hashes.contains(&hash(key))).unwrap()
}

fn data(records: &[StoredRecord]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.data).unwrap()).collect()
}

#[test]
fn shards_share_all_hashes_and_a_record_is_where_its_key_hashes_to() {
    let Some(server) = KinesisServer::shared() else { return };
    let stream = server.new_stream(3);
    assert!(server.streams().contains(&stream.name().to_owned()));
    let shards = stream.shards();
    assert_eq!(shards.iter().map(|shard| shard.is_open).collect::<Vec<_>>(), [true; 3]);
    assert_eq!(*shards[0].hashes.start(), 0);
    assert_eq!(*shards[2].hashes.end(), u128::MAX);
    for pair in shards.windows(2) {
        assert_eq!(pair[0].hashes.end() + 1, *pair[1].hashes.start());
    }
    for nth in 0..30 {
        stream.put(&format!("{nth}"), b"x");
    }
    let records = stream.records();
    assert_eq!(records.len(), 30);
    for record in &records {
        assert!(record.hashes.contains(&hash(&record.partition_key)), "{record:?}");
    }
    for shard in &shards {
        assert!(records.iter().any(|record| record.shard == shard.id), "{shard:?} has none");
    }
}

#[test]
fn records_of_parents_and_of_children_are_read_to_the_end() {
    let Some(server) = KinesisServer::shared() else { return };
    let stream = server.new_stream(1);
    stream.put("a", b"before");
    let [whole] = &stream.shards()[..] else { panic!("one shard") };
    stream.split_shard(whole);
    let halves = stream.open_shards();
    assert_eq!(halves.len(), 2);
    for (half, data) in halves.iter().zip([b"lower", b"upper"]) {
        assert_eq!(half.parents, [&*whole.id]);
        stream.put(&key_of(half), data);
    }
    stream.merge_shards(&halves[0], &halves[1]);
    stream.put("a", b"after");

    let records = stream.records();
    assert_eq!(data(&records), ["before", "lower", "upper", "after"]);
    assert_eq!(records[1].hashes, halves[0].hashes);
    let [merged] = &stream.open_shards()[..] else { panic!("one is open") };
    assert_eq!(merged.parents, [halves[0].id.clone(), halves[1].id.clone()]);
    assert_eq!((&merged.hashes, stream.shards().len()), (&whole.hashes, 4));
}

#[test]
fn a_shard_of_more_records_than_one_answer_holds_is_read_whole() {
    let Some(server) = KinesisServer::shared() else { return };
    let stream = server.new_stream(1);
    for nth in 0..10 {
        stream.put(&format!("{nth}"), b"x");
    }
    let [shard] = &stream.shards()[..] else { panic!("one shard") };
    for records_max in [1, 3, 10, 11] {
        let records = stream.records_of(shard, records_max);
        let keys = records.iter().map(|record| record.partition_key.parse::<usize>().unwrap());
        assert_eq!(keys.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "{records_max} an answer");
    }
}

#[test]
fn a_stream_is_gone_when_dropped_and_one_that_is_being_made_says_so() {
    let Some(server) = KinesisServer::start_with(&[("CREATE_STREAM_DURATION", "2s")]) else { return };
    let stream = Stream::new(server.client(), "slow");
    stream.call("CreateStream", serde_json::json!({ "StreamName": "slow", "ShardCount": 1 }));
    assert_eq!(stream.status(), "CREATING");
    stream.wait_until_active();
    drop(stream);
    eventually("the stream is gone", || server.streams().is_empty());
}

#[test]
fn a_killed_server_refuses_and_knows_what_it_wrote_down_when_it_is_back() {
    let settings = [("SHOULD_PERSIST_DATA", "true"), ("PERSIST_INTERVAL", "100ms")];
    let Some(mut server) = KinesisServer::start_with(&settings) else { return };
    let port = server.port();
    let stream = server.new_stream(2);
    stream.put("a", b"kept");
    let file = server.directory().join("kinesis-data.json");
    eventually("written down", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("a2VwdA==")));
    server.kill();
    assert!(server.client().call("ListStreams", &serde_json::json!({})).is_err());
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(data(&stream.records()), ["kept"]);
}

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    let Some(mut server) = KinesisServer::start() else { return };
    // What the kernel does when that process is killed.
    server.close_stdin();
    eventually("the server has ended", || server.has_ended());
}

#[test]
fn events_are_counted_whether_they_came_alone_or_in_an_aggregate() {
    let (Some(server), true) = (KinesisServer::shared(), can_deaggregate()) else { return };
    let stream = server.new_stream(2);
    let events = ["a", "b", "c"].map(|id| event(id, 0));
    stream.put("k", &events[0]);
    stream.put("k", &aggregate(&[("k", &events[1]), ("k", &events[2])], &[]));
    stream.put("k", &aggregate(&[("k", &events[2])], &[]));
    let envelope = proto::Envelope {
        boot: BootId::from_u128(7).as_bytes().to_vec(),
        kind: Some(proto::envelope::Kind::LaneEnd(proto::LaneEnd { clean: true })),
        ..Default::default()
    };
    stream.put("k", &envelope.to_wire());
    let records = stream.records();
    let expected = [("a", 1), ("b", 1), ("c", 2)].map(|(id, times)| (id.to_owned(), times));
    assert_eq!(ids(&records), BTreeMap::from(expected));
    let of_the_second: Vec<_> =
        ids_by_record(&records).into_iter().filter(|it| it.0 == records[1].sequence_number).collect();
    assert_eq!(of_the_second.iter().map(|it| &*it.1).collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn an_aggregate_with_one_record_for_another_shard_is_found_to_be_dropped() {
    let (Some(server), true) = (KinesisServer::shared(), can_deaggregate()) else { return };
    let stream = server.new_stream(2);
    let [lower, upper] = &stream.shards()[..] else { panic!("two shards") };
    let (low, high) = (&*key_of(lower), &*key_of(upper));
    stream.put(low, &aggregate(&[(low, b"1"), (low, b"2")], &[]));
    stream.put(low, &aggregate(&[(low, b"1"), (high, b"2")], &[]));
    // An explicit hash key decides, whatever the partition key.
    stream.put(low, &aggregate(&[(high, b"1")], &[*lower.hashes.end()]));
    stream.put(low, &aggregate(&[(low, b"1")], &[*upper.hashes.start()]));
    // A record alone is never dropped, nor one that only looks like an aggregate.
    let mut damaged = aggregate(&[(high, b"1")], &[]);
    *damaged.last_mut().unwrap() ^= 1;
    stream.put(low, &damaged);

    let records = stream.records();
    let sizes: Vec<_> =
        deaggregate(&records).iter().map(|inside| (inside.len(), inside[0].is_aggregated)).collect();
    assert_eq!(sizes, [(2, true), (2, true), (1, true), (1, true), (1, false)]);
    let dropped = dropped_by_kcl(&records);
    let expected = [&records[1], &records[3]].map(|record| record.sequence_number.clone());
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    for (line, sequence) in dropped.iter().zip(expected) {
        assert!(line.starts_with(&sequence), "{line}");
    }
    assert!(dropped[0].contains(high), "{dropped:?}");

    // After a split the shard is smaller: the same aggregate, put again, may be dropped.
    stream.split_shard(lower);
    let quarters = stream.open_shards().into_iter().filter(|it| it.parents.contains(&lower.id));
    let keys: Vec<_> = quarters.map(|it| key_of(&it)).collect();
    let mixed = aggregate(&[(&keys[0], b"1"), (&keys[1], b"2")], &[]);
    stream.put(&keys[0], &mixed);
    assert_eq!(dropped_by_kcl(&stream.records()).len(), 3);
}
