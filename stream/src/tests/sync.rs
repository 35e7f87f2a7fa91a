//! When a lane syncs for those who wait, and whom it wakes.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::disk::simulated::SimulatedDisk;
use crate::*;

/// A lane that is synced for those who wait and for nobody else.
fn in_a_lane<F: Future<Output = ()> + 'static>(work: impl FnOnce(SimulatedDisk, Lane) -> F) {
    let disk = SimulatedDisk::default();
    let config = LogConfig {
        segment_bytes: 32 << 20,
        log_bytes_max: 512 << 20,
        lane_bytes_max: 1 << 20,
        sync_interval: Duration::from_secs(60),
        ..LogConfig::default()
    };
    let log = Log::open_on(Arc::new(disk.clone()), "/log".into(), config, false, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let lane = log.open_lane().unwrap();
        eventually("its first report and next segment are synced", || disk.syncs() > 0).await;
        work(disk.clone(), lane).await;
    });
    log.close();
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

/// Appends a record.
fn append(lane: &Lane) -> Number {
    lane.append(Class::Conversion, RecordKind::Event, |_, body| body.extend_from_slice(b"a record")).unwrap()
}

#[test]
fn hits_that_come_in_while_others_are_served_share_their_sync() {
    const HITS: u64 = 200;
    in_a_lane(async |disk, lane| {
        let before = disk.syncs();
        let began = Instant::now();
        let mut sockets: Vec<_> = (0..HITS).map(|_| UnixStream::pair().unwrap()).collect();
        let (first, mut before_it) = sockets.remove(0);
        first.writable().await.unwrap();
        first.try_write(b"!").unwrap();
        let mut hits = Vec::new();
        // Each sends the next one's request when it is served: there is always one to be read.
        for (to_next, next) in sockets.into_iter().map(Some).chain([None]).map(Option::unzip) {
            let lane = lane.clone();
            let mut socket = before_it;
            hits.push(spawn_local(async move {
                socket.read_u8().await.unwrap();
                let number = append(&lane);
                if let Some(mut to_next) = to_next {
                    to_next.write_u8(b'!').await.unwrap();
                }
                lane.reached(Level::Synced, number).await.unwrap();
            }));
            let Some(next) = next else { break };
            before_it = next;
        }
        for hit in hits {
            hit.await.unwrap();
        }
        let syncs = disk.syncs() - before;
        let ms = began.elapsed().as_millis() as u64;
        // One when there is nothing else to do, and one for each millisecond before.
        assert!((1..=2 + ms).contains(&syncs), "{syncs} syncs in {ms} ms for {HITS} hits");
    });
}

#[test]
fn a_worker_that_is_never_idle_syncs_all_the_same() {
    in_a_lane(async |_, lane| {
        let served = Rc::new(Cell::new(false));
        let (one, other) = UnixStream::pair().unwrap();
        one.try_write(b"!").unwrap();
        // Two that answer each other: there is always one to be read.
        let busy = [one, other].map(|mut socket| {
            let lane = lane.clone();
            let served = served.clone();
            spawn_local(async move {
                let deadline = Instant::now() + Duration::from_secs(10);
                while !served.get() && socket.read_u8().await.is_ok() {
                    append(&lane);
                    // The other may have gone.
                    let _ = socket.write_u8(b'!').await;
                    assert!(Instant::now() < deadline, "it waits for the others to end");
                }
            })
        });
        let number = append(&lane);
        lane.reached(Level::Synced, number).await.unwrap();
        served.set(true);
        for busy in busy {
            busy.await.unwrap();
        }
        assert!(append(&lane) < 100_000, "it was a change of segments that synced");
    });
}

#[test]
fn a_hit_that_comes_during_a_sync_gets_the_next_one_and_is_not_woken_before() {
    in_a_lane(async |disk, lane| {
        disk.hold_syncs(true);
        let before = disk.syncs();
        let polls = [(); 2].map(|()| Rc::new(Cell::new(0)));
        let mut hits = Vec::new();
        for polls in &polls {
            let lane = lane.clone();
            let polls = polls.clone();
            let syncs = disk.syncs();
            hits.push(spawn_local(async move {
                let number = append(&lane);
                let mut reached = pin!(lane.reached(Level::Synced, number));
                poll_fn(|context| {
                    polls.set(polls.get() + 1);
                    reached.as_mut().poll(context)
                })
                .await
                .unwrap();
            }));
            if syncs == before {
                eventually("the first one's sync begins", || disk.syncs() > before).await;
            }
        }
        // The second one is written, and its sync asked for.
        let last = append(&lane);
        lane.reached(Level::Written, last).await.unwrap();
        disk.hold_syncs(false);
        for hit in hits {
            hit.await.unwrap();
        }
        assert_eq!(disk.syncs(), before + 2);
        assert_eq!(polls.map(|polls| polls.get()), [2, 2], "once to wait, once to go on");
    });
}

#[test]
fn what_comes_during_a_sync_that_many_wait_for_goes_with_what_its_end_brings() {
    in_a_lane(async |disk, lane| {
        disk.hold_syncs(true);
        let before = disk.syncs();
        let hit = |lane: &Lane, times| {
            let lane = lane.clone();
            spawn_local(async move {
                for _ in 0..times {
                    let number = append(&lane);
                    lane.reached(Level::Synced, number).await.unwrap();
                }
            })
        };
        let mut hits: Vec<_> = (0..50).map(|_| hit(&lane, 2)).collect();
        eventually("their sync begins", || disk.syncs() > before).await;
        hits.push(hit(&lane, 1));
        // It is written, and the worker has nothing else to do.
        let last = append(&lane);
        lane.reached(Level::Written, last).await.unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        disk.hold_syncs(false);
        for hit in hits {
            hit.await.unwrap();
        }
        assert_eq!(disk.syncs(), before + 2, "the one and the 50 that came next share the second");
    });
}

#[test]
fn a_turn_without_room_takes_no_sync_from_those_that_were_written_before_it() {
    in_a_lane(async |disk, lane| {
        let (to_second, mut second) = UnixStream::pair().unwrap();
        let written = {
            let lane = lane.clone();
            spawn_local(async move {
                let number = append(&lane);
                // The second comes before the worker asks for the first one's sync.
                to_second.try_write(b"!").unwrap();
                lane.reached(Level::Synced, number).await
            })
        };
        let given_up = spawn_local(async move {
            second.read_u8().await.unwrap();
            disk.shorten_writes(1);
            let number = append(&lane);
            lane.reached(Level::Synced, number).await
        });
        assert_eq!(given_up.await.unwrap(), Err(NotDurable::Abandoned));
        let synced = tokio::time::timeout(Duration::from_millis(500), written).await;
        assert_eq!(synced.expect("before the syncer looks by itself").unwrap(), Ok(()));
    });
}

#[test]
fn those_who_wait_for_a_lane_that_fails_are_told() {
    in_a_lane(async |disk, lane| {
        disk.hold_syncs(true);
        let before = disk.syncs();
        let wait = |lane: &Lane| {
            let lane = lane.clone();
            spawn_local(async move {
                let number = append(&lane);
                lane.reached(Level::Synced, number).await
            })
        };
        let first = wait(&lane);
        eventually("the first one's sync begins", || disk.syncs() > before).await;
        let second = wait(&lane);
        yield_now().await;
        disk.fail_syncs(1);
        disk.hold_syncs(false);
        for waits in [first, second] {
            let told = tokio::time::timeout(Duration::from_secs(5), waits).await;
            assert_eq!(told.expect("at once").unwrap(), Err(NotDurable::Poisoned));
        }
    });
}
