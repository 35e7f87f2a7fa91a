//! The plain struct behind a lane: it gives out numbers, collects a batch, writes it. It has
//! no thread and no task and never waits, so that the crash tests can drive it by hand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

use proto::Message;
use supervise::now_ms;

use crate::disk::is_no_room;
use crate::format::{
    BATCH_HEADER_BYTES, BatchKind, FORMAT_VERSION, RECORD_FRAME_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentId, batch_bytes, push_record, seal_batch,
};
use crate::lane::file::{LaneFile, LaneState};
use crate::lane::prepare::prepare;
use crate::lane::report::Tally;
use crate::lane::segment::{OpenSegment, Prepared, Room, Segment};
use crate::lane::shared::LaneShared;
use crate::lane::syncer::Syncer;
use crate::log::shared::LogShared;
use crate::record::{Class, Number, RecordKind, Shed};

/// In front of the pending records: room for both headers.
const FRONT_BYTES: usize = SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES;
/// Separate ranges of abandoned numbers a lane keeps for its waiters. A lane that
/// abandons more often than this is broken, and is poisoned.
const ABANDONED_RANGES_MAX: usize = 4_096;

pub(crate) struct LaneCore {
    pub shared: Arc<LaneShared>,
    log: Arc<LogShared>,
    current: OpenSegment,
    /// Bytes written to the current segment; 0 while its header is not written.
    offset: u64,
    /// [`FRONT_BYTES`], then the records of this turn.
    pending: Vec<u8>,
    /// Of `pending`, records of kind `Rejected`.
    pending_rejected_bytes: u64,
    /// First number of `pending`.
    first: Number,
    /// The next number to give out.
    next: Number,
    /// Abandoned numbers right below `first` that no batch on disk names yet.
    unmarked: u64,
    /// Half-open ranges of abandoned numbers that somebody may still ask about, in order.
    abandoned: Vec<(Number, Number)>,
    /// After a write that found no room: until when to shed without trying.
    full_until: Option<Instant>,
    tally: Tally,
    closed: bool,
}

impl LaneCore {
    /// Creates the lane's files and writes its first report.
    pub fn open(log: &Arc<LogShared>, id: u32) -> io::Result<(Self, Syncer)> {
        let shared = Arc::new(LaneShared::new(log.boot, id, LaneState::Open));
        let lane_file = LaneFile::create(&*log.disk, &log.dir, log.boot, id)?;
        let segment_id = SegmentId { boot: log.boot, lane: id, sequence: 0 };
        let Prepared { file, .. } = prepare(log, segment_id, Room::Reserved)?;
        let current = OpenSegment { segment: Arc::new(Segment::new(segment_id, 0)), file };
        shared.segments().push_back(current.segment.clone());
        shared.handoff.publish(|requests| requests.current = Some(current.clone()));
        let syncer = Syncer::new(shared.clone(), log.clone(), lane_file);
        let mut core = Self {
            shared,
            log: log.clone(),
            current,
            offset: 0,
            pending: vec![0; FRONT_BYTES],
            pending_rejected_bytes: 0,
            first: 0,
            next: 0,
            unmarked: 0,
            abandoned: Vec::new(),
            full_until: None,
            tally: Tally::default(),
            closed: false,
        };
        core.report(false);
        core.flush();
        log.lanes().insert((log.boot, id), core.shared.clone());
        Ok((core, syncer))
    }

    /// See [`crate::Lane::append`].
    pub fn append(
        &mut self,
        class: Class,
        kind: RecordKind,
        encode: impl FnOnce(Number, &mut Vec<u8>),
    ) -> Result<Number, Shed> {
        let taken = self.room_for(class, kind).and_then(|()| self.push(class, kind, encode));
        match taken {
            // A rejected record that is not kept is a refused hit, counted as that.
            Err(Shed::Full(class)) if kind != RecordKind::Rejected => self.tally.shed(class),
            _ => self.tally.changed(),
        }
        taken
    }

    pub fn count_refused(&mut self, reason: &'static str) {
        self.tally.refused(reason);
    }

    fn room_for(&mut self, class: Class, kind: RecordKind) -> Result<(), Shed> {
        if self.closed {
            return Err(Shed::Closed);
        }
        if self.shared.is_poisoned() {
            return Err(Shed::Poisoned);
        }
        let full = self.log.bytes.load(Relaxed) >= self.log.shed_from_bytes[class as usize]
            || (kind == RecordKind::Rejected
                && self.log.rejected_bytes.load(Relaxed) >= self.log.rejected_bytes_max());
        if full {
            return Err(Shed::Full(class));
        }
        match self.full_until {
            // Each attempt on a full disk costs system calls and gives up a turn's numbers.
            Some(until) if Instant::now() < until => Err(Shed::Full(class)),
            _ => {
                self.full_until = None;
                Ok(())
            }
        }
    }

