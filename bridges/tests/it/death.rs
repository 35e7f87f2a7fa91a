//! The actor: it is started again when it dies, and comes to the end when it is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bridges::programs::{Config, LettersError, RunningBridge, StatusHandle};
use proto::DeadLetter;
use stream::RecordKind;

use crate::world::{Away, CURSOR, World, append, config, eventually, put};

#[test]
fn a_bridge_that_panics_is_replaced_and_goes_on_where_the_cursor_stands() {
    actix_rt::System::new().block_on(async {
        let world = World::new();
        let log = world.log();
        append(&log, RecordKind::CoreData, &[put("a", "A", Some(1)), "x".to_owned()]).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let letters = move |letters: Vec<DeadLetter>| {
            let call = counted.fetch_add(1, SeqCst);
            async move {
                assert!(call > 0, "the first call dies");
                assert_eq!(letters.len(), 1);
                Ok::<u64, LettersError>(3)
            }
        };
        let status = StatusHandle::new();
        let opened = log.clone();
        let open = move || opened.source(CURSOR);
        let bridge =
            RunningBridge::start(open, Arc::clone(&world.registry), letters, config(), status.clone());
        eventually("the second bridge has done it", || status.get().counts.dead == 1).await;
        assert!(status.get().restarts >= 1);
        assert_eq!((status.get().letters_discarded, status.get().counts.unchanged), (3, 1));

        // What comes later, and what is in the log when it is asked to stop, is done too.
        append(&log, RecordKind::CoreData, &[put("b", "B", Some(1))]).await;
        eventually("it follows the log", || status.get().counts.stored == 1).await;
        append(&log, RecordKind::CoreData, &[put("c", "C", Some(1))]).await;
        assert!(bridge.drain(Duration::from_secs(30)).await, "it came to the end");
        assert_eq!(world.names().await.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(log.cursors()[0].lag, 0);
        log.close();
    });
}

#[test]
fn a_drain_at_any_moment_comes_to_the_end() {
    actix_rt::System::new().block_on(async {
        let world = World::new();
        let log = world.log();
        for round in 0..100u64 {
            append(&log, RecordKind::CoreData, &[put("a", &round.to_string(), Some(round))]).await;
            let status = StatusHandle::new();
            let opened = log.clone();
            let letters = async |_: Vec<DeadLetter>| Ok::<u64, LettersError>(0);
            let open = move || opened.source(CURSOR);
            let bridge = RunningBridge::start(open, Arc::clone(&world.registry), letters, config(), status);
            // Its timer and the drain are due in one turn of its event loop, sooner or later.
            tokio::time::sleep(Duration::from_micros(200 * (round % 10))).await;
            assert!(bridge.drain(Duration::from_secs(30)).await, "round {round}");
            assert_eq!(world.names().await["a"], round.to_string());
        }
        log.close();
    });
}

#[test]
fn a_bridge_whose_registry_is_away_ends_in_time_and_leaves_its_messages_in_the_log() {
    actix_rt::System::new().block_on(async {
        let world = World::new();
        let log = world.log();
        append(&log, RecordKind::CoreData, &[put("a", "A", Some(1))]).await;
        let inside = Arc::clone(&world.registry);
        let away = Arc::new(Away { inside, failures: AtomicUsize::new(usize::MAX), stores_first: false });
        let status = StatusHandle::new();
        let opened = log.clone();
        let letters = async |_: Vec<DeadLetter>| Ok::<u64, LettersError>(0);
        let config = Config { retry_pause_ms_max: 20, ..config() };
        let bridge =
            RunningBridge::start(move || opened.source(CURSOR), away, letters, config, status.clone());
        eventually("it tries again", || status.get().retries >= 3).await;
        let reason = status.get().error.map(|error| error.reason).unwrap_or_default();
        assert!(reason.contains("cannot be reached at the moment: away"), "{reason:?} names the cause");
        assert!(!bridge.drain(Duration::from_millis(50)).await, "it did not come to the end");
        assert!(log.cursors()[0].lag > 0);
        assert_eq!(status.get().restarts, 0, "waiting is not dying");
        log.close();
    });
}
