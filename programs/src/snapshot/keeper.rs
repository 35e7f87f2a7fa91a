//! Keeps the file in step with the follower, on a thread of its own.
//!
//! The follower notes what it learns; nobody waits for the disk. The thread writes at most once
//! in `snapshot_seconds`: a full load as it came, else the file before it with the changes put
//! in, else, if nothing changed, only that it is still right. At the end it writes what waits
//! ([`LastGood::finish`]). What waits is bounded by
//! [`CHANGES_MAX`]; beyond it, or when the file before it cannot be read, the follower is asked
//! for a full load.

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

/// Changes that may wait for the disk.
const CHANGES_MAX: usize = 100_000;

/// The follower's side of the file. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct LastGood {
    shared: Arc<Shared>,
    _alive: Arc<Closer>,
}

/// When the file was last known to be right; for the admin pages. Cheap to clone.
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
    noted: Mutex<Noted>,
    wake: Condvar,
    needs_all: AtomicBool,
    status: SnapshotStatus,
    counters: SnapshotCounters,
}

/// What the file does not say yet.
#[derive(Default)]
struct Noted {
    closed: bool,
    /// Where the follower is; `None` before the first full load.
    state: Option<State>,
    in_step_at_ms: u64,
    all: Option<Vec<(Version, Arc<Program>)>>,
    changed: write::Changed,
    /// The file is to be left alone until there is a full load.
    lost: bool,
    /// The thread waits for something to do.
    idle: bool,
    /// The thread has ended.
    ended: bool,
}

