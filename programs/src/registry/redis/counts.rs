//! Counts of a Redis registry, for its owner's metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::warn;

use crate::registry::RegistryError;

/// Counts since [`connect`](super::RedisRegistry::connect); they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisCounts {
    /// Connections that were made for calls, the first one included.
    pub connections: u64,
    /// Attempts to connect, for calls or to subscribe, that failed.
    pub connections_failed: u64,
    /// Calls that Redis did not answer, or answered with an error, including those refused during
    /// a pause between two attempts to connect.
    pub calls_failed: u64,
    /// Scripts that were sent again because Redis had lost them in a restart.
    pub scripts_sent: u64,
    /// Subscriptions that were confirmed.
    pub subscriptions: u64,
    /// Of those, how many Redis or a timeout ended.
    pub subscriptions_lost: u64,
    /// Messages of the channel.
    pub messages: u64,
    /// Of those, how many could not be read; the follower got a `Lagged`.
    pub messages_unreadable: u64,
    /// Unreadable rows that were skipped, counted at each read.
    pub rows_unreadable: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) connections_failed: AtomicU64,
    pub(super) calls_failed: AtomicU64,
    pub(super) scripts_sent: AtomicU64,
    pub(super) subscriptions: AtomicU64,
    pub(super) subscriptions_lost: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) messages_unreadable: AtomicU64,
    pub(super) rows_unreadable: AtomicU64,
}

/// Unreadable rows that are logged: a store may have many, and is read often.
const ROWS_LOGGED_MAX: u64 = 10;

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counters {
    /// Counts a skipped row, and logs the first ones. Followers keep what they hold of its program.
    pub(super) fn leave_out(&self, id: &str, error: &RegistryError) {
        if self.rows_unreadable.fetch_add(1, Relaxed) < ROWS_LOGGED_MAX {
            warn!(program = id, %error, "left out a program that cannot be read");
        }
    }

    pub(super) fn read(&self) -> RedisCounts {
        RedisCounts {
            connections: self.connections.load(Relaxed),
            connections_failed: self.connections_failed.load(Relaxed),
            calls_failed: self.calls_failed.load(Relaxed),
            scripts_sent: self.scripts_sent.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
            subscriptions_lost: self.subscriptions_lost.load(Relaxed),
            messages: self.messages.load(Relaxed),
            messages_unreadable: self.messages_unreadable.load(Relaxed),
            rows_unreadable: self.rows_unreadable.load(Relaxed),
        }
    }
}
