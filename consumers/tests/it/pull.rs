//! The loop stores, retries, stops, and never skips or counts twice.

use std::io;
use std::time::Duration;

use consumers::{Config, Cursor, Ended, RunError, Status, StatusHandle, Table, TableError, run};
use stream::{Checkpoint, Item, SourceError};
use supervise::causes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::{
    Failing, Stream, World, batch, boot, events, eventually, items, ledger_stored, poison, write,
};

async fn run_until_caught_up<T: consumers::Table>(
    stream: &Stream,
    table: &T,
    config: &Config,
) -> (Result<Ended, RunError>, Status) {
    let (_stop, stopped) = watch::channel(Some(Instant::now() + Duration::from_secs(3_600)));
    let status = StatusHandle::new();
    let ended = run(stream.source(), table, config, stopped, &status).await;
    (ended, status.get())
}

fn away() -> SourceError {
    SourceError::Unavailable(io::ErrorKind::TimedOut.into())
}

#[tokio::test]
async fn a_stop_lets_the_loop_catch_up() {
    let world = World::new();
    let table = world.open();
    let stream = Stream::of(vec![events(0..10), events(10..20), batch(boot(1), 1, vec![poison(0)])]);
    let (ended, status) = run_until_caught_up(&stream, &table, &world.config).await;
    assert_eq!(ended.unwrap(), Ended::CaughtUp);
    assert_eq!(items(&table).await, 20);
    assert_eq!(*stream.committed.borrow(), 3);
    assert_eq!((status.fates.stored, status.fates.dead_letters, status.transactions), (20, 1, 1));
    assert!(status.caught_up && status.error.is_none() && status.last_stored_at_ms > 0);
}

#[tokio::test]
async fn many_small_batches_are_one_transaction_up_to_the_limit() {
    let mut world = World::new();
    let table = world.open();
    let many = || Stream::of((0..100).map(|n| events(n..n + 1)).collect());
    let (_, status) = run_until_caught_up(&many(), &table, &world.config).await;
    assert_eq!(status.transactions, 1);

    world.config.batch_bytes_max = 1;
    let (_, status) = run_until_caught_up(&many(), &table, &world.config).await;
    assert_eq!((status.transactions, status.replayed), (100, 100), "one batch each when one fills it");
}

