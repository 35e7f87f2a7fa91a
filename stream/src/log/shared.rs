//! What lanes, syncers and readers share: the log's accounts, and its trimming.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use proto::BootId;

use crate::config::LogConfig;
use crate::cursor::{self, LaneKey};
use crate::disk::Disk;
use crate::lane::file::{self as lane_file, LaneState};
use crate::lane::shared::LaneShared;
use crate::log::cursors::Cursors;
use crate::record::Class;
use crate::source::Checkpoint;

/// What lanes, syncers and readers share.
pub(crate) struct LogShared {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub boot: BootId,
    pub config: LogConfig,
    /// Bytes of batches in segments that are not trimmed.
    pub bytes: AtomicU64,
    /// Of those, rejected records.
    pub rejected_bytes: AtomicU64,
    pub shed_from_bytes: [u64; Class::ALL.len()],
    pub record_bytes_max: usize,
    pub lanes: Mutex<BTreeMap<LaneKey, Arc<LaneShared>>>,
    pub cursors: Mutex<Cursors>,
    pub taken_cursors: Mutex<BTreeSet<String>>,
    pub trimming: Mutex<()>,
    pub syncers: Mutex<Vec<JoinHandle<()>>>,
    pub next_lane: AtomicU32,
    /// Held, not read: the directory is ours for as long as this lives.
    pub _lock: Option<File>,
}

impl LogShared {
    pub fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneKey, Arc<LaneShared>>> {
        self.lanes.lock().expect("no thread panics while it holds the lanes")
    }

    pub fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().expect("no thread panics while it holds the cursors")
    }

    pub fn taken(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.taken_cursors.lock().expect("no thread panics while it holds the names")
    }

    /// Rejected records may take 5 % of the log.
    pub fn rejected_bytes_max(&self) -> u64 {
        self.config.log_bytes_max / 20
    }

    /// Moves a cursor to `checkpoints`, durably, then removes what all cursors have passed.
    /// Lanes that no checkpoint names stay where they are. A cursor has one reader, so
    /// nobody else moves it meanwhile.
    pub fn commit(&self, name: &str, checkpoints: &[Checkpoint]) -> std::io::Result<()> {
        let mut positions = self.cursors().declared.get(name).cloned().unwrap_or_default();
        {
            let lanes = self.lanes();
            for checkpoint in checkpoints {
                // Of a shard: not of this log.
                let Checkpoint::Lane { boot, lane, next, ended } = *checkpoint else { continue };
                // A lane that was trimmed whole has nothing left to commit.
                if let Some(known) = lanes.get(&(boot, lane)) {
                    let position = positions.entry((boot, lane)).or_default();
                    // An older checkpoint comes late and takes nothing back; one beyond what
                    // was written would have the reader skip what is written next.
                    position.next = position.next.max(next.min(known.written.load(Acquire)));
                    position.ended |= ended && known.state() != LaneState::Open;
                }
            }
            positions.retain(|key, _| lanes.contains_key(key));
        }
        cursor::save(&*self.disk, &self.dir.join("cursors"), name, &positions)?;
        self.cursors().declared.insert(name.to_owned(), positions);
        self.trim()
    }

    /// Removes the sealed segments that every cursor has passed, and lanes of which
    /// nothing is left to read. Without a declared cursor it keeps all.
    pub fn trim(&self) -> std::io::Result<()> {
        // One at a time: what one cursor's commit removes from the front of a list must
        // not make another's take the next one for it.
        let _trimming = self.trimming.lock().expect("nobody panics while trimming");
        let lanes: Vec<(LaneKey, Arc<LaneShared>)> =
            self.lanes().iter().map(|(key, lane)| (*key, lane.clone())).collect();
        for (key, lane) in lanes {
            let passed = self.cursors().passed(&key);
            loop {
                let front = lane.segments().front().cloned();
                let Some(segment) =
                    front.filter(|s| s.is_sealed() && (passed.ended || s.end() <= passed.next))
                else {
                    break;
                };
                remove_if_there(&*self.disk, &self.dir.join(segment.id.file_name()))?;
                lane.segments().pop_front();
                self.bytes.fetch_sub(segment.bytes.load(Acquire), Relaxed);
                self.rejected_bytes.fetch_sub(segment.rejected_bytes.load(Acquire), Relaxed);
            }
            if passed.ended && lane.state() != LaneState::Open && lane.segments().is_empty() {
                self.disk.sync_dir(&self.dir)?;
                remove_if_there(&*self.disk, &self.dir.join(lane_file::file_name(lane.boot, lane.id)))?;
                self.lanes().remove(&key);
            }
        }
        Ok(())
    }
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> std::io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
