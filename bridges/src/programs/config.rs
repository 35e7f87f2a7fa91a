//! The settings of the bridge. The command fills them in; nothing here reads the environment.

use std::time::Duration;

/// The settings of the program bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Payload bytes that are put into the registry at once; at least 1. One batch of the
    /// source may go over it.
    pub batch_bytes_max: usize,
    /// How long it waits when the source has nothing new, in milliseconds.
    pub poll_ms: u64,
    /// The longest pause between two attempts at an unavailable registry, source or store of dead
    /// letters, in milliseconds. Retries never end; each pause is random between zero and a limit
    /// that doubles up to this. Core data is at most that much later than the registry's return.
    /// Defaults to 2 s: trackers are then in step 5 s after it.
    pub retry_pause_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_bytes_max: 1 << 20, poll_ms: 20, retry_pause_ms_max: 2_000 }
    }
}

impl Config {
    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(crate) fn retry_pause_max(&self) -> Duration {
        Duration::from_millis(self.retry_pause_ms_max)
    }
}
