//! The next segment: reserved or filled, in any state its process may leave it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::lane::core::LaneCore;
use crate::lane::segment::Room;
use crate::lane::syncer::{Step, Syncer};
use crate::tests::put;
use crate::*;

const MIB: u64 = 1 << 20;
/// One less than makes a lane fill its segments.
const TOO_FEW_SYNCS: u64 = 3 * MIB / (32 << 10) - 1;

/// Segments that take three writes to fill.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 3 * MIB,
        log_bytes_max: 24 * MIB,
        lane_bytes_max: 1 << 20,
        room_retry: Duration::ZERO,
        cursors: vec!["table".into()],
        ..LogConfig::default()
    }
}

fn open(disk: &SimulatedDisk) -> Log {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), config(), false, None).unwrap()
}

/// Somebody waits for a sync, and gets it.
fn sync_for_a_waiter(core: &mut LaneCore, syncer: &mut Syncer) {
    put(core, 10);
    core.shared.handoff.publish(|requests| requests.sync_wanted = true);
    assert_eq!(syncer.step(), Step::Again);
}

fn next_room(core: &LaneCore) -> Option<Room> {
    core.shared.handoff.lock().next.as_ref().map(|next| next.room)
}

fn segment_files(disk: &SimulatedDisk) -> usize {
    disk.list(Path::new("/log")).unwrap().iter().filter(|name| name.ends_with(".seg")).count()
}

#[test]
fn a_lane_is_given_filled_segments_while_its_waiters_ask_for_many_syncs() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..100 {
        put(&mut core, 10);
        syncer.step();
    }
    assert_eq!(next_room(&core), Some(Room::Reserved), "nobody waits");
    for _ in 0..TOO_FEW_SYNCS {
        sync_for_a_waiter(&mut core, &mut syncer);
    }
    assert_eq!(next_room(&core), Some(Room::Reserved), "less than one in 32 KiB of the segment");
    sync_for_a_waiter(&mut core, &mut syncer);
    assert_eq!(next_room(&core), Some(Room::Filled), "what was reserved has been filled");

    let into_the_next_segment = |core: &mut LaneCore, syncer: &mut Syncer| {
        for _ in 0..4 {
            put(core, 800 << 10);
        }
        syncer.step();
    };
    into_the_next_segment(&mut core, &mut syncer);
    assert_eq!(next_room(&core), Some(Room::Filled), "it was so in the segment before");
    into_the_next_segment(&mut core, &mut syncer);
    assert_eq!(next_room(&core), Some(Room::Reserved), "nobody waits any more");
}

#[test]
fn a_reserved_segment_is_not_taken_back_when_it_will_soon_be_needed() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let (mut core, mut syncer) = log.open_core().unwrap();
    syncer.step();
    put(&mut core, 800 << 10);
    put(&mut core, 800 << 10);
    for _ in 0..100 {
        sync_for_a_waiter(&mut core, &mut syncer);
    }
    assert_eq!(next_room(&core), Some(Room::Reserved));
}

#[test]
fn a_process_that_dies_while_it_fills_a_segment_leaves_what_recovery_removes() {
    let mut survived = false;
    for (steps, power_lost) in (0..12).flat_map(|steps| [(steps, false), (steps, true)]) {
        let disk = SimulatedDisk::default();
        let log = open(&disk);
        let (mut core, mut syncer) = log.open_core().unwrap();
        for _ in 0..TOO_FEW_SYNCS {
            sync_for_a_waiter(&mut core, &mut syncer);
        }
        let synced = core.shared.synced.load(Acquire);
        disk.stop_after(steps);
        core.shared.handoff.publish(|requests| requests.sync_wanted = true);
        // Killed after so many changes, whatever they were.
        survived = catch_unwind(AssertUnwindSafe(|| syncer.step())).is_ok();
        disk.stop_after(u32::MAX);
        if power_lost {
            disk.lose_power(&mut fastrand::Rng::with_seed(steps.into()));
        } else {
            disk.kill();
        }
        let log = open(&disk);
        assert_eq!(segment_files(&disk), 1, "killed after {steps} changes: the used one is left");
        let mut source = log.source("table").unwrap();
        let batches = std::iter::from_fn(|| source.read(1 << 20).unwrap());
        let is_record = |item: &Item| matches!(item, Item::Record(_));
        let left = batches.flat_map(|batch| batch.items).filter(is_record).count() as u64;
        assert!(left >= synced, "killed after {steps} changes: {left} of {synced} are left");
    }
    assert!(survived, "the last death came too late, so each change was tried");
}

#[test]
fn a_fill_that_finds_no_room_is_undone_and_tried_again() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..TOO_FEW_SYNCS {
        sync_for_a_waiter(&mut core, &mut syncer);
    }
    put(&mut core, 10);
    core.shared.handoff.publish(|requests| requests.sync_wanted = true);
    // Each write of zeros stops half-way, until nothing is written any more.
    disk.shorten_writes(1_000);
    syncer.step();
    disk.shorten_writes(0);
    assert_eq!((next_room(&core), segment_files(&disk)), (None, 1));
    assert!(!core.shared.is_poisoned());

    syncer.step();
    assert_eq!((next_room(&core), segment_files(&disk)), (Some(Room::Filled), 2));
    assert_eq!(core.shared.handoff.lock().next.as_ref().unwrap().id.sequence, 1, "no sequence is left out");
}

#[test]
fn a_sync_that_fails_while_filling_costs_the_segment_and_not_the_lane() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let (mut core, mut syncer) = log.open_core().unwrap();
    for _ in 0..TOO_FEW_SYNCS {
        sync_for_a_waiter(&mut core, &mut syncer);
    }
    disk.fail_syncs(1);
    sync_for_a_waiter(&mut core, &mut syncer);
    assert_eq!((next_room(&core), segment_files(&disk)), (None, 1));
    syncer.step();
    assert_eq!((next_room(&core), segment_files(&disk)), (Some(Room::Filled), 2));
    assert!(!core.shared.is_poisoned());
}

#[test]
fn a_lane_with_its_thread_fills_segments_beside_it_and_closes_without_leaving_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", LogConfig { lane_bytes_max: 64 << 10, ..config() }).unwrap();
    let opened = log.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let lane = opened.open_lane().unwrap();
        let shared = opened.shared.lanes().values().next().unwrap().clone();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut filled_rotated_in = 0;
        let mut was_filled = false;
        while filled_rotated_in < 2 {
            assert!(Instant::now() < deadline, "no second filled segment was written to within 30 s");
            let number = lane.append(Class::Conversion, RecordKind::Event, |_, body| {
                body.resize(body.len() + (20 << 10), b'x');
            });
            match number {
                Ok(number) => lane.reached(Level::Synced, number).await.unwrap(),
                // The next segment is on its way.
                Err(Shed::Full(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
            let is_filled = shared.handoff.lock().next.as_ref().is_some_and(|next| next.room == Room::Filled);
            filled_rotated_in += u32::from(was_filled && !is_filled);
            was_filled = is_filled;
        }
    });
    log.close();
    assert_eq!(log.lanes()[0].state, LaneState::Closed);
    let unused = check(dir.path(), "events").unwrap().into_iter().filter(|segment| segment.unused);
    assert_eq!(unused.count(), 0, "a prepared segment was left");
}
