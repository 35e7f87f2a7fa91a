//! Makes an earlier process's lanes readable again.
//!
//! Damage below the highest number known to be synced is rot: a disk lost what it
//! had promised to keep, and a person must look ([`Recovery::salvage`] is that
//! person's word). Damage above it is a torn tail, what a power loss leaves: the
//! rest of the file is kept as `<segment>.torn`, whole batches in it are kept in
//! place, the numbers between them are marked as abandoned, and the log starts.
//!
//! A segment that is not there at all is no damage: somebody removed it. Its
//! numbers are in no range of the log, and `reconcile` calls them missing.
//!
//! Every step replaces one file as a whole, so a crash in here is recovered by the
//! next start.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use proto::BootId;

use crate::disk::{Disk, read_all, replace};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, BatchKind, FORMAT_VERSION, SegmentHeader, SegmentId, WrittenByNewer,
    seal_batch,
};
use crate::lane::file::{LaneFacts, LaneFile, LaneState, file_name};
use crate::lane::shared::{LaneShared, Segment};
use crate::log::scan::{Scan, ScannedSegment, without_zeros};
use crate::record::Number;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused; the same call may succeed later.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A newer program wrote it.
    #[error("{}: {version}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which version.
        version: WrittenByNewer,
    },
    /// Data that was synced is damaged.
    #[error(
        "{}: damaged at byte {offset}: numbers {first} to {last} of lane {lane} were on disk and cannot be read. \
         Nothing was changed. `clickgate log check` shows the damage; `clickgate log salvage` goes on without \
         them and keeps the damaged part beside the segment", path.display()
    )]
    Rot {
        /// The segment.
        path: PathBuf,
        /// Where it begins to be unreadable.
        offset: usize,
        /// Its lane.
        lane: u32,
        /// The first number lost.
        first: Number,
        /// The last number lost.
        last: Number,
    },
}

/// Opens what earlier processes left in `dir`.
pub(crate) struct Recovery<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    /// Go on without data that was synced and is damaged.
    pub salvage: bool,
}

/// A range of numbers that no batch holds.
struct Hole {
    /// Index of the segment that is to name it.
    segment: usize,
    first: Number,
    end: Number,
    /// `Abandoned`, or `Lost` by a salvage.
    kind: BatchKind,
}

