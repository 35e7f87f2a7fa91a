//! Records that the stream refuses.

use serde_json::Value;

use crate::aws_proxy::{FailEntries, Fault, Rule, RuleId};
use crate::http;
use crate::kinesis::consumers::ids;
use crate::world::{Process, eventually};

use super::load::Load;
use super::region::{Region, issued, log};

/// A hit whose event is larger than an aggregate.
fn large(up: &Process) -> String {
    let parameters: String = (0..15).map(|at| format!("&utm_{at}={}", "y".repeat(1_000))).collect();
    http::get(up.tracker, &format!("/event/212312?cb=1{parameters}")).message_id().unwrap()
}

/// Refuses requests with a record larger than 10,000 bytes, as a whole, with this code.
fn refuse_large(region: &Region, error_type: &str) -> RuleId {
    let fault =
        Fault::RefuseLarge { entry_bytes_max: 10_000, status: 400, error_type: error_type.to_owned() };
    region.proxy.add(Rule::always(fault).on("PutRecords"))
}

fn letters(region: &Region) -> Vec<Value> {
    region.world.json(&["dead-letters", "list"])["items"].as_array().unwrap().clone()
}

#[test]
fn a_record_that_is_refused_is_found_among_many_and_the_rest_goes_on() {
    for error_type in ["ValidationException", "InvalidArgumentException"] {
        let Some(region) = Region::new(1) else { return };
        let region = region.with("shipper.aggregate_bytes_max", "8000").with("shipper.linger_ms", "200");
        let up = region.world.start("up");
        let rule = refuse_large(&region, error_type);
        let load = Load::start(up.tracker, 2);
        eventually("there is load", || load.hits() > 100);
        let refused = large(&up);
        eventually("there is load behind it", || load.hits() > 300);
        let mut acknowledged = load.stop();
        let said = region.caught_up(&up);
        assert_eq!(said["shipper"]["dead_letters"], 1, "{said}");
        assert_eq!(said["shipper"]["stalled"], false, "{said}");
        let records = region.assert_each_is_there(&acknowledged);
        assert!(!ids(&records).contains_key(&refused));
        eventually("accepted = acknowledged + dead letters", || {
            let said = log(&up);
            said["shipper"]["acknowledged"].as_u64() == Some(issued(&said) - 1)
        });

        let held = letters(&region);
        assert_eq!(held.len(), 1);
        assert_eq!(held[0]["stage"], "shipper");
        assert!(held[0]["reason"].as_str().unwrap().contains(error_type), "{held:?}");
        let id = held[0]["id"].as_str().unwrap();
        let again = region.world.run(&["dead-letters", "replay", id]);
        assert!(!again.status.success(), "it is refused still");
        assert_eq!(letters(&region).len(), 1);
        region.proxy.remove(rule);
        region.world.ok(&["dead-letters", "replay", id]);
        assert_eq!(letters(&region).len(), 0);
        acknowledged.push(refused);
        region.assert_each_is_there(&acknowledged);
        assert_eq!(up.stop().code(), Some(0));
    }
}

#[test]
fn one_record_of_an_aggregate_that_is_refused_by_its_entry_is_found_too() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("shipper.linger_ms", "300");
    let up = region.world.start("up");
    region.caught_up(&up);
    // The aggregate of four, its two halves, and then one record alone.
    let fault = Fault::FailEntries(FailEntries::with("InvalidArgumentException"));
    let rule = region.proxy.add(Rule::next(4, fault));
    let mut client = http::Client::open(up.tracker).unwrap();
    let acknowledged: Vec<String> =
        (0..4).map(|_| client.get("/event/212312").unwrap().message_id().unwrap()).collect();
    let said = region.caught_up(&up);
    assert_eq!(region.proxy.count(rule), 4);
    assert_eq!(said["shipper"]["dead_letters"], 1);
    let held: Vec<Value> = letters(&region);
    assert_eq!(held.len(), 1);
    for letter in held {
        region.world.ok(&["dead-letters", "replay", letter["id"].as_str().unwrap()]);
    }
    region.assert_each_is_there(&acknowledged);
}

#[test]
fn when_everything_is_refused_one_becomes_a_letter_and_the_rest_waits() {
    let Some(region) = Region::new(1) else { return };
    let up = region.world.start("up");
    region.caught_up(&up);
    let rule = region.proxy.add(Rule::always(Fault::refuse(400, "ValidationException")).on("PutRecords"));
    let acknowledged: Vec<String> =
        (0..20).map(|_| http::get(up.tracker, "/event/212312").message_id().unwrap()).collect();
    eventually("it says that it is stalled", || region.shipper(&up)["stalled"] == true);
    let reason = region.shipper(&up)["error"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("Nothing else was taken since"), "{reason}");
    eventually("several attempts later", || region.shipper(&up)["retries"]["refused"].as_u64() > Some(20));
    assert_eq!(letters(&region).len(), 1);
    region.proxy.remove(rule);
    let said = region.caught_up(&up);
    assert_eq!((&said["shipper"]["stalled"], &said["shipper"]["error"]), (&Value::Bool(false), &Value::Null));
    let id = letters(&region)[0]["id"].as_str().unwrap().to_owned();
    region.world.ok(&["dead-letters", "replay", &id]);
    region.assert_each_is_there(&acknowledged);
}

#[test]
fn without_room_for_another_letter_the_record_waits_until_one_is_dropped() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("shipper.dead_letters_max", "1").with("shipper.aggregate_bytes_max", "8000");
    let up = region.world.start("up");
    refuse_large(&region, "ValidationException");
    large(&up);
    eventually("the first is put aside", || letters(&region).len() == 1);
    let load = Load::start(up.tracker, 1);
    let second = large(&up);
    eventually("the second finds no room", || region.shipper(&up)["stalled"] == true);
    let before = load.hits();
    eventually("others go on meanwhile", || load.hits() > before + 200);
    let first = letters(&region).remove(0);
    region.world.ok(&["dead-letters", "drop", first["id"].as_str().unwrap()]);
    let acknowledged = load.stop();
    region.caught_up(&up);
    let held = letters(&region);
    assert_eq!(held.len(), 1);
    let shown = region.world.ok(&["dead-letters", "show", held[0]["id"].as_str().unwrap()]);
    assert!(shown.contains(&second), "{shown}");
    region.assert_each_is_there(&acknowledged);
}
