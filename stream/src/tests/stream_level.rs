//! `Level::Stream`: who waits for the shipper, and what it says in any order.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::disk::simulated::SimulatedDisk;
use crate::*;

const CURSOR: &str = "shipper";

fn config(has_shipper: bool) -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        log_bytes_max: 64 << 20,
        lane_bytes_max: 64 << 10,
        // Nothing is synced for those who wait for the stream only.
        sync_interval: Duration::from_secs(60),
        full_pause: Duration::ZERO,
        cursors: vec![CURSOR.into()],
        has_shipper,
        ..LogConfig::default()
    }
}

fn with_log<F: Future<Output = ()>>(has_shipper: bool, test: impl FnOnce(SimulatedDisk, Log) -> F) {
    let disk = SimulatedDisk::default();
    let log = Log::open_on(Arc::new(disk.clone()), "/log".into(), config(has_shipper), false, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test(disk, log.clone()));
    log.close();
}

fn append(lane: &Lane) -> Number {
    lane.append(Class::Conversion, RecordKind::Event, |_, body| body.extend_from_slice(b"a record")).unwrap()
}

/// Appends a record and waits until it is written.
async fn write(lane: &Lane) -> Number {
    let number = append(lane);
    lane.reached(Level::Written, number).await.unwrap();
    number
}

/// Looks again in each turn of the event loop, for 10 s at most.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        yield_now().await;
    }
}

/// Whether it is complete by now.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A stand-in for the shipper: whatever it reads is taken at once.
async fn ship(log: Log) {
    let mut source = log.source(CURSOR).unwrap();
    loop {
        match source.next(1 << 20).await.unwrap() {
            Some(batch) => {
                let end = batch.items.last().expect("a batch has items").end();
                log.advance_stream(batch.boot, batch.lane, end);
                source.commit(&[batch.checkpoint]).await.unwrap();
            }
            None => yield_now().await,
        }
    }
}

#[test]
fn with_a_shipper_the_stream_is_waited_for_and_no_sync() {
    with_log(true, async |disk, log| {
        let lane = log.open_lane().unwrap();
        eventually("its first report is synced", || log.lanes()[0].synced > 0).await;
        disk.hold_syncs(true);
        let number = write(&lane).await;
        let mut reached = pin!(lane.reached(Level::Stream, number));
        assert_eq!(poll_once(reached.as_mut()).await, None, "it was not shipped");
        assert!(log.lanes()[0].streamed <= number);

        let shipper = spawn_local(ship(log.clone()));
        assert_eq!(reached.await, Ok(()));
        let status = &log.lanes()[0];
        assert!(status.streamed > number && status.synced <= number, "{status:?}");
        shipper.abort();
        disk.hold_syncs(false);
    });
}

#[test]
fn without_a_shipper_the_stream_is_the_sync() {
    with_log(false, async |_, log| {
        let lane = log.open_lane().unwrap();
        let number = append(&lane);
        lane.reached(Level::Stream, number).await.unwrap();
        let status = &log.lanes()[0];
        assert!(status.synced > number, "{status:?}");
        assert_eq!(status.streamed, status.synced);
    });
}

#[test]
fn a_record_that_was_shipped_before_anybody_waited_is_there_at_once() {
    with_log(true, async |_, log| {
        let lane = log.open_lane().unwrap();
        let number = write(&lane).await;
        log.advance_stream(lane.boot(), lane.id(), number + 1);
        let reached = pin!(lane.reached(Level::Stream, number));
        assert_eq!(poll_once(reached).await, Some(Ok(())));
    });
}

#[test]
fn waiters_are_woken_once_by_the_advance_that_passes_them_in_whatever_order_it_comes() {
    with_log(true, async |_, log| {
        let lane = log.open_lane().unwrap();
        let polls: Vec<Rc<Cell<u32>>> = (0..3).map(|_| Rc::default()).collect();
        let mut numbers = Vec::new();
        let mut waiters = Vec::new();
        for polls in &polls {
            let number = append(&lane);
            numbers.push(number);
            let lane = lane.clone();
            let polls = polls.clone();
            waiters.push(spawn_local(async move {
                let mut reached = pin!(lane.reached(Level::Stream, number));
                poll_fn(|context| {
                    polls.set(polls.get() + 1);
                    reached.as_mut().poll(context)
                })
                .await
            }));
        }
        eventually("they are written and wait for the stream", || lane.waiting_for_stream() == 3).await;
        polls.iter().for_each(|polls| polls.set(0));
        let polled = || polls.iter().map(|polls| polls.get()).collect::<Vec<_>>();
        let advance = |end: Number| log.advance_stream(lane.boot(), lane.id(), end);
        let streamed = || log.lanes()[0].streamed;

        advance(numbers[0]);
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(polled(), [0, 0, 0], "it passed none of them");
        advance(numbers[1] + 1);
        eventually("the first two go on", || waiters[0].is_finished() && waiters[1].is_finished()).await;
        assert_eq!(polled(), [1, 1, 0]);
        // Again, and one that comes late.
        advance(numbers[1] + 1);
        advance(numbers[0] + 1);
        assert_eq!(streamed(), numbers[1] + 1, "it never goes back");
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(polled(), [1, 1, 0]);
        advance(numbers[2] + 1);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
        assert_eq!(polled(), [1, 1, 1]);
    });
}