impl Recovery<'_> {
    /// Reads, judges and repairs one lane. `sequences` are its segment files.
    pub fn lane(&self, boot: BootId, id: u32, sequences: &[u64]) -> Result<LaneShared, OpenError> {
        let lane_path = self.dir.join(file_name(boot, id));
        let (mut lane_file, facts) = match LaneFile::open(self.disk, self.dir, boot, id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (LaneFile::create(self.disk, self.dir, boot, id).map_err(at(&lane_path))?, None)
            }
            opened => opened.map_err(at(&lane_path))?,
        };
        let mut segments = Vec::new();
        for sequence in sequences {
            segments.push(self.read(SegmentId { boot, lane: id, sequence: *sequence })?);
        }
        let known_synced = known_synced(&segments, facts.as_ref());
        let (holes, issued) = self.judge(&segments, facts.as_ref(), known_synced)?;
        let state = match facts {
            Some(LaneFacts { state: LaneState::Closed, .. }) => LaneState::Closed,
            _ => LaneState::Unclean,
        };
        let lane = LaneShared::new(boot, id, state);
        for (at, segment) in segments.iter().enumerate() {
            let holes: Vec<&Hole> = holes.iter().filter(|hole| hole.segment == at).collect();
            if let Some(kept) = self.repair(segment, &holes, known_synced)? {
                lane.segments().push_back(Arc::new(kept));
            }
        }
        self.disk.sync_dir(self.dir).map_err(at(self.dir))?;
        let abandoned = holes.iter().filter(|hole| hole.kind == BatchKind::Abandoned);
        let abandoned = abandoned.map(|hole| hole.end - hole.first).sum();
        lane.abandoned.store(abandoned, Relaxed);
        lane.written.store(issued, Relaxed);
        lane.synced.store(issued, Relaxed);
        let newest_sequence =
            facts.map_or(0, |facts| facts.newest_sequence).max(sequences.last().copied().unwrap_or(0));
        let ended = LaneFacts { state, newest_sequence, written: issued, synced: issued };
        if facts != Some(ended) {
            lane_file.write_synced(&ended).map_err(at(&lane_path))?;
        }
        Ok(lane)
    }

    fn read(&self, id: SegmentId) -> Result<ScannedSegment, OpenError> {
        let path = self.dir.join(id.file_name());
        let file = self.disk.open(&path).map_err(at(&path))?;
        let bytes = Bytes::from(read_all(&*file).map_err(at(&path))?);
        let scan = Scan::of(&bytes, &id).map_err(|version| OpenError::Newer { path, version })?;
        Ok(ScannedSegment { id, bytes, scan })
    }

    /// Finds the numbers that no batch holds, and how many were issued.
    fn judge(
        &self,
        segments: &[ScannedSegment],
        facts: Option<&LaneFacts>,
        synced: Number,
    ) -> Result<(Vec<Hole>, Number), OpenError> {
        let mut holes = Vec::new();
        // The number that must come next; unknown behind a segment that is not there.
        let mut expected: Option<Number> = None;
        let mut expected_sequence = 0;
        for (at, segment) in segments.iter().enumerate() {
            let sequence = segment.id.sequence;
            match expected {
                _ if sequence == 0 => expected = Some(0),
                _ if sequence != expected_sequence => expected = None,
                _ => {}
            }
            expected_sequence = sequence + 1;
            if let (Some(first), Some(header)) = (expected, segment.scan.header)
                && header.first > first
            {
                self.hole(segments, &mut holes, at.saturating_sub(1), first..header.first, synced)?;
                expected = Some(header.first);
            }
            expected = expected.or(segment.scan.first());
            for (_, batch) in &segment.scan.batches {
                if let Some(first) = expected
                    && batch.first > first
                {
                    self.hole(segments, &mut holes, at, first..batch.first, synced)?;
                }
                expected = Some(batch.end());
            }
        }
        let known = synced.max(facts.map_or(0, |facts| facts.written));
        let end = expected.unwrap_or(known);
        if known > end && newest_is_here(segments, facts) {
            self.hole(segments, &mut holes, segments.len() - 1, end..known, synced)?;
        }
        Ok((holes, end.max(known)))
    }

    /// Notes a hole. What of it was synced is rot.
    fn hole(
        &self,
        segments: &[ScannedSegment],
        holes: &mut Vec<Hole>,
        segment: usize,
        numbers: Range<Number>,
        synced: Number,
    ) -> Result<(), OpenError> {
        let sound_from = numbers.start.max(synced.min(numbers.end));
        if numbers.start < sound_from {
            if !self.salvage {
                let ScannedSegment { id, scan, .. } = &segments[segment];
                return Err(OpenError::Rot {
                    path: self.dir.join(id.file_name()),
                    offset: scan.damaged_at.unwrap_or(scan.end),
                    lane: id.lane,
                    first: numbers.start,
                    last: sound_from - 1,
                });
            }
            holes.push(Hole { segment, first: numbers.start, end: sound_from, kind: BatchKind::Lost });
        }
        if sound_from < numbers.end {
            holes.push(Hole { segment, first: sound_from, end: numbers.end, kind: BatchKind::Abandoned });
        }
        Ok(())
    }

    /// Leaves the segment whole, synced and of its length; `None` if nothing of it
    /// remains.
    ///
    /// What is not known to be synced is written again rather than synced: after a
    /// sync that failed, the kernel may hold pages that it shows us, counts as
    /// clean, and will never write.
    fn repair(
        &self,
        segment: &ScannedSegment,
        holes: &[&Hole],
        known_synced: Number,
    ) -> Result<Option<Segment>, OpenError> {
        let ScannedSegment { id, bytes, scan } = segment;
        let path = self.dir.join(id.file_name());
        self.keep_torn(segment)?;
        if scan.batches.is_empty() && holes.is_empty() {
            self.disk.remove(&path).map_err(at(&path))?;
            return Ok(None);
        }
        let (first, end) = bounds(segment, holes);
        let damaged = scan.damaged_at.is_some() || !holes.is_empty();
        let length = if damaged || end > known_synced {
            if damaged {
                let offset = scan.damaged_at.unwrap_or(scan.end);
                tracing::warn!(segment = %path.display(), offset, "repaired a torn segment");
            }
            let whole = rewrite(segment, holes);
            replace(self.disk, self.dir, &id.file_name(), &whole).map_err(at(&path))?;
            whole.len()
        } else {
            if scan.end < bytes.len() {
                let file = self.disk.open(&path).map_err(at(&path))?;
                file.set_len(scan.end as u64).map_err(at(&path))?;
            }
            scan.end
        };
        let mut kept = Segment::new(*id, first);
        let is_lost = |hole: &&&Hole| hole.kind == BatchKind::Lost;
        kept.lost = holes.iter().filter(is_lost).map(|hole| (hole.first, hole.end)).collect();
        let was_lost = |batch: &&(usize, BatchHeader)| batch.1.kind == BatchKind::Lost;
        kept.lost.extend(scan.batches.iter().filter(was_lost).map(|(_, batch)| (batch.first, batch.end())));
        kept.lost.sort_unstable();
        kept.wrote(end, length as u64);
        *kept.rejected_bytes.get_mut() = scan.rejected_bytes;
        *kept.sealed.get_mut() = true;
        Ok(Some(kept))
    }

    fn keep_torn(&self, segment: &ScannedSegment) -> Result<(), OpenError> {
        let Some(from) = segment.scan.damaged_at else { return Ok(()) };
        let torn = &segment.bytes[from..];
        let torn = &torn[..without_zeros(torn)];
        let name = format!("{}.torn", segment.id.file_name());
        replace(self.disk, self.dir, &name, torn).map_err(at(&self.dir.join(&name)))
    }
}