    fn push(
        &mut self,
        class: Class,
        kind: RecordKind,
        encode: impl FnOnce(Number, &mut Vec<u8>),
    ) -> Result<Number, Shed> {
        let at = self.pending.len();
        let number = self.next;
        // If `encode` panics, its task dies and the lane lives on, without half a record.
        let mut undo = Undo { pending: &mut self.pending, to: Some(at) };
        push_record(undo.pending, kind, |body| encode(number, body));
        undo.to = None;
        drop(undo);
        let bytes = self.pending.len() - at;
        let refusal = if bytes - RECORD_FRAME_BYTES > self.log.record_bytes_max {
            Some(Shed::TooLarge { bytes: bytes - RECORD_FRAME_BYTES, max: self.log.record_bytes_max })
        } else if !self.pending_fits() {
            Some(Shed::Full(class))
        } else {
            None
        };
        // Its size is known only now that it is encoded. It took no number.
        if let Some(refusal) = refusal {
            self.pending.truncate(at);
            return Err(refusal);
        }
        if kind == RecordKind::Rejected {
            self.pending_rejected_bytes += bytes as u64;
        }
        self.next += 1;
        Ok(number)
    }

    /// Whether this turn can be written: into the current segment, or whole into the next.
    fn pending_fits(&self) -> bool {
        let body = self.pending.len() - FRONT_BYTES;
        let total = self.turn_bytes() + SEGMENT_HEADER_BYTES as u64;
        let fits_next =
            || total <= self.log.config.segment_bytes && self.shared.handoff.lock().next.is_some();
        body <= self.log.config.lane_bytes_max && (self.fits_current() || fits_next())
    }

    /// Bytes that the pending records and the mark of abandoned numbers will take.
    fn turn_bytes(&self) -> u64 {
        let mark = if self.unmarked > 0 { batch_bytes(0) } else { 0 };
        (mark + batch_bytes(self.pending.len() - FRONT_BYTES)) as u64
    }

    fn fits_current(&self) -> bool {
        self.offset.max(SEGMENT_HEADER_BYTES as u64) + self.turn_bytes() <= self.log.config.segment_bytes
    }

    /// Writes the records of this turn with one write(2). False if they were given
    /// up, for want of room or because the lane is poisoned.
    pub fn flush(&mut self) -> bool {
        if self.next == self.first {
            return true;
        }
        // Its waiters are told that the lane failed, not that there was no room.
        if self.shared.is_poisoned() {
            self.forget_pending();
            return false;
        }
        // `append` saw a prepared segment, and the syncer may have taken it back to fill it.
        if !self.fits_current() && !self.rotate() {
            self.abandon();
            return false;
        }
        let id = self.current.segment.id;
        let synced_to = self.shared.synced.load(Acquire);
        let count = self.next - self.first;
        seal_batch(
            &mut self.pending,
            SEGMENT_HEADER_BYTES,
            &id,
            BatchKind::Records,
            self.first,
            count,
            synced_to,
        );
        let written = if self.unmarked > 0 {
            // The first batch after a full disk names the numbers that were given up before it,
            // in the same write, so that readers see no hole.
            let mut marked = vec![0; FRONT_BYTES];
            let first = self.first - self.unmarked;
            let mark = (BatchKind::Abandoned, first, self.unmarked);
            seal_batch(&mut marked, SEGMENT_HEADER_BYTES, &id, mark.0, mark.1, mark.2, synced_to);
            marked.extend_from_slice(&self.pending[SEGMENT_HEADER_BYTES..]);
            write_turn(&self.current, self.offset, &mut marked)
        } else {
            write_turn(&self.current, self.offset, &mut self.pending)
        };
        match &written {
            Ok(bytes) => self.wrote(*bytes),
            // A full disk heals; the numbers of this turn do not.
            Err(error) if is_no_room(error) => {
                tracing::warn!(lane = self.shared.id, %error, "no room to write; shedding until there is");
                self.abandon();
            }
            // What any other error has left in the file is unknown.
            Err(error) => {
                self.shared.poison("writing", error);
                self.forget_pending();
            }
        }
        written.is_ok()
    }

    fn wrote(&mut self, bytes: u64) {
        self.offset += bytes;
        self.unmarked = 0;
        self.first = self.next;
        self.current.segment.rejected_bytes.fetch_add(self.pending_rejected_bytes, Relaxed);
        self.log.rejected_bytes.fetch_add(self.pending_rejected_bytes, Relaxed);
        self.log.bytes.fetch_add(bytes, Relaxed);
        // The segment first: who sees `written` finds its records there.
        self.current.segment.wrote(self.next, self.offset);
        self.shared.written.store(self.next, Release);
        self.reset_pending();
    }

