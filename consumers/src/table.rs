//! The seam where events end: redb on one machine, DynamoDB in the cloud.
//!
//! What every table promises:
//! - An item is a function of program and message id only. Writing the same event
//!   again leaves one item, the first.
//! - [`Table::write`] is durable on return, and all of it may be repeated after an
//!   error or a crash: a number that the ledger has is not counted again. The local
//!   table has items and ledger in one transaction. A remote one writes items
//!   first and the ledger last; the boot, lane and number in an item tell its own
//!   earlier attempt from a duplicate.

use std::future::Future;
use std::sync::Arc;

use proto::{TrackingEvent, Uuid};
use serde::Serialize;

use crate::decode::Work;
use crate::ledger::{Fates, LedgerRow};

/// Where events end.
pub trait Table {
    /// Writes `work` and its ledger. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`]; the same work may be written again, whatever part of it was written.
    fn write(&self, work: Arc<Work>) -> impl Future<Output = Result<Written, TableError>> + Send;

    /// The event `id` of `program`, if the table has it.
    ///
    /// # Errors
    /// See [`TableError`].
    fn get(
        &self,
        program: &str,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<TrackingEvent>, TableError>> + Send;

    /// Events of a program whose message ids carry a time in the asked range.
    ///
    /// # Errors
    /// See [`TableError`].
    fn query(&self, query: Query) -> impl Future<Output = Result<Page<Uuid>, TableError>> + Send;

    /// The ledgers of all lanes, by boot and lane.
    ///
    /// # Errors
    /// See [`TableError`].
    fn ledger(&self) -> impl Future<Output = Result<Vec<LedgerRow>, TableError>> + Send;
}

/// What became of a piece of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The fates of the records that were new to the ledger.
    #[serde(flatten)]
    pub fates: Fates,
    /// Records that the ledger had already: they came again, after a crash or a lost answer.
    pub replayed: u64,
    /// `received_at_ms` of the newest event among them; 0 without one.
    pub newest_received_at_ms: u64,
}

/// Which events of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The program.
    pub program: String,
    /// The earliest time, milliseconds since 1970. Ids that a sender without a clock chose have
    /// time 0.
    pub from_ms: u64,
    /// The time before which they are; `u64::MAX` for no end.
    pub to_ms: u64,
    /// Continue behind this id: the [`Page::next`] of the page before.
    pub after: Option<Uuid>,
    /// Events of a page; at most [`PAGE_MAX`], at least 1.
    pub limit: usize,
}

/// The most items of one page; a larger limit counts as this.
pub const PAGE_MAX: usize = 1_000;

/// Events in the order of the key `K`.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<K> {
    /// Each with its key.
    pub items: Vec<(K, TrackingEvent)>,
    /// Where the next page continues; `None` when there was no more at the moment.
    pub next: Option<K>,
}

/// Why a table could not do it, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Slow down and try again.
    #[error("the table is throttling us")]
    Throttled,
    /// Try again later.
    #[error("the table is not available: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Trying again does not help; a person must look.
    #[error("the table is damaged: {0}")]
    Damaged(String),
}

impl TableError {
    /// Whether the same call may succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Throttled | Self::Unavailable(_) => true,
            Self::Damaged(_) => false,
        }
    }
}
