//! Keeps the file in step with the follower, on a separate thread.
//!
//! The follower records its changes and never waits for the disk. The thread writes at most once in
//! `snapshot_seconds`: a full load as it is, else the previous file merged with the changes, else,
//! if nothing changed, only the time at which it was still correct. At the end it writes pending
//! changes ([`LastGood::finish`]). They are bounded by [`CHANGES_MAX`]; beyond it, or if the previous
//! file cannot be read, the follower is asked for a full load.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use metrics::{Counter, counter};
use tracing::{info, warn};

use super::{Saved, SnapshotError, read, write};
use crate::{Change, Program, State, Version};

/// Changes that may be waiting to be written.
const CHANGES_MAX: usize = 100_000;

/// The follower's side of the file. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct LastGood {
    shared: Arc<Shared>,
    _alive: Arc<Closer>,
}

/// When the file was last known to be correct; for the admin pages. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SnapshotStatus(Arc<AtomicU64>);

impl SnapshotStatus {
    /// Milliseconds since 1970; `None` before this process has written or read a file.
    pub(crate) fn in_step_at_ms(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0)
    }
}

struct Shared {
    path: PathBuf,
    every: Duration,
    pending: Mutex<Pending>,
    wake: Condvar,
    needs_all: AtomicBool,
    status: SnapshotStatus,
    counters: SnapshotCounters,
}

/// What is not in the file yet.
#[derive(Default)]
struct Pending {
    closed: bool,
    /// Where the follower is; `None` before the first full load.
    state: Option<State>,
    in_step_at_ms: u64,
    all: Option<Vec<(Version, Arc<Program>)>>,
    changed: write::Changed,
    /// The file is not touched until there is a full load.
    lost: bool,
    /// The thread waits for something to do.
    idle: bool,
    /// The thread has ended.
    ended: bool,
}

/// The counters of the file.
pub(crate) struct SnapshotCounters {
    written: Counter,
    write_errors: Counter,
    loaded: Counter,
    read_errors: Counter,
    too_old: Counter,
}

impl SnapshotCounters {
    /// Resolves the handles at the recorder of the calling thread.
    pub(crate) fn new() -> Self {
        let ended = |result: &'static str| counter!("clickgate_snapshot_total", "result" => result);
        Self {
            written: ended("written"),
            write_errors: ended("write_error"),
            loaded: ended("loaded"),
            read_errors: ended("read_error"),
            too_old: ended("too_old"),
        }
    }
}

