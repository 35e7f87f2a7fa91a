//! How the shipper stands, for the admin address.

use std::collections::BTreeMap;

use serde::Serialize;
use supervise::Failure;

use crate::trouble::Trouble;

/// Shards and causes that are told apart; the rest counts as `other`.
const NAMES_MAX: usize = 256;

/// A snapshot of the shipper. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShipperStatus {
    /// The stream of the events.
    pub stream: String,
    /// Records of the log that a stream acknowledged.
    pub acknowledged: u64,
    /// Records of the log that a stream refused and that became dead letters.
    pub dead_letters: u64,
    /// Kinesis records that were acknowledged.
    pub kinesis_records: u64,
    /// Their bytes, data and keys.
    pub bytes: u64,
    /// What they are billed as: 25 KiB each, begun ones counted as whole.
    pub payload_units: u64,
    /// Requests that were answered 200, whatever became of their entries.
    pub requests: u64,
    /// Requests that failed as a whole.
    pub requests_failed: u64,
    /// Kinesis records that are sent again, by cause: a code of AWS, or what befell the request.
    pub retries: BTreeMap<String, u64>,
    /// Kinesis records that were throttled, by shard as far as AWS said it.
    pub throttled: BTreeMap<String, u64>,
    /// Kinesis records of which it is not known whether they were stored; sent again, so that they
    /// may be in the stream twice.
    pub outcome_unknown: u64,
    /// Requests under way.
    pub requests_in_flight: usize,
    /// Bytes that were read from the log and are not acknowledged.
    pub bytes_in_flight: usize,
    /// Of those, bytes that wait for a shard that throttles.
    pub bytes_held_back: usize,
    /// When the oldest event was received that was read and is not acknowledged, milliseconds since
    /// 1970; 0 if there is none.
    pub oldest_received_at_ms: u64,
    /// Everything that the log had at this time is acknowledged, milliseconds since 1970; 0 before
    /// the first time that it was.
    pub acknowledged_until_ms: u64,
    /// The log had nothing more at the last look, and all of it is acknowledged.
    pub caught_up: bool,
    /// Nothing is taken until somebody changes something; the error says what.
    pub stalled: bool,
    /// The current error, until a request is answered.
    pub error: Option<Failure>,
    /// The last error, even after it has passed.
    pub last_error: Option<Failure>,
}

impl ShipperStatus {
    /// Says that nothing will be taken until `trouble` is gone. `now_ms` is milliseconds since 1970.
    pub fn stalled_by(&mut self, trouble: &Trouble, now_ms: u64) {
        self.stalled = true;
        self.failed(trouble.to_string(), now_ms);
    }

    pub(crate) fn failed(&mut self, reason: String, now_ms: u64) {
        self.error = Some(Failure { at_ms: now_ms, reason });
        self.last_error.clone_from(&self.error);
    }

    pub(crate) fn retried(&mut self, cause: &str, kinesis_records: u64) {
        add(&mut self.retries, cause, kinesis_records);
    }

    pub(crate) fn throttled(&mut self, shard: Option<&str>) {
        add(&mut self.throttled, shard.unwrap_or("unknown"), 1);
    }
}

/// The names come from the far side, so there may be any number of them.
fn add(counts: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    let is_full = counts.len() >= NAMES_MAX && !counts.contains_key(name);
    *counts.entry(if is_full { "other" } else { name }.to_owned()).or_default() += count;
}

/// A handle to the status; the shipper writes it once per answer.
pub type ShipperStatusHandle = supervise::StatusHandle<ShipperStatus>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_far_side_are_bounded() {
        let mut status = ShipperStatus::default();
        for shard in 0..10_000 {
            status.throttled(Some(&format!("shardId-{shard}")));
        }
        assert_eq!(status.throttled.len(), NAMES_MAX + 1);
        assert_eq!(status.throttled["other"], 10_000 - NAMES_MAX as u64);
    }
}
