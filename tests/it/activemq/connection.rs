//! Login, and connections that are dead without saying so.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::broker::{ActiveMq, Setup};
use super::clients::{publish_as, publish_orders};
use super::{is_connected, lines_with, messages, order, unvalidated, unvalidated_at};
use crate::documents::{scrape, value};
use crate::world::eventually;

const HEART_BEAT_MS: u64 = 1_000;

#[test]
fn a_half_open_connection_is_noticed_within_two_and_a_half_heart_beats() {
    let Some(broker) = ActiveMq::start() else { return };
    let world =
        unvalidated(&broker).with("bridge.activemq.brokers.main.heart_beat_ms", &HEART_BEAT_MS.to_string());
    let bridge = world.start("bridge activemq");
    publish_orders(&broker, 0, 10);
    eventually("they are acknowledged", || messages(&bridge, "acknowledged") == 10);
    // It keeps its sockets open and says nothing more, as a machine whose cable was pulled.
    broker.signal(Signal::STOP);
    let stopped = Instant::now();
    eventually("the bridge notices", || !is_connected(&bridge));
    let noticed = stopped.elapsed();
    let bound = Duration::from_millis(HEART_BEAT_MS * 5 / 2);
    // Two polls of the metrics, on a machine that does a lot at once.
    assert!(noticed <= bound + Duration::from_millis(500), "{noticed:?}");
    assert!(lines_with(&bridge, "said nothing for 2500 ms") == 1, "{}", bridge.output());
    broker.signal(Signal::CONT);
    eventually("it is subscribed again", || is_connected(&bridge));
    publish_orders(&broker, 10, 20);
    eventually("and goes on", || messages(&bridge, "acknowledged") >= 20);
}

#[test]
fn heart_beats_keep_a_quiet_connection_for_longer_than_a_broker_waits() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = unvalidated(&broker).with("bridge.activemq.brokers.main.heart_beat_ms", "300");
    let bridge = world.start("bridge activemq");
    eventually("it is subscribed", || is_connected(&bridge));
    let quiet = Instant::now();
    eventually("twenty intervals are over", || quiet.elapsed() > Duration::from_millis(6_000));
    let scraped = scrape(&bridge);
    assert_eq!(
        value(&scraped, "clickgate_activemq_sessions_total{queue=\"orders\"}"),
        1.0,
        "{}",
        bridge.output()
    );
}

#[test]
fn a_wrong_password_is_one_clear_line_and_a_pause_that_grows() {
    let setup = Setup { users: vec![("bridge", "right")], ..Setup::default() };
    let Some(broker) = ActiveMq::start_with(setup) else { return };
    let mut world = unvalidated(&broker)
        .with("bridge.activemq.brokers.main.username", "bridge")
        .with("bridge.activemq.brokers.main.password", "wr0ng");
    let bridge = world.start("bridge activemq");
    let retries = "clickgate_bridge_retries_total{bridge=\"activemq:orders\"}";
    eventually("it has tried some times", || value(&scrape(&bridge), retries) >= 5.0);
    let output = bridge.output();
    assert_eq!(lines_with(&bridge, "refused CONNECT"), 1, "{output}");
    assert!(output.contains("password is invalid") && !output.contains("wr0ng"), "{output}");
    let tried = value(&scrape(&bridge), retries);
    let since = Instant::now();
    eventually("two seconds are over", || since.elapsed() > Duration::from_secs(2));
    let more = value(&scrape(&bridge), retries) - tried;
    // Pauses of up to 0.5 s, a quarter on average: without a pause there would be hundreds.
    assert!(more <= 30.0, "{more} attempts in two seconds");
    bridge.stop();

    world.set("bridge.activemq.brokers.main.password", "right");
    let bridge = world.start("bridge activemq");
    publish_as(broker.port, "bridge:right", &[json!({ "to": "/queue/orders", "text": order(1) })]);
    eventually("with the right one it works", || messages(&bridge, "acknowledged") == 1);
}

#[test]
fn of_two_endpoints_the_one_that_listens_is_found_and_found_again() {
    let Some(broker) = ActiveMq::start() else { return };
    let Some(mut other) = ActiveMq::start() else { return };
    other.kill();
    let urls = format!("stomp://127.0.0.1:{},{}", other.port, broker.url());
    let world = unvalidated_at(&urls);
    let bridge = world.start("bridge activemq");
    publish_orders(&broker, 0, 10);
    eventually("the second is found", || messages(&bridge, "acknowledged") == 10);
    // The standby takes over.
    drop(broker);
    other.run();
    publish_orders(&other, 10, 20);
    eventually("the first is found", || messages(&bridge, "acknowledged") == 20);
}
