//! Twice the load that it can serve, on a log that nobody empties, so that it fills up.
//!
//! `CLICKGATE_OVERLOAD_SECONDS` sets the time; `./test --overload 60` does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::documents::{scrape, value};
use crate::http::{Answer, Client};
use crate::world::{World, eventually, text};

const CONNECTIONS: usize = 256;
const MEMORY_GROWTH_MAX: f64 = 64.0 * 1_024.0 * 1_024.0;
/// Hits of each class, in turns. `/event` counts as a beacon.
type Routes = [(&'static str, &'static str); 3];
/// One half of the connections sends beacons by script, the other half by `/event`: a connection
/// that has posted is served by another part of the tracker from there on.
const ROUTES: [Routes; 2] = [
    [("i", "impression"), ("b", "beacon"), ("c", "click")],
    [("i", "impression"), ("event", "beacon"), ("c", "click")],
];

fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let seconds = std::env::var("CLICKGATE_OVERLOAD_SECONDS");
    seconds.map_or(10, |seconds| seconds.parse().expect("CLICKGATE_OVERLOAD_SECONDS is a number"))
}

fn request(route: &str) -> String {
    if route == "b" {
        let body = r#"{"program": "212313", "type": "overload", "params": {"utm_content": "overload"}}"#;
        return format!(
            "POST /b HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    format!("GET /{route}/212313?utm_content=overload HTTP/1.1\r\nHost: edge.test\r\n\r\n")
}

/// Whether the hit is in the log.
fn is_recorded(answer: &Answer) -> bool {
    match (answer.status, answer.header("x-clickgate-recorded")) {
        (200 | 204 | 302, None) => true,
        (503, None) | (302, Some("no")) => false,
        _ => panic!("{answer:?}"),
    }
}

/// Hits a second with one request after the other on each connection.
fn capacity(tracker: SocketAddr) -> f64 {
    const HITS: usize = 50;
    let begin = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|nth| {
            std::thread::spawn(move || {
                let (mut client, routes) = (Client::open(tracker).unwrap(), ROUTES[nth % 2]);
                for at in 0..HITS {
                    client.send(&request(routes[at % routes.len()].0)).unwrap();
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    (CONNECTIONS * HITS) as f64 / begin.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Seen {
    shed: BTreeMap<&'static str, u64>,
    /// Hits taken although a class that is dearer had been shed on this connection before.
    out_of_order: usize,
    answers: usize,
    /// Hits that should have been sent by now.
    due: usize,
}

/// Offers hits at a rate, whether or not they are served in time: one is under way, and what is
/// due beyond that waits here. That is the overload.
fn offer(tracker: SocketAddr, routes: Routes, a_second: f64, until: Instant) -> Seen {
    let mut client = Client::open(tracker).unwrap();
    let mut seen = Seen::default();
    let mut dearest_shed = None;
    let begin = Instant::now();
    while Instant::now() < until {
        seen.due = (begin.elapsed().as_secs_f64() * a_second) as usize;
        if seen.answers == seen.due {
            // The pace of the load.
            std::thread::sleep(Duration::from_secs_f64(1.0 / a_second));
            continue;
        }
        let class = seen.answers % routes.len();
        let (route, name) = routes[class];
        if is_recorded(&client.send(&request(route)).unwrap()) {
            seen.out_of_order += usize::from(dearest_shed > Some(class));
        } else {
            *seen.shed.entry(name).or_default() += 1;
            dearest_shed = dearest_shed.max(Some(class));
        }
        seen.answers += 1;
    }
    seen
}

/// A few conversions a second, each of which must be kept.
fn convert(tracker: SocketAddr, until: Instant) -> usize {
    let mut client = Client::open(tracker).unwrap();
    let mut kept = 0;
    while Instant::now() < until {
        let answer = client.send(&request("v")).unwrap();
        assert_eq!(answer.status, 200, "a conversion was not kept: {answer:?}");
        kept += 1;
        // The pace of the load.
        std::thread::sleep(Duration::from_millis(20));
    }
    kept
}

#[test]
fn an_overload_sheds_by_class_counts_every_hit_and_takes_no_memory() {
    let world = World::new()
        .with("log.log_bytes_max", "33554432")
        .with("log.segment_bytes", "4194304")
        .with("log.lane_bytes_max", "1048576");
    world.start("up").stop();
    let process = world.start("tracker");
    let tracker = process.tracker;
    let memory = |scraped: &str| value(scraped, "process_resident_memory_bytes");
    let before = memory(&scrape(&process));
    let can = capacity(tracker);

    let until = Instant::now() + Duration::from_secs(seconds());
    let each = 2.0 * can / CONNECTIONS as f64;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|nth| std::thread::spawn(move || offer(tracker, ROUTES[nth % 2], each, until)))
        .collect();
    let converting = std::thread::spawn(move || convert(tracker, until));
    let mut most = before;
    while clients.iter().any(|client| !client.is_finished()) {
        most = most.max(memory(&scrape(&process)));
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut shed, mut answers, mut due, mut out_of_order) = (BTreeMap::new(), 0, 0, 0);
    for client in clients {
        let seen = client.join().unwrap();
        answers += seen.answers;
        due += seen.due;
        out_of_order += seen.out_of_order;
        for (class, count) in seen.shed {
            *shed.entry(class).or_insert(0) += count;
        }
    }
    let kept = converting.join().unwrap();
    let scraped = scrape(&process);
    most = most.max(memory(&scraped));
    println!(
        "could {can:.0}/s, offered {:.0}/s for {} s: {due} hits due, {answers} answered, {kept} conversions kept, shed {shed:?}; \
         memory {:.1} MiB, {:.1} MiB more at most; log {:.0} % full",
        2.0 * can,
        seconds(),
        before / 1_048_576.0,
        (most - before) / 1_048_576.0,
        100.0 * value(&scraped, "clickgate_log_fill_ratio"),
    );
    assert!(most - before <= MEMORY_GROWTH_MAX, "memory grew by {} bytes", most - before);
    assert_eq!(out_of_order, 0, "cheaper hits were taken after dearer ones were shed");
    for (_, class) in ROUTES[0] {
        let series = format!("clickgate_shed_total{{class=\"{class}\"}}");
        assert!(shed.contains_key(class), "the log was too large to shed a {class}");
        assert_eq!(value(&scraped, &series) as u64, shed[class], "{class}");
    }
    assert!(shed["impression"] > shed["beacon"] && shed["beacon"] > shed["click"], "{shed:?}");
    assert_eq!(value(&scraped, "clickgate_shed_total{class=\"conversion\"}"), 0.0);

    let (status, output) = process.stop_and_read();
    assert_eq!(status.code(), Some(3), "{output}");
    let consumer = world.start("consumer");
    eventually("the log is stored", || {
        scrape(&consumer).contains("cursor_lag_seconds{cursor=\"table\"} 0\n")
    });
    assert_eq!(consumer.stop().code(), Some(0));
    let reconciled = world.run(&["--json", "reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
    let reconciled: serde_json::Value = serde_json::from_slice(&reconciled.stdout).unwrap();
    let reported: BTreeMap<&str, u64> = shed.iter().map(|(class, count)| (*class, *count)).collect();
    for (class, count) in reported {
        assert_eq!(reconciled["shed"][class].as_u64(), Some(count), "{class} in the lane reports");
    }
}
