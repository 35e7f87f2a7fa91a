//! Workers that die, freeze, or lose their leases.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::region::{Region, ids, load, owners, shards_held, worker_status};
use crate::aws_proxy::{Fault, Rule};
use crate::shipper::region::log;
use crate::world::eventually;

fn checkpoints(leases: &[Value]) -> Vec<Value> {
    leases.iter().map(|lease| lease["checkpoint"]["S"].clone()).collect()
}

#[test]
fn what_a_worker_stored_before_it_died_and_did_not_commit_comes_again_and_counts_once() {
    let Some(region) = Region::new(2) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    eventually("it holds both", || shards_held(&worker) == 2);
    // No row of a lease is written from here on.
    region.dynamodb.add(Rule::always(Fault::refuse(500, "InternalServerError")).on("UpdateItem"));
    region.put(0, 0..100);
    let sent = ids(0, 0..100);
    region.wait_for(&sent);
    worker.kill();
    region.dynamodb.remove_all();
    assert!(checkpoints(&region.table.leases()).iter().all(Value::is_null), "{:?}", region.table.leases());

    let again = world.start("consumer");
    eventually("all came again", || log(&again)["consumer"]["replayed"] == 100);
    region.assert_stored(&sent);
    eventually("and are committed", || checkpoints(&region.table.leases()).iter().any(Value::is_string));
    assert!(again.stop().success());
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing() {
    let Some(region) = Region::new(2) else { return };
    let edge = region.edge();
    let up = edge.start("up");
    let load = load(&up);
    let worlds = [region.worker(), region.worker()];
    let mut random = fastrand::Rng::with_seed(12);
    for round in 0..8 {
        let worker = worlds[round % 2].start("consumer");
        eventually("it reads something", || worker_status(&worker)["kinesis_records"].as_u64() > Some(0));
        std::thread::sleep(Duration::from_millis(random.u64(..700)));
        worker.kill();
    }
    let told: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(up.stop().success());
    let worker = worlds[0].start("consumer");
    region.assert_stored(&told);
    assert!(worker.stop().success());
}

#[test]
fn a_worker_that_was_frozen_for_longer_than_its_leases_commits_nothing() {
    let Some(region) = Region::new(2) else { return };
    let (first, second) = (region.worker(), region.worker());
    let frozen = first.start("consumer");
    region.put(0, 0..50);
    region.wait_for(&ids(0, 0..50));
    eventually("it holds both", || shards_held(&frozen) == 2);
    // It has read what it has not stored when it freezes.
    region.dynamodb.add(Rule::always(Fault::Delay(Duration::from_secs(3))).on("BatchWriteItem"));
    region.put(1, 0..50);
    eventually("it is storing them", || region.dynamodb.counts()["delay"] > 0);
    frozen.signal(Signal::STOP);
    region.dynamodb.remove_all();

    let successor = second.start("consumer");
    eventually("the other has both", || shards_held(&successor) == 2);
    let sent: BTreeSet<String> = ids(0, 0..50).into_iter().chain(ids(1, 0..50)).collect();
    region.wait_for(&sent);
    let of_successor = owners(&region.table.leases());
    frozen.signal(Signal::CONT);
    eventually("it finds that they are lost", || worker_status(&frozen)["leases_lost"] == 2);
    assert!(frozen.output().contains("lost the lease of a shard"), "{}", frozen.output());
    region.put(2, 0..50);
    let sent: BTreeSet<String> = sent.into_iter().chain(ids(2, 0..50)).collect();
    region.assert_stored(&sent);
    let later = owners(&region.table.leases());
    assert!(later.iter().any(|owner| of_successor.contains(owner)), "{later:?}");
    assert!(frozen.stop().success());
    assert!(successor.stop().success());
}

#[test]
fn a_lease_whose_taking_was_never_answered_is_taken_again_at_once() {
    let Some(region) = Region::new(1) else { return };
    // Longer than the test may take: nobody waits for the lease to expire.
    let world = region.worker().with("worker.lease_failover_ms", "600000");
    let lost = region.dynamodb.add(Rule::next(2, Fault::HideAnswer).on("UpdateItem"));
    region.put(0, 0..10);
    let worker = world.start("consumer");
    region.assert_stored(&ids(0, 0..10));
    assert_eq!(region.dynamodb.count(lost), 2);
    let status = worker_status(&worker);
    assert_eq!((&status["leases_taken"], &status["leases_lost"]), (&1.into(), &0.into()), "{status}");
    assert!(worker.stop().success());
}

#[test]
fn a_lease_whose_row_was_deleted_is_read_from_the_beginning_again() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    region.put(0, 0..50);
    region.wait_for(&ids(0, 0..50));
    eventually("committed", || checkpoints(&region.table.leases()).iter().any(Value::is_string));
    region.table.delete(&region.table.leases()[0]);
    eventually("it comes again", || log(&worker)["consumer"]["replayed"] == 50);
    assert_eq!(worker_status(&worker)["leases_lost"], 1);
    region.put(0, 50..60);
    region.assert_stored(&ids(0, 0..60));
    assert!(worker.stop().success());
}
