//! The stream's side of [`Source`]: shards of Kinesis streams, each read by the worker that holds
//! its lease.
//!
//! # The way of one record
//!
//! ```text
//!            a task a shard                    queue                      whoever stores
//! Kinesis ─► reader ─ GetRecords ─ unpack ─► buffer_bytes_max ─► next ─► … ─► commit ─┐
//!             ▲  iterator, throttling          64 answers                             │ checkpoint
//!             │ takes, starts, ends                                                   ▼
//!            keeper ◄─────────────── leases in DynamoDB (a row a shard) ◄─────────────┘
//!            a task a stream: renews each third of lease_failover, finds shards, shares out
//! ```
//!
//! | queue | capacity | when it is full |
//! |---|---|---|
//! | what was read and not handed out | `buffer_bytes_max` (32 MiB) and 64 answers | readers wait; each has one answer in its hands, which Kinesis bounds to 10 MiB |
//!
//! # What is promised
//!
//! - Everything in the streams is handed out, from the oldest record that the stream still has, and
//!   again after a crash from the last checkpoint. Whoever stores must know what came before.
//! - Of a shard that was split or merged, nothing is handed out to anybody before all of its parents'
//!   records are *committed*, as their leases say that they ended.
//! - A worker that was frozen and lost a lease commits nothing any more, as each write names the
//!   holding (module `lease`). What it still stores was handed out to another too.
//! - Rows of leases may be deleted at any time: their shards are read again from the beginning.
//!
//! Several streams are several keepers; a checkpoint names stream and shard.

mod check;
mod config;
mod keeper;
mod lease;
mod lease_table;
mod reader;
mod shared;
mod status;
mod unpack;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use supervise::StatusHandle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::warn;

pub use check::WorkerChecked;
pub use config::{Form, WorkerConfig};
pub use status::{ShardStatus, WorkerStatus};

use crate::aws::{AwsConfig, sdk_config};
use crate::source::{Batch, Checkpoint, Source, SourceError};
use keeper::Keeper;
use lease::is_before;
use lease_table::LeaseError;
use reader::Fetched;
use shared::{Held, Shared};

/// The status of a worker, shared between it and whoever shows it.
pub type WorkerStatusHandle = StatusHandle<WorkerStatus>;

/// Streams that can be read.
#[derive(Clone, Debug)]
pub struct Worker {
    config: WorkerConfig,
    kinesis: aws_sdk_kinesis::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    /// What the SDK settled on.
    region: Option<String>,
}

impl Worker {
    /// Reads what the AWS SDK reads: environment, profiles, and for the region the instance. Connects
    /// to neither streams nor leases.
    pub async fn open(config: WorkerConfig, aws: &AwsConfig) -> Self {
        let sdk = sdk_config(aws, config.connect_timeout, config.request_timeout).await;
        let mut kinesis = aws_sdk_kinesis::config::Builder::from(&sdk);
        kinesis.set_endpoint_url(aws.kinesis_endpoint.clone());
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&sdk);
        dynamodb.set_endpoint_url(aws.dynamodb_endpoint.clone());
        Self {
            config,
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            region: sdk.region().map(|region| region.as_ref().to_owned()),
        }
    }

    /// Begins to read. To be called inside a tokio runtime, on which its tasks run until the source is
    /// dropped.
    pub fn start(&self, status: WorkerStatusHandle) -> (KinesisSource, WorkerControl) {
        let Self { config, kinesis, dynamodb, .. } = self.clone();
        let (shared, fetched) = Shared::new(config, kinesis, dynamodb, status);
        let keep =
            |stream: &String| tokio::spawn(Keeper::new(Arc::clone(&shared), stream).run()).abort_handle();
        let keepers = shared.config.streams.iter().map(keep).collect();
        let control = WorkerControl { shared: Arc::clone(&shared) };
        (KinesisSource { shared, fetched, current: None, keepers }, control)
    }
}

/// What Kinesis streams hold, as far as this worker's leases go.
pub struct KinesisSource {
    shared: Arc<Shared>,
    fetched: mpsc::Receiver<Fetched>,
    /// The answer that is being handed out.
    current: Option<Fetched>,
    keepers: Vec<AbortHandle>,
}

