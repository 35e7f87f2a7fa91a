//! The thread beside a lane: syncs, seals, prepares the next segment.
//!
//! One fdatasync is in flight per lane. Requests that come meanwhile are served
//! together by the next one, so the number of syncs adapts to the disk. The next
//! segment is reserved here and filled by a thread of its own ([`Filler`]). A sync
//! that fails poisons the lane and is never repeated: what the kernel still has of
//! those pages is unknown (Rebello et al., USENIX ATC 2020).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use crate::format::SegmentId;
use crate::lane::desk::Work;
use crate::lane::file::{LaneFacts, LaneFile, LaneState};
use crate::lane::prepare::{Demand, Filler, prepare};
use crate::lane::segment::{OpenSegment, Prepared, Room};
use crate::lane::shared::{LaneShared, Lifeline};
use crate::log::shared::LogShared;

pub(crate) struct Syncer {
    shared: Arc<LaneShared>,
    log: Arc<LogShared>,
    lane_file: LaneFile,
    told: Option<LaneFacts>,
    next_sequence: u64,
    demand: Demand,
    filler: Filler,
    /// Whether segments are filled on a thread of their own; not in a test that steps
    /// the syncer by hand.
    fills_beside: bool,
    /// After a failure: when the next segment is tried again.
    prepare_after: Option<Instant>,
    warned_of_lane_file: bool,
}

/// How often what found no room is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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
            demand: Demand::default(),
            filler: Filler::default(),
            fills_beside: false,
            prepare_after: None,
            warned_of_lane_file: false,
        }
    }

    /// Works until the lane is closed, poisoned or told to stop.
    pub fn run(mut self) {
        let interval = self.log.config.sync_interval.min(RETRY_INTERVAL);
        let _lifeline = Lifeline::of(&self.shared, "the sync thread");
        self.fills_beside = true;
        while self.step() == Step::Again {
            self.shared.desk.wait(interval);
        }
        self.shared.watermark_moved.notify_one();
    }

    /// Does what lies on the desk.
    pub fn step(&mut self) -> Step {
        if self.shared.is_poisoned() {
            return Step::Ended;
        }
        let shared = self.shared.clone();
        let (written, rotated_out, current, room_wanted, closing, stop) = {
            let mut work = shared.desk.lock();
            // Under the lock: a request that we take off the desk is for numbers that we
            // see as written, and they lie in the segments that we find there, since
            // rotating takes the lock too.
            let written = self.shared.written.load(Acquire);
            let rotated_out = std::mem::take(&mut work.rotated_out);
            if !rotated_out.is_empty() {
                self.demand.begin_segment();
            }
            if std::mem::take(&mut work.sync_wanted) {
                self.demand.count_sync();
            }
            let current = work.current.clone().expect("a lane has a current segment from its opening on");
            let room_wanted = self.room_wanted(&mut work, &current);
            (written, rotated_out, current, room_wanted, work.closing, work.stop)
        };
        // First, because a lane without a next segment sheds, and a waiter only waits.
        if let Some(room) = room_wanted {
            self.prepare_next(room);
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
            self.shared.watermark_moved.notify_one();
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
        self.filler.join();
        let prepared = {
            let mut work = self.shared.desk.lock();
            let filled = work.filled.take().and_then(Result::ok);
            work.next.take().or(filled)
        };
        if let Some(Prepared { id, .. }) = prepared {
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

    /// What the next segment should have that it does not have. Takes what the filler
    /// is done with, and takes back what is to be filled.
    fn room_wanted(&mut self, work: &mut Work, current: &OpenSegment) -> Option<Room> {
        if let Some(filled) = work.filled.take() {
            self.filler.rest();
            self.lay_down(work, filled);
        }
        let too_early = self.prepare_after.is_some_and(|after| after > Instant::now());
        if work.closing || work.stop || too_early || self.filler.is_at_work() {
            return None;
        }
        let segment_bytes = self.log.config.segment_bytes;
        let room = self.demand.room(segment_bytes);
        let Some(next) = &work.next else { return Some(room) };
        let is_better = room == Room::Filled && next.room == Room::Reserved;
        // The lane has no next segment meanwhile, so half of this one must be left.
        if !is_better || current.segment.bytes.load(Acquire) > segment_bytes / 2 {
            return None;
        }
        self.next_sequence = next.id.sequence;
        work.next = None;
        Some(room)
    }

    fn prepare_next(&mut self, room: Room) {
        let id = SegmentId { boot: self.shared.boot, lane: self.shared.id, sequence: self.next_sequence };
        let prepared = if room == Room::Filled && self.fills_beside {
            match self.filler.start(&self.shared, &self.log, id) {
                Ok(()) => return,
                Err(error) => Err(error),
            }
        } else {
            prepare(&self.log, id, room)
        };
        let shared = self.shared.clone();
        self.lay_down(&mut shared.desk.lock(), prepared);
    }

    fn lay_down(&mut self, work: &mut Work, prepared: io::Result<Prepared>) {
        match prepared {
            Ok(prepared) => {
                self.next_sequence = prepared.id.sequence + 1;
                self.prepare_after = None;
                work.next = Some(prepared);
            }
            Err(error) => {
                if self.prepare_after.is_none() {
                    tracing::warn!(lane = self.shared.id, %error, "cannot prepare the next segment; trying again each second");
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
