//! Checkpoints: each lane is committed for itself, and a cursor never goes back.

use std::sync::Arc;

use crate::disk::simulated::SimulatedDisk;
use crate::tests::{commit, put, read_all, small_segments};
use crate::*;

fn open(disk: &SimulatedDisk) -> Log {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), small_segments(&["table"]), false, None).unwrap()
}

/// A log with two lanes of several segments each, closed by their process.
fn two_lanes(disk: &SimulatedDisk) -> Log {
    let log = open(disk);
    for _ in 0..2 {
        let (mut core, mut syncer) = log.open_core().unwrap();
        for _ in 0..8 {
            syncer.step();
            put(&mut core, 900);
        }
        core.close();
        syncer.step();
    }
    log
}

fn of_lane(batches: &[Batch], lane: u32) -> Vec<Batch> {
    batches.iter().filter(|batch| batch.lane == lane).cloned().collect()
}

fn lanes(log: &Log) -> Vec<u32> {
    log.lanes().iter().map(|lane| lane.lane).collect()
}

#[test]
fn a_lane_that_is_not_committed_keeps_no_other_ones_cursor_and_segments_back() {
    let disk = SimulatedDisk::default();
    let log = two_lanes(&disk);
    let mut source = log.source("table").unwrap();
    let batches = read_all(&mut source);
    let before = log.bytes();
    // The batches of lane 0 were read first, and cannot be stored.
    commit(&mut source, &of_lane(&batches, 1));
    assert_eq!(lanes(&log), [0], "lane 1 was read to its end and is gone");
    assert!(log.bytes() <= before / 2 + 100, "{} of {before} bytes are left", log.bytes());
    let cursor = &log.cursors()[0];
    assert_eq!((cursor.lanes[0].next, cursor.lag), (0, 10), "two reports and eight events");

    drop((source, log));
    let log = open(&disk);
    let again = read_all(&mut log.source("table").unwrap());
    assert_eq!(Checkpoint::of(&again).last(), Checkpoint::of(&of_lane(&batches, 0)).last());
    assert_eq!(of_lane(&again, 1), [], "what was committed does not come again");
}

#[test]
fn a_lane_is_committed_after_another_one_was_read() {
    let disk = SimulatedDisk::default();
    let log = two_lanes(&disk);
    let mut source = log.source("table").unwrap();
    let first = source.read(1).unwrap().unwrap();
    let second = source.read(1).unwrap().unwrap();
    assert_eq!((first.lane, second.lane), (0, 1), "the lanes take turns");
    commit(&mut source, std::slice::from_ref(&first));
    let next: Vec<Number> = log.cursors()[0].lanes.iter().map(|lane| lane.next).collect();
    assert_eq!(next, [first.items.last().unwrap().end(), 0]);
}

#[test]
fn a_checkpoint_that_comes_late_takes_nothing_back_and_is_harmless_when_its_lane_is_gone() {
    let disk = SimulatedDisk::default();
    let log = two_lanes(&disk);
    let mut source = log.source("table").unwrap();
    let batches = read_all(&mut source);
    let zero = of_lane(&batches, 0);
    let (first, last) = (&zero[0], &zero[zero.len() - 1]);
    assert!(matches!(last.items[..], [Item::End { issued: 10, clean: true }]), "{last:?}");
    let almost = &zero[zero.len() - 2];
    commit(&mut source, std::slice::from_ref(almost));
    commit(&mut source, std::slice::from_ref(first));
    assert_eq!(log.cursors()[0].lanes[0].next, almost.items.last().unwrap().end());
    commit(&mut source, std::slice::from_ref(last));
    commit(&mut source, std::slice::from_ref(first));
    assert_eq!(lanes(&log), [1]);
}

#[test]
fn a_checkpoint_beyond_what_was_written_passes_nothing_that_is_written_later() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let (mut core, mut syncer) = log.open_core().unwrap();
    put(&mut core, 10);
    syncer.step();
    let mut source = log.source("table").unwrap();
    let batch = source.read(1 << 20).unwrap().unwrap();
    let beyond = Checkpoint::Lane { boot: batch.boot, lane: batch.lane, next: Number::MAX, ended: true };
    source.save(&[beyond]).unwrap();
    put(&mut core, 20);
    drop(source);
    let again = read_all(&mut log.source("table").unwrap());
    let [Batch { items, .. }] = &again[..] else { panic!("{again:?}") };
    assert!(matches!(&items[..], [Item::Record(record)] if record.payload.len() == 20), "{items:?}");
}

#[tokio::test]
async fn gathering_stops_at_its_limit_and_keeps_an_error_for_the_next_call() {
    let disk = SimulatedDisk::default();
    let log = two_lanes(&disk);
    let mut source = log.source("table").unwrap();
    let mut batches = Vec::new();
    gather(&mut source, 1, &mut batches).await.unwrap();
    assert_eq!(batches.len(), 1, "one batch fills it");
    gather(&mut source, 1, &mut batches).await.unwrap();
    assert_eq!(batches.len(), 1, "what is there counts");
    gather(&mut source, usize::MAX, &mut batches).await.unwrap();
    let items: usize = batches.iter().map(|batch| batch.items.len()).sum();
    assert_eq!(items, 22, "twice two reports, eight events and an end");

    /// Has one batch, and fails then.
    struct Failing(Option<Batch>);
    impl Source for Failing {
        async fn next(&mut self, _: usize) -> Result<Option<Batch>, SourceError> {
            self.0.take().map(Some).ok_or_else(|| SourceError::Damaged("a segment".into()))
        }
        async fn commit(&mut self, _: &[Checkpoint]) -> Result<(), SourceError> {
            Ok(())
        }
    }
    let mut source = Failing(batches.pop());
    let mut gathered = Vec::new();
    gather(&mut source, usize::MAX, &mut gathered).await.unwrap();
    assert_eq!(gathered.len(), 1, "the batch before the error");
    let error = gather(&mut source, usize::MAX, &mut Vec::new()).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(SourceError::Unavailable(std::io::ErrorKind::TimedOut.into()).is_retryable());
}

#[test]
fn a_batch_counts_its_payload_and_its_items() {
    let record =
        |bytes| Item::Record(Record { number: 0, kind: RecordKind::Event, payload: vec![0; bytes].into() });
    let bytes = |items| Batch::of_lane(proto::Uuid::nil(), 0, items).bytes();
    assert_eq!(bytes(vec![record(100)]) - bytes(vec![record(0)]), 100);
    assert!(bytes(vec![record(0)]) > bytes(vec![]) && bytes(vec![]) > 0);
}

#[test]
fn a_source_can_be_read_on_any_thread() {
    fn require_send<T: Send>(_: T) {}
    let disk = SimulatedDisk::default();
    let log = two_lanes(&disk);
    let mut source = log.source("table").unwrap();
    require_send(source.next(1));
    require_send(source.commit(&[]));
}
