//! What cannot be read goes to the dead letters, and the stream goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bridges::programs::{Bridge, BridgeError, Config, Counts, Intake, STAGE, StatusHandle, Turn, read_lines};
use programs::RegistryError;
use stream::RecordKind;

use crate::world::{
    Away, CURSOR, Letters, World, append, config, on_one_thread, put, remove, run_to_the_end,
};

#[test]
fn poison_in_the_middle_is_kept_with_its_reason_and_its_place() {
    on_one_thread(async {
        let world = World::new();
        let log = world.log();
        let messages = [
            put("a", "A", Some(1)),
            r#"{"programId": "b", "programName": "B"}"#.to_owned(),
            format!("[{}, {{\"programId\": 7}}]", put("c", "C", Some(1))),
            put("d", "D", Some(1)),
        ];
        let numbers = append(&log, RecordKind::CoreData, &messages).await;
        append(&log, RecordKind::Other(77), &["from the future"]).await;
        append(&log, RecordKind::CoreData, &[b"\xff\xfe"]).await;
        append(&log, RecordKind::CoreData, &[put("e", "E", Some(1))]).await;

        let letters = Letters::default();
        let status = run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await.get();
        assert_eq!(status.counts, Counts { stored: 3, dead: 4, ..Counts::default() });
        assert_eq!(world.names().await.into_keys().collect::<Vec<_>>(), ["a", "d", "e"]);

        let reasons = letters.reasons();
        for (reason, said) in reasons.iter().zip([
            "line 1, column 38: missing field `checksum`",
            "[1].programId: invalid type",
            "kind 77",
            "line 1, column 1: is not UTF-8",
        ]) {
            let said = said.replace("checksum", "customerId");
            assert!(reason.contains(&said), "{reason:?} does not say {said:?}");
        }
        assert_eq!(reasons.len(), 4);
        let letter = letters.kept.borrow()[0].clone();
        assert_eq!((letter.stage(), letter.number), (STAGE, numbers[1]));
        assert_eq!(letter.boot, log.boot().as_bytes());
        assert_eq!(letter.payload, messages[1].as_bytes());
        assert!(letter.failed_at_ms > 0);

        let again = run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await.get();
        assert_eq!(again.counts, Counts::default(), "the cursor has passed all of it");
        log.close();
    });
}

/// Turns until there is nothing more, whatever fails; the errors.
async fn through_failures(
    world: &World,
    away: Arc<Away>,
    letters: &Letters,
) -> (Vec<BridgeError>, StatusHandle) {
    let log = world.log();
    append(
        &log,
        RecordKind::CoreData,
        &[put("a", "A", Some(1)), remove("b", 3), "x".to_owned(), put("b", "late", Some(2))],
    )
    .await;
    let status = StatusHandle::new();
    let mut errors = Vec::new();
    let mut bridge = Bridge::new(log.source(CURSOR).unwrap(), away, letters.keep(), config(), status.clone());
    loop {
        match bridge.turn().await {
            Ok(Turn::Full) => {}
            Ok(Turn::Idle) => break,
            Err(error) => {
                assert_eq!(
                    log.cursors()[0].lanes.iter().map(|lane| lane.next).max(),
                    Some(0),
                    "the cursor waits"
                );
                errors.push(error);
            }
        }
    }
    drop(bridge);
    log.close();
    (errors, status)
}

#[test]
fn a_registry_that_is_away_twice_delays_core_data_and_loses_none() {
    for stores_first in [false, true] {
        on_one_thread(async {
            let world = World::new();
            let inside = Arc::clone(&world.registry);
            let away = Arc::new(Away { inside, failures: AtomicUsize::new(2), stores_first });
            let letters = Letters::default();
            let (errors, status) = through_failures(&world, Arc::clone(&away), &letters).await;
            assert!(
                matches!(
                    errors[..],
                    [BridgeError::Registry(RegistryError::Unavailable(_)), BridgeError::Registry(_)]
                ),
                "{errors:?}"
            );
            assert!(errors.iter().all(BridgeError::is_retryable));
            assert_eq!(away.failures.load(SeqCst), 0);
            let status = status.get();
            assert_eq!((status.retries, status.error), (2, None));
            assert_eq!(status.counts.stored + status.counts.unchanged, 2, "a put and a removal");
            assert_eq!((status.counts.older, status.counts.dead, letters.reasons().len()), (1, 1, 1));
            assert_eq!(world.names().await.into_keys().collect::<Vec<_>>(), ["a"]);
        });
    }
}

#[test]
fn dead_letters_that_cannot_be_kept_hold_the_cursor_until_they_are() {
    on_one_thread(async {
        let world = World::new();
        let letters = Letters::default();
        *letters.failures.borrow_mut() = 2;
        let inside = Arc::clone(&world.registry);
        let away = Arc::new(Away { inside, failures: AtomicUsize::new(0), stores_first: false });
        let (errors, status) = through_failures(&world, away, &letters).await;
        assert!(matches!(errors[..], [BridgeError::Letters(_), BridgeError::Letters(_)]), "{errors:?}");
        assert_eq!(letters.reasons().len(), 1);
        assert_eq!(status.get().counts.dead, 1);
    });
}

#[test]
fn a_log_without_room_says_so_and_takes_more_once_there_is_room() {
    on_one_thread(async {
        let world = World::new();
        let log = world.log();
        let intake = Intake::start(&log).unwrap();
        // Larger than what a lane may collect in a turn: it waits for room by itself.
        let text: String =
            (0..500).map(|n| put(&format!("p{n}"), &"x".repeat(200), Some(1)) + "\n").collect();
        let read = read_lines(&text);
        assert_eq!((read.changes.len(), read.refused), (500, 0));
        let changes = read.changes;
        let mut accepted = 0;
        let full = loop {
            match intake.accept(changes.clone()).await {
                Ok(()) => accepted += 500,
                Err(error) => break error,
            }
        };
        assert!(full.to_string().contains("no room"), "{full}");
        assert!(accepted >= 500, "what is larger than a turn may collect waits for room by itself");
        let letters = Letters::default();
        let status = run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await.get();
        assert_eq!((status.counts.stored, status.counts.dead), (500, 0));
        assert!(status.counts.unchanged >= accepted - 500, "{status:?}");
        intake.accept(changes).await.unwrap();
        intake.close();
        log.close();
    });
}

#[test]
fn a_registry_that_is_away_for_long_is_asked_again_within_2_seconds_unless_told_otherwise() {
    on_one_thread(async {
        let world = World::new();
        let log = world.log();
        append(&log, RecordKind::CoreData, &[put("a", "A", Some(1))]).await;
        let inside = Arc::clone(&world.registry);
        let away = Arc::new(Away { inside, failures: AtomicUsize::new(200), stores_first: false });
        let letters = Letters::default();
        let source = log.source(CURSOR).unwrap();
        let mut bridge = Bridge::new(source, away, letters.keep(), Config::default(), StatusHandle::new());
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            longest = longest.max(bridge.turn_and_pause().await);
        }
        assert!(longest <= Duration::from_secs(2), "{longest:?}");
        assert!(longest > Duration::from_secs(1), "{longest:?}: who is away is not hammered");
        assert_eq!(bridge.turn_and_pause().await, Duration::ZERO, "it is back");
        assert_eq!(world.names().await.into_keys().collect::<Vec<_>>(), ["a"]);
        log.close();
    });
}
