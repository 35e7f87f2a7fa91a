//! Bodies and headers of every kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::broker::ActiveMq;
use super::clients::{publish, read_all};
use super::{messages, world};
use crate::http;
use crate::world::{Process, World, eventually};

/// Events of program 212312 by their parameter `k`.
fn by_key(world: &World) -> BTreeMap<String, Value> {
    let lines = world.ok(&["--json", "events", "query", "--program", "212312", "--limit", "1000"]);
    let events = lines.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        let key =
            event["parameters"].as_array().unwrap().iter().find(|pair| pair[0] == "k").unwrap()[1].clone();
        (key.as_str().unwrap().to_owned(), event)
    });
    events.collect()
}

fn start(world: &World) -> Process {
    world.start("up")
}

#[test]
fn binary_and_emoji_and_large_bodies_and_strange_headers_arrive_as_they_were_sent() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.orders.format", "bytes")
        .with("bridge.activemq.queues.orders.program", "=212312")
        .with(
            "bridge.activemq.queues.orders.parameters",
            "k=header:k,note=header:note,priority=header:priority",
        );
    let to = |more: Value| {
        let mut message = json!({ "to": "/queue/orders" });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    publish(
        broker.port,
        &[
            to(json!({ "hex": "00ff0a00", "headers": { "k": "nul" } })),
            to(json!({ "text": "grüße \u{1f600}", "headers": { "k": "emoji" } })),
            to(json!({ "repeat": 1_000_000, "headers": { "k": "large" } })),
            to(json!({ "repeat": 30_000_000, "headers": { "k": "huge" } })),
            to(json!({ "text": "x", "headers": { "k": "strange", "note": "a:b\nc\\d", "priority": "7" } })),
        ],
    );
    let up = start(&world);
    eventually("four are stored", || world.count() == 4);
    let events = by_key(&world);
    let keys: Vec<&str> = events.keys().map(String::as_str).collect();
    assert_eq!(keys, ["emoji", "large", "nul", "strange"]);
    // As JSON shows bytes that are no UTF-8.
    assert_eq!(events["nul"]["payload"], "\0\u{fffd}\n\0");
    assert_eq!(events["emoji"]["payload"], "grüße \u{1f600}");
    assert_eq!(events["large"]["payload"].as_str().unwrap().len(), 1_000_000);
    let parameters = &events["strange"]["parameters"];
    assert_eq!(parameters[1], json!(["note", "a:b\nc\\d"]));
    assert_eq!(parameters[2], json!(["priority", "7"]));
    let origin = &events["nul"]["origin"];
    assert_eq!((&origin["broker"], &origin["destination"]), (&json!("main"), &json!("/queue/orders")));

    eventually("the huge one is put aside", || messages(&up, "quarantined") == 1);
    let aside = read_all(broker.port, "", "/queue/orders.QUARANTINE");
    assert_eq!((aside.len(), aside[0]["hex"].as_str().unwrap().len()), (1, 60_000_000));
    let reason = aside[0]["headers"]["x-clickgate-reason"].as_str().unwrap();
    assert!(reason.starts_with("the event would have 30000"), "{reason}");
}

#[test]
fn text_that_a_restarted_broker_hands_on_as_modified_utf_8_is_read() {
    let Some(mut broker) = ActiveMq::start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.orders.program", "/program")
        .with("bridge.activemq.queues.orders.parameters", "k=/k,smile=/smile");
    let body = r#"{"program": "212312", "k": "a", "smile": "😀"}"#;
    publish(broker.port, &[json!({ "to": "/queue/orders", "text": body })]);
    broker.kill();
    broker.run();
    let up = start(&world);
    eventually("it is stored", || world.count() == 1);
    assert_eq!(by_key(&world)["a"]["parameters"][1], json!(["smile", "😀"]));
    assert_eq!(messages(&up, "quarantined"), 0);
}

#[test]
fn a_property_named_message_id_does_not_make_two_messages_one() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker).with("bridge.activemq.queues.orders.parameters", "k=/k");
    let sent = |k: &str| {
        let body = format!(r#"{{"program": "212312", "k": "{k}"}}"#);
        json!({ "to": "/queue/orders", "text": body, "headers": { "message-id": "fixed", "redelivered": "false" } })
    };
    publish(broker.port, &[sent("a"), sent("b")]);
    let _up = start(&world);
    eventually("both are stored", || world.count() == 2);
    assert_eq!(by_key(&world).len(), 2);
}

#[test]
fn what_moves_from_the_queue_to_http_is_not_counted_twice() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.orders.identity", "sender")
        .with("bridge.activemq.queues.orders.type", "=conversion")
        .with("bridge.activemq.queues.orders.id", "/order")
        .with("bridge.activemq.queues.orders.parameters", "k=/order");
    let up = start(&world);
    let beacon = json!({ "program": "212312", "type": "conversion", "id": "o-7", "params": { "k": "http" } });
    let beacon = beacon.to_string();
    let length = beacon.len();
    let head = format!("POST /b HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {length}\r\n\r\n{beacon}");
    let answer = http::Client::open(up.tracker).and_then(|mut client| client.send(&head)).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    eventually("the beacon is stored", || world.count() == 1);
    let order = |id: &str| json!({ "to": "/queue/orders", "text": format!(r#"{{"program": "212312", "order": "{id}"}}"#) });
    publish(broker.port, &[order("o-7"), order("o-8"), order("o-8")]);
    eventually("all are acknowledged", || messages(&up, "acknowledged") == 3);
    eventually("the other order is stored", || world.count() == 2);
    eventually("the same order is a duplicate, twice", || {
        world.json(&["reconcile"])["totals"]["duplicates"] == 2
    });
    assert_eq!(by_key(&world).into_keys().collect::<Vec<_>>(), ["http", "o-8"]);
}
