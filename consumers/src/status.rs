//! The status of the pull loop, for the admin page.

use serde::Serialize;
use supervise::Failure;

use crate::ledger::Fates;
use crate::table::{Left, LeftReason, Written};

/// A snapshot of the pull loop. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Records by what became of them.
    pub fates: Fates,
    /// Redelivered records that the ledger recognised.
    pub replayed: u64,
    /// Table transactions.
    pub transactions: u64,
    /// When the last transaction was durable, milliseconds since 1970; 0 before the first.
    pub last_stored_at_ms: u64,
    /// How old the newest event of the last transaction with events was when it was durable, in
    /// milliseconds.
    pub lag_ms: u64,
    /// Everything that the source had at this time is stored, milliseconds since 1970; 0 before
    /// the first look at it that found its end.
    pub stored_until_ms: u64,
    /// The source had nothing more at the last look.
    pub caught_up: bool,
    /// Stalled: there is no room for another dead letter; operator action required. The error says
    /// what to do.
    pub stalled: bool,
    /// The current error, until the current batches are stored.
    pub error: Option<Failure>,
    /// The last error, even after it has passed.
    pub last_error: Option<Failure>,
}

impl Status {
    pub(crate) fn stored(&mut self, written: &Written, now_ms: u64) {
        self.fates += written.fates;
        self.replayed += written.replayed;
        self.transactions += 1;
        self.last_stored_at_ms = now_ms;
        if written.newest_received_at_ms > 0 {
            self.lag_ms = now_ms.saturating_sub(written.newest_received_at_ms);
        }
        let left = written.left.first();
        self.stalled = matches!(left, Some(Left { reason: LeftReason::LettersFull { .. }, .. }));
        match left {
            Some(left) => self.failed(left.reason.to_string(), now_ms),
            None => self.error = None,
        }
    }

    pub(crate) fn failed(&mut self, reason: String, now_ms: u64) {
        self.error = Some(Failure { at_ms: now_ms, reason });
        self.last_error.clone_from(&self.error);
    }
}

/// A handle to the status; the loop writes it once per transaction.
pub type StatusHandle = supervise::StatusHandle<Status>;
