//! What a lane's worker and its syncer leave for one another.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::lane::segment::{OpenSegment, Prepared};

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
