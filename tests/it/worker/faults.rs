//! A table that is away, throttles, or does a part of what it is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::region::{Region, load, shards_held};
use crate::aws_proxy::{Fault, Outage, Rule};
use crate::world::eventually;

#[test]
fn everything_at_once_under_load_loses_and_doubles_nothing() {
    let Some(region) = Region::new(2) else { return };
    let edge = region.edge();
    let up = edge.start("up");
    let load = load(&up);
    let faults = [
        Rule::share(0.1, Fault::refuse(400, "ProvisionedThroughputExceededException")),
        Rule::share(0.05, Fault::refuse(500, "InternalServerError")),
        Rule::share(0.05, Fault::HideAnswer),
        Rule::share(0.05, Fault::ResetBefore),
        Rule::share(0.02, Fault::NotJson),
        Rule::share(0.02, Fault::CutAnswer),
    ];
    for rule in faults {
        region.dynamodb.add(rule);
    }
    region
        .kinesis
        .add(Rule::share(0.1, Fault::refuse(400, "ProvisionedThroughputExceededException")).on("GetRecords"));
    region.kinesis.add(Rule::share(0.05, Fault::ResetBefore));
    let worlds = [region.worker(), region.worker()];
    let workers = [worlds[0].start("consumer"), worlds[1].start("consumer")];
    eventually("under load", || load.hits() > 1_000);
    let told: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(up.stop().success());
    region.assert_stored(&told);
    let counts = region.dynamodb.counts();
    for fault in ["answer", "hide answer", "reset before"] {
        assert!(counts[fault] > 0, "{counts:?}");
    }
    region.dynamodb.remove_all();
    region.kinesis.remove_all();
    for worker in workers {
        assert!(worker.stop().success());
    }
}

#[test]
fn a_table_that_is_away_for_a_minute_is_waited_for() {
    let Some(region) = Region::new(2) else { return };
    let edge = region.edge();
    let up = edge.start("up");
    let world = region.worker();
    let worker = world.start("consumer");
    eventually("it holds both", || shards_held(&worker) == 2);
    let load = load(&up);
    eventually("under load", || load.hits() > 200);
    region.dynamodb.go_down(Outage::Refusing);
    std::thread::sleep(Duration::from_secs(30));
    region.dynamodb.go_down(Outage::Silent);
    std::thread::sleep(Duration::from_secs(30));
    region.dynamodb.come_back();
    let told: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(up.stop().success());
    region.assert_stored(&told);
    assert!(worker.stop().success());
}

#[test]
fn a_range_that_was_removed_from_the_ledger_by_hand_is_named() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    region.put(0, 0..1_000);
    region.wait_for(&super::region::ids(0, 0..1_000));
    assert!(worker.stop().success());
    let is_block = |item: &&Value| item["pk"]["S"].as_str().unwrap().starts_with("ledger#");
    let mut blocks: Vec<Value> = region.table.items().iter().filter(is_block).cloned().collect();
    assert_eq!(blocks.len(), 4, "{blocks:?}");
    blocks.sort_by_key(|block| block["sk"]["S"].as_str().unwrap().to_owned());
    region.table.delete(&blocks[1]);
    let output = region.reader().run(&["--json", "reconcile"]);
    assert_eq!(output.status.code(), Some(1), "{}", crate::world::text(&output));
    let said = region.reconciled();
    assert_eq!(said["totals"]["missing"], 256, "{said}");
    assert_eq!(said["lanes"][0]["missing_ranges"], json!([[256, 512]]), "{said}");
}
