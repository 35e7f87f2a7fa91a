//! The thread beside a lane: syncs it, seals full segments, prepares the next one.
//!
//! At most one fdatasync runs per lane. Requests that come while it runs share the next
//! one, so the number of syncs adapts to the disk. The next segment is reserved here; if
//! it is to be filled with zeros, a thread of its own does that ([`Filler`]). A sync that
//! fails poisons the lane and is never repeated, because nobody knows what the kernel has
//! kept of those pages (Rebello et al., USENIX ATC 2020).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use crate::format::SegmentId;
use crate::lane::file::{LaneFacts, LaneFile, LaneState};
use crate::lane::handoff::SyncRequests;
use crate::lane::prepare::{Demand, Filler, prepare};
use crate::lane::segment::{OpenSegment, Prepared, Room};
use crate::lane::shared::{LaneShared, Lifeline};
use crate::log::shared::LogShared;

pub(crate) struct Syncer {
    shared: Arc<LaneShared>,
    log: Arc<LogShared>,
    lane_file: LaneFile,
    /// What the lane file says.
    persisted: Option<LaneFacts>,
    /// Sequence of the next segment to prepare.
    next_sequence: u64,
    demand: Demand,
    filler: Filler,
    /// Whether segments are filled on a thread of their own. Tests step the syncer by hand
    /// and have it fill them itself.
    fills_beside: bool,
    /// After a failure: when to try the next segment again.
    prepare_after: Option<Instant>,
    warned_of_lane_file: bool,
}

