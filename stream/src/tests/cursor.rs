//! Cursors that nobody declares any more: they hold back, say so, and are removed by hand.

use std::sync::Arc;

use crate::disk::simulated::SimulatedDisk;
use crate::tests::{commit, put, read_all, small_segments};
use crate::*;

fn open(disk: &SimulatedDisk, cursors: &[&str]) -> Log {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), small_segments(cursors), false, None).unwrap()
}

/// A closed lane of several segments: eight events between its two reports.
fn append_a_lane(log: &Log) {
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..8 {
        syncer.step();
        put(&mut core, 900);
    }
    core.close();
    syncer.step();
}

fn read_to_the_end(log: &Log, cursor: &str) {
    let mut source = log.source(cursor).unwrap();
    let batches = read_all(&mut source);
    commit(&mut source, &batches);
}

/// A log that had the readers `table` and `shipper`, and then only `table`, which has read all.
/// The shipper has read nothing.
fn without_its_shipper(disk: &SimulatedDisk) -> Log {
    let both = open(disk, &["table", "shipper"]);
    append_a_lane(&both);
    commit(&mut both.source("shipper").unwrap(), &[]);
    drop(both);
    disk.kill();
    let log = open(disk, &["table"]);
    read_to_the_end(&log, "table");
    log
}

fn names(cursors: &[CursorStatus]) -> Vec<(&str, bool, u64)> {
    cursors.iter().map(|cursor| (cursor.name.as_str(), cursor.declared, cursor.lag)).collect()
}

#[test]
fn a_cursor_that_is_not_declared_any_more_holds_back_and_is_shown() {
    let disk = SimulatedDisk::default();
    let log = without_its_shipper(&disk);
    assert_eq!(names(&log.cursors()), [("table", true, 0)]);
    assert_eq!(names(&log.undeclared_cursors()), [("shipper", false, 10)]);
    assert!(log.bytes() > 7_000, "{} bytes are left", log.bytes());
    assert!(matches!(log.source("shipper"), Err(LaneError::UnknownCursor(_))), "nobody reads with it");

    drop(log);
    disk.kill();
    let again = open(&disk, &["table", "shipper"]);
    let items: usize = read_all(&mut again.source("shipper").unwrap()).iter().map(|b| b.items.len()).sum();
    assert_eq!(items, 11, "declared again, it has lost nothing");
    assert!(again.undeclared_cursors().is_empty());
}

#[test]
fn a_cursor_that_holds_something_back_is_removed_by_force_only() {
    let disk = SimulatedDisk::default();
    let log = without_its_shipper(&disk);
    let refused = log.remove_cursor("shipper", false).unwrap_err();
    assert!(matches!(refused, RemoveCursorError::HoldsBack { lag: 10, .. }), "{refused}");
    assert!(log.bytes() > 7_000);

    let removed = log.remove_cursor("shipper", true).unwrap();
    assert_eq!((removed.name.as_str(), removed.lag), ("shipper", 10));
    assert_eq!(log.bytes(), 0, "what only it held back is trimmed");
    assert!(log.undeclared_cursors().is_empty() && log.lanes().is_empty());
    disk.lose_power(&mut fastrand::Rng::with_seed(1));
    assert!(open(&disk, &["table"]).undeclared_cursors().is_empty(), "it is gone for good");
    let left = crate::disk::Disk::list(&disk, std::path::Path::new("/log/cursors")).unwrap();
    assert!(left.iter().all(|file| file.starts_with("table.")), "{left:?}");
}

#[test]
fn a_cursor_that_holds_nothing_back_is_removed_without_force() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, &["table", "ship"]);
    append_a_lane(&log);
    read_to_the_end(&log, "ship");
    drop(log);
    disk.kill();
    let log = open(&disk, &["table"]);
    assert_eq!(names(&log.undeclared_cursors()), [("ship", false, 0)]);
    log.remove_cursor("ship", false).unwrap();
    assert_eq!(names(&log.cursors()), [("table", true, 10)], "the others stay where they are");
    assert!(log.bytes() > 7_000);
}

#[test]
fn a_declared_cursor_and_one_that_does_not_exist_are_not_removed() {
    let disk = SimulatedDisk::default();
    let log = without_its_shipper(&disk);
    for (name, force) in [("table", false), ("table", true)] {
        assert!(matches!(log.remove_cursor(name, force), Err(RemoveCursorError::Declared(_))));
    }
    for name in ["nobody", "", "../cursors/table", "table.spare"] {
        assert!(matches!(log.remove_cursor(name, true), Err(RemoveCursorError::Unknown(_))), "{name:?}");
    }
    assert_eq!(log.cursors().len(), 1);
}

#[test]
fn an_undeclared_cursor_that_cannot_be_read_keeps_no_log_from_starting_and_holds_everything() {
    let disk = SimulatedDisk::default();
    let both = open(&disk, &["table", "shipper"]);
    append_a_lane(&both);
    read_to_the_end(&both, "shipper");
    drop(both);
    disk.kill();
    disk.rot(std::path::Path::new("/log/cursors/shipper.cursor"), 20);
    let log = open(&disk, &["table"]);
    read_to_the_end(&log, "table");
    assert_eq!(names(&log.undeclared_cursors()), [("shipper", false, 10)]);
    assert!(log.bytes() > 7_000);
}

#[test]
fn without_a_declared_cursor_everything_is_kept() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, &["table"]);
    append_a_lane(&log);
    drop(log);
    disk.kill();
    let nobody = open(&disk, &[]);
    let before = nobody.bytes();
    assert!(before > 7_000 && nobody.undeclared_cursors().is_empty());
    drop(nobody);
    disk.kill();
    let log = open(&disk, &["table"]);
    assert_eq!(log.bytes(), before);
}