/// The number below which everything was synced, as far as anything tells.
fn known_synced(segments: &[ScannedSegment], facts: Option<&LaneFacts>) -> Number {
    let said = segments.iter().map(|segment| segment.scan.synced_to()).max().unwrap_or(0);
    said.max(facts.map_or(0, |facts| facts.synced))
}

/// Whether the segment that was written last is there, used or not.
fn newest_is_here(segments: &[ScannedSegment], facts: Option<&LaneFacts>) -> bool {
    let is_newest = |segment: &ScannedSegment| {
        facts.is_none_or(|facts| {
            segment.id.sequence == facts.newest_sequence
                || (segment.id.sequence > facts.newest_sequence && !segment.scan.unused)
        })
    };
    segments.iter().any(is_newest)
}

/// First number and the number after the last one, of what a segment will hold.
fn bounds(segment: &ScannedSegment, holes: &[&Hole]) -> (Number, Number) {
    let batches = segment.scan.batches.iter().map(|(_, batch)| (batch.first, batch.end()));
    let ranges = batches.chain(holes.iter().map(|hole| (hole.first, hole.end)));
    let (mut first, mut end) = (Number::MAX, 0);
    for (from, to) in ranges {
        first = first.min(from);
        end = end.max(to);
    }
    (first, end)
}

/// The segment without its damage: the batches that check and a mark for each hole,
/// in the order of their numbers.
fn rewrite(segment: &ScannedSegment, holes: &[&Hole]) -> Vec<u8> {
    let ScannedSegment { id, bytes, scan } = segment;
    let created_at_ms = scan.header.map_or(0, |header| header.created_at_ms);
    let (first, _) = bounds(segment, holes);
    let mut whole = SegmentHeader { version: FORMAT_VERSION, first, created_at_ms }.encode(id).to_vec();
    let mut holes = holes.iter().peekable();
    let mark = |whole: &mut Vec<u8>, hole: &Hole| {
        let at = whole.len();
        whole.resize(at + BATCH_HEADER_BYTES, 0);
        seal_batch(whole, at, id, hole.kind, hole.first, hole.end - hole.first, 0);
    };
    for (offset, batch) in &scan.batches {
        while let Some(hole) = holes.next_if(|hole| hole.first < batch.first) {
            mark(&mut whole, hole);
        }
        whole.extend_from_slice(&bytes[*offset..(offset + batch.total_bytes()).min(bytes.len())]);
        whole.resize(whole.len().next_multiple_of(8), 0);
    }
    holes.for_each(|hole| mark(&mut whole, hole));
    whole
}

fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| match source.get_ref().and_then(|inner| inner.downcast_ref::<WrittenByNewer>()) {
        Some(version) => OpenError::Newer { path: path.to_owned(), version: *version },
        None => OpenError::Io { path: path.to_owned(), source },
    }
}
