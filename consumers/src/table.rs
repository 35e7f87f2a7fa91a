//! The seam where events end: redb on one machine, DynamoDB in the cloud.
//!
//! Every access to stored events, by the pull loop, a command, the admin page or a Lambda, goes
//! through [`Table`]; nothing outside this crate names an implementation. One contract suite
//! (`tests/it/contract/`) runs against each side.
//!
//! What every table promises:
//! - An event's item is a function of the event: program, `received_at_ms` and message id are its
//!   key, the event's bytes are its value. The consumer adds nothing of its own.
//! - An event is stored once. One with an id of ours (UUIDv7) can come again only as the same
//!   record, which the ledger knows. One with a sender's id (UUIDv8) first takes an *identity
//!   entry*, which only one record can have; any other record of that id is a duplicate, until
//!   the entry has expired.
//! - [`Table::write`] is durable on return, and may be repeated as a whole after an error or a
//!   crash: a number that is in the ledger is not counted again.

use std::future::Future;
use std::sync::Arc;

use proto::{DeadLetter, Rejected, TrackingEvent, Uuid};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::decode::WriteBatch;
use crate::ledger::{Fates, LedgerRow};

/// Where events end. A clone is the same table.
///
/// Each method may be called from many tasks at once; the implementation bounds what runs.
pub trait Table: Clone + Send + Sync + 'static {
    /// Writes `work` and its ledger. Durable on return, except for [`Written::left`].
    ///
    /// # Errors
    /// See [`TableError`]; the same work may be written again, whatever part of it was written.
    fn write(&self, work: Arc<WriteBatch>) -> impl Future<Output = Result<Written, TableError>> + Send;

    /// The event `id` of `program`, if the table has it.
    ///
    /// # Errors
    /// See [`TableError`].
    fn get(
        &self,
        program: &str,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<TrackingEvent>, TableError>> + Send;

    /// Events of a program that were received in a time range, in the order of their times.
    ///
    /// # Errors
    /// See [`TableError`].
    fn query(&self, query: Query) -> impl Future<Output = Result<Listing<TrackingEvent>, TableError>> + Send;

    /// Events of a program, or of all, in the order in which they were stored, or as near to it as the
    /// table has it; at most `limit` and [`PAGE_MAX`].
    ///
    /// A live tail polls at [`Listing::next`] every few hundred milliseconds: simpler than a channel
    /// per reader, nothing to bound, and a slow reader delays no other.
    ///
    /// # Errors
    /// See [`TableError`].
    fn tail(
        &self,
        program: Option<&str>,
        start: Start,
        limit: usize,
    ) -> impl Future<Output = Result<Listing<TrackingEvent>, TableError>> + Send;

    /// How many events there are, of one program or of all, as cheaply as the table can say.
    ///
    /// # Errors
    /// See [`TableError`].
    fn count(&self, program: Option<&str>) -> impl Future<Output = Result<Count, TableError>> + Send;

    /// The same number, from a full scan of the keys.
    ///
    /// # Errors
    /// See [`TableError`].
    fn count_by_scan(&self, program: Option<&str>) -> impl Future<Output = Result<u64, TableError>> + Send;

    /// Whether the table has, or is known to have had, an event of this program.
    ///
    /// # Errors
    /// See [`TableError`].
    fn has_had(&self, program: &str) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Refused hits in the order in which they came, all or those of one reason; at most `limit`
    /// and [`PAGE_MAX`]. A rare reason may need several calls, as each looks at a bounded number.
    ///
    /// # Errors
    /// See [`TableError`].
    fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> impl Future<Output = Result<Listing<Rejected>, TableError>> + Send;

    /// The ledgers of all lanes, by boot and lane.
    ///
    /// # Errors
    /// See [`TableError`].
    fn ledger(&self) -> impl Future<Output = Result<Vec<LedgerRow>, TableError>> + Send;

    /// Dead letters in the order of their deaths, each with its id; at most `limit` and
    /// [`PAGE_MAX`].
    ///
    /// # Errors
    /// See [`TableError`].
    fn dead_letters(
        &self,
        start: Start,
        limit: usize,
    ) -> impl Future<Output = Result<Listing<DeadLetter>, TableError>> + Send;

    /// How many dead letters wait for an operator, and their bound.
    ///
    /// # Errors
    /// See [`TableError`].
    fn dead_letters_held(&self) -> impl Future<Output = Result<LettersHeld, TableError>> + Send;

    /// One dead letter.
    ///
    /// # Errors
    /// See [`TableError`].
    fn dead_letter(&self, id: &Cursor)
    -> impl Future<Output = Result<Option<DeadLetter>, TableError>> + Send;

    /// Processes the record of a dead letter of the consumer again. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    fn replay_dead_letter(
        &self,
        id: &Cursor,
        now_ms: u64,
    ) -> impl Future<Output = Result<Replayed, TableError>> + Send;

    /// Drops a dead letter; false if there is none of this id. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    fn drop_dead_letter(&self, id: &Cursor) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Keeps dead letters of bridges and of the shipper, whose records are not in the ledger.
    /// Durable on return, except for [`Given::refused`].
    ///
    /// # Errors
    /// See [`TableError`]; the same letters may be given again.
    fn give_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> impl Future<Output = Result<Given, TableError>> + Send;

    /// Maintenance while a consumer runs, such as removing expired items. Ends when `stop` has a value
    /// or its sender is dropped; failures are logged and retried.
    fn maintain(&self, stop: watch::Receiver<Option<Instant>>) -> impl Future<Output = ()> + Send;
}

