//! What the admin address may know of the bridge.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::process::Counts;

/// The bridge at one moment. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What became of the changes.
    pub counts: Counts,
    /// Dead letters of bridges that made room for newer ones.
    pub letters_discarded: u64,
    /// Attempts that failed and were, or will be, repeated.
    pub retries: u64,
    /// Bridges that died and were replaced by another.
    pub restarts: u64,
    /// Everything that the source had at this time is in the registry, milliseconds since
    /// 1970; 0 before the first look at it that found its end.
    pub done_until_ms: u64,
    /// The source had nothing more at the last look.
    pub caught_up: bool,
    /// The error that holds it up now, until an attempt succeeds.
    pub error: Option<Failure>,
}

/// An error and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What failed and why, down to the last cause.
    pub reason: String,
}

/// A handle to the status; the bridge writes it. A clone is the same status.
#[derive(Clone, Debug, Default)]
pub struct StatusHandle(Arc<Mutex<Status>>);

impl StatusHandle {
    /// A status of a bridge that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The status now.
    pub fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
