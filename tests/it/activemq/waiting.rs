//! A queue that is full when the bridge comes.

use serde_json::{Value, json};

use super::broker::ActiveMq;
use super::clients::publish;
use super::{messages, world};
use crate::documents::{scrape, value};
use crate::world::eventually;

const MESSAGES: usize = 100_000;
const MEMORY_BYTES_MAX: f64 = 160.0 * 1024.0 * 1024.0;

#[test]
fn a_hundred_thousand_waiting_messages_are_worked_off_in_bounded_memory() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker);
    // Imports the programs.
    assert!(world.start("up").stop().success());
    let padding = "x".repeat(1_000);
    let body = |n: usize| format!(r#"{{"program": "212312", "n": {n}, "padding": "{padding}"}}"#);
    for from in (0..MESSAGES).step_by(10_000) {
        let messages: Vec<Value> =
            (from..from + 10_000).map(|n| json!({ "to": "/queue/orders", "text": body(n) })).collect();
        publish(broker.port, &messages);
    }
    // Without a consumer, whose table has a cache of its own.
    let bridge = world.start("bridge activemq");
    let mut most = 0.0_f64;
    for target in (0..=MESSAGES as u64).step_by(10_000) {
        eventually(&format!("{target} are acknowledged"), || {
            let scraped = scrape(&bridge);
            most = most.max(value(&scraped, "process_resident_memory_bytes"));
            let in_flight = value(&scraped, "clickgate_activemq_in_flight{queue=\"orders\"}");
            // The broker counts an acknowledgement a little before we do.
            assert!(in_flight <= 4_000.0, "{in_flight}");
            messages(&bridge, "acknowledged") >= target
        });
    }
    assert_eq!(messages(&bridge, "received"), MESSAGES as u64);
    println!("{MESSAGES} messages of 1 KB: at most {:.0} MiB resident", most / 1024.0 / 1024.0);
    assert!(most < MEMORY_BYTES_MAX, "{most} bytes");
}
