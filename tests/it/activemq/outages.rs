//! A registry that is away, and a stream: what is acknowledged then, and what waits.

use serde_json::json;

use super::broker::ActiveMq;
use super::clients::{publish, publish_orders, read_all};
use super::{messages, with_queue};
use crate::aws_proxy::{Fault, Rule};
use crate::http;
use crate::kinesis::consumers::ids;
use crate::redis::server::RedisServer;
use crate::shipper::region::Region;
use crate::world::{World, eventually, text};

const SPRING: &str = r#"{"programId": "spring", "programName": "Spring", "customerId": 7, "customerName": "C", "valid": true}"#;

fn event(program: &str, n: usize) -> serde_json::Value {
    json!({ "to": "/queue/orders", "text": format!(r#"{{"program": "{program}", "n": {n}}}"#) })
}

#[test]
fn while_the_registry_is_away_events_of_unknown_programs_wait_and_core_data_waits_in_the_log() {
    let Some(broker) = ActiveMq::start() else { return };
    let Some(mut redis) = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]) else {
        return;
    };
    let world = with_queue(World::new(), &broker.url())
        .with("registry.kind", "redis")
        .with("registry.redis.urls", &redis.url())
        .with("tracker.workers", "1")
        .with("tracker.catalog.registry_timeout_ms", "1000")
        .with("bridge.activemq.queues.campaigns.broker", "main")
        .with("bridge.activemq.queues.campaigns.destination", "/queue/campaigns")
        .with("bridge.activemq.queues.campaigns.target", "programs");
    let programs = world.write("programs.json", &format!("[{SPRING}]"));
    world.ok(&["programs", "import", &programs.display().to_string()]);
    let up = world.start("up");
    eventually("the program is known", || http::get(up.tracker, "/event/spring").status == 200);
    let hits = world.count();
    redis.kill();
    // In this order: one of a program that is held in memory, and one that only the registry knows of.
    publish(broker.port, &[event("spring", 1), event("autumn", 2)]);
    let autumn = SPRING.replace("spring", "autumn");
    publish(broker.port, &[json!({ "to": "/queue/campaigns", "text": autumn })]);
    eventually("what is known is an event", || messages(&up, "acknowledged") == 1);
    eventually("it says what it waits for", || up.output().contains("the registry cannot say"));
    let status = world.json(&["log", "cursor"]);
    let queues = status["activemq"].as_array().unwrap();
    let campaigns = queues.iter().find(|queue| queue["queue"] == "campaigns").unwrap();
    assert_eq!(campaigns["counts"]["acknowledged"], 1, "core data is safe in the log of this machine");
    assert_eq!(messages(&up, "quarantined"), 0, "an outage is no message's fault");
    redis.restart();
    eventually("the core data is obeyed by the message that waited", || messages(&up, "acknowledged") == 2);
    eventually("both are stored", || world.count() >= hits + 2);
    assert_eq!(messages(&up, "quarantined"), 0);
    assert!(up.stop().success());
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
}

#[test]
fn polling_acknowledges_what_the_stream_has_and_leaves_the_rest_at_the_broker() {
    let Some(broker) = ActiveMq::start() else { return };
    let Some(region) = Region::new(1) else { return };
    let Region { stream, proxy, world } = region;
    let world = with_queue(world, &broker.url())
        .with("bridge.activemq.queues.orders.validate", "false")
        .with("drain.grace_ms", "500");
    publish_orders(&broker, 0, 1_000);
    let polled = world.json(&["bridge", "activemq", "--poll-seconds", "60"]);
    assert_eq!(polled[0]["counts"]["acknowledged"], 1_000, "{polled}");
    assert_eq!(ids(&stream.records()).len(), 1_000, "acknowledged is in the stream");

    publish_orders(&broker, 1_000, 1_100);
    // Only putting fails, so that a poll begins at all.
    let rule = proxy.add(Rule::always(Fault::refuse(500, "InternalFailure")).on("PutRecords"));
    let mut polling = world.clickgate(&["--json", "bridge", "activemq", "--poll-seconds", "4"]);
    let output = polling.output().unwrap();
    assert!(proxy.count(rule) >= 2, "it was tried again");
    let said = text(&output);
    assert!(said.contains("\"acknowledged\": 0") || said.contains("\"acknowledged\":0"), "{said}");
    assert_eq!(ids(&stream.records()).len(), 1_000);
    proxy.remove(rule);
    let polled = world.json(&["bridge", "activemq", "--poll-seconds", "60"]);
    assert_eq!(polled[0]["counts"]["acknowledged"], 100, "{polled}");
    assert_eq!(
        ids(&stream.records()).len(),
        1_100,
        "what the log kept and what came again is the same event"
    );
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
}
