//! Faults that are no crash: full disks, disks that cannot read, encoders that
//! panic, readers that meet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Barrier};

use proto::Message;

use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::lane::file::{LaneFacts, LaneFile};
use crate::tests::{commit, put, read_all, small_segments};
use crate::*;

fn open(disk: &SimulatedDisk, config: LogConfig) -> Result<Log, OpenError> {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), config, false, None)
}

/// Items that a source hands out until it has no more.
fn items(source: &mut LogSource) -> usize {
    read_all(source).iter().map(|batch| batch.items.len()).sum()
}

#[test]
fn cursors_that_commit_at_the_same_time_remove_nothing_that_one_of_them_has_not_read() {
    for round in 0..100 {
        let disk = SimulatedDisk::default();
        let log = open(&disk, small_segments(&["behind", "ahead"])).unwrap();
        let (mut core, mut syncer) = log.open_core().unwrap();
        for _ in 0..40 {
            syncer.step();
            put(&mut core, 900);
        }
        let mut behind = log.source("behind").unwrap();
        let mut ahead = log.source("ahead").unwrap();
        let read: Vec<Batch> = (0..10).map(|_| behind.read(1).unwrap().unwrap()).collect();
        let read_ahead = read_all(&mut ahead);
        commit(&mut ahead, &read_ahead);
        let together = Arc::new(Barrier::new(2));
        let start = together.clone();
        let other = std::thread::spawn(move || {
            start.wait();
            (0..20).for_each(|_| commit(&mut ahead, &read_ahead));
        });
        together.wait();
        commit(&mut behind, &read);
        other.join().unwrap();
        let read: usize = read.iter().map(|batch| batch.items.len()).sum();
        assert_eq!(read + items(&mut behind), 41, "round {round}: forty and the opening report");
    }
}

#[test]
fn after_a_kill_a_full_disk_opens_and_its_reader_makes_room() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, small_segments(&["table"])).unwrap();
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..9 {
        syncer.step();
        put(&mut core, 900);
    }
    commit(&mut log.source("table").unwrap(), &[]);
    put(&mut core, 100); // written, not synced
    disk.limit_room(Some(disk.used_bytes()));
    disk.kill();

    let log = open(&disk, small_segments(&["table"])).unwrap();
    let mut source = log.source("table").unwrap();
    let batches = read_all(&mut source);
    let items: usize = batches.iter().map(|batch| batch.items.len()).sum();
    assert_eq!(items, 12, "the report, ten events, the end");
    // What recovery gave back is taken again by somebody else.
    disk.limit_room(Some(disk.used_bytes()));
    commit(&mut source, &batches);
    assert!(log.lanes().is_empty(), "all of it was trimmed");
    assert!(log.open_core().is_ok(), "and there is room for a lane");
}

#[test]
fn an_encoder_that_panics_leaves_nothing_behind_and_takes_no_number() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, small_segments(&["table"])).unwrap();
    let (mut core, _) = log.open_core().unwrap();
    put(&mut core, 10);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = core.append(Class::Click, RecordKind::Event, |_, body| {
            body.push(1);
            panic!("an encoder's mistake");
        });
    }));
    assert!(panicked.is_err());
    put(&mut core, 10);
    assert_eq!(items(&mut log.source("table").unwrap()), 3);
}

#[test]
fn one_lane_that_cannot_be_read_does_not_keep_the_others_from_being_read() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, small_segments(&["table"])).unwrap();
    let (mut first, _) = log.open_core().unwrap();
    let (mut second, _) = log.open_core().unwrap();
    put(&mut first, 10);
    put(&mut second, 10);
    let mut names = disk.list(Path::new("/log")).unwrap();
    names.retain(|name| name.ends_with("-00000-0000000000.seg"));
    let path = Path::new("/log").join(&names[0]);
    disk.make_unreadable(&path, 70);

    let mut source = log.source("table").unwrap();
    let batch = source.read(1 << 20).unwrap().expect("the other lane is read");
    assert_eq!((batch.lane, batch.items.len()), (1, 2));
    assert!(matches!(source.read(1 << 20), Err(SourceError::Unavailable(_))), "then it is said");
    commit(&mut source, &[batch]);
    assert_eq!(log.cursors()[0].lanes[0].next, 0, "what was not handed out was not passed");
    drop(source);

    disk.kill();
    assert!(matches!(open(&disk, small_segments(&["table"])), Err(OpenError::Io { .. })));
    let log =
        Log::open_on(Arc::new(disk.clone()), "/log".into(), small_segments(&["table"]), true, None).unwrap();
    assert_eq!(log.lanes().len(), 2, "a salvage goes on without the block that cannot be read");
}

