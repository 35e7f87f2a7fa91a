//! The status of the bridge, for the admin address.

use serde::Serialize;
use supervise::Failure;

use super::process::Counts;

/// A snapshot of the bridge. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Changes by outcome.
    pub counts: Counts,
    /// Dead letters of bridges that were discarded for newer ones.
    pub letters_discarded: u64,
    /// Failed attempts, which are retried.
    pub retries: u64,
    /// Bridges that died and were replaced by another.
    pub restarts: u64,
    /// Everything that the source had at this time is in the registry, milliseconds since
    /// 1970; 0 before the first look at it that found its end.
    pub done_until_ms: u64,
    /// The source had nothing more at the last look.
    pub caught_up: bool,
    /// The current error, until an attempt succeeds.
    pub error: Option<Failure>,
}

/// A handle to the status; the bridge writes it.
pub type StatusHandle = supervise::StatusHandle<Status>;
