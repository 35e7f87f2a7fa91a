//! The local side of [`Table`]: one redb file, and the async shell around it.
//!
//! `Store` is the file, with methods that block. [`LocalTable`] runs them on tokio's blocking
//! threads, at most [`CALLS_MAX`] at a time; further callers wait. redb has one writer: the pull
//! loop, the sweep and a replayed dead letter take turns, readers never wait for them.
//!
//! Items, identity entries, ledger and counts change in one transaction. So a crash anywhere
//! leaves all of a write or nothing of it, and an identity entry whose event is missing, which
//! a remote table must be able to take up again, does not occur here.
//!
//! Format 1 (sequences count from 0 and are never used again; numbers in keys and
//! values are big-endian):
//!
//! | table | key | value |
//! |---|---|---|
//! | `events` | length of the program id (1 byte), program id, `received_at_ms` (6 bytes), message id (16 bytes) | `TrackingEvent`, unchanged |
//! | `identities` | length of the program id (1 byte), program id, message id of a sender's id (16 bytes) | `received_at_ms` (8 bytes), boot (16), lane (4), number (8) of the record that has the id |
//! | `arrivals` | sequence | `received_at_ms` (8 bytes), key in `events` |
//! | `programs` | program id | items, expired items |
//! | `rejected` | sequence | `received_at_ms` (8 bytes), `Rejected`, unchanged |
//! | `dead_letters` | sequence | `DeadLetter` |
//! | `given_letters` | sequence in `dead_letters` | stage (4 bytes), boot, lane (4 bytes), number (8 bytes) of a letter that a bridge gave |
//! | `given_places` | the value of `given_letters` | sequence |
//! | `ledger` | boot (16 bytes), lane (4 bytes) | `LaneLedger` as JSON |
//! | `meta` | name | number: format, next sequences, totals |
//!
//! A program's events are one range of `events`, ordered by time. DynamoDB's
//! `program#hour#bucket` spreads a program's writes over partitions; one file has one partition
//! and one writer, and needs neither.

#[cfg(test)]
mod crash_tests;
mod expire;
#[cfg(test)]
mod expire_tests;
mod given;
mod letters;
mod read;
mod schema;
mod store;
mod write;

use std::sync::Arc;
use std::time::Duration;

use proto::{DeadLetter, Rejected, TrackingEvent, Uuid};
use supervise::now_ms;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use store::OpenError;

use self::store::Store;
use crate::config::Config;
use crate::decode::WriteBatch;
use crate::ledger::LedgerRow;
use crate::table::{
    Count, Cursor, Given, GivenLimits, LettersHeld, Listing, Query, Replayed, Start, Table, TableError,
    WhenFull, Written,
};

/// Calls that may be on blocking threads at the same time.
pub const CALLS_MAX: usize = 16;

/// The table of one machine. A clone is the same table.
#[derive(Clone, Debug)]
pub struct LocalTable {
    store: Arc<Store>,
    calls: Arc<Semaphore>,
    sweep_interval: Duration,
}

impl LocalTable {
    /// Opens or creates the file `config.table`. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`]; each names the file.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Ok(Self {
            store: Arc::new(Store::open(config)?),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            sweep_interval: Duration::from_secs(config.sweep_seconds.max(1)),
        })
    }

    /// Calls the store on a blocking thread. Dropping the future does not stop a write that has
    /// begun.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<R, TableError> + Send + 'static,
    ) -> Result<R, TableError> {
        let place = self.calls.clone().acquire_owned().await.expect("this semaphore is never closed");
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let _place = place;
            question(&store)
        });
        match asked.await {
            Ok(answer) => answer,
            Err(error) => Err(TableError::Unavailable(Box::new(error))),
        }
    }
}

impl Table for LocalTable {
    async fn write(&self, work: Arc<WriteBatch>) -> Result<Written, TableError> {
        self.ask(move |store| store.write(&work)).await
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        let program = program.to_owned();
        self.ask(move |store| store.get(&program, id)).await
    }

    async fn query(&self, query: Query) -> Result<Listing<TrackingEvent>, TableError> {
        self.ask(move |store| store.query(&query)).await
    }

    async fn tail(
        &self,
        program: Option<&str>,
        start: Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        let program = program.map(str::to_owned);
        self.ask(move |store| store.tail(program.as_deref(), &start, limit)).await
    }

    async fn count(&self, program: Option<&str>) -> Result<Count, TableError> {
        let program = program.map(str::to_owned);
        self.ask(move |store| store.count(program.as_deref())).await
    }

    async fn count_by_scan(&self, program: Option<&str>) -> Result<u64, TableError> {
        let program = program.map(str::to_owned);
        self.ask(move |store| store.count_by_scan(program.as_deref())).await
    }

    async fn has_had(&self, program: &str) -> Result<bool, TableError> {
        let program = program.to_owned();
        self.ask(move |store| store.count(Some(&program)).map(|count| count.items + count.expired > 0)).await
    }

    async fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        let reason = reason.map(str::to_owned);
        self.ask(move |store| store.rejected(&start, limit, reason.as_deref())).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        self.ask(Store::ledger).await
    }

    async fn dead_letters(&self, start: Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        self.ask(move |store| store.dead_letters(&start, limit)).await
    }

    async fn dead_letters_held(&self) -> Result<LettersHeld, TableError> {
        self.ask(Store::dead_letters_held).await
    }

    async fn dead_letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, TableError> {
        let id = id.clone();
        self.ask(move |store| store.dead_letter(&id)).await
    }

    async fn replay_dead_letter(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, TableError> {
        let id = id.clone();
        self.ask(move |store| store.replay_dead_letter(&id, now_ms)).await
    }

    async fn drop_dead_letter(&self, id: &Cursor) -> Result<bool, TableError> {
        let id = id.clone();
        self.ask(move |store| store.drop_dead_letter(&id)).await
    }

    async fn give_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, TableError> {
        self.ask(move |store| store.give_dead_letters(&letters, limits, when_full)).await
    }

    async fn maintain(&self, stop: watch::Receiver<Option<Instant>>) {
        let pass = || self.ask(|store| store.sweep(now_ms()));
        expire::sweep(self.sweep_interval, pass, stop).await;
    }
}
