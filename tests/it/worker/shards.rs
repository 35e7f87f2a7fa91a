//! Streams whose shards change, and what comes twice or otherwise cut.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::region::{Region, event, ids, load, shards_held, worker_status};
use crate::aws_proxy::{Fault, Rule};
use crate::shipper::region::log;
use crate::world::eventually;

#[test]
fn shards_are_split_and_merged_under_load_and_parents_are_stored_before_children_are_read() {
    let Some(region) = Region::new(1) else { return };
    let edge = region.edge();
    let up = edge.start("up");
    let (first, second) = (region.worker(), region.worker());
    let workers = [first.start("consumer"), second.start("consumer")];
    let load = load(&up);
    eventually("under load", || load.hits() > 50);
    let [whole] = &region.stream.shards()[..] else { panic!("one shard") };
    region.stream.split_shard(whole);
    let after = load.hits();
    eventually("more came", || load.hits() > after + 50);
    let halves = region.stream.open_shards();
    region.stream.merge_shards(&halves[0], &halves[1]);
    let after = load.hits();
    eventually("more came", || load.hits() > after + 50);

    let told: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(up.stop().success());
    region.assert_stored(&told);
    eventually("the three parents are through", || {
        let ended = |worker| worker_status(worker)["shards_ended"].as_u64().unwrap();
        workers.iter().map(ended).sum::<u64>() == 3
    });
    let is_ended = |lease: &Value| lease["ended"]["BOOL"] == true;
    let leases = region.table.leases();
    let ended: Vec<bool> = leases.iter().map(is_ended).collect();
    assert_eq!(ended, [true, true, true, false], "{leases:?}");
    assert_eq!(workers.iter().map(shards_held).sum::<usize>(), 1);
    for worker in workers {
        assert!(worker.stop().success());
    }
}

#[test]
fn a_child_waits_until_its_parent_is_stored() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    region.dynamodb.add(Rule::always(Fault::refuse(500, "InternalServerError")).on("BatchWriteItem"));
    region.put(0, 0..10);
    let [whole] = &region.stream.shards()[..] else { panic!("one shard") };
    region.stream.split_shard(whole);
    region.put(1, 0..10);
    let worker = world.start("consumer");
    eventually("it has a lease", || !region.table.leases().is_empty());
    eventually("it cannot store the parent's", || !log(&worker)["consumer"]["error"].is_null());
    assert_eq!(region.table.leases().len(), 1, "the children have no lease yet");
    region.dynamodb.remove_all();
    let sent: BTreeSet<String> = ids(0, 0..10).into_iter().chain(ids(1, 0..10)).collect();
    region.assert_stored(&sent);
    eventually("both children are read", || region.table.leases().len() == 3);
    assert!(worker.stop().success());
}

#[test]
fn records_that_hold_nothing_are_passed_and_each_number_counts_once_however_it_is_cut() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    region.put(0, 0..10);
    // The same again three times, whole and cut elsewhere, half of it new; across blocks of the ledger.
    for _ in 0..3 {
        region.put(0, 0..10);
    }
    region.put(0, 5..300);
    region.put(0, (0..300).step_by(7));
    region.put(0, 250..400);
    region.stream.put("k", &event(0, 399));
    region.stream.put("k", &event(0, 400));
    // An aggregate of nothing is the last of all.
    region.stream.put("k", &crate::kinesis::aggregate(&[]));
    region.assert_stored(&ids(0, 0..401));
    let replayed = 30 + 5 + 43 + 50 + 1;
    eventually("all that came again was known", || log(&worker)["consumer"]["replayed"] == replayed);
    let last = region.stream.records().last().unwrap().sequence_number.clone();
    eventually("the last record is passed too", || region.table.leases()[0]["checkpoint"]["S"] == last);
    assert!(worker.stop().success());
}

#[test]
fn an_iterator_that_expired_and_reading_that_is_throttled_go_on_where_they_were() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    region.put(0, 0..10);
    region.wait_for(&ids(0, 0..10));
    for error in ["ExpiredIteratorException", "ProvisionedThroughputExceededException"] {
        region.kinesis.add(Rule::next(2, Fault::refuse(400, error)).on("GetRecords"));
    }
    region.kinesis.add(Rule::next(2, Fault::refuse(500, "InternalFailure")).on("GetShardIterator"));
    region.kinesis.add(Rule::next(2, Fault::HideAnswer).on("GetRecords"));
    region.kinesis.add(Rule::next(1, Fault::NotJson).on("GetRecords"));
    region.put(0, 10..20);
    region.assert_stored(&ids(0, 0..20));
    eventually("each of them happened", || {
        let status = worker_status(&worker);
        status["iterators_expired"] == 2 && status["throttled"] == 2
    });
    eventually("and nothing is wrong any more", || {
        let status = worker_status(&worker);
        status["shards"].as_object().unwrap().values().all(|shard| shard["error"].is_null())
    });
    assert!(worker.stop().success());
}

#[test]
fn a_stream_that_was_made_anew_has_leases_of_its_own() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    region.put(0, 0..10);
    region.wait_for(&ids(0, 0..10));
    let name = region.stream.name().to_owned();
    let begun = region.table.leases();
    let Region { stream, table, kinesis, dynamodb } = region;
    drop(stream);
    let server = crate::kinesis::server::KinesisServer::shared().unwrap();
    eventually("the stream is gone", || !server.streams().contains(&name));
    // Kinesis says when a stream was created in whole seconds here.
    std::thread::sleep(Duration::from_millis(1_100));
    let stream = server.create_stream(&name, 1);
    let region = Region { stream, table, kinesis, dynamodb };
    region.put(0, 10..20);
    region.assert_stored(&ids(0, 0..20));
    // What the old lease still read of it comes again by the new one.
    eventually("it has a lease of its own", || region.table.leases().len() == begun.len() + 1);
    region.assert_stored(&ids(0, 0..20));
    assert!(worker.stop().success());
}
