//! A named log: its directory, its lanes, its cursors, its fullness.
//!
//! ```text
//! <dir>/lock                              flock of the process that owns it
//! <dir>/<boot>-<lane>-<sequence>.seg      segments            (see `format`)
//! <dir>/<boot>-<lane>.lane                what is known of a lane
//! <dir>/cursors/<name>.cursor             how far each reader has come
//! <dir>/*.seg.torn                        what recovery cut off; for people, never read
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use proto::BootId;
use supervise::files;

use crate::config::LogConfig;
use crate::cursor::{self, LaneKey};
use crate::disk::{Disk, RealDisk};
use crate::format::{RECORD_FRAME_BYTES, SEGMENT_HEADER_BYTES, SegmentId, batch_bytes};
use crate::lane::Lane;
use crate::lane::file as lane_file;
use crate::lane::syncer::Syncer;
use crate::reader::LogSource;
use crate::record::{Class, Number, RECORD_BYTES_MAX};
use crate::status::{CursorStatus, LaneStatus};

mod cursors;
mod error;
mod recovery;
mod repair;
pub(crate) mod scan;
pub(crate) mod shared;

use cursors::Cursors;
pub use cursors::RemoveCursorError;
pub use error::OpenError;
use recovery::Recovery;
use shared::LogShared;

/// A named log that this process owns. A clone is another handle.
#[derive(Clone)]
pub struct Log {
    pub(crate) shared: Arc<LogShared>,
}

/// Why a lane or a source could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its files could not be created.
    #[error("cannot create a lane in {}: {source}", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No cursor of this name is declared in the configuration.
    #[error("the log has no cursor {0:?}; its cursors are declared in the configuration")]
    UnknownCursor(String),
    /// Each cursor has one reader.
    #[error("the cursor {0:?} has a reader already")]
    CursorTaken(String),
}

impl Log {
    /// Opens the log `name` below `dir`, creates it if there is none, and recovers
    /// what an earlier process left.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed if it is `Rot`, `InUse` or `Newer`.
    pub fn open(dir: &Path, name: &str, config: LogConfig) -> Result<Self, OpenError> {
        Self::open_real(dir, name, config, false)
    }

