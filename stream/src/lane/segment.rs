//! A segment file as the threads of this process see it: filled, open, or prepared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crate::disk::DiskFile;
use crate::format::SegmentId;
use crate::record::Number;

/// One segment file, as the threads of this process see it.
pub(crate) struct Segment {
    pub id: SegmentId,
    /// First number; set before the segment is listed.
    pub first: Number,
    /// Bytes of whole batches, header included. Readers read up to here.
    pub bytes: AtomicU64,
    /// Of those, records of kind `Rejected`.
    pub rejected_bytes: AtomicU64,
    /// The number after its last one.
    pub end: AtomicU64,
    /// Half-open ranges in it that no batch holds, after a salvage.
    pub lost: Vec<(Number, Number)>,
    /// Nothing will be appended.
    pub sealed: AtomicBool,
}

/// A segment and its descriptor, for those who write and sync it. Readers open
/// files of their own, so that a long backlog costs no descriptors.
#[derive(Clone)]
pub(crate) struct OpenSegment {
    pub segment: Arc<Segment>,
    pub file: Arc<dyn DiskFile>,
}

impl Segment {
    /// An empty one.
    pub fn new(id: SegmentId, first: Number) -> Self {
        Self {
            id,
            first,
            bytes: 0.into(),
            rejected_bytes: 0.into(),
            end: first.into(),
            lost: Vec::new(),
            sealed: false.into(),
        }
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Acquire)
    }

    pub fn end(&self) -> Number {
        self.end.load(Relaxed)
    }

    /// Publishes a batch that was written; `bytes` last, since readers go by it.
    pub fn wrote(&self, end: Number, bytes: u64) {
        self.end.store(end, Relaxed);
        self.bytes.store(bytes, Release);
    }
}

/// How the room of a segment was made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// By fallocate(2): no byte is written in advance.
    Reserved,
    /// By writing zeros: a sync of what replaces them writes data only.
    Filled,
}

/// A segment file of full size that nobody has written to: all zeros, its name durable.
pub(crate) struct Prepared {
    pub id: SegmentId,
    pub file: Arc<dyn DiskFile>,
    pub room: Room,
}
