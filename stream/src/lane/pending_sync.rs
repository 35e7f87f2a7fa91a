//! The sync that a lane's waiters need and that the syncer was not asked for yet.
//!
//! A sync costs about the same whether it serves one hit or two hundred, so it pays to
//! collect. The worker asks for one when it has nothing else to do, or once somebody has
//! waited for 1 ms. It does not ask while a sync is running that many wait for: the end of
//! that one wakes them all, and what they do next can share the following sync.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::record::Number;

/// How long a busy worker collects at most before it asks for a sync.
const COLLECT_MAX: Duration = Duration::from_millis(1);

/// With so many waiting for a sync, its end makes the worker busy.
const MANY: usize = 32;

/// What is waited for, and what was asked of the syncer.
#[derive(Default)]
pub(crate) struct PendingSync {
    /// Numbers below it are waited for.
    wanted_to: Cell<Number>,
    /// Numbers below it had been written when the syncer was last asked.
    requested_to: Cell<Number>,
    /// How many waited then.
    requested_for: Cell<usize>,
    /// Since when a sync is needed.
    since: Cell<Option<Instant>>,
}

impl PendingSync {
    /// Somebody waits for this number.
    pub fn wait_for(&self, number: Number) {
        self.wanted_to.set(self.wanted_to.get().max(number + 1));
        if self.is_needed() && self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
    }

    /// Whether somebody waits for a number that the syncer was not asked for.
    pub fn is_needed(&self) -> bool {
        self.wanted_to.get() > self.requested_to.get()
    }

    /// Whether somebody has waited so long that even a busy worker must ask now.
    pub fn is_overdue(&self) -> bool {
        self.since.get().is_some_and(|since| since.elapsed() >= COLLECT_MAX)
    }

    /// Whether to wait for the end of the running sync; `synced` is how far the syncer has come.
    pub fn should_defer(&self, synced: Number) -> bool {
        synced < self.requested_to.get() && self.requested_for.get() >= MANY
    }

    /// The syncer was asked for everything below `written`, which is all that `waiting` wait for.
    pub fn requested(&self, written: Number, waiting: usize) {
        self.requested_for.set(waiting);
        self.requested_to.set(written.max(self.wanted_to.get()));
        self.since.set(None);
    }

    /// What was waited for from `written` on will never be written.
    pub fn forget_from(&self, written: Number) {
        self.wanted_to.set(self.wanted_to.get().min(written));
        if !self.is_needed() {
            self.since.set(None);
        }
    }
}
