//! One writer's place in the log.
//!
//! # Why a lane per worker thread?
//!
//! Because an answer must wait for its write and for nothing else. With one shared
//! writer thread each hit pays a queue and two wake-ups across threads; with a lane
//! on the worker's own thread the hits of one turn of its event loop share one
//! write(2) and are completed on the spot. Order is promised inside a lane only.
//!
//! ```text
//! append ─► pending (lane_bytes_max) ─► end of turn: write(2) ─► Written: wake the turn's waiters
//!                                                │
//!            when idle, after 1 ms at the latest ▼ desk: "sync"
//!            syncer thread, one fdatasync in flight ─► Synced: wake the worker once
//!
//! shipper, if there is one: Log::advance_stream ─► Stream: wake the worker once
//! ```

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proto::BootId;
use tokio::task::yield_now;

use crate::log::shared::LogShared;
use crate::record::{Class, Level, Number, RecordKind, Shed};

pub(crate) mod core;
mod debt;
pub(crate) mod desk;
pub(crate) mod file;
pub(crate) mod prepare;
pub(crate) mod report;
pub(crate) mod segment;
pub(crate) mod shared;
pub(crate) mod syncer;
mod waiters;

use self::core::LaneCore;
use self::debt::SyncDebt;
use self::shared::LaneShared;
use self::syncer::Syncer;
use self::waiters::{StreamWaiters, Ticket};

/// How often a lane appends its report, if there is something new to say.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A writer's lane. A clone is another handle to the same lane; when the last one
/// is dropped, the lane writes what is pending and its last report, and is closed.
#[derive(Clone)]
pub struct Lane {
    cell: Rc<LaneCell>,
}

struct LaneCell {
    core: RefCell<LaneCore>,
    shared: Arc<LaneShared>,
    /// Whether [`Level::Stream`] is more than [`Level::Synced`].
    has_shipper: bool,
    flush_due: Cell<bool>,
    /// Futures of [`Lane::reached`] that live and may still ask whether a number was abandoned.
    waiting: Cell<usize>,
    flusher: RefCell<Option<Waker>>,
    until_written: RefCell<Vec<Waker>>,
    /// With the number that each waits for.
    until_synced: RefCell<Vec<(Number, Waker)>>,
    until_streamed: StreamWaiters,
    sync_debt: SyncDebt,
}

/// Why a record will not reach its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// There was no room to write it.
    #[error("there was no room to write the record")]
    Abandoned,
    /// The lane failed to write or to sync; whether the record is safe is unknown.
    #[error("the lane failed to write or to sync")]
    Poisoned,
}

impl Lane {
    /// Opens the lane's files and starts its tasks on this thread's local set.
    pub(crate) fn open(log: &Arc<LogShared>, id: u32) -> std::io::Result<(Self, Syncer)> {
        let (core, syncer) = LaneCore::open(log, id)?;
        let cell = Rc::new(LaneCell {
            shared: core.shared.clone(),
            core: RefCell::new(core),
            has_shipper: log.config.has_shipper,
            flush_due: Cell::new(false),
            waiting: Cell::new(0),
            flusher: RefCell::default(),
            until_written: RefCell::default(),
            until_synced: RefCell::default(),
            until_streamed: StreamWaiters::default(),
            sync_debt: SyncDebt::default(),
        });
        tokio::task::spawn_local(flush_at_the_end_of_each_turn(Rc::downgrade(&cell)));
        tokio::task::spawn_local(wake_when_a_watermark_moves(cell.shared.clone(), Rc::downgrade(&cell)));
        tokio::task::spawn_local(report_now_and_then(Rc::downgrade(&cell)));
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

    /// Takes the next number and lets `encode` append the payload to the bytes it
    /// is given, which hold other records: it must only append.
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
        self.cell.want_flush();
        Ok(number)
    }

    /// Completes when the record `number` of this lane has reached `level`.
    /// To be called in the turn of the event loop in which the record was appended.
    ///
    /// # Errors
    /// [`NotDurable`]: it must not be acknowledged.
    pub fn reached(
        &self,
        level: Level,
        number: Number,
    ) -> impl Future<Output = Result<(), NotDurable>> + use<> {
        self.cell.waiting.set(self.cell.waiting.get() + 1);
        Reached { cell: self.cell.clone(), level, number, until_streamed: None }
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

struct Reached {
    cell: Rc<LaneCell>,
    level: Level,
    number: Number,
    /// Once the record was written and only the stream is waited for.
    until_streamed: Option<Ticket>,
}

impl Future for Reached {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let cell = &*this.cell;
        if this.level == Level::Memory {
            return Poll::Ready(Ok(()));
        }
        // Before anything else: what a failed lane says of its watermarks is not to be trusted.
        if cell.shared.is_poisoned() {
            return Poll::Ready(Err(NotDurable::Poisoned));
        }
        if let Some(ticket) = this.until_streamed {
            return cell.poll_streamed(ticket, this.number, context);
        }
        let written = cell.shared.written.load(Acquire);
        if cell.core.borrow().is_abandoned(this.number) {
            return Poll::Ready(Err(NotDurable::Abandoned));
        }
        let is_written = this.number < written;
        match this.level {
            Level::Memory | Level::Written => cell.poll_written(is_written, context),
            // The stream gets what is written, so that comes first.
            Level::Stream if cell.has_shipper && !is_written => cell.poll_written(is_written, context),
            Level::Stream if cell.has_shipper => {
                // It is not abandoned and never will be, so it need not be remembered that
                // others were: the stream may be away for hours.
                cell.waiting.set(cell.waiting.get() - 1);
                let ticket = *this.until_streamed.insert(cell.until_streamed.ticket(this.number));
                cell.poll_streamed(ticket, this.number, context)
            }
            // Without a shipper, `Stream` promises what `Synced` does.
            Level::Synced | Level::Stream => cell.poll_synced(this.number, is_written, context),
        }
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        match self.until_streamed {
            Some(ticket) => self.cell.until_streamed.leave(ticket),
            None => self.cell.waiting.set(self.cell.waiting.get() - 1),
        }
    }
}

impl LaneCell {
    fn want_flush(&self) {
        if !self.flush_due.replace(true)
            && let Some(flusher) = &*self.flusher.borrow()
        {
            flusher.wake_by_ref();
        }
    }

