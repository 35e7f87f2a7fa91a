//! The local table: one redb file, and the async shell around it.
//!
//! [`Store`] is the file, with methods that block. [`LocalTable`] runs them on
//! tokio's blocking threads, at most [`CALLS_MAX`] at a time; further callers wait.
//! redb has one writer: the pull loop, the sweep and a replayed dead letter take
//! turns, readers never wait for them.
//!
//! Format 1 (sequences count from 0 and are never used again; numbers in keys and
//! values are big-endian):
//!
//! | table | key | value |
//! |---|---|---|
//! | `events` | length of the program id (1 byte), program id, message id (16 bytes) | `TrackingEvent` as it came |
//! | `arrivals` | sequence | `received_at_ms` (8 bytes), key in `events` |
//! | `programs` | program id | items, expired items |
//! | `rejected` | sequence | `received_at_ms` (8 bytes), `Rejected` as it came |
//! | `dead_letters` | sequence | `DeadLetter` |
//! | `given_letters` | sequence in `dead_letters` | stage, 0, boot, lane (4 bytes), number (8 bytes) of a letter that a bridge gave |
//! | `given_places` | the same the other way round | sequence |
//! | `ledger` | boot (16 bytes), lane (4 bytes) | `LaneLedger` as JSON |
//! | `meta` | name | number: format, next sequences, totals |
//!
//! A message id starts with its time, so a program's time range is one range of
//! `events`. DynamoDB's `program#hour#bucket` spreads a program's writes over
//! partitions; one file has one partition and one writer, and needs neither.

#[cfg(test)]
mod crash_tests;
mod expire;
mod given;
mod letters;
mod read;
mod schema;
mod store;
mod write;

use std::sync::Arc;

use proto::{TrackingEvent, Uuid};
use tokio::sync::Semaphore;

pub use expire::{Swept, sweep};
pub use given::{Given, GivenLimits};
pub use letters::Replayed;
pub use read::{Count, Listing, Start};
pub use store::{OpenError, Store};

use crate::decode::Work;
use crate::ledger::LedgerRow;
use crate::table::{Page, Query, Table, TableError, Written};

/// Calls that may be on blocking threads at the same time.
pub const CALLS_MAX: usize = 16;

/// The store for callers that must not block. A clone is the same table.
#[derive(Clone, Debug)]
pub struct LocalTable {
    store: Arc<Store>,
    calls: Arc<Semaphore>,
}

impl LocalTable {
    /// The shell around an opened store.
    pub fn new(store: Store) -> Self {
        Self { store: Arc::new(store), calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// The store, for a thread that may block.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Asks the store on a blocking thread.
    ///
    /// A caller that goes away does not undo a write that has begun.
    ///
    /// # Errors
    /// Those of `question`; [`TableError::Unavailable`] if it panicked or the runtime ends.
    pub async fn ask<R: Send + 'static>(
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
    async fn write(&self, work: Arc<Work>) -> Result<Written, TableError> {
        self.ask(move |store| store.write(&work)).await
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        let program = program.to_owned();
        self.ask(move |store| store.get(&program, id)).await
    }

    async fn query(&self, query: Query) -> Result<Page<Uuid>, TableError> {
        self.ask(move |store| store.query(&query)).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        self.ask(Store::ledger).await
    }
}
