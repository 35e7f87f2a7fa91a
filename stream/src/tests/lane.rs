//! A lane on a real disk, with its thread and its tasks.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::*;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 10,
        log_bytes_max: 8 << 20,
        lane_bytes_max: 32 << 10,
        cursors: vec!["table".into()],
        ..LogConfig::default()
    }
}

fn in_a_worker<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// All events of the log that the cursor has not passed, and how its lanes ended. The cursor
/// has passed them then.
async fn drain(source: &mut LogSource) -> (Vec<Vec<u8>>, Vec<(Number, bool)>) {
    let mut events = Vec::new();
    let mut ends = Vec::new();
    let mut checkpoints = Vec::new();
    while let Some(batch) = source.next(16 << 10).await.unwrap() {
        checkpoints.push(batch.checkpoint);
        for item in batch.items {
            match item {
                Item::Record(record) if record.kind == RecordKind::Event => {
                    events.push(record.payload.to_vec())
                }
                Item::End { issued, clean } => ends.push((issued, clean)),
                _ => {}
            }
        }
    }
    source.commit(&checkpoints).await.unwrap();
    (events, ends)
}

fn append(lane: &Lane, text: &str) -> Result<Number, Shed> {
    lane.append(Class::Click, RecordKind::Event, |_, body| body.extend_from_slice(text.as_bytes()))
}

#[test]
fn what_is_appended_is_read_in_order_and_the_closed_lane_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", config()).unwrap();
    let mut source = log.source("table").unwrap();
    let opened = log.clone();
    let sent: Vec<String> = (0..5_000).map(|n| format!("event {n} {}", "x".repeat(n % 90))).collect();
    let expected: Vec<Vec<u8>> = sent.iter().map(|text| text.clone().into_bytes()).collect();
    in_a_worker(async move {
        let lane = opened.open_lane().unwrap();
        for turn in sent.chunks(7) {
            let mut last = 0;
            for text in turn {
                last = loop {
                    match append(&lane, text) {
                        Ok(number) => break number,
                        // The syncer is preparing the next segment.
                        Err(Shed::Full(_)) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                };
            }
            lane.reached(Level::Written, last).await.unwrap();
        }
        let number = append(&lane, "last").unwrap();
        lane.reached(Level::Synced, number).await.unwrap();
    });
    log.close();
    let (events, ends) = in_a_worker(async move { drain(&mut source).await });
    assert_eq!(events[..5_000], expected);
    assert_eq!(events[5_000], b"last");
    assert!(matches!(ends[..], [(issued, true)] if issued > 5_001), "{ends:?}");
    assert!(log.lanes().is_empty(), "a lane that was read to its end leaves nothing");
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join("events")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "cursors and lock are left: {left:?}");
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", config()).unwrap();
    assert!(matches!(Log::open(dir.path(), "events", config()), Err(OpenError::InUse(_))));
    drop(log);
    Log::open(dir.path(), "events", config()).unwrap();
}

#[test]
fn a_cursor_must_be_declared_and_has_one_reader() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", config()).unwrap();
    assert!(matches!(log.source("shipper"), Err(LaneError::UnknownCursor(_))));
    let reader = log.source("table").unwrap();
    assert!(matches!(log.source("table"), Err(LaneError::CursorTaken(_))));
    drop(reader);
    log.source("table").unwrap();
}

#[test]
fn every_class_is_shed_at_its_fill_and_goes_on_after_a_trim() {
    let dir = tempfile::tempdir().unwrap();
    let log =
        Log::open(dir.path(), "events", LogConfig { log_bytes_max: 8 * (64 << 10), ..config() }).unwrap();
    let opened = log.clone();
    in_a_worker(async move {
        let lane = opened.open_lane().unwrap();
        let mut shed_at = Vec::new();
        for class in Class::ALL {
            loop {
                let taken =
                    lane.append(class, RecordKind::Event, |_, body| body.resize(body.len() + 1_000, b'x'));
                match taken {
                    Ok(number) => lane.reached(Level::Written, number).await.unwrap(),
                    Err(Shed::Full(_)) if opened.fill_percent() < class.shed_from_percent() => {
                        // The next segment is on its way.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => break assert_eq!(error, Shed::Full(class)),
                }
            }
            shed_at.push(opened.fill_percent());
        }
        assert_eq!(shed_at, [80, 90, 95, 100]);

        let mut source = opened.source("table").unwrap();
        drain(&mut source).await;
        assert!(opened.fill_percent() < 20, "{} %", opened.fill_percent());
        append(&lane, "room again").unwrap();
    });
}

#[test]
fn a_record_that_is_too_large_takes_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", config()).unwrap();
    in_a_worker(async move {
        let lane = log.open_lane().unwrap();
        let next = append(&lane, "a").unwrap() + 1;
        let large =
            lane.append(Class::Click, RecordKind::Event, |_, body| body.resize(body.len() + (2 << 20), 1));
        assert!(matches!(large, Err(Shed::TooLarge { .. })), "{large:?}");
        assert_eq!(append(&lane, "b"), Ok(next));
    });
}

#[test]
fn hits_of_one_turn_share_one_batch_and_a_clone_is_the_same_lane() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "events", config()).unwrap();
    let opened = log.clone();
    in_a_worker(async move {
        let lane = opened.open_lane().unwrap();
        let done = Rc::new(std::cell::Cell::new(0));
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let lane = lane.clone();
                let done = done.clone();
                tokio::task::spawn_local(async move {
                    let number = append(&lane, &format!("{n}")).unwrap();
                    lane.reached(Level::Written, number).await.unwrap();
                    done.set(done.get() + 1);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(done.get(), 50);
    });
    log.close();
    let batches: usize = check(dir.path(), "events").unwrap().iter().map(|segment| segment.batches).sum();
    assert_eq!(batches, 3, "the opening report, one batch for fifty hits, the closing report");
}

#[test]
fn everything_is_synced_within_the_interval_at_any_level() {
    let dir = tempfile::tempdir().unwrap();
    let log =
        Log::open(dir.path(), "events", LogConfig { sync_interval: Duration::from_millis(20), ..config() })
            .unwrap();
    in_a_worker(async move {
        let lane = log.open_lane().unwrap();
        let number = append(&lane, "nobody waits for this").unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while log.lanes()[0].synced <= number {
            assert!(tokio::time::Instant::now() < deadline, "not synced after 5 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
