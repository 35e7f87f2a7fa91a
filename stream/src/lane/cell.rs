//! What the handles of a lane, its tasks and those who wait share, all on one thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::task::Waker;

use crate::lane::core::LaneCore;
use crate::lane::pending_sync::PendingSync;
use crate::lane::shared::LaneShared;
use crate::lane::waiters::StreamWaiters;
use crate::record::Number;

pub(crate) struct LaneCell {
    pub core: RefCell<LaneCore>,
    pub shared: Arc<LaneShared>,
    /// Whether [`Level::Stream`](crate::Level::Stream) is more than `Synced`.
    pub has_shipper: bool,
    /// Whether something was appended, or a sync is needed, since the flusher last looked.
    pub flush_due: Cell<bool>,
    /// Futures that live and may still ask whether their number was abandoned.
    pub waiting: Cell<usize>,
    /// Wakes the task that flushes.
    pub flusher: RefCell<Option<Waker>>,
    pub until_written: RefCell<Vec<Waker>>,
    /// With the number that each waits for.
    pub until_synced: RefCell<Vec<(Number, Waker)>>,
    pub until_streamed: StreamWaiters,
    pub pending_sync: PendingSync,
}

impl LaneCell {
    pub fn new(core: LaneCore, has_shipper: bool) -> Self {
        Self {
            shared: core.shared.clone(),
            core: RefCell::new(core),
            has_shipper,
            flush_due: Cell::new(false),
            waiting: Cell::new(0),
            flusher: RefCell::default(),
            until_written: RefCell::default(),
            until_synced: RefCell::default(),
            until_streamed: StreamWaiters::default(),
            pending_sync: PendingSync::default(),
        }
    }

    /// Has the flusher run at the end of this turn.
    pub fn request_flush(&self) {
        // The first one of a turn wakes it; the others find it on its way.
        if !self.flush_due.replace(true)
            && let Some(flusher) = &*self.flusher.borrow()
        {
            flusher.wake_by_ref();
        }
    }

    pub fn flush(&self) {
        let flushed = {
            let mut core = self.core.borrow_mut();
            // Nobody is left who could ask, so the list of abandoned numbers starts anew.
            if self.waiting.get() == 0 {
                core.forget_abandoned();
            }
            core.flush()
        };
        self.wake_written();
        // The turn was given up: who waits for its sync must learn that there will be none.
        if !flushed {
            self.pending_sync.forget_from(self.shared.written.load(Acquire));
            self.wake_synced_below(Number::MAX);
        }
    }

    pub fn request_sync(&self) {
        // In this order: the syncer reads what is written after it takes the request.
        self.pending_sync.requested(self.shared.written.load(Acquire), self.until_synced.borrow().len());
        self.shared.handoff.publish(|requests| requests.sync_wanted = true);
    }

    pub fn wake_written(&self) {
        for waiter in self.until_written.borrow_mut().drain(..) {
            waiter.wake();
        }
    }

    /// Wakes those who wait for a number below `end`. The others would only find that they
    /// have to go on waiting.
    pub fn wake_synced_below(&self, end: Number) {
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
        // It finds the lane gone, and ends.
        if let Some(flusher) = self.flusher.get_mut().take() {
            flusher.wake();
        }
    }
}