/// What is counted around the file.
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
    /// The operating system has no thread for it.
    pub(crate) fn start(
        path: &Path,
        every: Duration,
        status: SnapshotStatus,
        counters: SnapshotCounters,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            every,
            noted: Mutex::default(),
            wake: Condvar::new(),
            needs_all: AtomicBool::new(false),
            status,
            counters,
        });
        let writing = Arc::clone(&shared);
        thread::Builder::new().name("snapshot".to_owned()).spawn(move || writing.keep())?;
        Ok(Self { _alive: Arc::new(Closer(Arc::clone(&shared))), shared })
    }

    /// What the file says, if it is not older than `age_ms_max` at `now_ms`; at most
    /// `programs_max` of it. Reads on a thread that may block. Whatever is wrong with the file is
    /// logged, counted, and no reason not to start.
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
        let mut noted = self.shared.lock();
        let Noted { closed, idle, ended, .. } = *noted;
        *noted = Noted {
            closed,
            idle,
            ended,
            state: Some(state),
            in_step_at_ms,
            all: Some(all),
            ..Noted::default()
        };
        self.shared.needs_all.store(false, Ordering::Release);
        self.shared.wake_if_idle(noted);
    }

    /// The follower is now at this change.
    pub(crate) fn changed(&self, change: &Change) {
        let mut noted = self.shared.lock();
        let Some(state) = &mut noted.state else { return };
        if state.epoch != change.epoch {
            return;
        }
        state.version = state.version.max(change.version);
        noted.changed.insert(change.id.clone(), (change.version, change.program.clone()));
        if noted.changed.len() > CHANGES_MAX {
            self.shared.lose(&mut noted);
        }
        self.shared.wake_if_idle(noted);
    }

    /// The follower has all that the registry had at this moment, and is at `state`.
    pub(crate) fn in_step(&self, state: State, at_ms: u64) {
        let mut noted = self.shared.lock();
        if noted.state.is_some_and(|known| known.epoch == state.epoch) {
            noted.state = Some(state);
            noted.in_step_at_ms = at_ms;
        }
        self.shared.wake_if_idle(noted);
    }

    /// Writes what the file lacks, and ends; waits for it at most this long. For the end of the
    /// process, as it holds up its thread.
    pub(crate) fn finish(&self, patience: Duration) {
        let mut noted = self.shared.lock();
        noted.closed = true;
        self.shared.wake.notify_all();
        let waited = self.shared.wake.wait_timeout_while(noted, patience, |noted| !noted.ended);
        if waited.expect("nothing panics while it is held").1.timed_out() {
            warn!(path = %self.shared.path.display(), "the last-good snapshot was not finished in time");
        }
    }

    /// Whether the file cannot be kept without a full load.
    pub(crate) fn needs_all(&self) -> bool {
        self.shared.needs_all.load(Ordering::Acquire)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().expect("nothing panics while it is held")
    }

    /// A burst of changes does not wake a thread that pauses.
    fn wake_if_idle(&self, noted: MutexGuard<Noted>) {
        if noted.idle {
            drop(noted);
            self.wake.notify_all();
        }
    }

    /// Gives up what waits; the next full load is written.
    fn lose(&self, noted: &mut Noted) {
        noted.lost = true;
        noted.changed.clear();
        self.needs_all.store(true, Ordering::Release);
    }

    /// The thread.
    fn keep(&self) {
        self.write_until_closed();
        self.lock().ended = true;
        self.wake.notify_all();
    }

    fn write_until_closed(&self) {
        let mut said = None;
        while let Some(work) = self.next() {
            let began = Instant::now();
            match self.write(&work, said) {
                Ok(()) => {
                    said = Some(work.state);
                    self.counters.written.increment(1);
                    self.status.0.store(work.in_step_at_ms, Ordering::Relaxed);
                }
                Err(error) => {
                    self.counters.write_errors.increment(1);
                    warn!(%error, path = %self.path.display(), "the last-good snapshot was not written");
                    self.put_back(work);
                    if self.lock().closed {
                        return;
                    }
                }
            }
            let mut noted = self.lock();
            while !noted.closed && began.elapsed() < self.every {
                let left = self.every.saturating_sub(began.elapsed());
                noted = self.wake.wait_timeout(noted, left).expect("nothing panics while it is held").0;
            }
        }
    }

    /// Waits for something that the file does not say; `None` at the end, when it says everything.
    fn next(&self) -> Option<Work> {
        let mut noted = self.lock();
        loop {
            let said_ms = self.status.0.load(Ordering::Relaxed);
            let is_new = noted.all.is_some() || !noted.changed.is_empty() || noted.in_step_at_ms > said_ms;
            match noted.state {
                Some(state) if is_new && !noted.lost => {
                    return Some(Work {
                        state,
                        in_step_at_ms: noted.in_step_at_ms,
                        all: noted.all.take(),
                        changed: std::mem::take(&mut noted.changed),
                    });
                }
                _ if noted.closed => return None,
                _ => {
                    noted.idle = true;
                    noted = self.wake.wait(noted).expect("nothing panics while it is held");
                    noted.idle = false;
                }
            }
        }
    }

    /// `said` is what the file says, if we wrote it.
    fn write(&self, work: &Work, said: Option<State>) -> Result<(), SnapshotError> {
        let Work { state, in_step_at_ms, all, changed } = work;
        match all {
            Some(all) => write::whole(&self.path, *state, *in_step_at_ms, all, changed),
            None if changed.is_empty() && said == Some(*state) => {
                write::stamp(&self.path, *state, *in_step_at_ms)
            }
            None => write::merged(&self.path, *state, *in_step_at_ms, changed),
        }
    }

    /// What could not be written waits again, unless it is outdated or was not in need of the disk
    /// but of another file.
    fn put_back(&self, work: Work) {
        let mut noted = self.lock();
        if noted.all.is_some() {
            return;
        }
        match work.all {
            Some(all) => {
                noted.all = Some(all);
                for (id, change) in work.changed {
                    noted.changed.entry(id).or_insert(change);
                }
            }
            // Whether the disk or the file before it is at fault: a full load is the way out.
            None => self.lose(&mut noted),
        }
    }
}

/// One writing.
struct Work {
    state: State,
    in_step_at_ms: u64,
    all: Option<Vec<(Version, Arc<Program>)>>,
    changed: write::Changed,
}