    /// As [`Log::open`], and goes on without data that was synced and is damaged.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn salvage(dir: &Path, name: &str, config: LogConfig) -> Result<Self, OpenError> {
        Self::open_real(dir, name, config, true)
    }

    fn open_real(dir: &Path, name: &str, config: LogConfig, salvage: bool) -> Result<Self, OpenError> {
        let dir = dir.join(name);
        let io = |source| OpenError::Io { path: dir.clone(), source };
        files::create_private_dir(&dir.join("cursors")).map_err(io)?;
        let lock = lock(&dir.join("lock"))?;
        Self::open_on(Arc::new(RealDisk), dir, config, salvage, Some(lock))
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        config: LogConfig,
        salvage: bool,
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let found = files(&*disk, &dir)?;
        let recovery = Recovery { disk: &*disk, dir: &dir, salvage };
        // All are judged before anything is changed.
        let plans: Result<Vec<_>, _> =
            found.into_iter().map(|(key, sequences)| recovery.plan(key, &sequences)).collect();
        let plans = plans?;
        remove_leftovers(&*disk, &dir)?;
        let mut lanes = BTreeMap::new();
        for plan in plans {
            lanes.insert((plan.boot, plan.lane), Arc::new(recovery.carry_out(plan)?));
        }
        let cursors = Cursors::load(&*disk, &dir.join("cursors"), &config.cursors)?;
        let sum = |of: fn(&crate::lane::segment::Segment) -> u64| -> u64 {
            lanes.values().map(|lane| lane.segments().iter().map(|segment| of(segment)).sum::<u64>()).sum()
        };
        let bytes = sum(|segment| segment.bytes.load(Relaxed));
        let rejected_bytes = sum(|segment| segment.rejected_bytes.load(Relaxed));
        let in_segment = config.segment_bytes as usize - SEGMENT_HEADER_BYTES - 2 * batch_bytes(0);
        let shared = LogShared {
            disk,
            dir,
            boot: BootId::now_v7(),
            bytes: bytes.into(),
            rejected_bytes: rejected_bytes.into(),
            shed_from_bytes: Class::ALL.map(|class| config.log_bytes_max / 100 * class.shed_from_percent()),
            record_bytes_max: RECORD_BYTES_MAX
                .min(in_segment - RECORD_FRAME_BYTES - 8)
                .min(config.lane_bytes_max - RECORD_FRAME_BYTES),
            config,
            lanes: Mutex::new(lanes),
            cursors: Mutex::new(cursors),
            taken_cursors: Mutex::default(),
            trimming: Mutex::default(),
            syncers: Mutex::default(),
            next_lane: AtomicU32::new(0),
            _lock: lock,
        };
        shared.trim().map_err(|source| OpenError::Io { path: shared.dir.clone(), source })?;
        let log = Self { shared: Arc::new(shared) };
        for CursorStatus { name, lag, .. } in log.undeclared_cursors() {
            tracing::warn!(
                cursor = name, lag, log = %log.shared.dir.display(),
                "nobody reads with this cursor, and the log keeps everything behind it; if that is not \
                 wanted, remove it with `clickgate log cursor rm`"
            );
        }
        Ok(log)
    }

    /// Names this process start: a UUIDv7.
    pub fn boot(&self) -> BootId {
        self.shared.boot
    }

    /// Creates a lane, to be used on this thread, inside a tokio local set (as every
    /// actix worker is).
    ///
    /// # Errors
    /// [`LaneError::Io`].
    pub fn open_lane(&self) -> Result<Lane, LaneError> {
        let id = self.shared.next_lane.fetch_add(1, Relaxed);
        let io = |source| LaneError::Io { dir: self.shared.dir.clone(), source };
        let (lane, syncer) = Lane::open(&self.shared, id).map_err(io)?;
        self.start(syncer, id).map_err(io)?;
        Ok(lane)
    }

    fn start(&self, syncer: Syncer, id: u32) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(format!("sync-{id}")).spawn(move || syncer.run())?;
        self.shared.syncers.lock().expect("nobody panics with the threads' list").push(thread);
        Ok(())
    }

    /// A lane without its thread and tasks, for tests that drive it by hand.
    #[cfg(test)]
    pub(crate) fn open_core(&self) -> std::io::Result<(crate::lane::core::LaneCore, Syncer)> {
        crate::lane::core::LaneCore::open(&self.shared, self.shared.next_lane.fetch_add(1, Relaxed))
    }

    /// The reader of the cursor `name`, at its last commit.
    ///
    /// # Errors
    /// [`LaneError::UnknownCursor`], [`LaneError::CursorTaken`].
    pub fn source(&self, name: &str) -> Result<LogSource, LaneError> {
        let positions = self.shared.cursors().declared.get(name).cloned();
        let positions = positions.ok_or_else(|| LaneError::UnknownCursor(name.to_owned()))?;
        if !self.shared.taken().insert(name.to_owned()) {
            return Err(LaneError::CursorTaken(name.to_owned()));
        }
        Ok(LogSource::new(self.shared.clone(), name.to_owned(), positions))
    }

    /// Whether a reader of the cursor `name` ever committed anything in this log.
    pub fn was_read(&self, name: &str) -> bool {
        let path = self.shared.dir.join("cursors").join(cursor::file_name(name));
        self.shared.disk.open(&path).is_ok()
    }

    /// Says that the stream has every number of a lane below `end`: those who wait for
    /// [`Level::Stream`](crate::Level::Stream) below it go on.
    ///
    /// Only the shipper calls it. With several requests in flight it must not claim the
    /// answered ones beyond the first that is not. Calls may come late, twice and in any
    /// order: the watermark never goes back, and never passes what is written. For a lane
    /// that is gone nobody waits any more.
    pub fn advance_stream(&self, boot: BootId, lane: u32, end: Number) {
        let lane = self.shared.lanes().get(&(boot, lane)).cloned();
        if let Some(lane) = lane {
            lane.advance_streamed(end);
        }
    }

    /// How full the log is, in per cent of `log_bytes_max`; may exceed 100 a little.
    pub fn fill_percent(&self) -> u64 {
        self.bytes() * 100 / self.shared.config.log_bytes_max
    }

    /// Bytes of records that are not trimmed.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    /// Whether a lane of this process failed to write or to sync.
    pub fn poisoned(&self) -> bool {
        self.shared.lanes().values().any(|lane| lane.is_poisoned())
    }

    /// Every lane that the log still knows.
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let has_shipper = self.shared.config.has_shipper;
        self.shared.lanes().values().map(|lane| LaneStatus::of(lane, has_shipper)).collect()
    }

    /// Every declared cursor.
    pub fn cursors(&self) -> Vec<CursorStatus> {
        let lanes = self.shared.lanes().clone();
        let cursors = self.shared.cursors();
        cursors.declared.iter().map(|(name, at)| CursorStatus::of(name, at, &lanes, true)).collect()
    }

    /// Cursors that have a file and are not declared. Nobody reads with them, and what they
    /// have not passed is kept, until they are removed or declared again.
    pub fn undeclared_cursors(&self) -> Vec<CursorStatus> {
        let lanes = self.shared.lanes().clone();
        let cursors = self.shared.cursors();
        cursors.undeclared.iter().map(|(name, at)| CursorStatus::of(name, at, &lanes, false)).collect()
    }

    /// Removes a cursor that is not declared, and what only it held back. Returns where it
    /// stood.
    ///
    /// # Errors
    /// See [`RemoveCursorError`]; one that has not passed everything is only removed by `force`.
    pub fn remove_cursor(&self, name: &str, force: bool) -> Result<CursorStatus, RemoveCursorError> {
        let lanes = self.shared.lanes().clone();
        let removed = {
            let mut cursors = self.shared.cursors();
            if cursors.declared.contains_key(name) {
                return Err(RemoveCursorError::Declared(name.to_owned()));
            }
            let positions = cursors.undeclared.get(name);
            let positions = positions.ok_or_else(|| RemoveCursorError::Unknown(name.to_owned()))?;
            let status = CursorStatus::of(name, positions, &lanes, false);
            if status.lag > 0 && !force {
                return Err(RemoveCursorError::HoldsBack { name: name.to_owned(), lag: status.lag });
            }
            cursor::remove(&*self.shared.disk, &self.shared.dir.join("cursors"), name)?;
            cursors.undeclared.remove(name);
            status
        };
        self.shared.trim()?;
        Ok(removed)
    }

    /// Syncs and ends the lanes of this process. Their handles must have been
    /// dropped; a lane whose handle lives is synced and will be ended by the next
    /// start. Blocks until the disk is done.
    pub fn close(&self) {
        for lane in self.shared.lanes().values().filter(|lane| lane.boot == self.shared.boot) {
            lane.handoff.publish(|requests| requests.stop = true);
        }
        let threads = std::mem::take(&mut *self.shared.syncers.lock().expect("nobody panics with it"));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a lane's sync thread panicked");
            }
        }
    }
}

/// Removes what a crash left of files that were being replaced.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    for name in disk.list(dir).map_err(io)?.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(&dir.join(name)).map_err(io)?;
    }
    Ok(())
}

/// The lanes in a directory with the sequences of their segments, in order.
fn files(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<LaneKey, Vec<u64>>, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    let mut lanes: BTreeMap<LaneKey, Vec<u64>> = BTreeMap::new();
    for name in disk.list(dir).map_err(io)? {
        if let Some(id) = SegmentId::parse(&name) {
            lanes.entry((id.boot, id.lane)).or_default().push(id.sequence);
        } else if let Some(key) = lane_file::parse_name(&name) {
            lanes.entry(key).or_default();
        }
    }
    lanes.values_mut().for_each(|sequences| sequences.sort_unstable());
    Ok(lanes)
}

/// Takes the lock file at `path` for as long as the returned file lives.
///
/// # Errors
/// [`OpenError::InUse`] if another process, or this one, holds it.
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(OpenError::InUse(path.parent().unwrap_or(path).to_owned()))
        }
        Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
    }
}
