//! What the threads around a lane share: its worker, its syncer, the readers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard};

use proto::BootId;
use tokio::sync::Notify;

use crate::lane::file::LaneState;
use crate::lane::handoff::SyncHandoff;
use crate::lane::segment::Segment;
use crate::record::Number;

/// A lane of this boot, or of an earlier one that still has segments.
pub(crate) struct LaneShared {
    pub boot: BootId,
    pub id: u32,
    /// Numbers below it were written.
    pub written: AtomicU64,
    /// Numbers below it were synced.
    pub synced: AtomicU64,
    /// Numbers below it were taken by the stream. Only the shipper moves it.
    pub streamed: AtomicU64,
    /// Numbers that were given out and never became durable.
    pub abandoned: AtomicU64,
    pub poisoned: AtomicBool,
    /// Oldest first. The last one is the current one while the lane is open.
    pub segments: Mutex<VecDeque<Arc<Segment>>>,
    state: AtomicU64,
    /// Tells the worker that `synced` or `streamed` moved, or that the lane was poisoned.
    pub watermark_moved: Notify,
    pub handoff: SyncHandoff,
}

impl LaneShared {
    pub fn new(boot: BootId, id: u32, state: LaneState) -> Self {
        Self {
            boot,
            id,
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            streamed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            segments: Mutex::default(),
            state: AtomicU64::new(state as u64),
            watermark_moved: Notify::new(),
            handoff: SyncHandoff::default(),
        }
    }

    pub fn state(&self) -> LaneState {
        match self.state.load(Acquire) {
            0 => LaneState::Open,
            1 => LaneState::Closed,
            _ => LaneState::Unclean,
        }
    }

    pub fn set_state(&self, state: LaneState) {
        self.state.store(state as u64, Release);
    }

    pub fn segments(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        self.segments.lock().expect("no thread panics while it holds the list of segments")
    }

    /// Ends the lane: nothing is acknowledged from it any more.
    pub fn poison(&self, what: &str, error: &std::io::Error) {
        if !self.poisoned.swap(true, Release) {
            tracing::error!(boot = %self.boot, lane = self.id, %error, "{what} failed; the lane takes nothing more");
        }
        self.watermark_moved.notify_one();
    }

    /// The stream has what is below `end`.
    pub fn advance_streamed(&self, end: Number) {
        // What is not written yet cannot have been shipped, and would be acknowledged unshipped.
        let end = end.min(self.written.load(Acquire));
        // The shipper's requests are answered in any order, some of them twice.
        let before = self.streamed.fetch_max(end, AcqRel);
        if before < end {
            self.watermark_moved.notify_one();
        }
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Acquire)
    }
}

/// A thread that panics while it holds one poisons its lane, so that nobody waits for it.
pub(crate) struct Lifeline {
    lane: Arc<LaneShared>,
    thread: &'static str,
}

impl Lifeline {
    pub fn of(lane: &Arc<LaneShared>, thread: &'static str) -> Self {
        Self { lane: lane.clone(), thread }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lane.poison(self.thread, &std::io::Error::other("it panicked"));
        }
    }
}