/// The most items of one page; a larger limit counts as this.
pub const PAGE_MAX: usize = 1_000;

/// A position in a listing, or the id of one of its items. Made by a table and opaque otherwise;
/// its text is used on command lines and in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// The cursor with this text. A text that no table made finds nothing.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a listing starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest.
    Oldest,
    /// At this item, or the first one after it.
    At(Cursor),
    /// With the last page.
    Newest,
}

/// A part of a sequence, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<T> {
    /// Each with its place.
    pub items: Vec<(Cursor, T)>,
    /// Where the next page starts; polling at it follows new items. `None` at a fixed end, as of a
    /// query of a past time range.
    pub next: Option<Cursor>,
}

/// Which events of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The program.
    pub program: String,
    /// The earliest `received_at_ms`, milliseconds since 1970.
    pub from_ms: u64,
    /// The time before which they were received; `u64::MAX` for no end.
    pub to_ms: u64,
    /// Continue here: the [`Listing::next`] of the page before.
    pub after: Option<Cursor>,
    /// Events of a page; at most [`PAGE_MAX`], at least 1.
    pub limit: usize,
}

/// How many events there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In the table now.
    pub items: u64,
    /// Removed by expiry since the table was created.
    pub expired: u64,
}

/// What became of the records of a [`WriteBatch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The fates of the records that were new to the ledger.
    pub fates: Fates,
    /// Records that were in the ledger already: redelivered after a crash or a lost answer.
    pub replayed: u64,
    /// `received_at_ms` of the newest event among them; 0 without one.
    pub newest_received_at_ms: u64,
    /// The batches that are not stored completely; all others are.
    pub left: Vec<Left>,
}

/// A batch that was stored up to a record, and why no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its index in [`WriteBatch::batches`].
    pub batch: usize,
    /// The first number that is not stored; everything before it is.
    pub first: u64,
    /// Why not.
    pub reason: LeftReason,
}

/// Why a part of a batch was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftReason {
    /// The record cannot be stored, and there is no room for another dead letter.
    #[error(
        "{held} dead letters are held and no more than {max} are kept; operator action required: look at \
         them with `clickgate dead-letters list`, then replay or drop them"
    )]
    LettersFull {
        /// Current dead letters of the consumer.
        held: u64,
        /// As many as there may be.
        max: u64,
    },
    /// The table is over its capacity for now.
    #[error("the table is throttling us")]
    Throttled,
}

/// How many dead letters of the consumer a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LettersHeld {
    /// All letters, including those of bridges.
    pub letters: u64,
    /// Those of the consumer.
    pub of_consumer: u64,
    /// The most of the consumer's; at this bound the consumer stalls.
    pub of_consumer_max: u64,
}

/// What became of a dead letter that was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replayed {
    /// There is no letter of this id.
    NoSuchLetter,
    /// It is an item now, and no longer a letter.
    Stored,
    /// The table had the event already; it is no longer a letter.
    Duplicate,
    /// It was a rejected hit or a lane report, and is kept as such.
    Kept,
    /// It still cannot be stored, for this reason, and stays a letter.
    StillDead(String),
}

/// The most dead letters that are kept of those that are given, each [`WhenFull`] for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenLimits {
    /// Letters.
    pub letters_max: u64,
    /// Bytes of all of them, as they are stored.
    pub bytes_max: u64,
}

/// What happens to letters beyond [`GivenLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest make room: core data, which its source can send again.
    DiscardOldest,
    /// They are not taken: events, which were acknowledged.
    Refuse,
}

impl Default for GivenLimits {
    fn default() -> Self {
        Self { letters_max: 10_000, bytes_max: 256 << 20 }
    }
}

/// The outcome of giving letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Given {
    /// New letters, of which some may be discarded at once.
    pub new: u64,
    /// Letters that were there already, from an earlier delivery.
    pub known: u64,
    /// The oldest letters, discarded to make room.
    pub discarded: u64,
    /// Letters for which there was no room; they are not kept.
    pub refused: u64,
}

/// Why a call failed, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Slow down and try again.
    #[error("the table is throttling us")]
    Throttled,
    /// Try again later.
    #[error("the table is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The table cannot answer this, but something like it; the way out.
    #[error("{0}")]
    NotOffered(String),
    /// Trying again does not help until somebody changes something; operator action required.
    #[error("{0}")]
    Refused(String),
    /// The cursor is not one of this table's.
    #[error("no listing of this table continues at {0:?}")]
    UnknownCursor(String),
    /// Trying again does not help; operator action required.
    #[error("the table is damaged: {0}")]
    Damaged(String),
}

impl TableError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Throttled | Self::Unavailable(_) => true,
            Self::UnknownCursor(_) | Self::Damaged(_) | Self::NotOffered(_) | Self::Refused(_) => false,
        }
    }
}
