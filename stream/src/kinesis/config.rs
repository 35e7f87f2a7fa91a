//! The settings of whoever reads a stream. The command fills them in; nothing here reads the
//! environment.

use std::time::Duration;

/// What the records of the streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What lanes of a log say, as a shipper sends it.
    Lanes,
    /// Core data, as anybody may put it: each record is a message.
    CoreData,
}

/// Settings of a [`KinesisSource`](super::KinesisSource).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Their names; at least one.
    pub streams: Vec<String>,
    /// What is in them.
    pub form: Form,
    /// The DynamoDB table that has the leases, beside whatever else.
    pub lease_table: String,
    /// How long a lease may go without being renewed before another worker takes it, by that
    /// worker's own clock; it is renewed three times as often. A lease is stolen, to share the shards
    /// out, at most once in twice this time.
    pub lease_failover: Duration,
    /// How often the streams are asked for their shards, besides whenever a shard ends.
    pub shard_sync_interval: Duration,
    /// How long a shard that had nothing new is left alone.
    pub poll: Duration,
    /// Records of one GetRecords; at most 10,000.
    pub records_max: usize,
    /// Bytes that were read and not handed out yet. At this bound nothing more is read; each shard may
    /// have one answer beyond it in its hands, which Kinesis bounds to 10 MiB.
    pub buffer_bytes_max: usize,
    /// Longest wait for the answer to a request.
    pub request_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest pause before another attempt; each is random between zero and the current limit.
    /// Attempts never end.
    pub retry_pause_max: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            form: Form::Lanes,
            lease_table: "clickgate".to_owned(),
            lease_failover: Duration::from_secs(10),
            shard_sync_interval: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            records_max: 10_000,
            buffer_bytes_max: 32 << 20,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            retry_pause_max: Duration::from_secs(5),
        }
    }
}

impl WorkerConfig {
    /// How often a lease is renewed.
    pub(super) fn renew_interval(&self) -> Duration {
        self.lease_failover / 3
    }

    /// The least time between two thefts.
    pub(super) fn steal_interval(&self) -> Duration {
        self.lease_failover * 2
    }
}
