//! How the reading of streams goes, for the admin address.

use std::collections::BTreeMap;

use serde::Serialize;
use supervise::Failure;

/// See the fields; counts are of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// Its name among the workers.
    pub worker: String,
    /// Shards whose leases it holds, each with its stream.
    pub shards: BTreeMap<String, ShardStatus>,
    /// Leases taken.
    pub leases_taken: u64,
    /// Leases that another worker took from it, or whose rows somebody removed.
    pub leases_lost: u64,
    /// Shards read to their end.
    pub shards_ended: u64,
    /// Shards that the stream no longer has and that were not read to their end.
    pub shards_expired: u64,
    /// Kinesis records read, also those that were read before.
    pub kinesis_records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Answers of GetRecords.
    pub requests: u64,
    /// Requests that Kinesis throttled.
    pub throttled: u64,
    /// Iterators that had expired.
    pub iterators_expired: u64,
    /// What keeps shards from being found or leases from being kept, until that works again.
    pub leases_error: Option<Failure>,
}

impl WorkerStatus {
    /// The oldest of what it waits for: how far behind the end of its stream the slowest shard is, in
    /// milliseconds.
    pub fn behind_ms(&self) -> u64 {
        self.shards.values().map(|shard| shard.behind_ms).max().unwrap_or(0)
    }

    /// What keeps it from reading a shard or from keeping its leases, if something does.
    pub fn error(&self) -> Option<&Failure> {
        self.leases_error.as_ref().or_else(|| self.shards.values().find_map(|shard| shard.error.as_ref()))
    }

    /// What keeps it from reading anything at all: one shard that cannot be read holds up no other.
    pub fn standstill(&self) -> Option<&Failure> {
        let is_reading = self.shards.values().any(|shard| shard.error.is_none());
        if is_reading { None } else { self.error() }
    }
}

/// How the reading of a shard goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// How far behind the end of the shard the last answer was, in milliseconds, as Kinesis says it.
    pub behind_ms: u64,
    /// The last sequence number that was read.
    pub read: String,
    /// The last sequence number up to which everything is stored.
    pub stored: String,
    /// What keeps it from being read, until that works again.
    pub error: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_that_cannot_be_read_is_an_error_and_no_standstill() {
        let failed = || Failure { at_ms: 1, reason: "no".to_owned() };
        let shard = |error| ShardStatus { error, ..ShardStatus::default() };
        let mut status = WorkerStatus::default();
        assert_eq!((status.error(), status.standstill()), (None, None));
        status.shards.insert("a".to_owned(), shard(Some(failed())));
        assert_eq!(status.standstill(), Some(&failed()));
        status.shards.insert("b".to_owned(), shard(None));
        assert_eq!((status.error(), status.standstill()), (Some(&failed()), None));
        let nothing_held = WorkerStatus { leases_error: Some(failed()), ..WorkerStatus::default() };
        assert_eq!(nothing_held.standstill(), Some(&failed()));
    }
}
