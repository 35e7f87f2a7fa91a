//! Load, and `kill -9` at a random moment, again and again.
//!
//! The clients keep a ledger of every id that they were told. `CLICKGATE_CRASH_ROUNDS`
//! sets the rounds; `./test --crash-rounds 200` does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::http::Client;
use crate::world::{PROGRAMS, World, eventually};

const CLIENTS: usize = 4;

fn rounds() -> usize {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let rounds = std::env::var("CLICKGATE_CRASH_ROUNDS");
    rounds.map_or(15, |rounds| rounds.parse().expect("CLICKGATE_CRASH_ROUNDS is a number"))
}

/// Hits until the connection breaks; the ids that were acknowledged.
fn hit(tracker: SocketAddr, seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut told = Vec::new();
    let Ok(mut client) = Client::open(tracker) else { return told };
    loop {
        let program = PROGRAMS[random.usize(..PROGRAMS.len())];
        let route = ["event", "c"][random.usize(..2)];
        let padding = "x".repeat(random.usize(..300));
        match client.get(&format!("/{route}/{program}?utm_content={padding}")) {
            // Small segments are used up faster than they are prepared; what was shed says so.
            Ok(answer) if answer.status == 503 || answer.header("x-clickgate-recorded") == Some("no") => {}
            Ok(answer) => told.push(answer.message_id().unwrap_or_else(|| panic!("{answer:?}"))),
            Err(_) => return told,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_stored_twice_over_many_kills() {
    let (rounds, seed) = (rounds(), fastrand::u64(..));
    println!("{rounds} rounds with seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new().with("log.segment_bytes", "262144").with("log.lane_bytes_max", "131072");
    let mut told: BTreeSet<String> = BTreeSet::new();
    for round in 0..rounds {
        // Another count of workers is another count of lanes.
        world.set("tracker.workers", &random.usize(1..4).to_string());
        // Every third process has no consumer: the next one finds its log.
        let role = if round % 3 == 1 { "tracker" } else { "up" };
        let process = world.start(role);
        let tracker = process.tracker;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let seed = random.u64(..);
                std::thread::spawn(move || hit(tracker, seed))
            })
            .collect();
        // The random moment.
        std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        process.kill();
        for client in clients {
            told.extend(client.join().unwrap());
        }
        let reconciled = world.run(&["reconcile"]);
        assert!(reconciled.status.success(), "round {round}: {}", crate::world::text(&reconciled));
    }
    let up = world.start("up");
    eventually("the consumer has caught up", || {
        let reconciled = world.json(&["reconcile"]);
        reconciled["totals"]["in_log"].as_u64().unwrap_or_else(|| panic!("{reconciled}")) <= 16
    });
    let status = up.stop();
    assert_eq!(status.code(), Some(0), "the drain left nothing in the log");

    let stored = world.stored_ids();
    let lost: Vec<_> = told.difference(&stored).collect();
    let reconciled = world.json(&["reconcile"]);
    println!(
        "{rounds} rounds: {} acknowledged, {} missing; {} distinct ids in a full scan, {} items, {} in the ledger",
        told.len(),
        lost.len(),
        stored.len(),
        world.count(),
        reconciled["totals"]["stored"]
    );
    assert_eq!(lost, Vec::<&String>::new());
    assert!(told.len() > rounds * CLIENTS, "there was load: {}", told.len());
    assert_eq!(stored.len(), world.count());
    assert_eq!(reconciled["totals"]["stored"].as_u64(), Some(stored.len() as u64));
    assert_eq!(reconciled["totals"]["missing"].as_u64(), Some(0));
}
