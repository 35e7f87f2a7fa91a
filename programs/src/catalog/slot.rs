//! A cache entry: what is known about one id.
//!
//! A region holds 100,000 of these, so a slot is 48 bytes: the id is stored in the program, and
//! separately only if there is no program.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::verdict::Verdict;
use crate::{Program, ProgramId, Version};

/// Pause between two background reads of one program, in milliseconds.
const READ_PAUSE_MS: u64 = 1_000;

/// As a time: never.
const BEING_READ: u64 = u64::MAX;

/// What is known of a program.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Known(Arc<Program>),
    /// Removed; remembered so that a late read does not bring the program back.
    Removed(ProgramId),
}

impl Content {
    /// A program, or the removal of `id`.
    pub(super) fn of(id: &ProgramId, program: Option<Arc<Program>>) -> Self {
        match program {
            Some(program) => Self::Known(program),
            None => Self::Removed(id.clone()),
        }
    }

    pub(super) fn id(&self) -> &ProgramId {
        match self {
            Self::Known(program) => &program.id,
            Self::Removed(id) => id,
        }
    }

    /// The program, if there is one.
    pub(super) fn program(self) -> Option<Arc<Program>> {
        match self {
            Self::Known(program) => Some(program),
            Self::Removed(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) content: Content,
    pub(super) version: Version,
    /// When it was requested from the registry, or its change arrived, milliseconds since 1970.
    pub(super) read_at_ms: u64,
    /// When the next background read may start; [`BEING_READ`] during one.
    next_read_at_ms: AtomicU64,
    pub(super) generation: u32,
    retired: AtomicBool,
}

impl Slot {
    pub(super) fn new(generation: u32, version: Version, content: Content, read_at_ms: u64) -> Self {
        Self {
            content,
            version,
            read_at_ms,
            next_read_at_ms: AtomicU64::new(0),
            generation,
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> &ProgramId {
        self.content.id()
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.content {
            Content::Known(program) => Verdict::Known(Arc::clone(program)),
            Content::Removed(_) => Verdict::Unknown,
        }
    }

    /// Whether `other` must not replace it. An equal one may, as it was read later.
    pub(super) fn outranks(&self, other: &Self) -> bool {
        (self.generation, self.version) > (other.generation, other.version)
    }

    /// Whether both are programs of the same generation, and this one's revision is higher.
    pub(super) fn has_higher_revision_than(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Known(ours), Content::Known(theirs)) => {
                self.generation == other.generation && ours.revision > theirs.revision
            }
            _ => false,
        }
    }

    /// Marks it as no longer in the cache.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether it is no longer in the cache.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Claims the next background read; true for one caller until [`Slot::end_read`].
    pub(super) fn begin_read(&self, now_ms: u64) -> bool {
        let next_at_ms = self.next_read_at_ms.load(Ordering::Relaxed);
        let begin =
            |at| self.next_read_at_ms.compare_exchange(at, BEING_READ, Ordering::Relaxed, Ordering::Relaxed);
        now_ms >= next_at_ms && begin(next_at_ms).is_ok()
    }

    /// Ends the read that began at `began_at_ms`; if it left this slot in place, another read may
    /// start after a pause.
    pub(super) fn end_read(&self, began_at_ms: u64) {
        self.next_read_at_ms.store(began_at_ms + READ_PAUSE_MS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(generation: u32, version: Version) -> Slot {
        Slot::new(generation, version, Content::Removed("1".parse().unwrap()), 1_000_000)
    }

    #[test]
    fn the_generation_counts_before_the_version() {
        assert!(slot(2, 1).outranks(&slot(1, 9)));
        assert!(slot(1, 9).outranks(&slot(1, 8)));
        assert!(!slot(1, 9).outranks(&slot(1, 9)));
    }

    #[test]
    fn a_slot_takes_six_words() {
        assert_eq!(size_of::<Slot>(), 48);
    }

    #[test]
    fn one_hit_begins_a_read_and_after_a_pause_another_one_may() {
        let slot = slot(1, 1);
        assert!(slot.begin_read(5_000) && !slot.begin_read(5_000) && !slot.begin_read(50_000));
        slot.end_read(5_000);
        assert!(!slot.begin_read(5_999) && slot.begin_read(6_000));
    }
}
