//! The seam between the stream and whoever persists it.
//!
//! A source hands out batches in the order of each lane and remembers how far its
//! consumer has come. The log's side is [`crate::LogSource`].

use std::future::Future;

use proto::{BootId, DeadLetter};

use crate::record::{Number, Record};

/// A contiguous piece of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The process start that wrote it.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// In order of their numbers.
    pub items: Vec<Item>,
}

impl Batch {
    /// A record of this batch as what a reader puts aside: `stage` names the reader, `now_ms` is
    /// its clock in milliseconds since 1970.
    pub fn dead_letter(&self, record: &Record, stage: &str, reason: String, now_ms: u64) -> DeadLetter {
        DeadLetter {
            stage: stage.to_owned(),
            reason,
            failed_at_ms: now_ms,
            boot: self.boot.as_bytes().to_vec(),
            lane: self.lane,
            number: record.number,
            record_kind: record.kind.code().into(),
            payload: record.payload.to_vec(),
            origin: None,
        }
    }
}

/// What a lane says at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Record),
    /// These numbers were given out and never became durable: nothing to wait for.
    Abandoned {
        /// The first of them.
        first: Number,
        /// How many.
        count: u64,
    },
    /// Nothing comes after this in the lane.
    End {
        /// Numbers issued; the last one is `issued - 1`.
        issued: Number,
        /// Whether the lane was closed, rather than ended by a crash.
        clean: bool,
    },
}

/// Where batches come from: the local log, or Kinesis.
pub trait Source {
    /// The next batch, of about `bytes_max` at most; `None` when there is nothing
    /// new at the moment. Does not wait for new records.
    ///
    /// Batches that were handed out and not committed come again after a restart.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn next(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<Batch>, SourceError>>;

    /// Says that everything handed out so far is persisted. Durable on return.
    ///
    /// # Errors
    /// See [`SourceError`]. The position is then the one before.
    fn commit(&mut self) -> impl Future<Output = Result<(), SourceError>>;
}

/// Why a source could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The same call may succeed later.
    #[error("the source cannot be read at the moment: {0}")]
    Unavailable(#[source] std::io::Error),
    /// What was stored is damaged; a person must decide.
    #[error("{0}")]
    Damaged(String),
}
