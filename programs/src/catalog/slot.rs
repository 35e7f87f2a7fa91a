//! What the catalog holds under one id.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::Verdict;
use crate::{Program, ProgramId, Version};
use crate::{catalog::CatalogConfig, refresher::COMPARE_EVERY};

/// Later than any moment.
const ASKED: u64 = u64::MAX;

/// What is known of a program.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Known(Arc<Program>),
    /// It was removed; remembered so that a late read does not bring it back.
    Gone,
}

impl Content {
    /// Of a program, or of its removal.
    pub(super) fn of(program: Option<Arc<Program>>) -> Self {
        program.map_or(Self::Gone, Self::Known)
    }

    /// The program, if it is there.
    pub(super) fn program(self) -> Option<Arc<Program>> {
        match self {
            Self::Known(program) => Some(program),
            Self::Gone => None,
        }
    }
}

/// How long the cache holds a slot, in seconds: until it is due at the latest, and then stale.
pub(super) fn live_seconds(config: &CatalogConfig) -> u64 {
    config.fresh_seconds + config.fresh_seconds * config.jitter_percent / 100 + config.stale_seconds
}

/// Before it is too old: two thirds of the time that it may be stale, and at least two comparisons.
pub(super) fn waning_seconds(config: &CatalogConfig) -> u64 {
    (config.stale_seconds * 2 / 3).max(2 * COMPARE_EVERY.as_secs())
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: ProgramId,
    pub(super) generation: u64,
    pub(super) version: Version,
    pub(super) content: Content,
    /// The registry holds something older, so only reading it again can renew it; see `fallback`.
    is_kept: bool,
    /// From when on somebody should ask for it to be read again, in milliseconds since 1970;
    /// [`ASKED`] while somebody has.
    due_at_ms: AtomicU64,
    /// When the cache lets go of it at the latest, in milliseconds since 1970.
    dead_at_ms: u64,
    retired: AtomicBool,
}

impl Slot {
    pub(super) fn new(
        id: ProgramId,
        generation: u64,
        version: Version,
        content: Content,
        now_ms: u64,
        config: &CatalogConfig,
    ) -> Self {
        let fresh_ms = config.fresh_seconds * 1_000;
        let spread_ms = fresh_ms * config.jitter_percent / 100;
        let due_at_ms = now_ms + fresh_ms - spread_ms + fastrand::u64(0..=2 * spread_ms);
        let dead_at_ms = now_ms + live_seconds(config) * 1_000;
        let (due_at_ms, retired) = (AtomicU64::new(due_at_ms), AtomicBool::new(false));
        Self { id, generation, version, content, is_kept: false, due_at_ms, dead_at_ms, retired }
    }

    /// With other content.
    pub(super) fn with(self, content: Content) -> Self {
        Self { content, ..self }
    }

    /// Whether readers find a program of a higher revision than the other's.
    pub(super) fn is_ahead_of(&self, other: &Self, now_ms: u64) -> bool {
        let is_higher = match (&self.content, &other.content) {
            (Content::Known(ours), Content::Known(theirs)) => ours.revision > theirs.revision,
            _ => false,
        };
        self.generation == other.generation && !self.is_dead(now_ms) && is_higher
    }

