//! The thread beside a lane: syncs, seals, prepares the next segment.
//!
//! One fdatasync is in flight per lane. Requests that come meanwhile are served
//! together by the next one, so the number of syncs adapts to the disk. A sync
//! that fails poisons the lane and is never repeated: what the kernel still has of
//! those pages is unknown (Rebello et al., USENIX ATC 2020).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::disk::{DiskFile, is_no_room};
use crate::format::SegmentId;
use crate::lane::file::{LaneFacts, LaneFile, LaneState};
use crate::lane::shared::{LaneShared, OpenSegment};
use crate::log::LogShared;

pub(crate) struct Syncer {
    shared: Arc<LaneShared>,
    log: Arc<LogShared>,
    lane_file: LaneFile,
    told: Option<LaneFacts>,
    next_sequence: u64,
    warned_of_no_room: bool,
}

/// Whether there will be more to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Again,
    Ended,
}

impl Syncer {
    pub fn new(shared: Arc<LaneShared>, log: Arc<LogShared>, lane_file: LaneFile) -> Self {
        Self { shared, log, lane_file, told: None, next_sequence: 1, warned_of_no_room: false }
    }

    /// Works until the lane is closed, poisoned or told to stop.
    pub fn run(mut self) {
        while self.step() == Step::Again {
            self.shared.desk.wait(self.log.config.sync_interval);
        }
        self.shared.synced_moved.notify_one();
    }

    /// Does what lies on the desk.
    pub fn step(&mut self) -> Step {
        if self.shared.is_poisoned() {
            return Step::Ended;
        }
        // In this order: what was written before we look at the desk lies in the
        // segments that we find there.
        let written = self.shared.written.load(Acquire);
        let (rotated_out, current, closing, stop, next_wanted) = {
            let mut work = self.shared.desk.lock();
            work.sync_wanted = false;
            let rotated_out = std::mem::take(&mut work.rotated_out);
            (rotated_out, work.current.clone(), work.closing, work.stop, work.next.is_none())
        };
        let current = current.expect("a lane has a current segment from its opening on");
        // First, because a lane without a next segment sheds, and a waiter only waits.
        if next_wanted && !closing && !stop {
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
                Err(error) => tracing::warn!(lane = self.shared.id, %error, "could not write the lane file"),
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
                self.warned_of_no_room = false;
                self.shared.desk.lock().next = Some((id, file));
            }
            Err(error) if is_no_room(&error) && self.warned_of_no_room => {}
            Err(error) => {
                self.warned_of_no_room = true;
                tracing::warn!(lane = id.lane, %error, "cannot prepare the next segment; trying again each second");
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
    let file = log.disk.create(&path)?;
    let prepared = file
        .allocate(log.config.segment_bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| log.disk.sync_dir(&log.dir));
    if let Err(error) = prepared {
        log.disk.remove(&path)?;
        return Err(error);
    }
    Ok(file)
}
