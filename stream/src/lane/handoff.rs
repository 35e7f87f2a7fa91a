//! What a lane's worker and its syncer hand to each other.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::lane::segment::{OpenSegment, Prepared};

/// One mailbox a lane, shared by its worker, its syncer and the thread that fills segments.
///
/// It is bounded by construction: one sync request, one prepared segment, and the segments
/// rotated out since the syncer last looked. A worker cannot rotate without a prepared
/// segment, and only the syncer makes those, so that is one as well.
#[derive(Default)]
pub(crate) struct SyncHandoff {
    requests: Mutex<SyncRequests>,
    changed: Condvar,
}

/// The content of a [`SyncHandoff`].
#[derive(Default)]
pub(crate) struct SyncRequests {
    /// Somebody waits for a sync. Set by the worker.
    pub sync_wanted: bool,
    /// Full segments that are to be sealed. Set by the worker.
    pub rotated_out: Vec<OpenSegment>,
    /// The segment that is being written. Set by the worker.
    pub current: Option<OpenSegment>,
    /// The segment to go on in. Set by the syncer, taken by the worker.
    pub next: Option<Prepared>,
    /// What became of the segment that was filled on a thread of its own.
    pub filled: Option<std::io::Result<Prepared>>,
    /// The worker has made its last write.
    pub closing: bool,
    /// The process ends while the worker still lives: end without closing the lane.
    pub stop: bool,
}

impl SyncHandoff {
    pub fn lock(&self) -> MutexGuard<'_, SyncRequests> {
        self.requests.lock().expect("no thread panics while it holds the handoff")
    }

    /// Makes a change and wakes the syncer.
    pub fn publish(&self, change: impl FnOnce(&mut SyncRequests)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits until there is something to do, at most for `interval`.
    pub fn wait(&self, interval: Duration) {
        let is_idle = |requests: &mut SyncRequests| {
            let SyncRequests { sync_wanted, rotated_out, filled, closing, stop, .. } = requests;
            !*sync_wanted && rotated_out.is_empty() && filled.is_none() && !*closing && !*stop
        };
        let guard = self.lock();
        let waited = self.changed.wait_timeout_while(guard, interval, is_idle);
        drop(waited.expect("no thread panics while it holds the handoff"));
    }
}
