//! Leaves a segment of an earlier process whole, synced and of its length.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::disk::{Disk, read_all, read_readable, replace, write_all};
use crate::format::{BATCH_HEADER_BYTES, BatchKind, FORMAT_VERSION, SegmentHeader, SegmentId, seal_batch};
use crate::lane::segment::Segment;
use crate::log::error::{OpenError, at};
use crate::log::scan::{Scan, Survey, without_zeros};
use crate::record::Number;

/// A range of numbers that no batch holds.
pub(crate) struct Hole {
    /// Index of the segment that is to name it.
    pub segment: usize,
    pub first: Number,
    pub end: Number,
    /// `Abandoned`, or `Lost` by a salvage.
    pub kind: BatchKind,
}

pub(crate) struct Repair<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
}

impl Repair<'_> {
    /// `None` if nothing of the segment remains.
    ///
    /// What is not known to be synced is written again rather than synced: after a
    /// sync that failed, the kernel may hold pages that it shows us, counts as
    /// clean, and will never write.
    pub fn segment(
        &self,
        survey: &Survey,
        holes: &[&Hole],
        known_synced: Number,
    ) -> Result<Option<Segment>, OpenError> {
        let path = self.dir.join(survey.id.file_name());
        let (first, end) = bounds(survey, holes);
        let damaged = survey.damaged_at.is_some() || !holes.is_empty();
        let length = if damaged {
            tracing::warn!(segment = %path.display(), offset = survey.sound_bytes(), "repaired a torn segment");
            self.replace(survey, holes)?
        } else {
            self.cut(survey, end > known_synced).map_err(at(&path))?;
            survey.end
        };
        if first == end {
            self.disk.remove(&path).map_err(at(&path))?;
            return Ok(None);
        }
        let mut kept = Segment::new(survey.id, first);
        kept.lost.clone_from(&survey.lost);
        let is_lost = |hole: &&&Hole| hole.kind == BatchKind::Lost;
        kept.lost.extend(holes.iter().filter(is_lost).map(|hole| (hole.first, hole.end)));
        kept.lost.sort_unstable();
        kept.wrote(end, length as u64);
        *kept.rejected_bytes.get_mut() = survey.rejected_bytes;
        *kept.sealed.get_mut() = true;
        Ok(Some(kept))
    }

    /// Cuts a sound file to its length, which gives back what was allocated in advance,
    /// and writes it `again` in place: the same bytes, so a crash in here changes
    /// nothing, and no room is needed, which a full disk does not have.
    fn cut(&self, survey: &Survey, again: bool) -> io::Result<()> {
        if !again && survey.end == survey.file_bytes {
            return Ok(());
        }
        let file = self.disk.open(&self.dir.join(survey.id.file_name()))?;
        file.set_len(survey.end as u64)?;
        if again {
            let bytes = read_all(&*file)?;
            write_all(&*file, &bytes, 0)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// `name`, or `name.2` and so on if that was kept before.
    fn free_name(&self, name: &str) -> io::Result<String> {
        let known = self.disk.list(self.dir)?;
        let names = std::iter::once(name.to_owned()).chain((2..).map(|count| format!("{name}.{count}")));
        Ok(names.into_iter().find(|name| !known.contains(name)).expect("there is always a next number"))
    }

    /// Replaces the file by its whole batches and a mark for each hole; what does
    /// not check is kept beside it. Returns its new length.
    fn replace(&self, survey: &Survey, holes: &[&Hole]) -> Result<usize, OpenError> {
        let name = survey.id.file_name();
        let path = self.dir.join(&name);
        let file = self.disk.open(&path).map_err(at(&path))?;
        let bytes = Bytes::from(read_readable(&*file).map_err(at(&path))?);
        let scan = Scan::of(&bytes, &survey.id);
        let scan = scan.map_err(|version| OpenError::Newer { path: path.clone(), version })?;
        if let Some(from) = scan.damaged_at {
            let torn = &bytes[from..];
            let torn_name = self.free_name(&format!("{name}.torn")).map_err(at(&path))?;
            replace(self.disk, self.dir, &torn_name, &torn[..without_zeros(torn)]).map_err(at(&path))?;
        }
        let (first, _) = bounds(survey, holes);
        let whole = whole(&survey.id, first, &bytes, &scan, holes);
        replace(self.disk, self.dir, &name, &whole).map_err(at(&path))?;
        Ok(whole.len())
    }
}

/// First number and the number after the last one, of what a segment will hold;
/// equal if that is nothing.
fn bounds(survey: &Survey, holes: &[&Hole]) -> (Number, Number) {
    let ranges = survey.ranges.iter().copied().chain(holes.iter().map(|hole| (hole.first, hole.end)));
    let bounds = ranges.reduce(|all, range| (all.0.min(range.0), all.1.max(range.1)));
    bounds.unwrap_or_default()
}

/// The batches that check and a mark for each hole, in the order of their numbers.
fn whole(id: &SegmentId, first: Number, bytes: &[u8], scan: &Scan, holes: &[&Hole]) -> Vec<u8> {
    let created_at_ms = scan.header.map_or(0, |header| header.created_at_ms);
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