#[tokio::test]
async fn a_crash_between_the_table_and_the_cursor_stores_once() {
    let world = World::new();
    let table = world.open();
    let stream = Stream::of(vec![events(0..10), events(10..20)]);
    stream.commit_errors.borrow_mut().push_back(SourceError::Damaged("the process dies here".into()));
    let (ended, _) = run_until_caught_up(&stream, &table, &world.config).await;
    assert!(matches!(ended, Err(RunError::Source(SourceError::Damaged(_)))));
    let committed = *stream.committed.borrow();
    assert_eq!((committed, items(&table).await), (0, 20));

    stream.batches.borrow_mut().push(events(20..25));
    let (ended, status) = run_until_caught_up(&stream, &table, &world.config).await;
    assert_eq!(ended.unwrap(), Ended::CaughtUp);
    assert_eq!((status.fates.stored, status.fates.duplicates, status.replayed), (5, 0, 20));
    assert_eq!((items(&table).await, ledger_stored(&table).await), (25, 25));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_fails_twice_is_asked_a_third_time() {
    let world = World::new();
    let errors = [TableError::Throttled, TableError::Unavailable("a cable is out".into())];
    let table = Failing::new(world.open(), errors);
    let stream = Stream::of(vec![events(0..3)]);
    let (ended, status) = run_until_caught_up(&stream, &table, &world.config).await;
    assert_eq!(ended.unwrap(), Ended::CaughtUp);
    assert_eq!(table.errors_left(), 0);
    assert_eq!((status.fates.stored, ledger_stored(&table.inside).await), (3, 3));
    assert_eq!(status.error, None);
    let last = status.last_error.unwrap().reason;
    assert_eq!(last, "events cannot be stored: the table is not available: a cable is out");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_away_is_asked_again_and_a_damaged_one_ends_the_loop() {
    let world = World::new();
    let table = world.open();
    let stream = Stream::of(vec![events(0..3)]);
    stream.next_errors.borrow_mut().extend([away(), away()]);
    stream.commit_errors.borrow_mut().extend([away(), away()]);
    let (ended, status) = run_until_caught_up(&stream, &table, &world.config).await;
    assert_eq!(ended.unwrap(), Ended::CaughtUp);
    assert_eq!((status.fates.stored, *stream.committed.borrow()), (3, 1));

    stream.next_errors.borrow_mut().push_back(SourceError::Damaged("segment 3 is rotten".into()));
    let (ended, _) = run_until_caught_up(&stream, &table, &world.config).await;
    let error = causes(&ended.unwrap_err());
    assert_eq!(error, "cannot read events from the source: segment 3 is rotten");
}

#[tokio::test]
async fn a_damaged_table_ends_the_loop_and_the_cursor_stays() {
    let world = World::new();
    let errors = [TableError::Damaged("page 7".into())];
    let table = Failing::new(world.open(), errors);
    let stream = Stream::of(vec![events(0..3)]);
    let (ended, _) = run_until_caught_up(&stream, &table, &world.config).await;
    assert!(matches!(ended, Err(RunError::Table(TableError::Damaged(_)))));
    assert_eq!(*stream.committed.borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_loop_whose_table_never_comes_back() {
    let world = World::new();
    let errors = (0..10_000).map(|_| TableError::Throttled);
    let table = Failing::new(world.open(), errors);
    let stream = Stream::of(vec![events(0..3)]);
    let (stop, stopped) = watch::channel(None);
    let status = StatusHandle::new();
    let running = run(stream.source(), &table, &world.config, stopped, &status);
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(status.get().error.is_some(), "what holds up the loop can be seen");
        stop.send(Some(Instant::now() + Duration::from_secs(5))).unwrap();
        Instant::now()
    };
    let (ended, told_at) = tokio::join!(running, stopping);
    assert_eq!(ended.unwrap(), Ended::OutOfTime);
    assert_eq!(told_at.elapsed(), Duration::from_secs(5));
    assert_eq!(*stream.committed.borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_loop_stores_what_comes_later_and_stops_at_once_without_a_sender() {
    let world = World::new();
    let table = world.open();
    let stream = Stream::default();
    let (stop, stopped) = watch::channel(None);
    let status = StatusHandle::new();
    let running = run(stream.source(), &table, &world.config, stopped, &status);
    let feeding = async {
        for n in 0..3 {
            stream.batches.borrow_mut().push(events(n..n + 1));
            eventually("it is stored", async || status.get().fates.stored > n).await;
        }
        drop(stop);
    };
    let (ended, ()) = tokio::join!(running, feeding);
    assert!(ended.is_ok());
    assert_eq!(items(&table).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_loop_without_room_for_a_dead_letter_stalls_says_so_and_goes_on_once_there_is() {
    let world = World::with(|config| config.dead_letters_max = 1);
    let table = world.open();
    let stream = Stream::of(vec![
        batch(boot(1), 0, vec![poison(0)]),
        batch(boot(1), 0, vec![poison(1), poison(2)]),
        batch(boot(1), 1, vec![crate::world::record(0, &crate::world::event("q", 0))]),
    ]);
    let (stop, stopped) = watch::channel(None);
    let status = StatusHandle::new();
    let running = run(stream.source(), &table, &world.config, stopped, &status);
    let helping = async {
        for held in 1..=2 {
            eventually("it is stalled", async || status.get().stalled).await;
            let said = status.get().error.unwrap().reason;
            assert!(said.contains("operator action required"), "{said}");
            assert_eq!((items(&table).await, status.get().fates.dead_letters), (1, held));
            // Neither the poison's batch nor what stands behind it in its lane is committed.
            assert!(*stream.committed.borrow() < 3);
            let letters = table.dead_letters(consumers::Start::Oldest, 10).await.unwrap().items;
            assert!(table.drop_dead_letter(&letters[0].0).await.unwrap());
            eventually("it went on", async || status.get().fates.dead_letters > held).await;
        }
        eventually("it stored everything", async || status.get().caught_up).await;
        assert!(!status.get().stalled && status.get().error.is_none());
        drop(stop);
    };
    let (ended, ()) = tokio::join!(running, helping);
    assert!(ended.is_ok());
    let whole = consumers::reconcile(&table.ledger().await.unwrap(), &[]);
    assert_eq!((whole.totals.fates.stored, whole.totals.missing), (1, 0));
    assert_eq!((whole.totals.fates.dead_letters, whole.totals.fates.dropped), (1, 2));
    assert_eq!(*stream.committed.borrow(), 3);
    assert_eq!(table.dead_letter(&Cursor::new("2")).await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn an_end_of_a_lane_and_abandoned_numbers_reach_the_ledger() {
    let world = World::new();
    let table = world.open();
    let items = vec![Item::Abandoned { first: 3, count: 2 }, Item::End { issued: 5, clean: false }];
    let stream = Stream::of(vec![events(0..3), batch(boot(1), 0, items)]);
    run_until_caught_up(&stream, &table, &world.config).await.0.unwrap();
    let row = table.ledger().await.unwrap().remove(0);
    assert_eq!(row.ledger.abandoned().as_slice(), [(3, 5)]);
    assert_eq!(row.ledger.end().map(|end| (end.issued, end.clean)), Some((5, false)));

    write(&table, &[events(4..5)]).await;
    let whole = consumers::reconcile(&table.ledger().await.unwrap(), &[]);
    assert_eq!((whole.totals.fates.stored, whole.totals.abandoned, whole.totals.missing), (4, 1, 0));
}

#[tokio::test]
async fn what_arrives_just_before_the_stop_is_stored() {
    /// Gets its last batch, and the stop, right after it said that it has nothing.
    struct Late(Option<stream::Batch>, bool, watch::Sender<Option<Instant>>);
    impl stream::Source for Late {
        async fn next(&mut self, _bytes_max: usize) -> Result<Option<stream::Batch>, SourceError> {
            if std::mem::replace(&mut self.1, true) {
                return Ok(self.0.take());
            }
            self.2.send(Some(Instant::now() + Duration::from_secs(60))).unwrap();
            Ok(None)
        }
        async fn commit(&mut self, _checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
            Ok(())
        }
    }
    let world = World::new();
    let table = world.open();
    let (stop, stopped) = watch::channel(None);
    let source = Late(Some(events(0..3)), false, stop);
    let ended = run(source, &table, &world.config, stopped, &StatusHandle::new()).await;
    assert_eq!((ended.unwrap(), items(&table).await), (Ended::CaughtUp, 3));
}

#[tokio::test]
async fn a_loop_between_a_source_and_a_table_that_are_send_can_be_spawned() {
    struct Nothing;
    impl stream::Source for Nothing {
        async fn next(&mut self, _bytes_max: usize) -> Result<Option<stream::Batch>, SourceError> {
            Ok(None)
        }
        async fn commit(&mut self, _checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
            Ok(())
        }
    }
    let world = World::new();
    let table = world.open();
    let (stop, stopped) = watch::channel(None);
    let config = world.config.clone();
    let running =
        tokio::spawn(async move { run(Nothing, &table, &config, stopped, &StatusHandle::new()).await });
    stop.send(Some(Instant::now() + Duration::from_secs(60))).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), Ended::CaughtUp);
}
