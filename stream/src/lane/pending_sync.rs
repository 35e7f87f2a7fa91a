//! What a lane has yet to ask its syncer for.
//!
//! A sync costs about the same whether it serves one hit or two hundred. So a worker asks for one
//! when it has nothing else to do, or when somebody has waited for 1 ms, and not while
//! one is under way that many wait for: its end makes the worker busy, and what comes with
//! that goes along.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::record::Number;

/// Longest time for which a busy worker collects more before it asks for a sync.
const COLLECT_MAX: Duration = Duration::from_millis(1);

/// When so many wait for a sync, its end makes the worker busy.
const MANY: usize = 32;

/// Whether somebody waits for a sync that the syncer has not been asked for.
#[derive(Default)]
pub(crate) struct SyncDebt {
    /// Numbers below it are waited for.
    wanted_to: Cell<Number>,
    /// Numbers below it had been written when the syncer was asked.
    asked_to: Cell<Number>,
    /// How many waited then.
    asked_for: Cell<usize>,
    /// Since when something is owed.
    since: Cell<Option<Instant>>,
}

impl SyncDebt {
    /// Somebody waits for this number.
    pub fn want(&self, number: Number) {
        self.wanted_to.set(self.wanted_to.get().max(number + 1));
        if self.is_owed() && self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
    }

    pub fn is_owed(&self) -> bool {
        self.wanted_to.get() > self.asked_to.get()
    }

    /// Whether it cannot wait until the worker has nothing else to do.
    pub fn is_old(&self) -> bool {
        self.since.get().is_some_and(|since| since.elapsed() >= COLLECT_MAX)
    }

    /// Whether it is to wait for the end of the sync under way; `synced` is where the syncer is.
    pub fn is_for_later(&self, synced: Number) -> bool {
        synced < self.asked_to.get() && self.asked_for.get() >= MANY
    }

    /// The syncer has been asked to sync what is below `written`, which is all that so many wait for.
    pub fn asked(&self, written: Number, waiting: usize) {
        self.asked_for.set(waiting);
        self.asked_to.set(written.max(self.wanted_to.get()));
        self.since.set(None);
    }

    /// What was waited for from `written` on will never be written.
    pub fn forget_from(&self, written: Number) {
        self.wanted_to.set(self.wanted_to.get().min(written));
        if !self.is_owed() {
            self.since.set(None);
        }
    }
}
