//! The ActiveMQ bridge against the real broker of Debian, with publishers that we did not write: stomp-rs and
//! stomp.py.

mod bodies;
mod broker;
mod clients;
mod commands;
mod connection;
mod death;
mod delivery;
mod full;
mod garbled;
mod jms;
mod outages;
mod poison;
mod stuck;
mod tls;
mod waiting;

use crate::documents::scrape;
use crate::world::{Process, World};
use broker::ActiveMq;

/// A world whose queue `orders` is `/queue/orders` of `broker`: JSON with program and `n`.
fn world(broker: &ActiveMq) -> World {
    world_at(&broker.url())
}

fn world_at(url: &str) -> World {
    with_queue(World::new(), url)
}

fn with_queue(world: World, url: &str) -> World {
    world
        .with("bridge.activemq.brokers.main.urls", url)
        .with("bridge.activemq.brokers.main.retry_pause_ms_max", "500")
        .with("bridge.activemq.queues.orders.broker", "main")
        .with("bridge.activemq.queues.orders.destination", "/queue/orders")
        .with("bridge.activemq.queues.orders.program", "/program")
        .with("bridge.activemq.queues.orders.parameters", "utm_content=/n")
}

/// The same for a bridge alone, which has no programs.
fn unvalidated(broker: &ActiveMq) -> World {
    unvalidated_at(&broker.url())
}

fn unvalidated_at(url: &str) -> World {
    world_at(url).with("bridge.activemq.queues.orders.validate", "false")
}

/// The body of message `n`.
fn order(n: usize) -> String {
    format!(r#"{{"program": "21231{}", "n": {n}}}"#, 2 + n % 3)
}

/// The `n` of all stored events, in no order, and how many events there are.
fn stored(world: &World) -> (std::collections::BTreeSet<usize>, usize) {
    let mut found = std::collections::BTreeSet::new();
    let mut events = 0;
    for program in crate::world::PROGRAMS {
        let lines = world.ok(&["--json", "events", "query", "--program", program, "--limit", "10000000"]);
        for line in lines.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let parameters = event["parameters"].as_array().unwrap();
            let n = parameters.iter().find(|pair| pair[0] == "utm_content").unwrap()[1].as_str().unwrap();
            found.insert(n.parse().unwrap());
            events += 1;
        }
    }
    (found, events)
}

/// The bridge's figure `name`, from its metrics; 0 before there is one.
fn messages(process: &crate::world::Process, outcome: &str) -> u64 {
    let series = format!("clickgate_activemq_messages_total{{queue=\"orders\",outcome=\"{outcome}\"}}");
    let scraped = crate::documents::scrape(process);
    let line = scraped.lines().find_map(|line| line.strip_prefix(&series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

fn is_connected(process: &Process) -> bool {
    let scraped = scrape(process);
    let series = "clickgate_activemq_connected{queue=\"orders\"} 1";
    scraped.lines().any(|line| line == series)
}

fn lines_with(process: &Process, text: &str) -> usize {
    process.output().lines().filter(|line| line.contains(text)).count()
}
