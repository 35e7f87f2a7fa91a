//! Waiting until a record has reached its level.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Acquire;
use std::task::{Context, Poll};

use crate::lane::cell::LaneCell;
use crate::lane::waiters::Ticket;
use crate::record::{Level, Number};

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

/// See [`crate::Lane::reached`].
pub(crate) struct Reached {
    cell: Rc<LaneCell>,
    level: Level,
    number: Number,
    /// Once the record was written and only the stream is waited for.
    until_streamed: Option<Ticket>,
}

impl Reached {
    pub fn new(cell: Rc<LaneCell>, level: Level, number: Number) -> Self {
        cell.waiting.set(cell.waiting.get() + 1);
        Self { cell, level, number, until_streamed: None }
    }

    fn poll_written(&self, is_written: bool, context: &mut Context<'_>) -> Poll<Result<(), NotDurable>> {
        if is_written {
            return Poll::Ready(Ok(()));
        }
        self.cell.until_written.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }

    fn poll_synced(&self, is_written: bool, context: &mut Context<'_>) -> Poll<Result<(), NotDurable>> {
        let cell = &*self.cell;
        if self.number < cell.shared.synced.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        cell.until_synced.borrow_mut().push((self.number, context.waker().clone()));
        cell.pending_sync.wait_for(self.number);
        // What is not written yet brings a flush anyway, and that requests the sync.
        if is_written && cell.pending_sync.is_needed() {
            cell.request_flush();
        }
        Poll::Pending
    }

    fn poll_streamed(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Result<(), NotDurable>> {
        if self.number < self.cell.shared.streamed.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.cell.until_streamed.wait(ticket, context.waker());
        Poll::Pending
    }
}

impl Future for Reached {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.level == Level::Memory {
            return Poll::Ready(Ok(()));
        }
        // Before anything else: the watermarks of a failed lane are not to be trusted.
        if self.cell.shared.is_poisoned() {
            return Poll::Ready(Err(NotDurable::Poisoned));
        }
        if let Some(ticket) = self.until_streamed {
            return self.poll_streamed(ticket, context);
        }
        let written = self.cell.shared.written.load(Acquire);
        // Before `written`, which later batches move past numbers that were given up.
        if self.cell.core.borrow().is_abandoned(self.number) {
            return Poll::Ready(Err(NotDurable::Abandoned));
        }
        let is_written = self.number < written;
        match self.level {
            Level::Memory | Level::Written => self.poll_written(is_written, context),
            // The stream gets what is written, so that comes first.
            Level::Stream if self.cell.has_shipper && !is_written => self.poll_written(false, context),
            Level::Stream if self.cell.has_shipper => {
                // A written record is not abandoned any more. So this one does not keep the
                // lane from forgetting others that were; the stream may be away for hours.
                self.cell.waiting.set(self.cell.waiting.get() - 1);
                let ticket = self.cell.until_streamed.ticket(self.number);
                self.until_streamed = Some(ticket);
                self.poll_streamed(ticket, context)
            }
            // Without a shipper, `Stream` promises what `Synced` does.
            Level::Synced | Level::Stream => self.poll_synced(is_written, context),
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
