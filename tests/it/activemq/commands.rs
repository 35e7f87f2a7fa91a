//! The commands, polling, topics, core data, and the page's figures.

use std::time::{Duration, Instant};

use serde_json::json;

use super::broker::ActiveMq;
use super::clients::{publish, publish_orders, read_all};
use super::{messages, order, world, world_at};
use crate::http;
use crate::world::{World, eventually, text};

#[test]
fn a_message_is_seen_by_tail_within_a_second_and_in_the_log_s_status() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker);
    let up = world.start("up");
    eventually("it is subscribed", || world.json(&["log", "cursor"])["activemq"][0]["endpoint"].is_string());
    publish_orders(&broker, 7, 8);
    let sent = Instant::now();
    let tail = || world.ok(&["--json", "events", "tail", "--no-follow"]);
    eventually("it is in the tail", || tail().contains("\"utm_content\",\"7\""));
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    let status = world.json(&["log", "cursor"]);
    let bridge = &status["activemq"][0];
    assert_eq!((&bridge["queue"], &bridge["counts"]["received"]), (&json!("orders"), &json!(1)));
    drop(up);
}

#[test]
fn polling_reads_until_the_queue_is_empty_and_says_what_it_did() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker);
    // Imports the programs.
    assert!(world.start("up").stop().success());
    publish_orders(&broker, 0, 3_000);
    publish(broker.port, &[json!({ "to": "/queue/orders", "text": "poison" })]);
    let polled = world.json(&["bridge", "activemq", "--poll-seconds", "60"]);
    let counts = &polled[0]["counts"];
    assert_eq!((&counts["acknowledged"], &counts["quarantined"]), (&json!(3_000), &json!(1)), "{polled}");
    let polled = world.json(&["bridge", "activemq", "--poll-seconds", "60"]);
    assert_eq!(polled[0]["counts"]["received"], 0);
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
    let up = world.start("up");
    eventually("what was polled is stored", || world.count() == 3_000);
    drop(up);

    let mut world = world;
    world.set("bridge.activemq.brokers.main.urls", "stomp://127.0.0.1:1");
    let output = world.run(&["bridge", "activemq", "--poll-seconds", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("orders: stomp://127.0.0.1:1: cannot be reached"), "{}", text(&output));
}

#[test]
fn core_data_of_a_queue_is_obeyed_by_hits_and_messages() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.campaigns.broker", "main")
        .with("bridge.activemq.queues.campaigns.destination", "/queue/campaigns")
        .with("bridge.activemq.queues.campaigns.target", "programs");
    let up = world.start("up");
    let program = r#"{"programId": "spring", "programName": "Spring", "customerId": 7, "customerName": "C", "valid": true}"#;
    publish(
        broker.port,
        &[
            json!({ "to": "/queue/campaigns", "text": program }),
            json!({ "to": "/queue/campaigns", "text": r#"{"programId": 5}"# }),
        ],
    );
    eventually("a hit obeys it", || http::get(up.tracker, "/event/spring").status == 200);
    publish(broker.port, &[json!({ "to": "/queue/orders", "text": r#"{"program": "spring", "n": 1}"# })]);
    eventually("and a message", || messages(&up, "acknowledged") == 1);
    eventually("what is no core data is put aside", || {
        read_all(broker.port, "", "/queue/campaigns.QUARANTINE").len() == 1
    });
    assert_eq!(messages(&up, "quarantined"), 0);
}

#[test]
fn a_durable_subscription_gets_what_was_published_while_nobody_read() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker)
        .with("bridge.activemq.queues.orders.destination", "/topic/orders")
        .with("bridge.activemq.queues.orders.durable", "clickgate")
        .with("bridge.activemq.queues.orders.client_id", "clickgate-1")
        .with("bridge.activemq.queues.orders.selector", "kind = 'wanted'");
    let up = world.start("up");
    eventually("it is subscribed", || world.json(&["log", "cursor"])["activemq"][0]["endpoint"].is_string());
    up.stop();
    let sent = |n: usize, kind: &str| json!({ "to": "/topic/orders", "text": order(n), "headers": { "kind": kind } });
    publish(broker.port, &[sent(1, "wanted"), sent(2, "other"), sent(3, "wanted")]);
    let up = world.start("up");
    eventually("both are acknowledged", || messages(&up, "acknowledged") == 2);
    assert_eq!(messages(&up, "received"), 2);
    // A topic keeps nothing for nobody, so what is put aside waits in a queue.
    let poison = json!({ "to": "/topic/orders", "text": "poison", "headers": { "kind": "wanted" } });
    publish(broker.port, &[poison]);
    eventually("it is put aside", || messages(&up, "quarantined") == 1);
    assert_eq!(read_all(broker.port, "", "/queue/orders.QUARANTINE").len(), 1);
}

#[test]
fn check_says_what_a_message_becomes_step_by_step() {
    let world = world_at("stomp://127.0.0.1:1");
    let up = world.start("up");
    let check = |world: &World, body: &str| {
        let file = world.write("message", body);
        let output = world.run(&[
            "bridge",
            "check",
            "--message",
            file.to_str().unwrap(),
            "--header",
            "message-id: ID:1",
        ]);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let said = check(&world, &order(7));
    for part in ["application/json", "utm_content", "/n: \"7\"", "valid_now", "it becomes an event", "212313"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let said = check(&world, r#"{"program": "nosuch"}"#);
    assert!(said.contains("put aside into /queue/orders.QUARANTINE: unknown_program"), "{said}");
    let said = check(&world, "MESSAGE\nbroken\n\n{}\0");
    assert!(said.contains("header line 1 has no colon"), "{said}");
    drop(up);
    assert_eq!(world.count(), 0, "nothing is recorded");
}

#[test]
fn a_bridge_without_a_queue_says_what_to_set() {
    let output = World::new().run(&["bridge", "activemq"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("bridge.activemq.queues.NAME"), "{}", text(&output));
}
