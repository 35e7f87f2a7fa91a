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
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use proto::BootId;

use crate::cursor::LaneKey;
use crate::disk::{Disk, read_all, read_readable};
use crate::format::{BatchKind, SegmentId};
use crate::lane::file::{LaneFacts, LaneFile, LaneState, file_name};
use crate::lane::shared::LaneShared;
use crate::log::error::{OpenError, at};
use crate::log::repair::{Hole, Repair};
use crate::log::scan::{Scan, Survey};
use crate::record::Number;

/// Opens what earlier processes left in `dir`.
pub(crate) struct Recovery<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    /// Go on without data that was synced and is damaged.
    pub salvage: bool,
}

/// What is to be done about a lane.
pub(crate) struct Plan {
    pub boot: BootId,
    pub lane: u32,
    facts: Option<LaneFacts>,
    segments: Vec<Survey>,
    holes: Vec<Hole>,
    issued: Number,
    known_synced: Number,
}

impl Recovery<'_> {
    /// Reads and judges one lane. `sequences` are its segment files. Changes nothing.
    pub fn plan(&self, (boot, lane): LaneKey, sequences: &[u64]) -> Result<Plan, OpenError> {
        let path = self.dir.join(file_name(boot, lane));
        let facts = match LaneFile::open(self.disk, self.dir, boot, lane) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => opened.map_err(at(&path))?.1,
        };
        let surveys: Result<Vec<Survey>, _> = sequences
            .iter()
            .map(|sequence| self.read(SegmentId { boot, lane, sequence: *sequence }))
            .collect();
        let segments = surveys?;
        let known_synced = known_synced(&segments, facts.as_ref());
        let (holes, issued) = self.judge(&segments, facts.as_ref(), known_synced)?;
        Ok(Plan { boot, lane, facts, segments, holes, issued, known_synced })
    }

    /// Repairs a lane.
    pub fn carry_out(&self, plan: Plan) -> Result<LaneShared, OpenError> {
        let Plan { boot, lane: id, facts, segments, holes, issued, known_synced } = plan;
        let holes_of = |segment| holes.iter().filter(move |hole| hole.segment == segment).collect::<Vec<_>>();
        let repair = Repair { disk: self.disk, dir: self.dir };
        // What was prepared and not used makes room for the rest, on a disk that is full.
        for (at, segment) in segments.iter().enumerate() {
            if segment.unused && holes_of(at).is_empty() {
                repair.segment(segment, &[], known_synced)?;
            }
        }
        let state = match facts {
            Some(LaneFacts { state: LaneState::Closed, .. }) => LaneState::Closed,
            _ => LaneState::Unclean,
        };
        let lane = LaneShared::new(boot, id, state);
        for (at, segment) in segments.iter().enumerate() {
            let holes = holes_of(at);
            if segment.unused && holes.is_empty() {
                continue;
            }
            if let Some(kept) = repair.segment(segment, &holes, known_synced)? {
                lane.segments().push_back(Arc::new(kept));
            }
        }
        self.disk.sync_dir(self.dir).map_err(at(self.dir))?;
        let abandoned = holes.iter().filter(|hole| hole.kind == BatchKind::Abandoned);
        lane.abandoned.store(abandoned.map(|hole| hole.end - hole.first).sum(), Relaxed);
        lane.written.store(issued, Relaxed);
        lane.synced.store(issued, Relaxed);
        let newest_kept = lane.segments().back().map(|segment| segment.id.sequence);
        let newest_sequence = facts.map(|facts| facts.newest_sequence).max(newest_kept).unwrap_or(0);
        let ended = LaneFacts { state, newest_sequence, written: issued, synced: issued };
        if facts != Some(ended) {
            let path = self.dir.join(file_name(boot, id));
            let file = match LaneFile::open(self.disk, self.dir, boot, id) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    LaneFile::create(self.disk, self.dir, boot, id)
                }
                opened => opened.map(|(file, _)| file),
            };
            file.and_then(|mut file| file.write_synced(&ended)).map_err(at(&path))?;
            self.disk.sync_dir(self.dir).map_err(at(self.dir))?;
        }
        Ok(lane)
    }

    fn read(&self, id: SegmentId) -> Result<Survey, OpenError> {
        let path = self.dir.join(id.file_name());
        let file = self.disk.open(&path).map_err(at(&path))?;
        // A salvage takes what the disk cannot read for damage.
        let read = if self.salvage { read_readable(&*file) } else { read_all(&*file) };
        let bytes = Bytes::from(read.map_err(at(&path))?);
        let scan = Scan::of(&bytes, &id).map_err(|version| OpenError::Newer { path, version })?;
        Ok(Survey::of(id, bytes.len(), &scan))
    }

    /// Finds the numbers that no batch holds, and how many were issued.
    fn judge(
        &self,
        segments: &[Survey],
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
            if let (Some(first), Some(header)) = (expected, segment.header)
                && header.first > first
            {
                self.hole(segments, &mut holes, at.saturating_sub(1), first..header.first, synced)?;
                expected = Some(header.first);
            }
            // Behind segments that were trimmed, a lost header leaves the beginning unknown.
            // Nothing of such a segment was synced, so it does not begin below `synced`;
            // what lies between and was trimmed is in the ledger, which goes before.
            let begins = segment.header.map(|header| header.first);
            let begins = begins.or_else(|| segment.first().map(|first| first.min(synced)));
            expected = expected.or(begins);
            for (from, to) in &segment.ranges {
                if let Some(first) = expected
                    && *from > first
                {
                    self.hole(segments, &mut holes, at, first..*from, synced)?;
                }
                expected = Some(*to);
            }
        }
        let known = synced.max(facts.map_or(0, |facts| facts.written));
        let end = expected.unwrap_or(synced);
        if known > end
            && let Some(newest) = newest(segments, facts)
        {
            self.hole(segments, &mut holes, newest, end..known, synced)?;
        }
        Ok((holes, end.max(known)))
    }

    /// Notes a hole. What of it was synced is rot.
    fn hole(
        &self,
        segments: &[Survey],
        holes: &mut Vec<Hole>,
        segment: usize,
        numbers: Range<Number>,
        synced: Number,
    ) -> Result<(), OpenError> {
        let sound_from = numbers.start.max(synced.min(numbers.end));
        if numbers.start < sound_from {
            if !self.salvage {
                let Survey { id, .. } = &segments[segment];
                return Err(OpenError::Rot {
                    path: self.dir.join(id.file_name()),
                    offset: segments[segment].sound_bytes(),
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
}

/// The number below which everything is known to have been synced.
fn known_synced(segments: &[Survey], facts: Option<&LaneFacts>) -> Number {
    let said = segments.iter().map(|segment| segment.synced_to).max().unwrap_or(0);
    said.max(facts.map_or(0, |facts| facts.synced))
}

/// The segment that was written last, used or not; `None` if somebody removed it.
fn newest(segments: &[Survey], facts: Option<&LaneFacts>) -> Option<usize> {
    let last_used = segments.iter().rposition(|segment| !segment.unused);
    let Some(facts) = facts else { return last_used };
    let known = segments.iter().position(|segment| segment.id.sequence == facts.newest_sequence);
    known.max(last_used.filter(|at| segments[*at].id.sequence >= facts.newest_sequence))
}
