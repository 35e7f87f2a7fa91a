//! Numbers and errors that an operator can go by.

use std::path::PathBuf;

use crate::http::Client;
use crate::world::{PROGRAMS, World, eventually, text};

fn segments(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.data().join("log/events")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

#[test]
fn reconcile_finds_a_segment_that_was_removed_by_hand() {
    let world = World::new()
        .with("tracker.workers", "1")
        .with("log.segment_bytes", "65536")
        .with("log.lane_bytes_max", "32768");
    world.start("up").stop();
    let tracker = world.start("tracker");
    let mut client = Client::open(tracker.tracker).unwrap();
    // A hit that finds no segment ready on a busy machine is shed, and asked again.
    let answers = (0..20_000).filter_map(|_| client.get("/event/212313").unwrap().message_id());
    let told = answers.take(2_000).count();
    tracker.stop();
    let segments = segments(&world);
    assert!(segments.len() >= 4, "{segments:?}");
    assert!(world.run(&["reconcile"]).status.success());

    let removed = &segments[segments.len() / 2];
    let records = world.json(&["log", "check"]);
    let name = removed.file_name().unwrap().to_str().unwrap();
    let of_removed = |report: &&serde_json::Value| report["file"] == name;
    let records = records.as_array().unwrap().iter().find(of_removed).unwrap()["records"].as_u64().unwrap();
    std::fs::remove_file(removed).unwrap();
    let output = world.run(&["--json", "reconcile"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let reconciled: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reconciled["totals"]["missing"].as_u64(), Some(records));

    // Also when the rest has been stored and trimmed.
    let up = world.start("up");
    eventually("the rest is stored", || world.count() + usize::try_from(records).unwrap() >= told);
    up.stop();
    let output = world.run(&["reconcile"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn a_second_process_on_the_directory_is_refused_with_the_way_out() {
    let world = World::new();
    let up = world.start("up");
    for role in ["up", "tracker", "consumer"] {
        let output = world.run(&[role]);
        assert!(!output.status.success());
        let said = text(&output);
        assert!(
            said.contains("--data") && said.contains(&up.pid().as_raw_nonzero().to_string()),
            "{role}: {said}"
        );
    }
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn every_command_works_with_and_without_a_running_owner() {
    let world = World::new();
    let up = world.start("up");
    let mut client = Client::open(up.tracker).unwrap();
    let ids = PROGRAMS.map(|program| client.get(&format!("/event/{program}")).unwrap().message_id().unwrap());
    eventually("they are stored", || world.count() == 3);
    let look = || {
        let got = world.json(&["events", "get", &ids[0], "--program", PROGRAMS[0]]);
        let queried = world.ok(&["--json", "events", "query", "--program", PROGRAMS[1]]);
        let counted = world.ok(&["events", "count", "--program", PROGRAMS[2]]);
        let program = world.json(&["programs", "get", PROGRAMS[0]]);
        let dead = world.ok(&["dead-letters", "list"]);
        assert!(world.run(&["reconcile"]).status.success());
        (got, queried, counted, program, dead)
    };
    let beside = look();
    assert_eq!(up.stop().code(), Some(0));
    assert_eq!(look(), beside);
    assert!(beside.1.contains(&ids[1]));
}
