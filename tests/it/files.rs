//! What is in a data directory: for its owner only, and never half of it believed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::get;
use crate::redis::server::RedisServer;
use crate::world::{World, eventually, text};

/// Starts a program under a umask that takes nothing away.
const OPEN: [&str; 3] = ["sh", "-c", r#"umask 0; exec "$0" "$@""#];

/// A world whose data directory is there already, and open to all.
fn open_world() -> World {
    let world = World::new();
    fs::create_dir(world.data()).unwrap();
    fs::set_permissions(world.data(), fs::Permissions::from_mode(0o755)).unwrap();
    world
}

/// All below `dir`, with its mode.
fn walk(dir: &Path, found: &mut Vec<(PathBuf, bool, u32)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        found.push((entry.path(), metadata.is_dir(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            walk(&entry.path(), found);
        }
    }
}

/// Everything below `dir` is for its owner only, and `expected` is there.
fn expect_private(dir: &Path, expected: &[&str]) {
    let mut found = Vec::new();
    walk(dir, &mut found);
    for (path, is_dir, mode) in &found {
        assert_eq!(*mode, if *is_dir { 0o700 } else { 0o600 }, "{} has mode {mode:o}", path.display());
    }
    for name in expected {
        let is_there = found.iter().any(|(path, ..)| path.to_string_lossy().contains(name));
        assert!(is_there, "there is no {name} in {found:?}");
    }
}

/// A command under the open umask.
fn run_open(world: &World, arguments: &[&str]) {
    let program = world.clickgate(arguments);
    let mut command: Command = world.command(OPEN[0]);
    command.args(&OPEN[1..]).arg(program.get_program()).args(program.get_args());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
}

#[test]
fn every_file_is_private_whatever_the_umask_and_the_directory() {
    let world = open_world().with("tracker.workers", "1");
    let up = world.start_under(&OPEN, "up");
    for target in ["/i/212312", "/c/212313", "/event/212314", "/i/nosuch"] {
        get(up.tracker, target);
    }
    let program = r#"{"programId":"new","programName":"P","customerId":1,"customerName":"C","valid":true}"#;
    let file = world.write("programs.jsonl", &program.replace("new", "streamed"));
    run_open(&world, &["programs", "put", program]);
    run_open(&world, &["programs", "import", "--stream", file.to_str().unwrap()]);
    eventually("they are stored", || world.count() == 3);
    eventually("the bridge has taken it up", || get(up.tracker, "/event/streamed").status == 200);
    // The cursor moves after the registry has it, so a hit may be earlier.
    let cursor = world.data().join("log/programs/cursors/programs.cursor");
    eventually("the bridge's cursor is on disk", || cursor.exists());
    let expected =
        ["lock", "run.json", "table.redb", "registry.redb", ".seg", "cursors/table", "cursors/programs"];
    expect_private(world.data(), &expected);
    assert_eq!(up.stop().code(), Some(0));
    run_open(&world, &["programs", "put", &program.replace("new", "alone")]);
    expect_private(world.data(), &["registry.redb"]);
}

#[test]
fn what_is_rescued_is_private_too() {
    let mut world = open_world().with("tracker.workers", "1").with("drain.log_is_ephemeral", "true");
    let rescue = world.path().join("rescue");
    world.set("drain.rescue", rescue.to_str().unwrap());
    // Nobody consumes, so that something is left.
    let setup = world.start_under(&OPEN, "up");
    setup.stop();
    let tracker = world.start_under(&OPEN, "tracker");
    assert_eq!(get(tracker.tracker, "/event/212313").status, 200);
    tracker.stop();
    expect_private(&rescue, &["manifest.json", ".seg"]);
    expect_private(world.data(), &[".seg"]);
}

#[test]
fn the_snapshot_of_a_registry_elsewhere_is_private_too() {
    let Some(redis) = RedisServer::start() else { return };
    let world = open_world()
        .with("registry.kind", "redis")
        .with("registry.redis.urls", &redis.url())
        .with("tracker.catalog.snapshot_seconds", "1");
    let program = r#"{"programId":"a","programName":"P","customerId":1,"customerName":"C","valid":true}"#;
    let file = world.write("programs.jsonl", program);
    world.ok(&["programs", "import", file.to_str().unwrap()]);
    let tracker = world.start_under(&OPEN, "tracker");
    assert_eq!(get(tracker.tracker, "/event/a").status, 200);
    eventually("there is a snapshot", || world.data().join("programs.snapshot").exists());
    expect_private(world.data(), &["programs.snapshot"]);
    tracker.stop();
}

#[test]
fn an_empty_registry_or_table_is_damaged_and_not_new() {
    let world = World::new();
    world.start("up").stop();
    for name in ["registry.redb", "table.redb"] {
        let path = world.data().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, b"").unwrap();
        let output = world.run(&["up"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        for part in [name, "is damaged", "Put a copy of it back", "move it away to begin with an empty one"] {
            assert!(text(&output).contains(part), "{part:?} is not in {}", text(&output));
        }
        assert_eq!(fs::read(&path).unwrap(), b"", "{name} was changed");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(world.start("up").stop().code(), Some(0));
    fs::remove_file(world.data().join("registry.redb")).unwrap();
    assert_eq!(world.start("up").stop().code(), Some(0), "the way out that it names");
}

#[test]
fn a_run_file_that_says_nothing_is_an_error_at_once() {
    let world = World::new();
    let up = world.start("up");
    fs::write(world.data().join("run.json"), "{\"pid\":").unwrap();
    let begin = Instant::now();
    for arguments in [&["programs", "list"][..], &["up"]] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        for part in ["run.json is damaged", "start it again"] {
            assert!(text(&output).contains(part), "{part:?} is not in {}", text(&output));
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(up.stop().code(), Some(0));
}
