//! The thread beside a lane: syncs, seals, prepares the next segment.
//!
//! One fdatasync is in flight per lane. Requests that come meanwhile are served
//! together by the next one, so the number of syncs adapts to the disk. A sync
//! that fails poisons the lane and is never repeated: what the kernel still has of
//! those pages is unknown (Rebello et al., USENIX ATC 2020).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use crate::disk::DiskFile;
use crate::format::SegmentId;
use crate::lane::file::{LaneFacts, LaneFile, LaneState};
use crate::lane::shared::{LaneShared, OpenSegment};
use crate::log::shared::LogShared;

pub(crate) struct Syncer {
    shared: Arc<LaneShared>,
    log: Arc<LogShared>,
    lane_file: LaneFile,
    told: Option<LaneFacts>,
    next_sequence: u64,
    /// After a failure: when the next segment is tried again.
    prepare_after: Option<Instant>,
    warned_of_lane_file: bool,
}

/// How often what found no room is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A syncer that dies without saying so poisons its lane, so that nobody waits for it.
struct Lifeline(Arc<LaneShared>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.poison("the sync thread", &io::Error::other("it panicked"));
    }
}

/// Whether there will be more to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Again,
    Ended,
}

impl Syncer {
    pub fn new(shared: Arc<LaneShared>, log: Arc<LogShared>, lane_file: LaneFile) -> Self {
        Self {
            shared,
            log,
            lane_file,
            told: None,
            next_sequence: 1,
            prepare_after: None,
            warned_of_lane_file: false,
        }
    }

    /// Works until the lane is closed, poisoned or told to stop.
    pub fn run(mut self) {
        let interval = self.log.config.sync_interval.min(RETRY_INTERVAL);
        let lifeline = Lifeline(self.shared.clone());
        while self.step() == Step::Again {
            self.shared.desk.wait(interval);
        }
        std::mem::forget(lifeline);
        self.shared.synced_moved.notify_one();
    }

    /// Does what lies on the desk.
    pub fn step(&mut self) -> Step {
        if self.shared.is_poisoned() {
            return Step::Ended;
        }
        let (written, rotated_out, current, closing, stop, next_wanted) = {
            let mut work = self.shared.desk.lock();
            // Under the lock: a request that we take off the desk is for numbers that we
            // see as written, and they lie in the segments that we find there, since
            // rotating takes the lock too.
            let written = self.shared.written.load(Acquire);
            work.sync_wanted = false;
            let rotated_out = std::mem::take(&mut work.rotated_out);
            (written, rotated_out, work.current.clone(), work.closing, work.stop, work.next.is_none())
        };
        let current = current.expect("a lane has a current segment from its opening on");
        // First, because a lane without a next segment sheds, and a waiter only waits.
        if next_wanted && !closing && !stop && self.prepare_after.is_none_or(|after| after <= Instant::now())
        {
            self.prepare_next();
        }
        if let Err(error) = self.sync(&rotated_out, &current, written) {
            self.shared.poison("syncing", &error);
            return Step::Ended;
        }
        if closing {
            if let Err(error) = self.close(&current) {
                self.shared.poison("closing", &error);
            }
            return Step::Ended;
        }
        self.tell(&current);
        if stop { Step::Ended } else { Step::Again }
    }

    fn sync(&self, rotated_out: &[OpenSegment], current: &OpenSegment, written: u64) -> io::Result<()> {
        for segment in rotated_out {
            seal(segment)?;
        }
        if written > self.shared.synced.load(Acquire) {
            current.file.sync_data()?;
            self.shared.synced.store(written, Release);
            self.shared.synced_moved.notify_one();
        }
        Ok(())
    }

    fn tell(&mut self, current: &OpenSegment) {
        let facts = LaneFacts {
            state: LaneState::Open,
            newest_sequence: current.segment.id.sequence,
            written: self.shared.written.load(Acquire),
            synced: self.shared.synced.load(Acquire),
        };
        if self.told != Some(facts) {
            match self.lane_file.write(&facts) {
                Ok(()) => self.told = Some(facts),
                Err(error) if !self.warned_of_lane_file => {
                    self.warned_of_lane_file = true;
                    tracing::warn!(lane = self.shared.id, %error, "could not write the lane file");
                }
                Err(_) => {}
            }
        }
    }

    fn close(&mut self, current: &OpenSegment) -> io::Result<()> {
        seal(current)?;
        self.shared.synced.store(self.shared.written.load(Acquire), Release);
        let prepared = self.shared.desk.lock().next.take();
        if let Some((id, _)) = prepared {
            self.log.disk.remove(&self.log.dir.join(id.file_name()))?;
            self.log.disk.sync_dir(&self.log.dir)?;
        }
        let written = self.shared.written.load(Acquire);
        self.lane_file.write_synced(&LaneFacts {
            state: LaneState::Closed,
            newest_sequence: current.segment.id.sequence,
            written,
            synced: written,
        })?;
        current.segment.sealed.store(true, Release);
        self.shared.set_state(LaneState::Closed);
        Ok(())
    }

    fn prepare_next(&mut self) {
        let id = SegmentId { boot: self.shared.boot, lane: self.shared.id, sequence: self.next_sequence };
        match prepare(&self.log, &id) {
            Ok(file) => {
                self.next_sequence += 1;
                self.prepare_after = None;
                self.shared.desk.lock().next = Some((id, file));
            }
            Err(error) => {
                if self.prepare_after.is_none() {
                    tracing::warn!(lane = id.lane, %error, "cannot prepare the next segment; trying again each second");
                }
                self.prepare_after = Some(Instant::now() + self.log.config.room_retry);
            }
        }
    }
}

/// Cuts a segment to its length and makes it survive the machine.
fn seal(rotated: &OpenSegment) -> io::Result<()> {
    rotated.file.set_len(rotated.segment.bytes.load(Acquire))?;
    rotated.file.sync_all()
}

/// Creates a segment file of full size, with its name durable.
pub(crate) fn prepare(log: &LogShared, id: &SegmentId) -> io::Result<Arc<dyn DiskFile>> {
    let path = log.dir.join(id.file_name());
    let file = match log.disk.create(&path) {
        // Left by an attempt that could not even be undone.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => log.disk.open(&path)?,
        file => file?,
    };
    let prepared = file
        .allocate(log.config.segment_bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| log.disk.sync_dir(&log.dir));
    if prepared.is_err() {
        let _ = log.disk.remove(&path);
    }
    prepared.map(|()| file)
}
