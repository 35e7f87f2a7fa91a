//! What a segment file holds, damage included.

use bytes::Bytes;

use crate::format::{
    BatchHeader, BatchKind, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId, WrittenByNewer, bytes_of_kind,
    check_batch,
};
use crate::record::{Number, RecordKind};

/// The result of reading a segment file from end to end.
#[derive(Debug)]
pub(crate) struct Scan {
    pub header: Option<SegmentHeader>,
    /// Nothing but zeros: prepared and never used, or lost whole.
    pub unused: bool,
    /// Every batch that checks, in order, with its offset; their numbers grow.
    pub batches: Vec<(usize, BatchHeader)>,
    /// The first offset at which there is something that does not check.
    pub damaged_at: Option<usize>,
    /// The offset behind the last batch that checks.
    pub end: usize,
    pub rejected_bytes: u64,
}

impl Scan {
    /// Reads a file. Behind damage it looks for further batches at every multiple
    /// of 8, because pages reach the disk in any order.
    ///
    /// # Errors
    /// [`WrittenByNewer`]: nothing can be said of it.
    pub fn of(bytes: &Bytes, id: &SegmentId) -> Result<Self, WrittenByNewer> {
        let header = SegmentHeader::decode(bytes, id)?;
        let used_bytes = without_zeros(bytes);
        let unused = used_bytes == 0;
        let mut scan =
            Self { header, unused, batches: Vec::new(), damaged_at: None, end: 0, rejected_bytes: 0 };
        if unused {
            return Ok(scan);
        }
        if header.is_none() {
            scan.damaged_at = Some(0);
        }
        let mut at = SEGMENT_HEADER_BYTES.min(bytes.len());
        scan.end = at;
        let mut next_number = 0;
        while at < used_bytes {
            let sound = check_batch(&bytes[at..], id).filter(|batch| batch.first >= next_number);
            let sound = sound
                .and_then(|batch| Some((batch, bytes_of_kind(&bytes[at..], &batch, RecordKind::Rejected)?)));
            match sound {
                Some((batch, rejected_bytes)) => {
                    next_number = batch.end();
                    scan.rejected_bytes += rejected_bytes;
                    scan.batches.push((at, batch));
                    at = (at + batch.total_bytes()).min(bytes.len());
                    scan.end = at;
                }
                None => {
                    scan.damaged_at.get_or_insert(at);
                    at += 8;
                }
            }
        }
        Ok(scan)
    }

    /// First number, if the header or a batch tells.
    pub fn first(&self) -> Option<Number> {
        let header = self.header.map(|header| header.first);
        header.or_else(|| self.batches.first().map(|(_, batch)| batch.first))
    }
}

/// The length without the zeros at the end, which may be most of the file.
pub(crate) fn without_zeros(bytes: &[u8]) -> usize {
    let words = bytes.rchunks_exact(8).take_while(|word| *word == [0; 8]).count();
    let rest = &bytes[..bytes.len() - words * 8];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What recovery keeps of a segment while it looks at the others of its lane. Its
/// size depends on the damage, not on the number of batches.
pub(crate) struct Survey {
    pub id: SegmentId,
    pub file_bytes: usize,
    pub header: Option<SegmentHeader>,
    pub unused: bool,
    /// Half-open ranges of numbers that batches name, in order.
    pub ranges: Vec<(Number, Number)>,
    /// Of those, what an earlier salvage gave up.
    pub lost: Vec<(Number, Number)>,
    /// Some batch says that all numbers below it were synced.
    pub synced_to: Number,
    pub damaged_at: Option<usize>,
    pub end: usize,
    pub rejected_bytes: u64,
}

impl Survey {
    pub fn of(id: SegmentId, file_bytes: usize, scan: &Scan) -> Self {
        let mut ranges: Vec<(Number, Number)> = Vec::new();
        let mut lost = Vec::new();
        for (_, batch) in &scan.batches {
            match ranges.last_mut() {
                Some(last) if last.1 == batch.first => last.1 = batch.end(),
                _ => ranges.push((batch.first, batch.end())),
            }
            if batch.kind == BatchKind::Lost {
                lost.push((batch.first, batch.end()));
            }
        }
        Self {
            id,
            file_bytes,
            header: scan.header,
            unused: scan.unused,
            ranges,
            lost,
            synced_to: scan.batches.iter().map(|(_, batch)| batch.synced_to).max().unwrap_or(0),
            damaged_at: scan.damaged_at,
            end: scan.end,
            rejected_bytes: scan.rejected_bytes,
        }
    }

    /// First number, if the header or a batch tells.
    pub fn first(&self) -> Option<Number> {
        let header = self.header.map(|header| header.first);
        header.or_else(|| self.ranges.first().map(|(first, _)| *first))
    }

    /// Where something that does not check begins, or the whole batches end.
    pub fn sound_bytes(&self) -> usize {
        self.damaged_at.unwrap_or(self.end)
    }
}
