//! What the bridge may be told. The command fills it; nothing here reads the environment.

use std::time::Duration;

/// The settings of the program bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Payload bytes that are put into the registry at once; at least 1. One batch of the
    /// source may go over it.
    pub batch_bytes_max: usize,
    /// How long it waits when the source has nothing new, in milliseconds.
    pub poll_ms: u64,
    /// The longest pause between two attempts at a registry, a source or dead letters that
    /// are away, in milliseconds. Attempts go on for ever; each pause is drawn from zero to
    /// a limit that doubles up to this. Core data is so much later than the registry's return
    /// at most, which is why it is 2 s unless told otherwise: trackers are in step 5 s after it.
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
