//! Bounds: a log that is full, and large messages that wait to be put aside.

use serde_json::{Value, json};

use super::broker::ActiveMq;
use super::clients::{publish, read_all};
use super::{messages, order, unvalidated, with_queue};
use crate::aws_proxy::Outage;
use crate::documents::{scrape, value};
use crate::shipper::region::{Region, log};
use crate::world::eventually;

/// Of 100 KB: more than the log takes.
const MESSAGES: u64 = 350;

#[test]
fn a_log_that_is_90_per_cent_full_leaves_messages_at_the_broker_until_it_has_room() {
    let Some(broker) = ActiveMq::start() else { return };
    let Some(region) = Region::new(1) else { return };
    let Region { proxy, world, .. } = region;
    let world = with_queue(world, &broker.url())
        .with("bridge.activemq.queues.orders.validate", "false")
        .with("bridge.activemq.queues.orders.level", "synced")
        .with("bridge.activemq.queues.orders.prefetch", "5")
        .with("log.segment_bytes", "1048576")
        .with("log.lane_bytes_max", "262144")
        .with("log.log_bytes_max", "33554432");
    let padding = "x".repeat(100_000);
    let body = |n: u64| format!(r#"{{"program": "212312", "n": {n}, "padding": "{padding}"}}"#);
    let sent = |n: u64| json!({ "to": "/queue/orders", "text": body(n) });
    let up = world.start("up");
    // From now on nothing leaves the log.
    proxy.go_down(Outage::Refusing);
    publish(broker.port, &(0..MESSAGES).map(sent).collect::<Vec<Value>>());
    eventually("the log is full", || log(&up)["fill_percent"].as_u64() >= Some(90));
    let mut at = 0;
    eventually("nothing more is acknowledged", || {
        let before = std::mem::replace(&mut at, messages(&up, "acknowledged"));
        std::thread::sleep(std::time::Duration::from_millis(500));
        before == at
    });
    assert!((200..MESSAGES).contains(&at), "{at}");
    assert!(
        log(&up)["fill_percent"].as_u64() < Some(95),
        "room for clicks is left: {}",
        log(&up)["fill_percent"]
    );
    assert!(messages(&up, "received") <= at + 5, "at most what is in flight was read");
    proxy.come_back();
    eventually("all are acknowledged", || messages(&up, "acknowledged") == MESSAGES);
    let scraped = scrape(&up);
    assert_eq!(
        value(&scraped, "clickgate_activemq_sessions_total{queue=\"orders\"}"),
        1.0,
        "{}",
        up.output()
    );
}

const LARGE_BYTES: usize = 30_000_000;
const LARGE: usize = 5;
const MEMORY_BYTES_MAX: f64 = 340.0 * 1024.0 * 1024.0;

#[test]
fn large_messages_that_cannot_be_events_are_put_aside_in_bounded_memory_and_the_queue_goes_on() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = unvalidated(&broker);
    let large = json!({ "to": "/queue/orders", "repeat": LARGE_BYTES, "headers": { "program": "212312" } });
    // One connection at a time, so in this order.
    (0..LARGE).for_each(|_| publish(broker.port, std::slice::from_ref(&large)));
    publish(broker.port, &[json!({ "to": "/queue/orders", "text": order(1) })]);
    let bridge = world.start("bridge activemq");
    let mut most = 0.0_f64;
    let mut most_in_flight = 0.0_f64;
    eventually("the small one is an event", || {
        let scraped = scrape(&bridge);
        most = most.max(value(&scraped, "process_resident_memory_bytes"));
        most_in_flight =
            most_in_flight.max(value(&scraped, "clickgate_activemq_in_flight_bytes{queue=\"orders\"}"));
        messages(&bridge, "acknowledged") == 1
    });
    eventually("the large ones are put aside", || messages(&bridge, "quarantined") == LARGE as u64);
    println!("{LARGE} messages of {LARGE_BYTES} bytes: at most {:.0} MiB resident", most / 1024.0 / 1024.0);
    assert!(most < MEMORY_BYTES_MAX, "{most}");
    // 64 MiB and one.
    assert!(most_in_flight <= 3.0 * LARGE_BYTES as f64 + 10_000.0, "{most_in_flight}");
    let said = bridge.output();
    assert!(said.contains("a lot of messages cannot be read; going on"), "the bound was not reached: {said}");
    bridge.stop();
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
}
