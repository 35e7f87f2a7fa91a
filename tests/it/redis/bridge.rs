//! Core data through the program bridge into a Redis that dies, or is emptied, meanwhile.

use std::fmt::Write;

use super::region::{Hits, all_know, edge, happened, import, is_fresh, program, programs, revision};
use super::server::RedisServer;
use crate::documents::{scrape, value};
use crate::http;
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

/// Lines of core data, as another process that owns the bridge's log hands them in.
fn stream(core_data: &World, lines: &str) {
    let file = core_data.write("lines.jsonl", lines);
    core_data.ok(&["programs", "import", "--stream", &file.display().to_string()]);
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
    let feed = feed();
    stream(&core_data, &feed);
    // Accepted is accepted: it waits in the log while nobody can take it.
    server.kill();
    stream(&core_data, &feed);
    bridge.kill();
    server.restart();
    let bridge = core_data.start("bridge programs");
    eventually("the bridge has caught up", || lag(&core_data) == 0);
    for at in ["0", "7", "19"] {
        all_know(&[&a, &b], at, NEWEST);
    }
    stream(&core_data, &feed);
    eventually("it has caught up with the repetition", || lag(&core_data) == 0);
    assert_eq!(revision(b.tracker, "7"), Some(NEWEST));
    assert!(happened(&a, "lost") > 0, "the trackers noticed");
    drop(bridge);
    eprintln!("core data through the bridge: {:?}", hits.end());
}

/// More than a tracker reads again one by one when it has lost its place.
const MANY: usize = 3_000;

#[test]
fn core_data_that_reaches_an_emptied_redis_makes_no_program_unknown() {
    let Some(mut server) = RedisServer::start() else { return };
    let (writer, core_data) = (edge(&server.url()), edge(&server.url()));
    let (first, second) = (edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(MANY, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    let bridge = core_data.start("bridge programs");
    for tracker in [&a, &b] {
        eventually("the last-good snapshot is there", || {
            value(&scrape(tracker), "clickgate_snapshot_total{result=\"written\"}") >= 1.0
        });
    }
    let hits = Hits::on(a.tracker, "77");

    server.command(&["FLUSHALL"]);
    stream(&core_data, &(program("7", 2) + "\n"));
    eventually("the bridge has put it", || lag(&core_data) == 0);
    assert_eq!(server.command(&["HLEN", "{clickgate}:programs"]), "1");
    assert_eq!(server.command(&["HGET", "{clickgate}:meta", "ready"]), "0", "a message fills no store");

    let looks = [&a, &b].map(|tracker| happened(tracker, "not_ready"));
    for (tracker, looks) in [&a, &b].into_iter().zip(looks) {
        eventually("the store was looked at again", || happened(tracker, "not_ready") > looks + 1);
        for id in ["0", "77", "2999"] {
            assert_eq!((revision(tracker.tracker, id), is_fresh(tracker)), (Some(1), false), "{id}");
        }
        assert_eq!(http::get(tracker.tracker, "/event/nosuch").status, 503, "nothing is proven");
    }
    // Nor did the file that a tracker starts from forget them.
    server.kill();
    b.stop();
    let b = second.start("tracker");
    assert_eq!((revision(b.tracker, "77"), revision(b.tracker, "2999")), (Some(1), Some(1)));

    server.restart();
    import(&writer, &programs(MANY, 3));
    all_know(&[&a, &b], "77", 3);
    assert_eq!(http::get(a.tracker, "/event/nosuch").status, 404, "an import is the proof");
    drop(bridge);
    eprintln!("core data into an emptied Redis: {:?}", hits.end());
}

/// All of them, and only behind the first 300, more than one script takes, something new.
fn changed_behind_300(revision: u64) -> String {
    let mut lines = String::new();
    for at in 0..MANY {
        writeln!(lines, "{}", program(&at.to_string(), if at < 300 { 1 } else { revision })).unwrap();
    }
    lines
}

#[test]
fn a_redis_that_restarted_with_its_data_takes_imports_and_core_data_whose_first_programs_are_unchanged() {
    let Some(mut server) = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    else {
        return;
    };
    // It syncs each of 3,000 programs, on a disk that other tests use at the same time.
    let patient = || edge(&server.url()).with("registry.redis.response_timeout_ms", "30000");
    let writer = patient();
    let core_data = patient();
    let world = patient();
    import(&writer, &programs(MANY, 1));
    let tracker = world.start("tracker");
    server.restart();
    import(&writer, &changed_behind_300(2));
    all_know(&[&tracker], "2999", 2);
    assert_eq!((revision(tracker.tracker, "299"), revision(tracker.tracker, "300")), (Some(1), Some(2)));

    // The bridge finds all of them in its log, and takes them together.
    stream(&core_data, &changed_behind_300(3));
    server.restart();
    let bridge = core_data.start("bridge programs");
    eventually("the bridge has put them", || lag(&core_data) == 0);
    all_know(&[&tracker], "2999", 3);
    all_know(&[&tracker], "300", 3);
    assert_eq!(revision(tracker.tracker, "299"), Some(1));
    // It counts behind the commit, which is what shows that nothing is left, and removes files in it.
    let stored = || value(&scrape(&bridge), "clickgate_core_data_total{outcome=\"stored\"}");
    eventually("it has counted them", || stored() > 0.0);
    assert_eq!(stored(), 2_700.0);
}

#[test]
fn a_bridge_that_redis_turns_away_or_does_not_answer_says_why_and_goes_on_by_itself() {
    let Some(mut server) = RedisServer::start_with_password("s3cret-of-redis", &[]) else { return };
    let core_data = edge(&server.url()).with("registry.redis.password", "an0ther");
    stream(&core_data, &(program("7", 1) + "\n"));
    let bridge = core_data.start("bridge programs");
    let logs = |message: &str, cause: &str| {
        let said = bridge.output();
        said.lines().any(|line| line.contains(message) && line.contains(cause))
    };
    eventually("it says that it is turned away", || logs("bridge is stalled", "authentication failed"));
    server.command(&["CONFIG", "SET", "requirepass", "an0ther"]);
    eventually("it goes on", || lag(&core_data) == 0);

    server.kill();
    stream(&core_data, &(program("7", 2) + "\n"));
    eventually("it says that nobody is there", || logs("bridge is retrying", "refused"));
    assert!(!bridge.output().contains("an0ther"), "{}", bridge.output());
}
