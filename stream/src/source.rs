//! The seam between the stream and whoever persists it.
//!
//! A source is read in several *places* at once: lanes of the log, or shards of a
//! stream. Order holds within a place only. Each batch carries a [`Checkpoint`], which
//! names its place and how far the batch reaches in it; handing the checkpoint back to
//! [`Source::commit`] says that everything up to there is persisted. Places are committed
//! independently, so that one whose batches cannot be stored holds up no other.
//!
//! The log's side is [`crate::LogSource`].

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use proto::{BootId, DeadLetter, Origin, Stage, Uuid, ids};

use crate::record::{Number, Record};

/// A contiguous piece of one lane, read from one place of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The process start that wrote it.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// In order of their numbers.
    pub items: Vec<Item>,
    /// To be given to [`Source::commit`] once this batch, and all before it from the same
    /// place, are persisted.
    pub checkpoint: Checkpoint,
}

impl Batch {
    /// A batch whose place is the lane itself. Its checkpoint is behind its last item.
    pub fn of_lane(boot: BootId, lane: u32, items: Vec<Item>) -> Self {
        let next = items.last().map_or(0, Item::end);
        let ended = matches!(items.last(), Some(Item::End { .. }));
        Self { boot, lane, items, checkpoint: Checkpoint::Lane { boot, lane, next, ended } }
    }

    /// Bytes of memory that it stands for: its payload and the items themselves, so that
    /// a batch of empty items counts too.
    pub fn bytes(&self) -> usize {
        let payload = |item: &Item| match item {
            Item::Record(record) => record.payload.len(),
            Item::Foreign(foreign) => foreign.payload.len(),
            Item::Abandoned { .. } | Item::End { .. } => 0,
        };
        (1 + self.items.len()) * size_of::<Item>() + self.items.iter().map(payload).sum::<usize>()
    }

    /// A record of this batch as what a reader puts aside: `stage` names the reader, `now_ms` is
    /// its clock in milliseconds since 1970.
    pub fn dead_letter(&self, record: &Record, stage: Stage, reason: String, now_ms: u64) -> DeadLetter {
        DeadLetter {
            stage: stage.into(),
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
    /// A record of a stream that no lane of ours wrote. It stands in a batch of its own kind, whose
    /// boot is [`ForeignRecord::place`] and whose lane is 0, so that it has a place of its own; it
    /// belongs in no ledger.
    Foreign(ForeignRecord),
}

/// A record of a stream that is neither an event of ours nor an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRecord {
    /// Its index among the user records of its Kinesis record; 0 if that is no aggregate.
    pub number: Number,
    /// Why it is not ours.
    pub reason: String,
    /// The stream as the broker, the shard as the destination, the sequence number as the message id.
    pub origin: Origin,
    /// Its bytes.
    pub payload: Bytes,
}

impl ForeignRecord {
    /// The record at `number` of the Kinesis record at `sequence` of a shard.
    pub fn new(
        stream: &str,
        shard: &str,
        sequence: &str,
        number: Number,
        reason: String,
        payload: Bytes,
    ) -> Self {
        let origin = Origin {
            route: String::new(),
            broker: stream.to_owned(),
            destination: shard.to_owned(),
            broker_message_id: sequence.to_owned(),
        };
        Self { number, reason, origin, payload }
    }

    /// What stands for the boot of its Kinesis record: the same whenever it is read.
    pub fn place(&self) -> Uuid {
        let Origin { broker, destination, broker_message_id, .. } = &self.origin;
        ids::from_sender(&["kinesis", broker, destination, broker_message_id])
    }

