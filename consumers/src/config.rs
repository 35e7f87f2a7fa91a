//! The settings of a consumer. The command fills them in; nothing here reads the environment.

use std::{path::PathBuf, time::Duration};

/// The settings of the pull loop and of the local table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The local table's file. Its directory must exist.
    pub table: PathBuf,
    /// Days (of 24 h, from an event's `received_at_ms`) until the sweep removes it; at least 1.
    pub expiry_days: u32,
    /// Days until the sweep removes a rejected hit; at least 1.
    pub rejected_days: u32,
    /// Most dead letters of the consumer; at least 1. At the bound the consumer stalls, since a record
    /// that can be neither stored nor set aside must not be lost.
    pub dead_letters_max: u64,
    /// Most bytes of them, as stored; the consumer stalls at this bound, too.
    pub dead_letters_bytes_max: u64,
    /// Payload bytes that are gathered into one table transaction; at least 1. One source batch
    /// may go over it.
    pub batch_bytes_max: usize,
    /// How long the loop waits when the source has nothing new, in milliseconds.
    pub poll_ms: u64,
    /// How long the loop waits after a transaction that was not full, in milliseconds: a single
    /// event costs two to four disk syncs, and this bounds them to ten transactions a second.
    pub commit_ms: u64,
    /// The longest pause between two attempts at a table or a source that is unavailable, in
    /// milliseconds. Retries never end; each pause is random between zero and the current limit.
    pub retry_pause_ms_max: u64,
    /// Memory for the table's pages, in bytes.
    pub cache_bytes: usize,
    /// How often the sweep looks for expired items, in seconds; at least 1.
    pub sweep_seconds: u64,
    /// Items that one transaction of the sweep looks at; at least 1. The sweep repeats at once
    /// while there is more, and writers get their turn between two of its transactions.
    pub sweep_items_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            table: PathBuf::from("data/table.redb"),
            expiry_days: 30,
            rejected_days: 7,
            dead_letters_max: 10_000,
            dead_letters_bytes_max: 256 << 20,
            batch_bytes_max: 4 * 1024 * 1024,
            poll_ms: 20,
            commit_ms: 100,
            retry_pause_ms_max: 10_000,
            cache_bytes: 64 * 1024 * 1024,
            sweep_seconds: 60,
            sweep_items_max: 5_000,
        }
    }
}

impl Config {
    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(crate) fn commit_pause(&self) -> Duration {
        Duration::from_millis(self.commit_ms)
    }
}