    /// Cuts the segment back to its last whole batch and gives up the numbers of
    /// this turn. The next batch that finds room names them.
    fn abandon(&mut self) {
        if let Err(error) = self.current.file.set_len(self.offset) {
            self.shared.poison("cutting back after a failed write", &error);
        }
        let count = self.next - self.first;
        match self.abandoned.last_mut() {
            // While the disk stays full it is one range that grows.
            Some((_, end)) if *end == self.first => *end = self.next,
            _ => self.abandoned.push((self.first, self.next)),
        }
        if self.abandoned.len() > ABANDONED_RANGES_MAX {
            self.shared.poison("finding room again and again", &io::ErrorKind::StorageFull.into());
        }
        self.unmarked += count;
        self.shared.abandoned.fetch_add(count, Relaxed);
        self.full_until = Some(Instant::now() + self.log.config.full_pause);
        self.forget_pending();
    }

    fn forget_pending(&mut self) {
        self.first = self.next;
        self.reset_pending();
    }

    fn reset_pending(&mut self) {
        self.pending.truncate(FRONT_BYTES);
        self.pending_rejected_bytes = 0;
    }

    /// Nobody is left who could ask about numbers that were abandoned.
    pub fn forget_abandoned(&mut self) {
        self.abandoned.clear();
    }

    pub fn is_abandoned(&self, number: Number) -> bool {
        let at = self.abandoned.partition_point(|(_, end)| *end <= number);
        self.abandoned.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// Goes on in the prepared segment; false if there is none.
    fn rotate(&mut self) -> bool {
        let mut requests = self.shared.handoff.lock();
        let Some(Prepared { id, file, .. }) = requests.next.take() else { return false };
        let segment = Arc::new(Segment::new(id, self.first - self.unmarked));
        let next = OpenSegment { segment: segment.clone(), file };
        let old = std::mem::replace(&mut self.current, next.clone());
        // Both under one lock: the syncer never sees the new segment without sealing the old.
        requests.rotated_out.push(old.clone());
        requests.current = Some(next);
        drop(requests);
        self.shared.segments().push_back(segment);
        // Readers leave a sealed segment for the next one, so the next one is listed by now.
        old.segment.sealed.store(true, Release);
        self.shared.handoff.publish(|_| ());
        self.offset = 0;
        true
    }

    /// Appends a lane report if there is something new to say.
    pub fn report_if_changed(&mut self) {
        if self.tally.has_changed() {
            self.report(false);
        }
    }

    fn report(&mut self, closing: bool) {
        let LaneShared { boot, id, .. } = *self.shared;
        let abandoned = self.shared.abandoned.load(Relaxed);
        let report = self.tally.report(boot, id, self.next, abandoned, now_ms(), closing);
        let pushed = self.push(Class::Conversion, RecordKind::LaneReport, |_, body| {
            report.encode(body).expect("a vector grows");
        });
        // Its figures count from the lane's start, so the next report makes up for this one.
        if let Err(error) = pushed {
            tracing::warn!(lane = id, %error, "no room for a lane report");
            self.tally.changed();
        }
    }

    /// Writes what is pending and the last report, and leaves the rest to the syncer.
    pub fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        // The report is written alone, so that it is last even if the turn found no room.
        self.flush();
        self.report(true);
        self.flush();
        self.shared.handoff.publish(|requests| requests.closing = true);
    }

    pub fn wants_flush(&self) -> bool {
        self.next != self.first
    }
}

/// Cuts the pending records back when it is dropped.
struct Undo<'a> {
    pending: &'a mut Vec<u8>,
    to: Option<usize>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(to) = self.to {
            self.pending.truncate(to);
        }
    }
}

/// Writes `turn` (room for a segment header, then batches) at `offset`; the header
/// too if it is the segment's first. Returns the bytes written; a short write is
/// an error.
fn write_turn(current: &OpenSegment, offset: u64, turn: &mut [u8]) -> io::Result<u64> {
    let bytes = if offset == 0 {
        let header =
            SegmentHeader { version: FORMAT_VERSION, first: current.segment.first, created_at_ms: now_ms() };
        turn[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode(&current.segment.id));
        &turn[..]
    } else {
        &turn[SEGMENT_HEADER_BYTES..]
    };
    loop {
        match current.file.write_at(bytes, offset) {
            Ok(written) if written == bytes.len() => return Ok(written as u64),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