/// Ends the thread.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl LastGood {
    /// Starts the thread that keeps the file at `path`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        path: &Path,
        every: Duration,
        status: SnapshotStatus,
        counters: SnapshotCounters,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            every,
            pending: Mutex::default(),
            wake: Condvar::new(),
            needs_all: AtomicBool::new(false),
            status,
            counters,
        });
        let writing = Arc::clone(&shared);
        thread::Builder::new().name("snapshot".to_owned()).spawn(move || writing.keep())?;
        Ok(Self { _alive: Arc::new(Closer(Arc::clone(&shared))), shared })
    }

    /// The content of the file, at most `programs_max` programs, unless it is older than `age_ms_max`
    /// at `now_ms`. Reads on a blocking thread. An unusable file is logged and counted, and does not
    /// prevent the start.
    pub(crate) async fn load(&self, now_ms: u64, age_ms_max: u64, programs_max: u64) -> Option<Saved> {
        let path = self.shared.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path, programs_max)).await;
        let shared = &self.shared;
        let path = shared.path.display();
        let saved = match read {
            Ok(Ok(saved)) => saved?,
            Ok(Err(error)) => {
                shared.counters.read_errors.increment(1);
                warn!(%error, %path, "the last-good snapshot is ignored");
                return None;
            }
            Err(panicked) => {
                shared.counters.read_errors.increment(1);
                warn!(error = %panicked, %path, "the last-good snapshot is ignored");
                return None;
            }
        };
        let age_ms = now_ms.saturating_sub(saved.in_step_at_ms);
        if age_ms > age_ms_max {
            shared.counters.too_old.increment(1);
            let age_seconds = age_ms / 1_000;
            let most_seconds = age_ms_max / 1_000;
            warn!(age_seconds, most_seconds, %path, "the last-good snapshot is too old to be served");
            return None;
        }
        shared.counters.loaded.increment(1);
        shared.status.0.store(saved.in_step_at_ms, Ordering::Relaxed);
        info!(age_seconds = age_ms / 1_000, programs = saved.programs.len(), %path, "loaded the last-good snapshot");
        Some(saved)
    }

    /// Everything was loaded.
    pub(crate) fn replaced(&self, state: State, all: Vec<(Version, Arc<Program>)>, in_step_at_ms: u64) {
        let mut pending = self.shared.lock();
        let Pending { closed, idle, ended, .. } = *pending;
        let state = Some(state);
        let all = Some(all);
        *pending = Pending { closed, idle, ended, state, in_step_at_ms, all, ..Pending::default() };
        self.shared.needs_all.store(false, Ordering::Release);
        self.shared.wake_if_idle(pending);
    }

    /// The follower has applied this change.
    pub(crate) fn changed(&self, change: &Change) {
        let mut pending = self.shared.lock();
        let Some(state) = &mut pending.state else { return };
        if state.epoch != change.epoch {
            return;
        }
        state.version = state.version.max(change.version);
        pending.changed.insert(change.id.clone(), (change.version, change.program.clone()));
        if pending.changed.len() > CHANGES_MAX {
            self.shared.require_full_load(&mut pending);
        }
        self.shared.wake_if_idle(pending);
    }

    /// The follower holds what the registry held at `at_ms`, and is at `state`.
    pub(crate) fn in_step(&self, state: State, at_ms: u64) {
        let mut pending = self.shared.lock();
        if pending.state.is_some_and(|known| known.epoch == state.epoch) {
            pending.state = Some(state);
            pending.in_step_at_ms = at_ms;
        }
        self.shared.wake_if_idle(pending);
    }

    /// Writes pending changes and ends the thread; blocks for at most `limit`. For the end of the
    /// process.
    pub(crate) fn finish(&self, limit: Duration) {
        let mut pending = self.shared.lock();
        pending.closed = true;
        self.shared.wake.notify_all();
        let waited = self.shared.wake.wait_timeout_while(pending, limit, |pending| !pending.ended);
        if waited.expect("nothing panics while it is held").1.timed_out() {
            warn!(path = %self.shared.path.display(), "the last-good snapshot was not finished in time");
        }
    }

    /// Whether the file needs a full load.
    pub(crate) fn needs_all(&self) -> bool {
        self.shared.needs_all.load(Ordering::Acquire)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it is held")
    }

    /// A burst of changes does not wake a thread that pauses.
    fn wake_if_idle(&self, pending: MutexGuard<Pending>) {
        if pending.idle {
            drop(pending);
            self.wake.notify_all();
        }
    }

    /// Drops pending changes; the next write needs a full load.
    fn require_full_load(&self, pending: &mut Pending) {
        pending.lost = true;
        pending.changed.clear();
        self.needs_all.store(true, Ordering::Release);
    }

    /// The thread.
    fn keep(&self) {
        self.write_until_closed();
        self.lock().ended = true;
        self.wake.notify_all();
    }

    fn write_until_closed(&self) {
        let mut on_disk = None;
        while let Some(job) = self.next() {
            let began = Instant::now();
            match self.write(&job, on_disk) {
                Ok(()) => {
                    on_disk = Some(job.state);
                    self.counters.written.increment(1);
                    self.status.0.store(job.in_step_at_ms, Ordering::Relaxed);
                }
                Err(error) => {
                    self.counters.write_errors.increment(1);
                    warn!(%error, path = %self.path.display(), "the last-good snapshot was not written");
                    self.requeue(job);
                    if self.lock().closed {
                        return;
                    }
                }
            }
            let mut pending = self.lock();
            while !pending.closed && began.elapsed() < self.every {
                let left = self.every.saturating_sub(began.elapsed());
                pending = self.wake.wait_timeout(pending, left).expect("nothing panics while it is held").0;
            }
        }
    }

    /// Waits for the next job; `None` at the end, when everything is written.
    fn next(&self) -> Option<WriteJob> {
        let mut pending = self.lock();
        loop {
            let said_ms = self.status.0.load(Ordering::Relaxed);
            let is_new =
                pending.all.is_some() || !pending.changed.is_empty() || pending.in_step_at_ms > said_ms;
            match pending.state {
                Some(state) if is_new && !pending.lost => {
                    return Some(WriteJob {
                        state,
                        in_step_at_ms: pending.in_step_at_ms,
                        all: pending.all.take(),
                        changed: std::mem::take(&mut pending.changed),
                    });
                }
                _ if pending.closed => return None,
                _ => {
                    pending.idle = true;
                    pending = self.wake.wait(pending).expect("nothing panics while it is held");
                    pending.idle = false;
                }
            }
        }
    }

    /// `on_disk` is the state of the file, if we wrote it.
    fn write(&self, job: &WriteJob, on_disk: Option<State>) -> Result<(), SnapshotError> {
        let WriteJob { state, in_step_at_ms, all, changed } = job;
        match all {
            Some(all) => write::whole(&self.path, *state, *in_step_at_ms, all, changed),
            None if changed.is_empty() && on_disk == Some(*state) => {
                write::stamp(&self.path, *state, *in_step_at_ms)
            }
            None => write::merged(&self.path, *state, *in_step_at_ms, changed),
        }
    }

    /// Requeues a failed job, unless it is outdated or needs another file rather than the disk.
    fn requeue(&self, job: WriteJob) {
        let mut pending = self.lock();
        if pending.all.is_some() {
            return;
        }
        match job.all {
            Some(all) => {
                pending.all = Some(all);
                for (id, change) in job.changed {
                    pending.changed.entry(id).or_insert(change);
                }
            }
            // A full load helps whether the disk or the previous file is at fault.
            None => self.require_full_load(&mut pending),
        }
    }
}

/// One writing.
struct WriteJob {
    state: State,
    in_step_at_ms: u64,
    all: Option<Vec<(Version, Arc<Program>)>>,
    changed: write::Changed,
}
