//! Core data through the program bridge into a Redis that dies meanwhile.

use super::region::{Hits, all_know, edge, happened, import, program, programs, revision};
use super::server::RedisServer;
use crate::world::{World, eventually};

/// Revisions 2 to this of each program are fed.
const NEWEST: u64 = 9;

/// The changes of a few programs in any order, some of them twice.
fn feed() -> String {
    let mut lines: Vec<String> =
        (2..=NEWEST).flat_map(|revision| (0..20).map(move |at| program(&at.to_string(), revision))).collect();
    lines.extend_from_within(..40);
    fastrand::Rng::with_seed(7).shuffle(&mut lines);
    lines.join("\n") + "\n"
}

fn lag(world: &World) -> u64 {
    let status = world.json(&["log", "cursor"]);
    let cursors = status["cursors"].as_array().unwrap();
    cursors.iter().filter(|cursor| cursor["name"] == "programs").filter_map(|it| it["lag"].as_u64()).sum()
}

#[test]
fn core_data_in_any_order_reaches_every_tracker_though_redis_and_the_bridge_die_meanwhile() {
    let Some(mut server) = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    else {
        return;
    };
    let (writer, core_data) = (edge(&server.url()), edge(&server.url()));
    let (first, second) = (edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(20, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    let hits = Hits::on(a.tracker, "7");

    let bridge = core_data.start("bridge programs");
    let file = core_data.write("feed.jsonl", &feed());
    let stream = |name: &std::path::Path| {
        core_data.ok(&["programs", "import", "--stream", &name.display().to_string()])
    };
    stream(&file);
    // Accepted is accepted: it waits in the log while nobody can take it.
    server.kill();
    stream(&file);
    bridge.kill();
    server.restart();
    let bridge = core_data.start("bridge programs");
    eventually("the bridge has caught up", || lag(&core_data) == 0);
    for at in ["0", "7", "19"] {
        all_know(&[&a, &b], at, NEWEST);
    }
    stream(&file);
    eventually("it has caught up with the repetition", || lag(&core_data) == 0);
    assert_eq!(revision(b.tracker, "7"), Some(NEWEST));
    assert!(happened(&a, "lost") > 0, "the trackers noticed");
    drop(bridge);
    eprintln!("core data through the bridge: {:?}", hits.end());
}
