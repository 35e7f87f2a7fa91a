//! How old the catalog is: one figure for all of it.
//!
//! The catalog is a replica that follows the registry. It is *in step* while changes are followed
//! and the last comparison found both at the same version; everything held is then correct, whenever
//! it was read. Out of step, a program may have changed since the last moment in step, or since it
//! was read if that was later: that is its age.
//!
//! A hit reads one or three atomics here and writes none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::config::CatalogConfig;

/// What a program's age permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Correct, or recent enough to be taken as such.
    Fresh,
    /// Still served, but due to be read again.
    Stale,
    /// Too old to be served.
    Expired,
}

pub(super) struct Freshness {
    is_in_step: AtomicBool,
    /// Milliseconds since 1970; 0 before the first load.
    in_step_at_ms: AtomicU64,
    fresh_ms: u64,
    served_ms: u64,
}

impl Freshness {
    pub(super) fn new(config: &CatalogConfig) -> Self {
        let fresh_ms = config.fresh_seconds.saturating_mul(1_000);
        let stale_ms = config.stale_seconds.saturating_mul(1_000);
        Self {
            is_in_step: AtomicBool::new(false),
            in_step_at_ms: AtomicU64::new(0),
            fresh_ms,
            served_ms: fresh_ms.saturating_add(stale_ms),
        }
    }

    /// The age, at `now_ms`, of a slot that was read at `read_at_ms`.
    pub(super) fn age(&self, read_at_ms: u64, now_ms: u64) -> Age {
        if self.is_in_step.load(Ordering::Acquire) {
            return Age::Fresh;
        }
        let right_at_ms = read_at_ms.max(self.in_step_at_ms());
        // Saturating: a clock that is set back must not age anything.
        let age_ms = now_ms.saturating_sub(right_at_ms);
        if age_ms < self.fresh_ms {
            Age::Fresh
        } else if age_ms < self.served_ms {
            Age::Stale
        } else {
            Age::Expired
        }
    }

    /// When the catalog was last known to hold what the registry held, milliseconds since 1970.
    pub(super) fn in_step_at_ms(&self) -> u64 {
        self.in_step_at_ms.load(Ordering::Acquire)
    }

    /// How long a program is served after it was last known to be correct.
    pub(super) fn served_ms(&self) -> u64 {
        self.served_ms
    }

    /// Everything was loaded as of `at_ms`; later changes may be missing.
    pub(super) fn set_loaded(&self, at_ms: u64) {
        self.in_step_at_ms.store(at_ms, Ordering::Release);
    }

    /// A comparison begun at `at_ms` found no difference. Holds until
    /// [`Freshness::set_out_of_step`].
    pub(super) fn set_in_step(&self, at_ms: u64) {
        self.in_step_at_ms.store(at_ms, Ordering::Release);
        self.is_in_step.store(true, Ordering::Release);
    }

    /// The registry may have changes that are not here.
    pub(super) fn set_out_of_step(&self) {
        self.is_in_step.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fresh for 10 minutes, and served for 15 more.
    fn freshness() -> Freshness {
        Freshness::new(&CatalogConfig::default())
    }

    #[test]
    fn in_step_everything_is_fresh_whatever_its_age() {
        let freshness = freshness();
        freshness.set_in_step(1_000);
        assert_eq!(freshness.age(0, 1_000), Age::Fresh);
        assert_eq!(freshness.age(0, u64::MAX), Age::Fresh);
    }

    #[test]
    fn out_of_step_the_last_moment_in_step_counts() {
        let freshness = freshness();
        freshness.set_in_step(1_000_000);
        freshness.set_out_of_step();
        for (after_ms, expected) in
            [(0, Age::Fresh), (599_999, Age::Fresh), (600_000, Age::Stale), (1_499_999, Age::Stale)]
        {
            assert_eq!(freshness.age(1, 1_000_000 + after_ms), expected, "{after_ms} ms later");
        }
        assert_eq!(freshness.age(1, 1_000_000 + 1_500_000), Age::Expired);
    }

    #[test]
    fn out_of_step_a_later_read_counts_for_what_was_read() {
        let freshness = freshness();
        freshness.set_loaded(1_000_000);
        assert_eq!(freshness.age(1_000_000, 1_600_000), Age::Stale);
        assert_eq!(freshness.age(1_500_000, 1_600_000), Age::Fresh);
        assert_eq!(freshness.age(1_500_000, 2_100_000), Age::Stale);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        let freshness = freshness();
        freshness.set_loaded(1_000_000);
        assert_eq!(freshness.age(1_000_000, 1), Age::Fresh);
    }
}
