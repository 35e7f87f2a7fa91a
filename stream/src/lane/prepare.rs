//! The next segment of a lane, prepared before it is needed.
//!
//! A segment is allocated in advance, so that a sync need not allocate. What fallocate(2)
//! gives are extents marked as unwritten, and the first sync of each batch has to convert
//! them: it writes metadata beside the data. A lane whose waiters ask for many syncs
//! therefore gets segments that were written full of zeros, and its syncs write data only.
//! That doubles the bytes written, so a lane that nobody waits for does without. (A file
//! system that never overwrites in place, such as btrfs, gains nothing by it.)
//!
//! Measured with a tracker on one core, all of whose clients wait for syncs: with 16 and 64
//! connections, whose syncs carry a few kilobytes, filled segments give more hits a second.
//! With 256, whose syncs carry 80 kB, they give fewer, as filling costs more than it saves.
//! With a single connection nothing changes: of many small syncs in one block, only the first
//! has an extent to convert.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::disk::{DiskFile, write_all};
use crate::format::SegmentId;
use crate::lane::segment::{Prepared, Room};
use crate::lane::shared::{LaneShared, Lifeline};
use crate::log::shared::LogShared;

/// Zeros that are written and synced at once: little enough that the lane's own
/// syncs, which queue up behind it at the device, wait for about a millisecond.
const FILL_BYTES: usize = 1 << 20;
/// A lane whose waiters ask for a sync more often than once in so many bytes gets
/// filled segments.
const BYTES_PER_SYNC: u64 = 32 << 10;

/// Creates a segment file.
pub(crate) fn prepare(log: &LogShared, id: SegmentId, room: Room) -> io::Result<Prepared> {
    let path = log.dir.join(id.file_name());
    let file = match log.disk.create(&path) {
        // Left by an attempt that could not be undone, or reserved before and now to be filled.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => log.disk.open(&path)?,
        file => file?,
    };
    let prepared = file
        .allocate(log.config.segment_bytes)
        .and_then(|()| if room == Room::Filled { fill(&*file, log.config.segment_bytes) } else { Ok(()) })
        .and_then(|()| file.sync_all())
        .and_then(|()| log.disk.sync_dir(&log.dir));
    if prepared.is_err() {
        let _ = log.disk.remove(&path);
    }
    prepared.map(|()| Prepared { id, file, room })
}

/// Writes zeros and syncs them piece by piece: sixteen mebibytes at once would hold up
/// whoever syncs next.
fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(bytes - at).map_or(FILL_BYTES, |rest| rest.min(FILL_BYTES));
        write_all(file, &zeros[..length], at)?;
        file.sync_data()?;
        at += length as u64;
    }
    Ok(())
}

/// How often a lane's waiters ask for a sync: in the current segment, and in the one before.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    syncs: u64,
    syncs_before: u64,
}

impl Demand {
    pub fn count_sync(&mut self) {
        self.syncs += 1;
    }

    pub fn begin_segment(&mut self) {
        self.syncs_before = std::mem::take(&mut self.syncs);
    }

    /// What room the next segment is to have.
    pub fn room(&self, segment_bytes: u64) -> Room {
        let syncs = self.syncs.max(self.syncs_before);
        if syncs > 0 && syncs * BYTES_PER_SYNC >= segment_bytes { Room::Filled } else { Room::Reserved }
    }
}

/// The thread that fills a lane's next segment while the syncer goes on syncing. There is
/// at most one per lane; the last thing it does is to publish its result in the handoff.
#[derive(Default)]
pub(crate) struct Filler {
    thread: Option<JoinHandle<()>>,
    at_work: bool,
}

impl Filler {
    pub fn start(&mut self, shared: &Arc<LaneShared>, log: &Arc<LogShared>, id: SegmentId) -> io::Result<()> {
        self.join();
        let shared = shared.clone();
        let log = log.clone();
        let thread = std::thread::Builder::new().name(format!("fill-{}", id.lane)).spawn(move || {
            let _lifeline = Lifeline::of(&shared, "the thread that fills segments");
            let filled = prepare(&log, id, Room::Filled);
            shared.handoff.publish(|requests| requests.filled = Some(filled));
        })?;
        self.thread = Some(thread);
        self.at_work = true;
        Ok(())
    }

    pub fn is_at_work(&self) -> bool {
        self.at_work
    }

    /// To be called when its result was taken from the handoff.
    pub fn rest(&mut self) {
        self.at_work = false;
    }

    /// Waits until it has published its result, if it is at work.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // If it panicked, its lifeline has poisoned the lane.
            let _ = thread.join();
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.join();
    }
}
