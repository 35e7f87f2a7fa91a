//! One writer's place in the log.
//!
//! # Why a lane per worker thread?
//!
//! Because an answer must wait for its own write and for nothing else. With one shared
//! writer thread, each hit pays for a queue and for waking two threads; with a lane on the
//! worker's own thread, the hits of one turn of its event loop share one write(2) and are
//! completed on the spot. Order is promised inside a lane only.
//!
//! ```text
//! append ─► pending (lane_bytes_max) ─► end of turn: write(2) ─► Written: wake the turn's waiters
//!                                                │
//!       when idle, but at the latest after 1 ms  ▼ handoff: sync_wanted
//!            syncer thread, one fdatasync at a time ─► Synced: wake the worker once
//!
//! shipper, if there is one: Log::advance_stream ─► Stream: wake the worker once
//! ```
//!
//! | file | what |
//! |---|---|
//! | `core` | the state machine: numbers, batches, writes, segments |
//! | `cell` | what the handles, tasks and waiters of one thread share |
//! | `tasks`, `reached` | who flushes, who wakes, who waits |
//! | `syncer`, `prepare`, `handoff` | the thread beside it |

use std::rc::Rc;
use std::sync::Arc;

use proto::BootId;

use crate::log::shared::LogShared;
use crate::record::{Class, Level, Number, RecordKind, Shed};

mod cell;
pub(crate) mod core;
pub(crate) mod file;
pub(crate) mod handoff;
mod pending_sync;
pub(crate) mod prepare;
mod reached;
pub(crate) mod report;
pub(crate) mod segment;
pub(crate) mod shared;
pub(crate) mod syncer;
mod tasks;
mod waiters;

use self::cell::LaneCell;
use self::core::LaneCore;
use self::reached::Reached;
use self::syncer::Syncer;

pub use self::reached::NotDurable;

/// A writer's lane. A clone is another handle to the same lane; when the last one
/// is dropped, the lane writes what is pending and its last report, and is closed.
#[derive(Clone)]
pub struct Lane {
    cell: Rc<LaneCell>,
}

impl Lane {
    /// Opens the lane's files and starts its tasks on this thread's local set.
    pub(crate) fn open(log: &Arc<LogShared>, id: u32) -> std::io::Result<(Self, Syncer)> {
        let (core, syncer) = LaneCore::open(log, id)?;
        let cell = Rc::new(LaneCell::new(core, log.config.has_shipper));
        tasks::spawn(&cell);
        Ok((Self { cell }, syncer))
    }

    /// The process start that this lane belongs to.
    pub fn boot(&self) -> BootId {
        self.cell.shared.boot
    }

    /// The lane's number in its process, from 0.
    pub fn id(&self) -> u32 {
        self.cell.shared.id
    }

    /// Whether a write or a sync failed; the lane takes nothing more then.
    pub fn poisoned(&self) -> bool {
        self.cell.shared.is_poisoned()
    }

    /// Takes the next number and has `encode` append the payload to the bytes that it is
    /// given. They hold other records, so it must only append.
    ///
    /// The record is written at the end of this turn of the event loop, together
    /// with the others of the turn.
    ///
    /// # Errors
    /// [`Shed`]: nothing was taken then, and no number is missing.
    pub fn append(
        &self,
        class: Class,
        kind: RecordKind,
        encode: impl FnOnce(Number, &mut Vec<u8>),
    ) -> Result<Number, Shed> {
        let number = self.cell.core.borrow_mut().append(class, kind, encode)?;
        self.cell.request_flush();
        Ok(number)
    }

    /// Completes when the record `number` of this lane has reached `level`. It must be called
    /// in the turn of the event loop in which the record was appended, because a lane soon
    /// forgets which numbers it gave up.
    ///
    /// # Errors
    /// [`NotDurable`]: it must not be acknowledged.
    pub fn reached(
        &self,
        level: Level,
        number: Number,
    ) -> impl Future<Output = Result<(), NotDurable>> + use<> {
        Reached::new(self.cell.clone(), level, number)
    }

    /// How many wait for the stream.
    #[cfg(test)]
    pub(crate) fn waiting_for_stream(&self) -> usize {
        self.cell.until_streamed.count()
    }

    /// Counts a hit that was refused, for the lane report.
    pub fn count_refused(&self, reason: &'static str) {
        self.cell.core.borrow_mut().count_refused(reason);
    }
}
