//! With the real log: lanes, its cursor, a restart, a segment that was removed by hand.

use std::time::Duration;

use consumers::{Ended, LocalTable, LogLane, Reconciliation, StatusHandle, Table, reconcile, run};
use proto::Message;
use stream::{Class, Level, Log, LogConfig, RecordKind, Shed};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::world::{World, event, items};

struct LogWorld {
    world: World,
    directory: tempfile::TempDir,
}

impl LogWorld {
    fn new() -> Self {
        Self { world: World::new(), directory: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> Log {
        let config = LogConfig {
            cursors: vec!["table".into()],
            segment_bytes: 64 << 10,
            lane_bytes_max: 32 << 10,
            log_bytes_max: 64 << 20,
            ..LogConfig::default()
        };
        Log::open(self.directory.path(), "events", config).unwrap()
    }

    /// Reads the log first and the ledger second, as one must.
    async fn reconcile(&self, log: &Log, table: &LocalTable) -> Reconciliation {
        let lanes: Vec<LogLane> = log.lanes().iter().map(LogLane::from).collect();
        reconcile(&table.ledger().await.unwrap(), &lanes)
    }

    async fn drain(&self, log: &Log, table: &LocalTable) {
        let (_stop, stopped) = watch::channel(Some(Instant::now() + Duration::from_secs(60)));
        let source = log.source("table").unwrap();
        let ended = run(source, table, &self.world.config, stopped, &StatusHandle::new()).await;
        assert_eq!(ended.unwrap(), Ended::CaughtUp);
    }
}

async fn append(log: &Log, events: std::ops::Range<u64>) {
    let lane = log.open_lane().unwrap();
    for n in events {
        let number = loop {
            let appended = lane.append(Class::Click, RecordKind::Event, |number, buffer| {
                let event = proto::TrackingEvent { number, user_agent: "x".repeat(200), ..event("p", n) };
                event.encode(buffer).expect("a vector has room");
            });
            match appended {
                Ok(number) => break number,
                // These small segments fill faster than the next one is prepared.
                Err(Shed::Full(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        };
        lane.reached(Level::Written, number).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_lane_appends_is_stored_once_and_every_number_is_explained() {
    let it = LogWorld::new();
    let table = it.world.open();
    LocalSet::new()
        .run_until(async {
            let log = it.log();
            append(&log, 0..500).await;
            let before = it.reconcile(&log, &table).await;
            assert!(before.is_whole() && before.totals.in_log >= 500, "{:?}", before.totals);

            it.drain(&log, &table).await;
            let after = it.reconcile(&log, &table).await;
            assert!(after.is_whole(), "{:?}", after.totals);
            assert_eq!((after.totals.fates.stored, after.totals.in_log), (500, 0));
            log.close();
        })
        .await;
    LocalSet::new()
        .run_until(async {
            let log = it.log();
            append(&log, 500..600).await;
            it.drain(&log, &table).await;
            log.close();
            it.drain(&log, &table).await;
            let whole = it.reconcile(&log, &table).await;
            assert!(whole.is_whole(), "{:?}", whole.totals);
            assert_eq!((whole.totals.fates.stored, whole.totals.fates.duplicates), (600, 0));
            assert_eq!(whole.lanes.len(), 2);
        })
        .await;
    assert_eq!(items(&table).await, 600);
}

#[tokio::test]
async fn a_segment_that_somebody_removed_is_missing() {
    let it = LogWorld::new();
    let table = it.world.open();
    LocalSet::new()
        .run_until(async {
            let log = it.log();
            append(&log, 0..1_000).await;
            log.close();
        })
        .await;
    let mut segments: Vec<_> = walk(it.directory.path());
    segments.retain(|path| path.metadata().unwrap().len() > 32 << 10);
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");
    std::fs::remove_file(&segments[1]).unwrap();

    LocalSet::new()
        .run_until(async {
            let log = it.log();
            it.drain(&log, &table).await;
            let answer = it.reconcile(&log, &table).await;
            assert!(answer.totals.missing > 0 && !answer.is_whole(), "{:?}", answer.totals);
            assert_eq!(answer.totals.fates.stored + answer.totals.missing, 1_000);
            assert_eq!(answer.lanes[0].missing_ranges.len(), 1);
            log.close();
        })
        .await;
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
