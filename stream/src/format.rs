//! The segment file, byte by byte.
//!
//! All integers are little-endian. A segment belongs to one (boot, lane), is
//! written by one thread and never appended to by a later process. Its name is
//!
//! ```text
//! <boot, 32 hex digits>-<lane, 5 digits>-<sequence, 10 digits>.seg
//! ```
//!
//! # Segment header, 64 bytes
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `CLKGSEG\n` |
//! | 8 | 2 | format version, now 1 |
//! | 10 | 2 | header length, 64 |
//! | 12 | 4 | lane |
//! | 16 | 16 | boot id (UUIDv7) |
//! | 32 | 8 | sequence of the segment in its lane, from 0 |
//! | 40 | 8 | first number |
//! | 48 | 8 | created at, ms since 1970 |
//! | 56 | 4 | zero |
//! | 60 | 4 | CRC-32C of bytes 0..60 |
//!
//! A file that is all zeros was prepared and never used. It is deleted at open, unless
//! a lane's last numbers were lost with it: then it gets the mark of them.
//!
//! # Batch: what one write(2) wrote, at a multiple of 8
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `CGB`, then the format version as a byte |
//! | 4 | 4 | body length |
//! | 8 | 4 | CRC-32C of bytes 12.. of the header and of the body, started from the CRC-32C of (boot, lane, sequence), so that a batch at home in another file does not check here |
//! | 12 | 1 | kind: 0 records, 1 abandoned, 2 lost |
//! | 13 | 3 | zero |
//! | 16 | 8 | first number |
//! | 24 | 8 | count of numbers |
//! | 32 | 8 | `synced_to`: every number below it was synced when this batch was written |
//! | 40 | – | body, then zeros up to a multiple of 8 |
//!
//! The body of kind 0 is `count` records: length `u32`, kind `u8`
//! ([`RecordKind::code`]), payload. Kinds 1 and 2 have no body. Abandoned numbers
//! were given out and never became durable, and nobody was told that they had.
//! Lost numbers were synced and are damaged: with this mark a salvage says that it
//! went on without them, and `reconcile` counts them as missing.
//!
//! # Versions
//!
//! This page is version 1. A newer program reads older segments; an older one refuses a
//! newer segment with "written by version N". Golden files of each version are in
//! `golden/`.
//!
//! Recovery writes a segment again with a header of its own version and leaves the
//! batches as they were, so each batch says its version too. The marks that recovery adds
//! say 0 in `synced_to`, which claims nothing.

use bytes::Bytes;
use proto::BootId;

use crate::record::{Number, Record, RecordKind};

/// The version this program writes.
pub const FORMAT_VERSION: u16 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const BATCH_HEADER_BYTES: usize = 40;
/// Length and kind in front of each payload.
pub(crate) const RECORD_FRAME_BYTES: usize = 5;
const SEGMENT_MAGIC: &[u8; 8] = b"CLKGSEG\n";
const BATCH_MAGIC: [u8; 4] = [b'C', b'G', b'B', FORMAT_VERSION as u8];
const ALIGN: usize = 8;

/// Which segment: the parts of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    pub boot: BootId,
    pub lane: u32,
    pub sequence: u64,
}

impl SegmentId {
    pub fn file_name(&self) -> String {
        format!("{}-{:05}-{:010}.seg", self.boot.simple(), self.lane, self.sequence)
    }

    /// The id in a file name; `None` if it is another kind of file.
    pub fn parse(file_name: &str) -> Option<Self> {
        let mut parts = file_name.strip_suffix(".seg")?.split('-');
        let id = Self {
            boot: BootId::try_parse(parts.next()?).ok()?,
            lane: parts.next()?.parse().ok()?,
            sequence: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && id.file_name() == file_name).then_some(id)
    }

    /// What the CRC of each batch starts from.
    fn seed(&self) -> u32 {
        let crc = crc32c::crc32c(self.boot.as_bytes());
        let crc = crc32c::crc32c_append(crc, &self.lane.to_le_bytes());
        crc32c::crc32c_append(crc, &self.sequence.to_le_bytes())
    }
}

/// The checked content of a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub version: u16,
    pub first: Number,
    pub created_at_ms: u64,
}

impl SegmentHeader {
    pub fn encode(&self, id: &SegmentId) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[10..12].copy_from_slice(&(SEGMENT_HEADER_BYTES as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&id.lane.to_le_bytes());
        bytes[16..32].copy_from_slice(id.boot.as_bytes());
        bytes[32..40].copy_from_slice(&id.sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.created_at_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `Ok(None)` if the bytes are not a whole header of the segment `id`.
    ///
    /// # Errors
    /// [`WrittenByNewer`] if they are one, of a version we do not know.
    pub fn decode(bytes: &[u8], id: &SegmentId) -> Result<Option<Self>, WrittenByNewer> {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER_BYTES) else { return Ok(None) };
        if &bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > FORMAT_VERSION {
            return Err(WrittenByNewer(version));
        }
        let at_home = u32_at(bytes, 12) == id.lane
            && &bytes[16..32] == id.boot.as_bytes()
            && u64_at(bytes, 32) == id.sequence;
        let header = Self { version, first: u64_at(bytes, 40), created_at_ms: u64_at(bytes, 48) };
        Ok(at_home.then_some(header))
    }
}

/// The format version of a file that this program is too old to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "written by version {0} of the log format, this program reads up to version {FORMAT_VERSION}: use a newer clickgate"
)]
pub struct WrittenByNewer(pub u16);

