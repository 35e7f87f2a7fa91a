//! The tasks of a lane, on its worker's event loop. Each ends when the lane is gone.

use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{spawn_local, yield_now};

use crate::lane::cell::LaneCell;
use crate::lane::shared::LaneShared;
use crate::record::Number;

/// How often a lane appends its report, if there is something new to say.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Starts them on this thread's local set.
pub(crate) fn spawn(cell: &Rc<LaneCell>) {
    spawn_local(flush_at_the_end_of_each_turn(Rc::downgrade(cell)));
    spawn_local(wake_when_a_watermark_moves(cell.shared.clone(), Rc::downgrade(cell)));
    spawn_local(report_periodically(Rc::downgrade(cell)));
}

/// The first append of a turn wakes this task. By the time it runs, the other requests that
/// were ready have appended too.
///
/// A sync is requested when the worker has nothing else to do: whatever else is ready gets
/// in first, and one sync serves more. See `pending_sync`.
async fn flush_at_the_end_of_each_turn(lane: Weak<LaneCell>) {
    while let Some(cell) = flush_due(&lane).await {
        cell.flush();
        // Not held while waiting, so that the lane can be dropped meanwhile.
        drop(cell);
        request_sync_when_idle(&lane).await;
    }
}

async fn request_sync_when_idle(lane: &Weak<LaneCell>) {
    while lane.upgrade().is_some_and(|cell| cell.pending_sync.is_needed()) {
        // Returns when the sockets have been looked at and those that were ready were served.
        yield_now().await;
        let Some(cell) = lane.upgrade() else { return };
        let is_busy = cell.flush_due.take();
        if is_busy {
            cell.flush();
        }
        // The end of the running sync wakes this task again, with more to sync.
        if cell.pending_sync.should_defer(cell.shared.synced.load(Acquire)) {
            return;
        }
        // A busy worker collects a little longer, but nobody waits for ever.
        if !is_busy || cell.pending_sync.is_overdue() {
            cell.request_sync();
        }
    }
}

/// The lane, once something was appended; `None` when it is gone.
async fn flush_due(lane: &Weak<LaneCell>) -> Option<Rc<LaneCell>> {
    poll_fn(|context| {
        let Some(cell) = lane.upgrade() else { return Poll::Ready(None) };
        let mut flusher = cell.flusher.borrow_mut();
        // Cloning a waker costs two atomic operations; it is the same one in every turn.
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
        // A failed lane reaches no level any more, so everybody wakes to learn that.
        if shared.is_poisoned() {
            cell.wake_written();
            cell.wake_synced_below(Number::MAX);
            cell.until_streamed.wake_below(Number::MAX);
        }
        cell.wake_synced_below(shared.synced.load(Acquire));
        cell.until_streamed.wake_below(shared.streamed.load(Acquire));
        // The flusher deferred a sync until the end of this one.
        if cell.pending_sync.is_needed() {
            cell.request_flush();
        }
    }
}

async fn report_periodically(lane: Weak<LaneCell>) {
    let mut interval = tokio::time::interval(REPORT_INTERVAL);
    // The first tick is at once, and the lane has reported at its opening.
    interval.tick().await;
    loop {
        interval.tick().await;
        let Some(cell) = lane.upgrade() else { return };
        cell.core.borrow_mut().report_if_changed();
        if cell.core.borrow().wants_flush() {
            cell.request_flush();
        }
    }
}
