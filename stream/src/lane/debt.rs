//! What a lane has yet to ask its syncer for.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::record::Number;

/// Longest time for which a busy worker collects more before it asks for a sync.
const COLLECT_MAX: Duration = Duration::from_millis(1);

/// Whether somebody waits for a sync that the syncer has not been asked for.
#[derive(Default)]
pub(crate) struct SyncDebt {
    /// Numbers below it are waited for.
    wanted_to: Cell<Number>,
    /// Numbers below it had been written when the syncer was asked.
    asked_to: Cell<Number>,
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

    /// The syncer has been asked to sync what is below `written`, which is all that is waited for.
    pub fn asked(&self, written: Number) {
        self.asked_to.set(written.max(self.wanted_to.get()));
        self.since.set(None);
    }

    /// What was waited for will never be written.
    pub fn forget(&self) {
        self.asked(0);
    }
}