    /// Of what the registry has lost.
    pub(super) fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }

    /// As young as if it had been read at `now_ms`; the caller knows that the registry holds the same.
    pub(super) fn renewed(&self, now_ms: u64, config: &CatalogConfig) -> Self {
        let content = self.content.clone();
        Self::new(self.id.clone(), self.generation, self.version, content, now_ms, config)
    }

    /// Whether it should be renewed without a hit on it or a reading: it is a program that was due
    /// a while ago, and it is what the registry holds if that is where we believe it is.
    pub(super) fn is_waning(&self, now_ms: u64, config: &CatalogConfig) -> bool {
        let is_current = matches!(self.content, Content::Known(_)) && !self.is_kept;
        is_current && now_ms + waning_seconds(config) * 1_000 >= self.dead_at_ms
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.content {
            Content::Known(program) => Verdict::Known(Arc::clone(program)),
            Content::Gone => Verdict::Unknown,
        }
    }

    /// Whether `other` must not replace it. An equal one may: it is younger.
    pub(super) fn outranks(&self, other: &Self) -> bool {
        (self.generation, self.version) > (other.generation, other.version)
    }

    /// The cache holds it no longer.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the cache has let go of it.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether the cache still holds it.
    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        !self.is_retired() && !self.is_dead(now_ms)
    }

    /// Whether it is too old to be served, whether the cache has noticed or not.
    pub(super) fn is_dead(&self, now_ms: u64) -> bool {
        now_ms >= self.dead_at_ms
    }

    /// Whether it is due and the caller is the one to ask for a new read; everybody else need not.
    pub(super) fn take_turn(&self, now_ms: u64) -> bool {
        let due_at_ms = self.due_at_ms.load(Ordering::Relaxed);
        let is_due = now_ms >= due_at_ms;
        let take = |at| self.due_at_ms.compare_exchange(at, ASKED, Ordering::Relaxed, Ordering::Relaxed);
        is_due && take(due_at_ms).is_ok()
    }

    /// It was not read; from this moment on the next hit may ask.
    pub(super) fn give_turn_back(&self, due_at_ms: u64) {
        self.due_at_ms.store(due_at_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(generation: u64, version: Version) -> Slot {
        let id = "1".parse().unwrap();
        Slot::new(id, generation, version, Content::Gone, 1_000_000, &CatalogConfig::default())
    }

    #[test]
    fn the_generation_counts_before_the_version() {
        assert!(slot(2, 1).outranks(&slot(1, 9)));
        assert!(slot(1, 9).outranks(&slot(1, 8)));
        assert!(!slot(1, 9).outranks(&slot(1, 9)));
    }

    #[test]
    fn ages_are_spread_by_a_tenth_to_either_side() {
        for _ in 0..1_000 {
            let due_in = slot(1, 1).due_at_ms.into_inner() - 1_000_000;
            assert!((540_000..=660_000).contains(&due_in), "{due_in}");
        }
    }

    #[test]
    fn a_program_wanes_when_a_third_of_its_stale_time_is_over_and_what_was_lost_or_removed_does_not() {
        let config = CatalogConfig::default();
        let known = || {
            let known = Content::Known(Arc::new(crate::samples().remove(0)));
            Slot::new("1".parse().unwrap(), 1, 1, known, 1_000_000, &config)
        };
        let waning_at = 1_000_000 + 660_000 + 300_000;
        assert!(!known().is_waning(waning_at - 1, &config) && known().is_waning(waning_at, &config));
        assert!(!known().kept().is_waning(waning_at, &config));
        assert!(!slot(1, 1).is_waning(waning_at, &config));
        let renewed = known().renewed(waning_at, &config);
        assert!(!renewed.is_dead(waning_at + 1_559_999) && renewed.is_dead(waning_at + 1_560_000));
    }

    #[test]
    fn a_slot_is_held_until_it_is_retired_or_too_old() {
        let slot = slot(1, 1);
        assert!(slot.is_held(1_000_000 + 1_559_999) && !slot.is_held(1_000_000 + 1_560_000));
        slot.retire();
        assert!(!slot.is_held(1_000_000));
    }

    #[test]
    fn one_hit_asks_once_it_is_due_and_another_when_that_was_in_vain() {
        let slot = slot(1, 1);
        let due = 1_000_000 + 660_000;
        assert!(!slot.take_turn(1_000_000) && slot.take_turn(due) && !slot.take_turn(due + 1));
        slot.give_turn_back(due + 1_000);
        assert!(!slot.take_turn(due + 999) && slot.take_turn(due + 1_000));
    }
}