/// What a batch's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchKind {
    Records,
    Abandoned,
    Lost,
}

/// The checked header of a batch, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub kind: BatchKind,
    pub first: Number,
    pub count: u64,
    pub synced_to: Number,
    body_bytes: usize,
}

impl BatchHeader {
    pub fn end(&self) -> Number {
        self.first + self.count
    }

    /// Bytes on disk, padding included.
    pub fn total_bytes(&self) -> usize {
        batch_bytes(self.body_bytes)
    }
}

/// Length on disk of a batch with `body_bytes` of body.
pub(crate) fn batch_bytes(body_bytes: usize) -> usize {
    padded(BATCH_HEADER_BYTES + body_bytes)
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Completes a batch in place: `batch` is room for the header followed by the
/// body. Pads it to its length on disk.
pub(crate) fn seal_batch(
    batch: &mut Vec<u8>,
    at: usize,
    id: &SegmentId,
    kind: BatchKind,
    first: Number,
    count: u64,
    synced_to: Number,
) {
    let body_bytes = batch.len() - at - BATCH_HEADER_BYTES;
    let header = &mut batch[at..at + BATCH_HEADER_BYTES];
    header[..4].copy_from_slice(&BATCH_MAGIC);
    header[4..8].copy_from_slice(&u32::try_from(body_bytes).expect("a batch is below 4 GiB").to_le_bytes());
    header[12] = kind as u8;
    header[13..16].fill(0);
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..32].copy_from_slice(&count.to_le_bytes());
    header[32..40].copy_from_slice(&synced_to.to_le_bytes());
    let crc = crc32c::crc32c_append(id.seed(), &batch[at + 12..]);
    batch[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    batch.resize(at + padded(BATCH_HEADER_BYTES + body_bytes), 0);
}

/// Appends one record's frame and payload; `encode` writes the payload.
pub(crate) fn push_record(body: &mut Vec<u8>, kind: RecordKind, encode: impl FnOnce(&mut Vec<u8>)) {
    let at = body.len();
    body.extend_from_slice(&[0; RECORD_FRAME_BYTES]);
    encode(body);
    let bytes = body.len() - at - RECORD_FRAME_BYTES;
    body[at..at + 4].copy_from_slice(&u32::try_from(bytes).expect("a record is below 4 GiB").to_le_bytes());
    body[at + 4] = kind.code();
}

/// The batch at the start of `bytes`; `None` if there is no whole, undamaged one
/// of the segment `id`.
pub(crate) fn check_batch(bytes: &[u8], id: &SegmentId) -> Option<BatchHeader> {
    if bytes.get(..4)? != BATCH_MAGIC {
        return None;
    }
    let header = bytes.get(..BATCH_HEADER_BYTES)?;
    let body_bytes = u32_at(header, 4) as usize;
    let checked = bytes.get(12..BATCH_HEADER_BYTES.checked_add(body_bytes)?)?;
    if crc32c::crc32c_append(id.seed(), checked) != u32_at(header, 8) {
        return None;
    }
    let kind = match header[12] {
        0 => BatchKind::Records,
        1 => BatchKind::Abandoned,
        2 => BatchKind::Lost,
        _ => return None,
    };
    let first = u64_at(header, 16);
    let count = u64_at(header, 24);
    first.checked_add(count)?;
    Some(BatchHeader { kind, first, count, synced_to: u64_at(header, 32), body_bytes })
}

/// The records of a checked batch that starts `bytes`, sharing its memory.
///
/// `None` if the body does not hold what the header says: a batch that checks
/// and is wrong nevertheless, so a writer's mistake.
pub(crate) fn records(bytes: &Bytes, header: &BatchHeader) -> Option<Vec<Record>> {
    let mut body = bytes.slice(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.body_bytes);
    let mut records = Vec::with_capacity(usize::try_from(header.count).ok()?.min(body.len()));
    for number in header.first..header.end() {
        if body.len() < RECORD_FRAME_BYTES {
            return None;
        }
        let frame = body.split_to(RECORD_FRAME_BYTES);
        let length = u32_at(&frame, 0) as usize;
        if body.len() < length {
            return None;
        }
        records.push(Record {
            number,
            kind: RecordKind::from_code(frame[4]),
            payload: body.split_to(length),
        });
    }
    body.is_empty().then_some(records)
}

/// Bytes that records of `kind` take in a checked batch, frames included. `None` if
/// its body does not hold what its header says, as for [`records`].
pub(crate) fn bytes_of_kind(bytes: &[u8], header: &BatchHeader, kind: RecordKind) -> Option<u64> {
    let mut body = &bytes[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.body_bytes];
    let mut sum = 0;
    let mut count = 0;
    while !body.is_empty() {
        let frame = body.get(..RECORD_FRAME_BYTES)?;
        let length = RECORD_FRAME_BYTES + u32_at(frame, 0) as usize;
        if frame[4] == kind.code() {
            sum += length as u64;
        }
        body = body.get(length..)?;
        count += 1;
    }
    (header.kind != BatchKind::Records || count == header.count).then_some(sum)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
