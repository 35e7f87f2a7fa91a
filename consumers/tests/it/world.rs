//! What a test needs: events, batches, a table, and a source that hands out again what was
//! not committed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use consumers::{
    Config, Count, Cursor, Given, GivenLimits, LedgerRow, LettersHeld, Listing, LocalTable, PAGE_MAX, Query,
    Replayed, Start, Table, TableError, WhenFull, WriteBatch, Written,
};
use proto::{BootId, DeadLetter, Message, Rejected, TrackingEvent, Uuid, ids};
use stream::{Batch, Checkpoint, Item, Record, RecordKind, Source, SourceError};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

/// The time of a test, milliseconds since 1970: a minute before it began, as DynamoDB removes what has
/// expired by its own clock, and a tail shows what is some seconds old.
pub fn now() -> u64 {
    static NOW: OnceLock<u64> = OnceLock::new();
    *NOW.get_or_init(|| supervise::now_ms() - 60_000)
}

pub const DAY: u64 = 24 * 60 * 60 * 1_000;

pub fn boot(which: u128) -> BootId {
    Uuid::from_u128(which)
}

/// The id of the `n`th event, `n` milliseconds after `now()`.
pub fn id(n: u64) -> Uuid {
    Uuid::from_u128((u128::from(now() + n) << 80) | (7 << 76) | (1 << 63) | u128::from(n))
}

pub fn event(program: &str, n: u64) -> TrackingEvent {
    TrackingEvent {
        programid: program.into(),
        message_id: id(n).to_string(),
        received_at_ms: now() + n,
        ..TrackingEvent::default()
    }
}

pub fn record(number: u64, event: &TrackingEvent) -> Item {
    of_kind(number, RecordKind::Event, event.encode_to_vec())
}

pub fn rejected(number: u64, reason: &str) -> Item {
    let rejected = Rejected { reason: reason.into(), received_at_ms: now(), ..Rejected::default() };
    of_kind(number, RecordKind::Rejected, rejected.encode_to_vec())
}

pub fn poison(number: u64) -> Item {
    of_kind(number, RecordKind::Event, b"\xff\xff".to_vec())
}

pub fn of_kind(number: u64, kind: RecordKind, payload: Vec<u8>) -> Item {
    Item::Record(Record { number, kind, payload: payload.into() })
}

pub fn batch(boot: BootId, lane: u32, items: Vec<Item>) -> Batch {
    Batch::of_lane(boot, lane, items)
}

/// Events `numbers` of program "p" in lane 0 of boot 1; event and number are the same.
pub fn events(numbers: std::ops::Range<u64>) -> Batch {
    batch(boot(1), 0, numbers.map(|n| record(n, &event("p", n))).collect())
}

/// The `n`th event of a sender that gives ids, received `n` milliseconds after `now()`.
pub fn event_of_sender(program: &str, sender_id: &str, n: u64) -> TrackingEvent {
    let id = ids::from_sender(&[program, "conversion", sender_id]);
    TrackingEvent { message_id: id.to_string(), ..event(program, n) }
}

/// A local table in a directory of its own.
pub struct World {
    pub config: Config,
    _directory: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { table: directory.path().join("table.redb"), ..Config::default() };
        change(&mut config);
        Self { config, _directory: directory }
    }

    pub fn open(&self) -> LocalTable {
        LocalTable::open(&self.config).unwrap()
    }
}

pub async fn write<T: Table>(table: &T, batches: &[Batch]) -> Written {
    table.write(WriteBatch::of(batches, now()).into()).await.unwrap()
}

/// Every event of these programs, each program's in the order of storing.
pub async fn all_events<T: Table>(table: &T, programs: &[&str]) -> Vec<TrackingEvent> {
    let mut all = Vec::new();
    for program in programs {
        let mut start = Start::Oldest;
        loop {
            let page = table.tail(Some(program), start, PAGE_MAX).await.unwrap();
            let is_last = page.items.len() < PAGE_MAX;
            all.extend(page.items.into_iter().map(|(_, event)| event));
            if is_last {
                break;
            }
            start = Start::At(page.next.unwrap());
        }
    }
    all
}

/// How many events there are, by its counts, if it has them, and by reading them all.
pub async fn items<T: Table>(table: &T) -> u64 {
    let scanned = table.count_by_scan(None).await.unwrap();
    match table.count(None).await {
        Ok(count) => assert_eq!(scanned, count.items, "counting and reading agree"),
        Err(TableError::NotOffered(way_out)) => assert!(way_out.contains("--scan"), "{way_out}"),
        Err(error) => panic!("{error}"),
    }
    scanned
}