/// How often the syncer looks at least, also for room where it found none.
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
            persisted: None,
            next_sequence: 1,
            demand: Demand::default(),
            filler: Filler::default(),
            fills_beside: false,
            prepare_after: None,
            warned_of_lane_file: false,
        }
    }

    /// Runs until the lane is closed, poisoned or stopped.
    pub fn run(mut self) {
        let interval = self.log.config.sync_interval.min(RETRY_INTERVAL);
        let _lifeline = Lifeline::of(&self.shared, "the sync thread");
        self.fills_beside = true;
        while self.step() == Step::Again {
            self.shared.handoff.wait(interval);
        }
        // The task that wakes the waiters ends with its lane, and may be asleep.
        self.shared.watermark_moved.notify_one();
    }

    /// Does what the handoff asks for.
    pub fn step(&mut self) -> Step {
        // Nothing of a failed lane is synced again: see the module.
        if self.shared.is_poisoned() {
            return Step::Ended;
        }
        let shared = self.shared.clone();
        let mut requests = shared.handoff.lock();
        // Under the lock, which rotating takes too: a request to sync is for numbers that are
        // written by now, and they are in the segments that we find here.
        let written = self.shared.written.load(Acquire);
        let rotated_out = std::mem::take(&mut requests.rotated_out);
        if !rotated_out.is_empty() {
            self.demand.begin_segment();
        }
        if std::mem::take(&mut requests.sync_wanted) {
            self.demand.count_sync();
        }
        let current = requests.current.clone().expect("a lane has a current segment from its opening on");
        let room_wanted = self.room_wanted(&mut requests, &current);
        let closing = requests.closing;
        let stop = requests.stop;
        // The worker takes this lock to rotate and must not wait for the disk.
        drop(requests);

        // Before the sync: without a next segment the lane sheds, while a waiter only waits.
        if let Some(room) = room_wanted {
            self.prepare_next(room);
        }
        if let Err(error) = self.sync(&rotated_out, &current, written) {
            self.shared.poison("syncing", &error);
            return Step::Ended;
        }
        // The worker has made its last write, so its lane file may say that it ended.
        if closing {
            if let Err(error) = self.close(&current) {
                self.shared.poison("closing", &error);
            }
            return Step::Ended;
        }
        self.persist_state(&current);
        if stop { Step::Ended } else { Step::Again }
    }

    fn sync(&self, rotated_out: &[OpenSegment], current: &OpenSegment, written: u64) -> io::Result<()> {
        // Older segments come first, since `synced` claims everything below it.
        for segment in rotated_out {
            seal(segment)?;
        }
        // When nothing was written since, a sync would only keep the disk busy.
        if written > self.shared.synced.load(Acquire) {
            current.file.sync_data()?;
            self.shared.synced.store(written, Release);
            self.shared.watermark_moved.notify_one();
        }
        Ok(())
    }

    /// Writes the lane file if it says something else. Recovery knows less without it, so
    /// the lane goes on when that fails.
    fn persist_state(&mut self, current: &OpenSegment) {
        let facts = LaneFacts {
            state: LaneState::Open,
            newest_sequence: current.segment.id.sequence,
            written: self.shared.written.load(Acquire),
            synced: self.shared.synced.load(Acquire),
        };
        if self.persisted == Some(facts) {
            return;
        }
        match self.lane_file.write(&facts) {
            Ok(()) => self.persisted = Some(facts),
            // It is tried again at each step; saying so once is enough.
            Err(error) if !self.warned_of_lane_file => {
                self.warned_of_lane_file = true;
                tracing::warn!(lane = self.shared.id, %error, "could not write the lane file");
            }
            Err(_) => {}
        }
    }

    fn close(&mut self, current: &OpenSegment) -> io::Result<()> {
        seal(current)?;
        let written = self.shared.written.load(Acquire);
        self.shared.synced.store(written, Release);
        // A segment that is still being filled would be left behind.
        self.filler.join();
        let prepared = {
            let mut requests = self.shared.handoff.lock();
            let filled = requests.filled.take().and_then(Result::ok);
            requests.next.take().or(filled)
        };
        if let Some(Prepared { id, .. }) = prepared {
            self.log.disk.remove(&self.log.dir.join(id.file_name()))?;
            self.log.disk.sync_dir(&self.log.dir)?;
        }
        self.lane_file.write_synced(&LaneFacts {
            state: LaneState::Closed,
            newest_sequence: current.segment.id.sequence,
            written,
            synced: written,
        })?;
        // In this order: who sees the lane closed takes all of its segments for sealed.
        current.segment.sealed.store(true, Release);
        self.shared.set_state(LaneState::Closed);
        Ok(())
    }

    /// How the next segment is to be prepared; `None` if there is nothing to prepare. Takes
    /// over what the filler has finished, and takes back a reserved segment that is to be
    /// filled instead.
    fn room_wanted(&mut self, requests: &mut SyncRequests, current: &OpenSegment) -> Option<Room> {
        if let Some(filled) = requests.filled.take() {
            self.filler.rest();
            self.publish(requests, filled);
        }
        let too_early = self.prepare_after.is_some_and(|after| after > Instant::now());
        // A lane that ends needs no next segment, and the filler makes one at a time.
        if requests.closing || requests.stop || too_early || self.filler.is_at_work() {
            return None;
        }
        let segment_bytes = self.log.config.segment_bytes;
        let room = self.demand.room(segment_bytes);
        let Some(next) = &requests.next else { return Some(room) };
        let is_better = room == Room::Filled && next.room == Room::Reserved;
        // While it is being filled the lane has no next segment, so half of the current one
        // must be left to write to.
        if !is_better || current.segment.bytes.load(Acquire) > segment_bytes / 2 {
            return None;
        }
        self.next_sequence = next.id.sequence;
        requests.next = None;
        Some(room)
    }

    fn prepare_next(&mut self, room: Room) {
        let id = SegmentId { boot: self.shared.boot, lane: self.shared.id, sequence: self.next_sequence };
        let prepared = if room == Room::Filled && self.fills_beside {
            match self.filler.start(&self.shared, &self.log, id) {
                // The filler hands it over when it is done.
                Ok(()) => return,
                Err(error) => Err(error),
            }
        } else {
            prepare(&self.log, id, room)
        };
        let shared = self.shared.clone();
        self.publish(&mut shared.handoff.lock(), prepared);
    }

    /// Gives the worker its next segment, or notes when to try again.
    fn publish(&mut self, requests: &mut SyncRequests, prepared: io::Result<Prepared>) {
        match prepared {
            Ok(prepared) => {
                self.next_sequence = prepared.id.sequence + 1;
                self.prepare_after = None;
                requests.next = Some(prepared);
            }
            Err(error) => {
                // A full disk stays full for a while; it is said at the first failure only.
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