#[test]
fn nothing_that_is_not_written_counts_as_shipped() {
    with_log(true, async |_, log| {
        let lane = log.open_lane().unwrap();
        let written = write(&lane).await;
        log.advance_stream(lane.boot(), lane.id(), Number::MAX);
        assert_eq!(log.lanes()[0].streamed, written + 1);
        let number = write(&lane).await;
        let reached = pin!(lane.reached(Level::Stream, number));
        assert_eq!(poll_once(reached).await, None);
        // A lane that does not exist is nobody's.
        log.advance_stream(lane.boot(), 77, 1);
    });
}

#[test]
fn a_lane_that_is_let_go_while_somebody_waits_is_closed_when_the_stream_has_its_record() {
    with_log(true, async |_, log| {
        let lane = log.open_lane().unwrap();
        let number = write(&lane).await;
        let waiter = spawn_local(lane.reached(Level::Stream, number));
        drop(lane);
        yield_now().await;
        assert_eq!(log.lanes()[0].state, LaneState::Open);
        let shipper = spawn_local(ship(log.clone()));
        assert_eq!(waiter.await.unwrap(), Ok(()));
        // The shipper reads the lane to its end and commits it, so that nothing of it is left.
        eventually("the lane is closed and trimmed", || log.lanes().is_empty()).await;
        shipper.abort();
    });
}

#[test]
fn those_who_wait_for_the_stream_of_a_lane_that_fails_are_told() {
    with_log(true, async |disk, log| {
        let lane = log.open_lane().unwrap();
        eventually("its first report is synced", || log.lanes()[0].synced > 0).await;
        let number = write(&lane).await;
        let waiter = spawn_local(lane.reached(Level::Stream, number));
        yield_now().await;
        disk.fail_syncs(1);
        let synced = append(&lane);
        assert_eq!(lane.reached(Level::Synced, synced).await, Err(NotDurable::Poisoned));
        assert_eq!(waiter.await.unwrap(), Err(NotDurable::Poisoned));
        log.advance_stream(lane.boot(), lane.id(), number + 1);
        assert_eq!(lane.reached(Level::Stream, number).await, Err(NotDurable::Poisoned), "and later ones");
    });
}

#[test]
fn a_record_that_found_no_room_fails_before_anything_is_shipped() {
    with_log(true, async |disk, log| {
        let lane = log.open_lane().unwrap();
        write(&lane).await;
        // The short write may hit the syncer's file instead; then it is the next one's turn.
        loop {
            disk.shorten_writes(1);
            let number = append(&lane);
            let mut reached = pin!(lane.reached(Level::Stream, number));
            assert_eq!(poll_once(reached.as_mut()).await, None);
            if lane.reached(Level::Written, number).await.is_err() {
                break assert_eq!(reached.await, Err(NotDurable::Abandoned));
            }
        }
    });
}

#[test]
fn who_gives_up_waiting_for_a_stream_that_is_away_leaves_nothing_behind() {
    with_log(true, async |_, log| {
        let lane = log.open_lane().unwrap();
        let number = write(&lane).await;
        for _ in 0..100 {
            let mut reached = pin!(lane.reached(Level::Stream, number));
            assert_eq!(poll_once(reached.as_mut()).await, None);
            assert_eq!(lane.waiting_for_stream(), 1);
            assert_eq!(poll_once(reached.as_mut()).await, None, "asked twice");
        }
        assert_eq!(lane.waiting_for_stream(), 0);
    });
}

#[test]
fn a_stream_that_is_away_does_not_make_a_lane_remember_all_that_found_no_room() {
    with_log(true, async |disk, log| {
        let lane = log.open_lane().unwrap();
        let shipped_late = write(&lane).await;
        let mut reached = pin!(lane.reached(Level::Stream, shipped_late));
        assert_eq!(poll_once(reached.as_mut()).await, None);
        // More separate ranges than a lane keeps for those who may ask.
        while log.lanes()[0].abandoned < 5_000 {
            for short_writes in [1, 0] {
                disk.shorten_writes(short_writes);
                let before = log.lanes()[0].clone();
                append(&lane);
                let is_flushed = || {
                    let now = &log.lanes()[0];
                    now.issued > before.issued || now.abandoned > before.abandoned
                };
                eventually("it is written or given up", is_flushed).await;
            }
        }
        assert!(!lane.poisoned());
        log.advance_stream(lane.boot(), lane.id(), shipped_late + 1);
        assert_eq!(reached.await, Ok(()));
    });
}
