//! The end of a process, under load, with and without somebody who stores what is left.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::http::{self, Client};
use crate::world::{PROGRAMS, World, eventually, text};

const CONNECTIONS: usize = 256;

/// What one client saw until nobody listened any more.
#[derive(Default)]
struct Seen {
    told: Vec<String>,
    /// Answers that were no 200.
    refused: Vec<u16>,
    /// Connections that broke while an answer was due.
    broken: Vec<io::Error>,
}

/// Asks again as soon as there is an answer; on a new connection if it was told that this
/// one ends.
fn hit_until_nobody_listens(tracker: SocketAddr, at: usize, answers: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let target = format!("/event/{}?utm_content={}", PROGRAMS[at % PROGRAMS.len()], "x".repeat(at));
    while let Ok(mut client) = Client::open(tracker) {
        loop {
            match client.get(&target) {
                Ok(answer) => {
                    answers.fetch_add(1, Ordering::Relaxed);
                    match answer.message_id() {
                        Some(id) => seen.told.push(id),
                        None => seen.refused.push(answer.status),
                    }
                    if answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close")) {
                        break;
                    }
                }
                Err(error) => {
                    seen.broken.push(error);
                    break;
                }
            }
        }
    }
    seen
}

#[test]
fn sigterm_under_256_busy_connections_resets_none_refuses_none_and_stores_all() {
    let world = World::new().with("tracker.workers", "2");
    let up = world.start("up");
    let (tracker, answers) = (up.tracker, Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|at| {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || hit_until_nobody_listens(tracker, at, &answers))
        })
        .collect();
    eventually("there is load", || answers.load(Ordering::Relaxed) > 20 * CONNECTIONS);
    let status = up.stop();

    let mut told = BTreeSet::new();
    for client in clients {
        let seen = client.join().unwrap();
        assert_eq!(seen.refused, Vec::<u16>::new());
        assert!(seen.broken.is_empty(), "{:?}", seen.broken);
        told.extend(seen.told);
    }
    assert_eq!(status.code(), Some(0), "the drain left nothing in the log");
    let stored = world.stored_ids();
    assert_eq!(told.difference(&stored).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(stored.len(), told.len(), "every answer came");
    let reconciled = world.run(&["reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
    println!("{} answers over {CONNECTIONS} connections, none reset, none refused, all stored", told.len());
}

/// Puts `count` events into the log of `world`, which nobody consumes, and kills the tracker.
fn leave_a_log(world: &World, count: usize) -> BTreeSet<String> {
    world.start("up").stop();
    let tracker = world.start("tracker");
    let told = events(tracker.tracker, count);
    tracker.kill();
    told
}

fn events(tracker: SocketAddr, count: usize) -> BTreeSet<String> {
    let mut client = Client::open(tracker).unwrap();
    let mut hit = |at: usize| client.get(&format!("/event/{}", PROGRAMS[at % PROGRAMS.len()])).unwrap();
    (0..count).map(|at| hit(at).message_id().expect("there is room")).collect()
}

#[test]
fn the_log_of_a_dead_machine_is_stored_once_however_often_it_is_shipped() {
    let dead = World::new().with("tracker.workers", "2");
    let told = leave_a_log(&dead, 1_000);
    let other = World::new();
    let adopted = other.path().join("dead");
    std::fs::rename(dead.data(), &adopted).unwrap();
    let dir = adopted.to_str().unwrap();

    // Into a running process, and again without one.
    let up = other.start("up");
    let own = events(up.tracker, 10);
    let said = other.ok(&["log", "ship", dir]);
    assert!(said.starts_with("1000 events stored") && said.contains("nothing of"), "{said}");
    eventually("its own are stored too", || other.count() == 1_010);
    assert_eq!(up.stop().code(), Some(0));
    let again = other.ok(&["log", "ship", dir]);
    assert!(again.starts_with("0 events stored"), "{again}");
    std::fs::remove_file(adopted.join("log/events/cursors/ship.cursor")).unwrap();
    let whole = other.json(&["log", "ship", dir]);
    assert_eq!((whole["fates"]["stored"].as_u64(), whole["done"].as_bool()), (Some(0), Some(true)));
    assert!(whole["known"].as_u64() >= Some(1_000), "{whole}");

    assert_eq!(other.stored_ids(), told.union(&own).cloned().collect());
    let reconciled = other.run(&["reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
}

#[test]
fn what_is_no_dead_machines_log_is_not_shipped_and_stays_as_it_is() {
    let world = World::new();
    let alive = World::new();
    let up = alive.start("up");
    let empty = world.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    world.start("up").stop();
    let own = world.data().to_str().unwrap();
    let refused = [
        (empty.to_str().unwrap(), 2, "there is no log in"),
        ("nowhere", 2, "there is no log in"),
        (alive.data().to_str().unwrap(), 1, "belongs to a process that is alive"),
        (own, 1, "is the log of this data directory"),
    ];
    for (dir, code, reason) in refused {
        let output = world.run(&["log", "ship", dir]);
        assert_eq!(output.status.code(), Some(code), "{dir}: {}", text(&output));
        assert!(text(&output).contains(reason), "{dir}: {}", text(&output));
    }
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn what_a_drain_leaves_is_rescued_from_an_ephemeral_disk_and_shipped_from_there() {
    let mut gone = World::new().with("drain.log_is_ephemeral", "true");
    let output = gone.run(&["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("drain.rescue: must name a directory"), "{}", text(&output));

    let other = World::new();
    let rescue = other.path().join("rescue");
    gone.set("drain.rescue", rescue.to_str().unwrap());
    gone.start("up").stop();
    assert!(!rescue.exists(), "everything was stored, so there is nothing to rescue");
    let tracker = gone.start("tracker");
    let told = events(tracker.tracker, 500);
    let (status, output) = tracker.stop_and_read();
    assert_eq!(status.code(), Some(3), "{output}");
    let rescued = std::fs::read_dir(&rescue).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(rescued.len(), 1, "{rescued:?}");
    let dir = rescued[0].to_str().unwrap();
    assert!(output.contains(&format!("clickgate log ship {dir}")), "{output}");
    let manifest = std::fs::read(rescued[0].join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    // With the lane's reports.
    assert!(manifest["left_records"].as_u64() >= Some(500), "{manifest}");

    // The machine is gone.
    std::fs::remove_dir_all(gone.data()).unwrap();
    other.start("up").stop();
    other.ok(&["log", "ship", dir]);
    assert_eq!(other.stored_ids(), told);
    let reconciled = other.run(&["reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
}

#[test]
fn a_rescue_that_fails_says_so_and_leaves_the_log_where_it_is() {
    let world = World::new();
    world.start("up").stop();
    let in_the_way = world.write("rescue", "a file");
    let world =
        world.with("drain.log_is_ephemeral", "true").with("drain.rescue", in_the_way.to_str().unwrap());
    let tracker = world.start("tracker");
    let told = events(tracker.tracker, 3);
    let (status, output) = tracker.stop_and_read();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("could not be rescued: "), "{output}");
    assert_eq!(world.start("up").stop().code(), Some(0));
    assert_eq!(world.stored_ids(), told);
}

#[test]
fn a_drain_without_a_consumer_exits_with_3_and_the_next_one_stores_what_is_left() {
    let world = World::new();
    world.start("up").stop();
    let tracker = world.start("tracker");
    let told = events(tracker.tracker, 7);
    let (status, output) = tracker.stop_and_read();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("records still in the log"), "{output}");
    assert_eq!(world.start("consumer").stop().code(), Some(0));
    assert_eq!(world.stored_ids(), told);
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let mut world = World::new().with("drain.linger_ms", "600000");
    let up = world.start("up");
    let told = events(up.tracker, 5);
    up.signal(Signal::TERM);
    let ready = || http::get(up.tracker, "/health/ready").status;
    eventually("it is not ready, and still serves", || ready() == 503);
    let late = http::get(up.tracker, "/event/212313");
    assert_eq!(late.status, 200, "hits are served while it lingers");
    assert_eq!(up.stop().code(), Some(130));

    world.set("drain.linger_ms", "0");
    assert_eq!(world.start("up").stop().code(), Some(0));
    let told: BTreeSet<String> = told.into_iter().chain(late.message_id()).collect();
    assert_eq!(world.stored_ids(), told);
}
