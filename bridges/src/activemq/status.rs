//! How a bridge stands, for the admin address.

use std::collections::BTreeMap;

use serde::Serialize;
use supervise::Failure;

/// A snapshot of one bridge. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The configured name of the queue.
    pub queue: String,
    /// The configured name of its broker.
    pub broker: String,
    /// What it reads.
    pub destination: String,
    /// Where it is connected to.
    pub endpoint: Option<String>,
    /// By outcome.
    pub counts: Counts,
    /// Messages put aside by reason.
    pub aside_by_reason: BTreeMap<&'static str, u64>,
    /// Messages that wait for their level, or to be put aside.
    pub in_flight: u64,
    /// Of what waits to be put aside, and of events on their way into the log.
    pub in_flight_bytes: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Attempts that failed, which are repeated.
    pub retries: u64,
    /// Bridges that died and were replaced by another.
    pub restarts: u64,
    /// When the last message came, milliseconds since 1970; 0 before the first.
    pub last_message_ms: u64,
    /// It is stopped for good; an operator has to act.
    pub stopped: bool,
    /// The current error, until an attempt succeeds.
    pub error: Option<Failure>,
}

/// Messages by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Came from the broker, redeliveries included.
    pub received: u64,
    /// Of those, the ones that the broker says it delivers again.
    pub redelivered: u64,
    /// Reached their level and were acknowledged.
    pub acknowledged: u64,
    /// Put aside at the broker.
    pub quarantined: u64,
    /// Put aside in the local dead letters.
    pub dead: u64,
    /// Frames that are none of our subscription's messages, and were ignored.
    pub ignored: u64,
}

impl Counts {
    /// Messages that are no longer at the broker.
    pub fn done(&self) -> u64 {
        self.acknowledged + self.quarantined + self.dead
    }
}

/// A handle to the status; the bridge writes it.
pub type StatusHandle = supervise::StatusHandle<Status>;
