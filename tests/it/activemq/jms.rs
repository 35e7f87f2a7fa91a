//! What only a JMS client can publish: Map messages, and properties that break STOMP frames.

use serde_json::json;

use super::broker::{ActiveMq, Setup, has_jms};
use super::clients::{publish_by_jms, read_all, take_by_jms};
use super::{messages, order, stored, unvalidated, world};
use crate::documents::{scrape, value};
use crate::world::eventually;

fn start() -> Option<ActiveMq> {
    if !has_jms() {
        return None;
    }
    ActiveMq::start_with(Setup { jms: true, ..Setup::default() })
}

#[test]
fn map_messages_become_events_by_their_entries() {
    let Some(broker) = start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.orders.format", "map")
        .with("bridge.activemq.queues.orders.parameters", "utm_content=/n,utm_term=/shop,utm_source=/code");
    let map = |entries: &str| format!("map\torders\t\t{entries}");
    publish_by_jms(
        &broker,
        &[
            map("program=212312\tn=int:7\tshop=grüße\tcode=007"),
            map("program=212312"),
            map("n=int:8"),
            format!("text\torders\t{}", order(1)),
        ],
    );
    let up = world.start("up");
    eventually("two are events", || world.count() == 2);
    eventually("the others are put aside", || messages(&up, "quarantined") == 2);
    let events = world.ok(&["--json", "events", "query", "--program", "212312"]);
    let expected = json!([["utm_content", "7"], ["utm_term", "grüße"], ["utm_source", "007"]]);
    let is_there = events.lines().any(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["parameters"] == expected && event["payloadType"] == "application/json"
    });
    assert!(is_there, "{events}");
    let aside = read_all(broker.port, "", "/queue/orders.QUARANTINE");
    let mut reasons: Vec<&str> =
        aside.iter().map(|message| message["headers"]["x-clickgate-reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert!(reasons[0].starts_with("program: there is nothing at /program"), "{reasons:?}");
    assert!(reasons[1].starts_with("the body is no Map message"), "{reasons:?}");
}

#[test]
fn bytes_that_are_no_frame_stop_their_queue_alone_when_all_before_them_is_done() {
    let Some(broker) = start() else { return };
    let world = unvalidated(&broker)
        .with("bridge.activemq.queues.others.broker", "main")
        .with("bridge.activemq.queues.others.destination", "/queue/others")
        .with("bridge.activemq.queues.others.program", "/program")
        .with("bridge.activemq.queues.others.parameters", "utm_content=/n")
        .with("bridge.activemq.queues.others.validate", "false");
    let text = |queue: &str, n: usize| format!("text\t{queue}\t{}", order(n));
    let mut sent: Vec<String> = (0..20).map(|n| text("orders", n)).collect();
    sent.insert(7, "text\torders\tpoison".to_owned());
    sent.push(format!("{}\tcontent-length=3", text("orders", 20)));
    sent.extend((21..25).map(|n| text("orders", n)));
    publish_by_jms(&broker, &sent);
    let bridge = world.start("bridge activemq");
    let stopped = "clickgate_activemq_stopped{queue=\"orders\"}";
    eventually("it is stopped", || value(&scrape(&bridge), stopped) == 1.0);
    // Some twice: what the first connection was about to acknowledge. And after a broken connection the broker
    // sends what was behind the bad one before it.
    assert!(messages(&bridge, "acknowledged") >= 20, "{}", messages(&bridge, "acknowledged"));
    assert_eq!(messages(&bridge, "quarantined"), 1);
    let said = bridge.output();
    for part in ["3 times in a row", "content-length", "Remove the first message of /queue/orders"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    publish_by_jms(&broker, &[text("others", 1)]);
    let others = "clickgate_activemq_messages_total{queue=\"others\",outcome=\"acknowledged\"}";
    eventually("the other queue goes on", || value(&scrape(&bridge), others) == 1.0);
    bridge.stop();

    assert_eq!(take_by_jms(&broker, "orders", 1), 1);
    let up = world.start("up");
    // One of them is of the other queue.
    eventually("each is stored once", || world.count() == 20 + 4 + 1);
    assert_eq!(value(&scrape(&up), stopped), 0.0);
    let expected: std::collections::BTreeSet<usize> = (0..20).chain(21..25).collect();
    assert_eq!(stored(&world).0, expected);
}
