//! The status of a part, for the admin address.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// An error and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What failed and why, with all causes.
    pub reason: String,
}

/// A status that its part writes and others read. A clone is the same status.
///
/// Written once per batch, not per hit: it is behind a lock.
#[derive(Debug, Default)]
pub struct StatusHandle<S>(Arc<Mutex<S>>);

impl<S> Clone for StatusHandle<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Clone + Default> StatusHandle<S> {
    /// The status of a part that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The status now.
    pub fn get(&self) -> S {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it. A panic in `change` does not make the status unreadable.
    pub fn update(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