    fn flush(&self) {
        let flushed = {
            let mut core = self.core.borrow_mut();
            if self.waiting.get() == 0 {
                core.forget_abandoned();
            }
            core.flush()
        };
        self.wake_written();
        if !flushed {
            self.sync_debt.forget_from(self.shared.written.load(Acquire));
            self.wake_synced_below(Number::MAX);
        }
    }

    fn ask_for_sync(&self) {
        // In this order: the syncer reads what is written after it takes the request.
        self.sync_debt.asked(self.shared.written.load(Acquire), self.until_synced.borrow().len());
        self.shared.desk.tell(|work| work.sync_wanted = true);
    }

    fn poll_written(&self, is_written: bool, context: &mut Context<'_>) -> Poll<Result<(), NotDurable>> {
        if is_written {
            return Poll::Ready(Ok(()));
        }
        self.until_written.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }

    fn poll_synced(
        &self,
        number: Number,
        is_written: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotDurable>> {
        if number < self.shared.synced.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.until_synced.borrow_mut().push((number, context.waker().clone()));
        self.sync_debt.want(number);
        // What is not written yet brings a flush anyway, and that asks for the sync.
        if is_written && self.sync_debt.is_owed() {
            self.want_flush();
        }
        Poll::Pending
    }

    fn poll_streamed(
        &self,
        ticket: Ticket,
        number: Number,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotDurable>> {
        if number < self.shared.streamed.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.until_streamed.wait(ticket, context.waker());
        Poll::Pending
    }

    fn wake_written(&self) {
        for waiter in self.until_written.borrow_mut().drain(..) {
            waiter.wake();
        }
    }

    /// The others would only find that they have to go on waiting.
    fn wake_synced_below(&self, end: Number) {
        self.until_synced.borrow_mut().retain(|(number, waiter)| {
            let goes_on = *number >= end;
            if !goes_on {
                waiter.wake_by_ref();
            }
            goes_on
        });
    }
}

impl Drop for LaneCell {
    fn drop(&mut self) {
        self.core.get_mut().close();
        if let Some(flusher) = self.flusher.get_mut().take() {
            flusher.wake();
        }
    }
}

/// The first append of a turn wakes this task; until it is its turn to run, the
/// other requests that are ready have appended too.
///
/// A sync is asked for when the worker has nothing else to do: whatever else is ready
/// comes in first, and one sync serves more. See [`SyncDebt`].
async fn flush_at_the_end_of_each_turn(lane: Weak<LaneCell>) {
    while let Some(cell) = flush_due(&lane).await {
        cell.flush();
        drop(cell);
        ask_for_sync_when_idle(&lane).await;
    }
}

async fn ask_for_sync_when_idle(lane: &Weak<LaneCell>) {
    while lane.upgrade().is_some_and(|cell| cell.sync_debt.is_owed()) {
        // Ends when the sockets have been looked at and those that were ready have been served.
        yield_now().await;
        let Some(cell) = lane.upgrade() else { return };
        let is_busy = cell.flush_due.take();
        if is_busy {
            cell.flush();
        }
        if cell.sync_debt.is_for_later(cell.shared.synced.load(Acquire)) {
            return;
        }
        if !is_busy || cell.sync_debt.is_old() {
            cell.ask_for_sync();
        }
    }
}

/// The lane, once something was appended; `None` when it is gone.
async fn flush_due(lane: &Weak<LaneCell>) -> Option<Rc<LaneCell>> {
    poll_fn(|context| {
        let Some(cell) = lane.upgrade() else { return Poll::Ready(None) };
        let mut flusher = cell.flusher.borrow_mut();
        if !flusher.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *flusher = Some(context.waker().clone());
        }
        drop(flusher);
        if cell.flush_due.take() { Poll::Ready(Some(cell)) } else { Poll::Pending }
    })
    .await
}

async fn wake_when_a_watermark_moves(shared: Arc<LaneShared>, lane: Weak<LaneCell>) {
    loop {
        shared.watermark_moved.notified().await;
        let Some(cell) = lane.upgrade() else { return };
        // A failed lane reaches no level any more, so everybody is told.
        if shared.is_poisoned() {
            cell.wake_written();
            cell.wake_synced_below(Number::MAX);
            cell.until_streamed.wake_below(Number::MAX);
        }
        cell.wake_synced_below(shared.synced.load(Acquire));
        cell.until_streamed.wake_below(shared.streamed.load(Acquire));
        if cell.sync_debt.is_owed() {
            cell.want_flush();
        }
    }
}

async fn report_now_and_then(lane: Weak<LaneCell>) {
    let mut interval = tokio::time::interval(REPORT_INTERVAL);
    interval.tick().await;
    loop {
        interval.tick().await;
        let Some(cell) = lane.upgrade() else { return };
        cell.core.borrow_mut().report_if_changed();
        if cell.core.borrow().wants_flush() {
            cell.want_flush();
        }
    }
}
