//! What the tasks of a worker share: the clients, and which leases it holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervise::{Failure, StatusHandle, now_ms};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::config::WorkerConfig;
use super::lease_table::LeaseTable;
use super::reader::Fetched;
use super::status::WorkerStatus;
use super::unpack::ShardPlace;

/// Answers that may wait to be handed out; their bytes are bounded by `buffer_bytes_max` too.
const FETCHED_MAX: usize = 64;

pub(super) struct Shared {
    pub config: WorkerConfig,
    pub kinesis: aws_sdk_kinesis::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// This worker's name, as the leases have it.
    pub worker: String,
    pub status: StatusHandle<WorkerStatus>,
    /// Whether reading should end.
    pub stopping: watch::Sender<bool>,
    /// Where readers put what they read.
    pub queue: mpsc::Sender<Fetched>,
    /// KiB that may wait in the queue.
    pub room: Arc<Semaphore>,
    /// Raised when something happened for which the keepers should look at the shards at once.
    pub shards_changed: watch::Sender<u64>,
    held: Mutex<HashMap<Arc<str>, Held>>,
    next_holding: AtomicU64,
}

/// A lease of ours.
#[derive(Clone)]
pub(super) struct Held {
    pub place: ShardPlace,
    /// The token in the row.
    pub token: String,
    pub leases: LeaseTable,
    /// The last checkpoint that is in the row.
    pub stored: Arc<str>,
    reader: AbortHandle,
}

impl Held {
    /// Ends the task that reads the shard.
    pub fn stop_reading(&self) {
        self.reader.abort();
    }
}

impl Shared {
    pub fn new(
        config: WorkerConfig,
        kinesis: aws_sdk_kinesis::Client,
        dynamodb: aws_sdk_dynamodb::Client,
        status: StatusHandle<WorkerStatus>,
    ) -> (Arc<Self>, mpsc::Receiver<Fetched>) {
        let (queue, fetched) = mpsc::channel(FETCHED_MAX);
        let worker = proto::Uuid::new_v4().to_string();
        status.update(|status| status.worker.clone_from(&worker));
        let shared = Self {
            room: Arc::new(Semaphore::new((config.buffer_bytes_max / 1_024).max(1))),
            config,
            kinesis,
            dynamodb,
            worker,
            status,
            stopping: watch::channel(false).0,
            queue,
            shards_changed: watch::channel(0).0,
            held: Mutex::default(),
            next_holding: AtomicU64::new(0),
        };
        (Arc::new(shared), fetched)
    }

    pub fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no holding of this process had.
    pub fn next_holding(&self) -> u64 {
        self.next_holding.fetch_add(1, Relaxed)
    }

    /// Enters a lease that was taken, with the task that reads its shard.
    pub fn enter(
        &self,
        place: ShardPlace,
        token: String,
        leases: LeaseTable,
        stored: Arc<str>,
        reader: AbortHandle,
    ) {
        info!(shard = %place.name, from = %stored, "took the lease of a shard");
        self.status.update(|status| {
            status.leases_taken += 1;
            status.shards.entry(place.name.to_string()).or_default().stored = stored.to_string();
        });
        self.held().insert(Arc::clone(&place.name), Held { place, token, leases, stored, reader });
    }

    /// Whether what a holding read is still ours to store.
    pub fn is_current(&self, place: &ShardPlace) -> bool {
        self.held().get(&place.name).is_some_and(|held| held.place.holding == place.holding)
    }

    /// Stops reading a shard whose lease is another's; the successor begins at the last checkpoint.
    pub fn lose(&self, place: &ShardPlace) {
        if self.forget(place) {
            warn!(shard = %place.name, "lost the lease of a shard; another worker goes on from its checkpoint");
            self.status.update(|status| status.leases_lost += 1);
        }
    }

    /// Takes a lease off the list and ends its reader; false if this holding is not on it.
    pub fn forget(&self, place: &ShardPlace) -> bool {
        let mut held = self.held();
        if held.get(&place.name).is_none_or(|held| held.place.holding != place.holding) {
            return false;
        }
        let held = held.remove(&place.name);
        if let Some(held) = held {
            held.reader.abort();
        }
        self.status.update(|status| drop(status.shards.remove(&*place.name)));
        true
    }

    /// A checkpoint is in the row.
    pub fn moved(&self, place: &ShardPlace, sequence: Arc<str>) {
        self.status.update(|status| {
            if let Some(shard) = status.shards.get_mut(&*place.name) {
                shard.stored = sequence.to_string();
            }
        });
        if let Some(held) =
            self.held().get_mut(&place.name).filter(|held| held.place.holding == place.holding)
        {
            held.stored = sequence;
        }
    }

    /// Says that the leases are, or are not, in order.
    pub fn say_of_leases(&self, error: Option<String>) {
        self.status.update(|status| {
            status.leases_error = error.map(|reason| Failure { at_ms: now_ms(), reason });
        });
    }

    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}