/// Ends the reading in order.
#[derive(Clone)]
pub struct WorkerControl {
    shared: Arc<Shared>,
}

impl WorkerControl {
    /// Nothing more is read; what was read is still handed out, and the leases are kept meanwhile.
    pub fn stop_reading(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Lets go of all leases, so that other workers need not wait for them to expire. To be called
    /// once the source is dropped.
    pub async fn release(&self) {
        let held: Vec<Held> = self.shared.held().values().cloned().collect();
        let released = held.into_iter().map(|held| async move {
            self.shared.forget(&held.place);
            // Without it, another worker waits for it to expire.
            if let Err(error) = held.leases.release(&held.place.shard, &held.token).await {
                warn!(shard = %held.place.name, %error, "the lease of a shard is not released");
            }
        });
        futures_util::future::join_all(released).await;
    }
}

impl Source for KinesisSource {
    async fn next(&mut self, _bytes_max: usize) -> Result<Option<Batch>, SourceError> {
        loop {
            if let Some(current) = &mut self.current {
                // Another worker begins at the last checkpoint, and stores it too.
                if self.shared.is_current(&current.place)
                    && let Some(batch) = current.batches.pop_front()
                {
                    return Ok(Some(batch));
                }
                self.current = None;
            }
            match self.fetched.try_recv() {
                Ok(fetched) => self.current = Some(fetched),
                Err(_) => break,
            }
        }
        match self.shared.status.get().standstill() {
            Some(failure) => Err(SourceError::Unavailable(io::Error::other(failure.reason.clone()))),
            None => Ok(None),
        }
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
        let commits = self.latest(checkpoints).into_iter().map(|(held, sequence, ended)| {
            let shared = &self.shared;
            async move { commit_one(shared, held, sequence, ended).await }
        });
        let committed = futures_util::future::join_all(commits).await;
        committed.into_iter().collect::<Result<(), LeaseError>>().map_err(unavailable)
    }
}

impl KinesisSource {
    /// Of each shard whose lease is still held as it was when this was read, the last of the checkpoints.
    fn latest(&self, checkpoints: &[Checkpoint]) -> Vec<(Held, Arc<str>, bool)> {
        let held = self.shared.held();
        let mut latest: HashMap<&str, (&Held, &Arc<str>, bool)> = HashMap::new();
        for checkpoint in checkpoints {
            let Checkpoint::Shard { shard, holding, sequence, ended } = checkpoint else { continue };
            let Some(held) = held.get(shard).filter(|held| held.place.holding == *holding) else { continue };
            let entry = latest.entry(shard).or_insert((held, &held.stored, false));
            if is_before(entry.1, sequence) {
                entry.1 = sequence;
            }
            entry.2 |= *ended;
        }
        let moves = latest
            .into_values()
            .filter(|(held, sequence, ended)| *ended || is_before(&held.stored, sequence));
        moves.map(|(held, sequence, ended)| (held.clone(), Arc::clone(sequence), ended)).collect()
    }
}

async fn commit_one(shared: &Shared, held: Held, sequence: Arc<str>, ended: bool) -> Result<(), LeaseError> {
    match held.leases.checkpoint(&held.place.shard, &held.token, &sequence, ended).await {
        Ok(()) if ended => {
            shared.status.update(|status| status.shards_ended += 1);
            shared.forget(&held.place);
            // Its children may be read now.
            shared.shards_changed.send_modify(|changes| *changes += 1);
            Ok(())
        }
        Ok(()) => {
            shared.moved(&held.place, sequence);
            Ok(())
        }
        // Its successor says how far it is.
        Err(LeaseError::Lost) => {
            shared.lose(&held.place);
            shared.shards_changed.send_modify(|changes| *changes += 1);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn unavailable(error: LeaseError) -> SourceError {
    SourceError::Unavailable(io::Error::other(error))
}

impl Drop for KinesisSource {
    fn drop(&mut self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
        // The leases stay in the list, to be released; or they expire.
        for held in self.shared.held().values() {
            held.stop_reading();
        }
    }
}
