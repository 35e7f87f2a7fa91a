//! The end of a process, under load, with and without somebody who stores what is left.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::Client;
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
