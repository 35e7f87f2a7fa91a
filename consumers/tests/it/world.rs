//! What a test needs: events, batches, a table, and a source that hands out again what was
//! not committed.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use consumers::{Config, LedgerRow, LocalTable, Page, Query, Store, Table, TableError, Work, Written};
use proto::{BootId, Message, Rejected, TrackingEvent, Uuid};
use stream::{Batch, Checkpoint, Item, Record, RecordKind, Source, SourceError};
use tempfile::TempDir;

pub const NOW: u64 = 1_790_000_000_000;
pub const DAY: u64 = 24 * 60 * 60 * 1_000;

pub fn boot(which: u128) -> BootId {
    Uuid::from_u128(which)
}

/// The id of the `n`th event, `n` milliseconds after `NOW`.
pub fn id(n: u64) -> Uuid {
    Uuid::from_u128((u128::from(NOW + n) << 80) | (7 << 76) | (1 << 63) | u128::from(n))
}

pub fn event(program: &str, n: u64) -> TrackingEvent {
    TrackingEvent {
        programid: program.into(),
        message_id: id(n).to_string(),
        received_at_ms: NOW + n,
        ..TrackingEvent::default()
    }
}

pub fn record(number: u64, event: &TrackingEvent) -> Item {
    of_kind(number, RecordKind::Event, event.encode_to_vec())
}

pub fn rejected(number: u64, reason: &str) -> Item {
    let rejected = Rejected { reason: reason.into(), received_at_ms: NOW, ..Rejected::default() };
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

/// A table in a directory of its own.
pub struct World {
    pub config: Config,
    _directory: TempDir,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { table: directory.path().join("table.redb"), ..Config::default() };
        Self { config, _directory: directory }
    }

    pub fn open(&self) -> Store {
        Store::open(&self.config).unwrap()
    }
}

pub fn write(store: &Store, batches: &[Batch]) -> Written {
    store.write(&Work::of(batches, NOW)).unwrap()
}

/// Program and message id of every item, by reading them all.
pub fn all_items(store: &Store) -> Vec<(String, Uuid)> {
    let mut all = Vec::new();
    store
        .scan(|program, id| {
            all.push((program.to_owned(), id));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

/// Events stored, as the ledger has them.
pub fn ledger_stored(store: &Store) -> u64 {
    store.ledger().unwrap().iter().map(|row| row.ledger.fates().stored).sum()
}

/// Looks again every (paused) 10 ms until `holds`, for an hour at most.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(3_600);
    while !holds() {
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
    pub committed: Shared<usize>,
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

    async fn commit(&mut self, _checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
        if let Some(error) = self.stream.commit_errors.borrow_mut().pop_front() {
            return Err(error);
        }
        *self.stream.committed.borrow_mut() = self.at;
        Ok(())
    }
}

/// A table that fails first and then is the one inside.
pub struct Failing {
    pub inside: LocalTable,
    errors: Mutex<VecDeque<TableError>>,
}

impl Failing {
    pub fn new(inside: LocalTable, errors: impl IntoIterator<Item = TableError>) -> Self {
        Self { inside, errors: Mutex::new(errors.into_iter().collect()) }
    }

    pub fn errors_left(&self) -> usize {
        self.errors.lock().unwrap().len()
    }
}

impl Table for Failing {
    fn write(&self, work: Arc<Work>) -> impl Future<Output = Result<Written, TableError>> + Send {
        let error = self.errors.lock().unwrap().pop_front();
        let inside = self.inside.clone();
        async move {
            match error {
                Some(error) => Err(error),
                None => inside.write(work).await,
            }
        }
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        self.inside.get(program, id).await
    }

    async fn query(&self, query: Query) -> Result<Page<Uuid>, TableError> {
        self.inside.query(query).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        self.inside.ledger().await
    }
}