#[test]
fn a_rejected_hit_that_is_not_kept_is_not_counted_as_shed() {
    let disk = SimulatedDisk::default();
    let log = open(&disk, LogConfig { log_bytes_max: 16 << 10, ..small_segments(&["table"]) }).unwrap();
    let (mut core, mut syncer) = log.open_core().unwrap();
    let mut not_kept = 0;
    for _ in 0..10 {
        syncer.step();
        let kept = core
            .append(Class::Impression, RecordKind::Rejected, |_, body| body.resize(body.len() + 400, b'x'));
        not_kept += usize::from(kept == Err(Shed::Full(Class::Impression)));
        core.flush();
    }
    assert!(not_kept > 5 && log.fill_percent() < 80, "{not_kept} at {} %", log.fill_percent());
    core.count_refused("expired");
    core.report_if_changed();
    core.flush();
    let mut source = log.source("table").unwrap();
    let batch = source.read(1 << 20).unwrap().unwrap();
    let Some(Item::Record(last)) = batch.items.last() else { panic!("{batch:?}") };
    let report = proto::LaneReport::decode(last.payload.clone()).unwrap();
    assert_eq!((report.shed.len(), report.refused.len()), (0, 1));
}

#[test]
fn a_recovery_that_is_killed_half_way_is_finished_by_the_next_one() {
    // The newest segment was lost whole in a power loss, and the lane file knows how
    // far it had been written.
    let disk = SimulatedDisk::default();
    let log = open(&disk, small_segments(&["table"])).unwrap();
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..3 {
        syncer.step();
        put(&mut core, 900);
    }
    let newest = core.shared.segments().back().unwrap().id;
    assert!(core.shared.handoff.lock().next.is_none(), "used up");
    let issued = core.shared.written.load(std::sync::atomic::Ordering::Relaxed);
    syncer.step();
    assert!(core.shared.handoff.lock().next.is_some(), "the next segment is prepared, and unused");
    disk.kill();
    disk.erase(&Path::new("/log").join(newest.file_name()));
    let (mut lane_file, _) = LaneFile::open(&disk, Path::new("/log"), newest.boot, newest.lane).unwrap();
    let first = core.shared.segments().back().unwrap().first;
    let facts = LaneFacts {
        state: LaneState::Open,
        newest_sequence: newest.sequence,
        written: issued,
        synced: first,
    };
    lane_file.write_synced(&facts).unwrap();
    for steps in 0..40 {
        let disk = disk.fork();
        disk.stop_after(steps);
        // Killed after so many steps, whatever they were.
        let _ = catch_unwind(AssertUnwindSafe(|| open(&disk, small_segments(&["table"]))));
        disk.kill();
        disk.stop_after(u32::MAX);
        let log = open(&disk, small_segments(&["table"])).unwrap();
        let mut source = log.source("table").unwrap();
        let mut records = 0;
        let mut abandoned = 0;
        let mut end = 0;
        while let Some(batch) = source.read(1 << 20).unwrap() {
            for item in batch.items {
                match item {
                    Item::Record(_) => records += 1,
                    Item::Abandoned { count, .. } => abandoned += count,
                    Item::End { issued, .. } => end = issued,
                    Item::Foreign(_) => panic!("a log has no foreign records"),
                }
            }
        }
        assert_eq!((records + abandoned, end), (issued, issued), "killed after {steps} steps");
    }
}