    /// It as what a reader puts aside. `now_ms` is the reader's clock, milliseconds since 1970.
    pub fn dead_letter(&self, stage: Stage, now_ms: u64) -> DeadLetter {
        DeadLetter {
            stage: stage.into(),
            reason: self.reason.clone(),
            failed_at_ms: now_ms,
            boot: self.place().as_bytes().to_vec(),
            lane: 0,
            number: self.number,
            record_kind: 0,
            payload: self.payload.to_vec(),
            origin: Some(self.origin.clone()),
        }
    }
}

impl Item {
    /// The number after the last one that it is about.
    pub fn end(&self) -> Number {
        match self {
            Self::Record(record) => record.number.saturating_add(1),
            Self::Abandoned { first, count } => first.saturating_add(*count),
            Self::End { issued, .. } => *issued,
            Self::Foreign(foreign) => foreign.number.saturating_add(1),
        }
    }
}

/// A place of a source, and how far it was read there.
///
/// Consumers do not look into it; they hand it back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// In a lane of the log.
    Lane {
        /// The process start that wrote the lane.
        boot: BootId,
        /// The lane.
        lane: u32,
        /// Every number below it was read.
        next: Number,
        /// The lane's end was read too.
        ended: bool,
    },
    /// In a shard of a stream.
    Shard {
        /// The shard's id.
        shard: Arc<str>,
        /// Which holding of the shard's lease read it: one that has lost the lease commits nothing.
        holding: u64,
        /// Every Kinesis record up to this sequence number was read.
        sequence: Arc<str>,
        /// Nothing comes after it in the shard.
        ended: bool,
    },
}

impl Checkpoint {
    /// The checkpoints of `batches`, for one commit of all of them.
    pub fn of(batches: &[Batch]) -> Vec<Self> {
        batches.iter().map(|batch| batch.checkpoint.clone()).collect()
    }

    /// Whether both are in one place, so that the later one includes the earlier.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lane { boot, lane, .. }, Self::Lane { boot: other_boot, lane: other_lane, .. }) => {
                (boot, lane) == (other_boot, other_lane)
            }
            (
                Self::Shard { shard, holding, .. },
                Self::Shard { shard: other_shard, holding: other_holding, .. },
            ) => (shard, holding) == (other_shard, other_holding),
            (Self::Lane { .. }, Self::Shard { .. }) | (Self::Shard { .. }, Self::Lane { .. }) => false,
        }
    }
}

/// Where batches come from: the local log, or Kinesis.
pub trait Source: Send {
    /// The next batch, of about `bytes_max` at most; `None` when there is nothing
    /// new at the moment. Does not wait for new records.
    ///
    /// Batches that were handed out and not committed come again after a restart.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn next(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<Batch>, SourceError>> + Send;

    /// Says that everything up to each of `checkpoints`, in its place, is persisted.
    /// Durable on return. What was committed before in a place that is not named, or
    /// further on, stays committed.
    ///
    /// # Errors
    /// See [`SourceError`]. Some of the checkpoints may be committed then; giving all of
    /// them again is harmless.
    fn commit(&mut self, checkpoints: &[Checkpoint]) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Adds batches to `batches` until there are about `bytes_max` or the source has nothing more
/// at the moment.
///
/// The future may be dropped: what was handed out until then is in `batches`.
///
/// # Errors
/// See [`SourceError`]; only if `batches` is empty. An error behind the first batch waits for
/// the next call, to which the source says it again.
pub async fn gather<S: Source>(
    source: &mut S,
    bytes_max: usize,
    batches: &mut Vec<Batch>,
) -> Result<(), SourceError> {
    let bytes_max = bytes_max.max(1);
    let mut bytes: usize = batches.iter().map(Batch::bytes).sum();
    while bytes < bytes_max {
        match source.next(bytes_max - bytes).await {
            Ok(Some(batch)) => {
                bytes += batch.bytes();
                batches.push(batch);
            }
            Err(error) if batches.is_empty() => return Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(())
}

/// Why a source could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The same call may succeed later.
    #[error("the source cannot be read at the moment")]
    Unavailable(#[source] std::io::Error),
    /// What was stored is damaged; a person must decide.
    #[error("{0}")]
    Damaged(String),
}

impl SourceError {
    /// Whether the same call may succeed later; otherwise a person must decide.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Damaged(_) => false,
        }
    }
}
