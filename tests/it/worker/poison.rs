//! What cannot be stored, and what is not ours.

use proto::{Message, TrackingEvent};

use super::region::{BOOT, Region, event, ids, worker_status};
use crate::shipper::region::log;
use crate::world::eventually;

/// An event that says its lane, and no program.
fn poison(number: u64) -> Vec<u8> {
    let event =
        TrackingEvent { programid: String::new(), ..TrackingEvent::decode(&event(0, number)[..]).unwrap() };
    event.encode_to_vec()
}

#[test]
fn poison_in_the_middle_goes_to_the_dead_letters_and_holds_nothing_up() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker();
    let worker = world.start("consumer");
    let (first, second, third) = (event(0, 0), poison(1), event(0, 2));
    region.stream.put(
        "k",
        &crate::kinesis::aggregate(&[("k", &first), ("k", &second), ("k", b"not ours"), ("k", &third)]),
    );
    region.stream.put("k", b"somebody else's");
    region.put(0, 3..6);
    region.wait_for(&ids(0, [0, 2, 3, 4, 5]));

    let reader = region.reader();
    let letters = || -> Vec<serde_json::Value> {
        reader.json(&["dead-letters", "list"])["items"].as_array().unwrap().clone()
    };
    eventually("three letters", || letters().len() == 3);
    let reasons: Vec<String> =
        letters().iter().map(|letter| letter["reason"].as_str().unwrap().to_owned()).collect();
    assert!(reasons.iter().any(|reason| reason == "programid is empty"), "{reasons:?}");
    assert_eq!(
        reasons
            .iter()
            .filter(
                |reason| reason.contains("neither an event nor an envelope") || reason.contains("which lane")
            )
            .count(),
        2,
        "{reasons:?}"
    );
    let totals = region.reconciled()["totals"].clone();
    assert_eq!(
        (&totals["stored"], &totals["dead_letters"], &totals["missing"]),
        (&5.into(), &1.into(), &0.into()),
        "{totals}"
    );

    // Each comes again, and none is a letter twice.
    let lease = region.table.leases().remove(0);
    region.table.delete(&lease);
    eventually("all came again", || log(&worker)["consumer"]["replayed"] == 8);
    assert_eq!(letters().len(), 3);
    for letter in letters() {
        let id = letter["id"].as_str().unwrap();
        let replayed = reader.run(&["dead-letters", "replay", id]);
        assert!(!replayed.status.success(), "it still cannot be stored");
        reader.ok(&["dead-letters", "drop", id]);
    }
    assert_eq!(letters().len(), 0);
    let totals = region.reconciled()["totals"].clone();
    assert_eq!(
        (&totals["dropped"], &totals["dead_letters"], &totals["missing"]),
        (&1.into(), &0.into(), &0.into()),
        "{totals}"
    );
    assert!(worker.stop().success());
}

#[test]
fn at_its_bound_of_letters_a_worker_stalls_and_goes_on_once_some_were_dropped() {
    let Some(region) = Region::new(1) else { return };
    let world = region.worker().with("consumer.dead_letters_max", "1");
    let worker = world.start("consumer");
    for number in 0..2 {
        region.stream.put("k", &poison(number));
    }
    region.put(0, 2..5);
    eventually("it is stalled", || log(&worker)["consumer"]["stalled"] == true);
    assert!(worker_status(&worker)["shards"].as_object().unwrap().len() == 1, "it keeps its lease");
    let reader = region.reader();
    let letter = reader.json(&["dead-letters", "list"])["items"][0].clone();
    assert_eq!(letter["boot"], BOOT.to_string(), "{letter}");
    reader.ok(&["dead-letters", "drop", letter["id"].as_str().unwrap()]);
    region.wait_for(&ids(0, 2..5));
    eventually("it is not stalled", || log(&worker)["consumer"]["stalled"] == false);
    assert!(worker.stop().success());
}
