//! Readers of the log: which a directory declares, and what becomes of one that it does not.

use std::path::PathBuf;

use serde_json::Value;

use crate::http::get;
use crate::world::{PROGRAMS, Process, World, eventually, text};

fn hits(up: &Process, count: usize) {
    for _ in 0..count {
        assert_eq!(get(up.tracker, &format!("/event/{}", PROGRAMS[0])).status, 200);
    }
}

fn cursor_file(world: &World, name: &str) -> PathBuf {
    world.data().join(format!("log/events/cursors/{name}.cursor"))
}

/// Names, whether they are declared, and how far they are behind.
fn cursors(world: &World) -> Vec<(String, bool, u64)> {
    let status = world.json(&["log", "cursor"]);
    let cursor = |cursor: &Value| {
        let name = cursor["name"].as_str().unwrap().to_owned();
        (name, cursor["declared"].as_bool().unwrap(), cursor["lag"].as_u64().unwrap())
    };
    status["cursors"].as_array().unwrap().iter().map(cursor).collect()
}

fn names(world: &World) -> Vec<(String, bool)> {
    cursors(world).into_iter().map(|(name, declared, _)| (name, declared)).collect()
}

fn declared() -> Vec<(String, bool)> {
    vec![("table".to_owned(), true), ("programs".to_owned(), true)]
}

/// A directory in which a reader called `shipper` once read, and no role has any more.
fn world_with_an_old_cursor() -> World {
    let world = World::new().with("tracker.workers", "1");
    let up = world.start("up");
    hits(&up, 3);
    eventually("they are stored", || world.count() == 3);
    assert_eq!(up.stop().code(), Some(0));
    std::fs::copy(cursor_file(&world, "table"), cursor_file(&world, "shipper")).unwrap();
    world
}

#[test]
fn every_role_and_tool_declares_the_same_cursors_on_a_directory() {
    let world = World::new().with("tracker.workers", "1");
    world.start("up").stop();
    assert_eq!(names(&world), declared());
    for role in ["up", "tracker", "consumer", "bridge programs"] {
        let process = world.start(role);
        assert_eq!(names(&world), declared(), "{role}");
        process.stop();
    }
}

#[test]
fn an_old_cursor_is_announced_listed_and_removed_by_force_beside_a_running_process() {
    let world = world_with_an_old_cursor();
    let up = world.start("up");
    hits(&up, 5);
    eventually("they are stored", || world.count() == 8);
    let (_, is_declared, lag) = cursors(&world).pop().unwrap();
    assert!(!is_declared && lag >= 5, "{lag}");
    let shown = world.ok(&["log", "cursor"]);
    assert!(shown.contains("`clickgate log cursor rm shipper` removes it"), "{shown}");

    let refused = world.run(&["log", "cursor", "rm", "shipper"]);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("--force removes it all the same"), "{}", text(&refused));
    assert!(cursor_file(&world, "shipper").exists());
    let removed = world.json(&["log", "cursor", "rm", "shipper", "--force"]);
    assert_eq!(removed["removed"], "shipper");
    assert!(removed["lag"].as_u64() >= Some(5), "{removed}");
    assert_eq!(names(&world), declared());
    assert!(!cursor_file(&world, "shipper").exists());

    let (status, output) = up.stop_and_read();
    assert_eq!(status.code(), Some(0), "nobody is waited for who does not read");
    assert!(output.contains("nobody reads with this cursor"), "{output}");
}

#[test]
fn an_old_cursor_is_removed_without_a_process_too_and_a_declared_one_never() {
    let world = world_with_an_old_cursor();
    for force in [&[][..], &["--force"]] {
        for name in ["table", "programs"] {
            let refused = world.run(&[&["log", "cursor", "rm", name], force].concat());
            assert!(!refused.status.success());
            assert!(text(&refused).contains("is declared"), "{}", text(&refused));
        }
    }
    let unknown = world.run(&["log", "cursor", "rm", "../../table"]);
    assert!(!unknown.status.success() && text(&unknown).contains("there is no cursor"), "{}", text(&unknown));
    // `up` had stored everything, and nothing came since.
    let said = world.ok(&["log", "cursor", "remove", "shipper"]);
    assert!(said.contains("it had passed everything"), "{said}");
    assert_eq!(names(&world), declared());
}