/// Events stored, as the ledger has them.
pub async fn ledger_stored<T: Table>(table: &T) -> u64 {
    table.ledger().await.unwrap().iter().map(|row| row.ledger.fates().stored).sum()
}

/// Looks again every (paused) 10 ms until `holds`, for an hour at most.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(3_600);
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A value that a test and what it tests both see.
#[derive(Default)]
pub struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    pub fn borrow(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }

    pub fn borrow_mut(&self) -> MutexGuard<'_, T> {
        self.borrow()
    }
}

/// A lane that outlives its readers: every new source starts at what was committed.
#[derive(Clone, Default)]
pub struct Stream {
    pub batches: Shared<Vec<Batch>>,
    /// Batches from the first on that are all committed.
    pub committed: Shared<usize>,
    checkpoints: Shared<Vec<Checkpoint>>,
    /// Taken one at a time by `next` and `commit` before they do anything.
    pub next_errors: Shared<VecDeque<SourceError>>,
    pub commit_errors: Shared<VecDeque<SourceError>>,
}

impl Stream {
    pub fn of(batches: Vec<Batch>) -> Self {
        Self { batches: Shared::new(batches), ..Self::default() }
    }

    pub fn source(&self) -> Reader {
        Reader { at: *self.committed.borrow(), stream: self.clone() }
    }
}

pub struct Reader {
    stream: Stream,
    at: usize,
}

impl Source for Reader {
    async fn next(&mut self, _bytes_max: usize) -> Result<Option<Batch>, SourceError> {
        if let Some(error) = self.stream.next_errors.borrow_mut().pop_front() {
            return Err(error);
        }
        let batch = self.stream.batches.borrow().get(self.at).cloned();
        self.at += usize::from(batch.is_some());
        Ok(batch)
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
        if let Some(error) = self.stream.commit_errors.borrow_mut().pop_front() {
            return Err(error);
        }
        let mut known = self.stream.checkpoints.borrow_mut();
        known.extend_from_slice(checkpoints);
        let batches = self.stream.batches.borrow();
        let mut committed = self.stream.committed.borrow_mut();
        while batches.get(*committed).is_some_and(|batch| known.contains(&batch.checkpoint)) {
            *committed += 1;
        }
        Ok(())
    }
}

/// A table that fails first and then is the one inside.
#[derive(Clone)]
pub struct Failing {
    pub inside: LocalTable,
    errors: Arc<Mutex<VecDeque<TableError>>>,
}

impl Failing {
    pub fn new(inside: LocalTable, errors: impl IntoIterator<Item = TableError>) -> Self {
        Self { inside, errors: Arc::new(Mutex::new(errors.into_iter().collect())) }
    }

    pub fn errors_left(&self) -> usize {
        self.errors.lock().unwrap().len()
    }
}

impl Table for Failing {
    async fn write(&self, work: Arc<WriteBatch>) -> Result<Written, TableError> {
        let error = self.errors.lock().unwrap().pop_front();
        match error {
            Some(error) => Err(error),
            None => self.inside.write(work).await,
        }
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        self.inside.get(program, id).await
    }

    async fn query(&self, query: Query) -> Result<Listing<TrackingEvent>, TableError> {
        self.inside.query(query).await
    }

    async fn tail(
        &self,
        program: Option<&str>,
        start: Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        self.inside.tail(program, start, limit).await
    }

    async fn count(&self, program: Option<&str>) -> Result<Count, TableError> {
        self.inside.count(program).await
    }

    async fn count_by_scan(&self, program: Option<&str>) -> Result<u64, TableError> {
        self.inside.count_by_scan(program).await
    }

    async fn has_had(&self, program: &str) -> Result<bool, TableError> {
        self.inside.has_had(program).await
    }

    async fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        self.inside.rejected(start, limit, reason).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        self.inside.ledger().await
    }

    async fn dead_letters(&self, start: Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        self.inside.dead_letters(start, limit).await
    }

    async fn dead_letters_held(&self) -> Result<LettersHeld, TableError> {
        self.inside.dead_letters_held().await
    }

    async fn dead_letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, TableError> {
        self.inside.dead_letter(id).await
    }

    async fn replay_dead_letter(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, TableError> {
        self.inside.replay_dead_letter(id, now_ms).await
    }

    async fn drop_dead_letter(&self, id: &Cursor) -> Result<bool, TableError> {
        self.inside.drop_dead_letter(id).await
    }

    async fn give_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, TableError> {
        self.inside.give_dead_letters(letters, limits, when_full).await
    }

    async fn maintain(&self, stop: watch::Receiver<Option<Instant>>) {
        self.inside.maintain(stop).await;
    }
}
