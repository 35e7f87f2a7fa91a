//! What the threads around a lane share: its worker, its syncer, the readers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use proto::BootId;
use tokio::sync::Notify;

use crate::disk::DiskFile;
use crate::format::SegmentId;
use crate::lane::file::LaneState;
use crate::lane::prepare::Prepared;
use crate::record::Number;

/// One segment file, as the threads of this process see it.
pub(crate) struct Segment {
    pub id: SegmentId,
    /// First number; set before the segment is listed.
    pub first: Number,
    /// Bytes of whole batches, header included. Readers read up to here.
    pub bytes: AtomicU64,
    /// Of those, records of kind `Rejected`.
    pub rejected_bytes: AtomicU64,
    /// The number after its last one.
    pub end: AtomicU64,
    /// Half-open ranges in it that no batch holds, after a salvage.
    pub lost: Vec<(Number, Number)>,
    /// Nothing will be appended.
    pub sealed: AtomicBool,
}

/// A segment and its descriptor, for those who write and sync it. Readers open
/// files of their own, so that a long backlog costs no descriptors.
#[derive(Clone)]
pub(crate) struct OpenSegment {
    pub segment: Arc<Segment>,
    pub file: Arc<dyn DiskFile>,
}

/// A lane of this boot, or of an earlier one that still has segments.
pub(crate) struct LaneShared {
    pub boot: BootId,
    pub id: u32,
    /// Numbers below it were written.
    pub written: AtomicU64,
    /// Numbers below it were synced.
    pub synced: AtomicU64,
    /// Numbers that were given out and never became durable.
    pub abandoned: AtomicU64,
    pub poisoned: AtomicBool,
    /// Oldest first. The last one is the current one while the lane is open.
    pub segments: Mutex<VecDeque<Arc<Segment>>>,
    state: AtomicU64,
    /// Tells the worker that `synced` moved or the lane was poisoned.
    pub synced_moved: Notify,
    pub desk: SyncDesk,
}

impl LaneShared {
    pub fn new(boot: BootId, id: u32, state: LaneState) -> Self {
        Self {
            boot,
            id,
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            segments: Mutex::default(),
            state: AtomicU64::new(state as u64),
            synced_moved: Notify::new(),
            desk: SyncDesk::default(),
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
        self.synced_moved.notify_one();
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

/// Where the worker lays down work for its syncer. It holds at most one sync
/// request, one wish for a next segment, and the segments rotated out since the
/// syncer last looked; a worker cannot rotate without a next segment, which only
/// the syncer makes, so that is one.
#[derive(Default)]
pub(crate) struct SyncDesk {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Work {
    pub sync_wanted: bool,
    pub rotated_out: Vec<OpenSegment>,
    pub current: Option<OpenSegment>,
    pub next: Option<Prepared>,
    /// What became of the segment that is filled beside the syncer.
    pub filled: Option<std::io::Result<Prepared>>,
    /// The worker has written its last.
    pub closing: bool,
    /// End without closing the lane: its worker did not.
    pub stop: bool,
}

impl SyncDesk {
    pub fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no thread panics while it holds the sync desk")
    }

    /// Changes the work and wakes the syncer.
    pub fn tell(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits for work, `interval` at most.
    pub fn wait(&self, interval: Duration) {
        let idle = |work: &mut Work| {
            let Work { sync_wanted, rotated_out, filled, closing, stop, .. } = work;
            !*sync_wanted && rotated_out.is_empty() && filled.is_none() && !*closing && !*stop
        };
        let guard = self.lock();
        drop(
            self.changed
                .wait_timeout_while(guard, interval, idle)
                .expect("no thread panics at the sync desk"),
        );
    }
}

impl Segment {
    /// An empty one.
    pub fn new(id: SegmentId, first: Number) -> Self {
        Self {
            id,
            first,
            bytes: 0.into(),
            rejected_bytes: 0.into(),
            end: first.into(),
            lost: Vec::new(),
            sealed: false.into(),
        }
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Acquire)
    }

    pub fn end(&self) -> Number {
        self.end.load(Relaxed)
    }

    /// Publishes a batch that was written; `bytes` last, since readers go by it.
    pub fn wrote(&self, end: Number, bytes: u64) {
        self.end.store(end, Relaxed);
        self.bytes.store(bytes, Release);
    }
}
