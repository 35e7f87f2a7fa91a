//! A lane that is written to from other threads.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::disk::simulated::SimulatedDisk;
use crate::tests::{commit, read_all};
use crate::*;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 10,
        log_bytes_max: 8 * (64 << 10),
        lane_bytes_max: 32 << 10,
        cursors: vec!["table".into()],
        has_shipper: true,
        ..LogConfig::default()
    }
}

fn open(disk: &SimulatedDisk) -> Log {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), config(), false, None).unwrap()
}

fn text(text: impl Into<String>) -> NewRecord {
    NewRecord::of_bytes(Class::Conversion, RecordKind::Event, text.into().into_bytes())
}

fn events(batches: &[Batch]) -> Vec<(Number, String)> {
    let items = batches.iter().flat_map(|batch| &batch.items);
    let event = |item: &Item| match item {
        Item::Record(record) if record.kind == RecordKind::Event => {
            Some((record.number, String::from_utf8(record.payload.to_vec()).unwrap()))
        }
        _ => None,
    };
    items.filter_map(event).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn what_many_threads_bring_is_in_the_log_each_request_in_its_order() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = Arc::new(LaneThread::start(&log, "many", 4).unwrap());
    let callers: Vec<_> = (0..20)
        .map(|caller| {
            let lane = lane.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let records = (0..3).map(|n| text(format!("{caller}.{n}"))).collect();
                runtime.block_on(lane.append(records, Level::Synced)).unwrap()
            })
        })
        .collect();
    let numbers: Vec<Vec<Number>> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let status = log.lanes()[0].clone();
    assert_eq!((status.boot, status.lane), (lane.boot(), lane.lane()));
    assert!(numbers.iter().flatten().all(|number| *number < status.synced));
    drop(lane);
    log.close();
    assert_eq!(log.lanes()[0].state, LaneState::Closed);
    let found = events(&read_all(&mut log.source("table").unwrap()));
    assert_eq!(found.len(), 60);
    for (caller, numbers) in numbers.iter().enumerate() {
        for (n, number) in numbers.iter().enumerate() {
            assert!(found.contains(&(*number, format!("{caller}.{n}"))), "{caller}.{n}");
        }
        assert!(numbers.is_sorted());
    }
}

#[tokio::test]
async fn an_encoder_is_told_the_number_and_a_request_without_records_is_answered() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "encoder", 1).unwrap();
    let number: NewRecord = NewRecord {
        class: Class::Click,
        kind: RecordKind::Event,
        encode: Box::new(|number, body| body.extend_from_slice(format!("number {number}").as_bytes())),
    };
    assert_eq!(lane.append(vec![number], Level::Written).await, Ok(vec![1]), "the report was before it");
    assert_eq!(lane.append(vec![], Level::Synced).await, Ok(vec![]));
    let found = events(&read_all(&mut log.source("table").unwrap()));
    assert_eq!(found, [(1, "number 1".to_owned())]);
}

#[tokio::test]
async fn callers_beyond_the_limit_wait_and_one_that_gives_up_makes_room() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "limit", 2).unwrap();
    let written = || log.lanes()[0].issued;
    let before = written();
    // Nothing is shipped, so they stay.
    let mut first = Box::pin(lane.append(vec![text("first")], Level::Stream));
    let mut second = Box::pin(lane.append(vec![text("second")], Level::Stream));
    let mut third = pin!(lane.append(vec![text("third")], Level::Written));
    assert_eq!(poll_once(first.as_mut()).await, None);
    assert_eq!(poll_once(second.as_mut()).await, None);
    eventually("both are written, neither waits for the other", || written() == before + 2).await;
    assert_eq!(lane.places_left(), 0, "they wait for the stream, and keep their places");
    assert_eq!(poll_once(third.as_mut()).await, None, "two may wait at a time");

    drop(first);
    assert_eq!(third.await, Ok(vec![before + 2]));
    log.advance_stream(lane.boot(), lane.lane(), before + 2);
    assert_eq!(second.await, Ok(vec![before + 1]));
}

#[tokio::test]
async fn closing_finishes_what_was_asked_for_and_refuses_the_rest() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "close", 4).unwrap();
    let mut asked = pin!(lane.append(vec![text("asked")], Level::Synced));
    assert_eq!(poll_once(asked.as_mut()).await, None);
    lane.close();
    assert!(asked.await.is_ok());
    assert_eq!(lane.append(vec![text("late")], Level::Memory).await, Err(AppendError::Closed));
    lane.close();
    log.close();
    assert_eq!(log.lanes()[0].state, LaneState::Closed);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_stream_that_nobody_waits_for() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "gone", 4).unwrap();
    let mut asked = Box::pin(lane.append(vec![text("asked")], Level::Stream));
    assert_eq!(poll_once(asked.as_mut()).await, None);
    drop(asked);
    lane.close();
    let found = events(&read_all(&mut log.source("table").unwrap()));
    assert_eq!(found.len(), 1, "what it brought is kept");
}

#[tokio::test]
async fn the_record_at_fault_is_named_and_those_before_it_are_kept() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "fault", 1).unwrap();
    let records = vec![text("small"), text("x".repeat(2 << 20)), text("behind it")];
    let error = lane.append(records, Level::Synced).await.unwrap_err();
    let AppendError::Shed { at: 1, shed: Shed::TooLarge { .. } } = error else { panic!("{error}") };
    lane.append(vec![text("next")], Level::Written).await.unwrap();
    let found = events(&read_all(&mut log.source("table").unwrap()));
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["small", "next"]);
}

#[tokio::test]
async fn a_record_waits_for_room_that_a_reader_makes() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "room", 2).unwrap();
    // More in one request than a turn, a segment or the log takes.
    let many = (0..400).map(|n| text(format!("{n} {}", "x".repeat(2_000)))).collect();
    let mut appending = pin!(lane.append(many, Level::Written));
    assert_eq!(poll_once(appending.as_mut()).await, None);
    eventually("the log is full", || log.fill_percent() >= 90).await;
    let mut source = log.source("table").unwrap();
    let mut found = Vec::new();
    let numbers = loop {
        let batches = read_all(&mut source);
        commit(&mut source, &batches);
        found.extend(events(&batches));
        if let Some(appended) = poll_once(appending.as_mut()).await {
            break appended.unwrap();
        }
        tokio::task::yield_now().await;
    };
    found.extend(events(&read_all(&mut source)));
    assert_eq!(found.len(), 400);
    assert!(found.iter().map(|(number, _)| number).eq(&numbers));
}

#[tokio::test]
async fn an_encoder_that_panics_ends_the_thread_and_its_callers_are_told() {
    let disk = SimulatedDisk::default();
    let log = open(&disk);
    let lane = LaneThread::start(&log, "panics", 2).unwrap();
    let bad = NewRecord {
        class: Class::Click,
        kind: RecordKind::Event,
        encode: Box::new(|_, _| panic!("an encoder's mistake")),
    };
    assert_eq!(lane.append(vec![bad], Level::Written).await, Err(AppendError::Closed));
    assert_eq!(lane.append(vec![text("next")], Level::Written).await, Err(AppendError::Closed));
    drop(lane);
    log.close();
}
