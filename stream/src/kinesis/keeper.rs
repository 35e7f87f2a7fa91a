//! The task that keeps the leases of one stream: renews those held, finds new shards, takes what
//! nobody reads, and shares the shards out among the workers.
//!
//! It never waits for what is being stored: a lease must be renewed however slow the table is.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use supervise::Backoff;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::lease::{Lease, Observer, Shard, to_create, to_remove, to_take};
use super::lease_table::{LeaseError, LeaseTable};
use super::reader::Reader;
use super::shared::{Held, Shared};
use super::unpack::ShardPlace;
use crate::trouble::{Trouble, said};

/// Shards of a stream that are looked at.
const SHARDS_MAX: usize = 10_000;

pub(super) struct Keeper {
    shared: Arc<Shared>,
    stream: Arc<str>,
    /// Once the stream has said when it was created.
    leases: Option<LeaseTable>,
    observer: Observer,
    synced_at: Option<Instant>,
    stole_at: Option<Instant>,
    backoff: Backoff,
}

/// Why a turn failed; the next one begins anew.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Leases(#[from] LeaseError),
    #[error("the stream {stream:?} cannot be looked at: {reason}")]
    Stream { stream: Arc<str>, reason: String },
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, stream: &str) -> Self {
        let backoff = Backoff::new(shared.config.renew_interval());
        let stream = stream.into();
        let observer = Observer::default();
        Self { shared, stream, leases: None, observer, synced_at: None, stole_at: None, backoff }
    }

    /// Keeps the leases until the worker stops reading; it goes on renewing them until it is aborted,
    /// as what was read is still being stored.
    pub async fn run(mut self) {
        let mut changes = self.shared.shards_changed.subscribe();
        loop {
            let pause = match self.turn().await {
                Ok(()) => {
                    self.shared.say_of_leases(None);
                    self.backoff.reset();
                    self.shared.config.renew_interval()
                }
                Err(failed) => {
                    let reason = failed.to_string();
                    warn!(reason, "cannot keep the leases of a stream, trying again");
                    self.shared.say_of_leases(Some(reason));
                    self.backoff.pause()
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = changes.changed() => self.synced_at = None,
            }
        }
    }

    async fn turn(&mut self) -> Result<(), KeepError> {
        // First of all, whatever else fails.
        self.renew().await?;
        if self.shared.is_stopping() {
            return Ok(());
        }
        let interval = self.shared.config.shard_sync_interval;
        let is_sync_due = self.synced_at.is_none_or(|at| at.elapsed() >= interval);
        let leases = match &self.leases {
            Some(leases) if !is_sync_due => leases.clone(),
            _ => self.look_at_stream().await?,
        };
        let mut rows = leases.list().await?;
        if is_sync_due {
            self.sync_shards(&leases, &rows).await?;
            self.synced_at = Some(Instant::now());
            rows = leases.list().await?;
        }
        self.observer.look(&rows, self.shared.config.lease_failover, Instant::now());
        self.take(&leases, &rows).await?;
        Ok(())
    }

    /// The leases of the stream as it is now. One that was made anew has others, and none of those that
    /// were held is of use.
    async fn look_at_stream(&mut self) -> Result<LeaseTable, KeepError> {
        let asked = self.shared.kinesis.describe_stream_summary().stream_name(&*self.stream).send().await;
        let answer = asked.map_err(|error| self.stream_error(&error, "kinesis:DescribeStreamSummary"))?;
        let created_s =
            answer.stream_description_summary.map(|summary| summary.stream_creation_timestamp.secs());
        let created_s = created_s.unwrap_or(0);
        let Shared { dynamodb, config, .. } = &*self.shared;
        let leases = LeaseTable::new(dynamodb.clone(), &config.lease_table, &self.stream, created_s);
        let held: Vec<Held> = self.shared.held().values().cloned().collect();
        let of_another = |held: &Held| held.place.stream == self.stream && !held.leases.is_same(&leases);
        for held in held.into_iter().filter(of_another) {
            warn!(stream = %self.stream, "the stream was made anew");
            self.shared.lose(&held.place);
        }
        self.leases = Some(leases.clone());
        Ok(leases)
    }

    /// Renews what is held; the first error that is not the loss of a lease.
    async fn renew(&self) -> Result<(), LeaseError> {
        let held: Vec<Held> = self.shared.held().values().cloned().collect();
        let of_stream = held.into_iter().filter(|held| held.place.stream == self.stream);
        let renewals = of_stream.map(|held| async move {
            match held.leases.renew(&held.place.shard, &held.token).await {
                Err(LeaseError::Lost) => {
                    self.shared.lose(&held.place);
                    // If its row was removed, the shard needs a new one.
                    self.shared.shards_changed.send_modify(|changes| *changes += 1);
                    Ok(())
                }
                other => other,
            }
        });
        let renewed = futures_util::future::join_all(renewals).await;
        renewed.into_iter().collect()
    }

    async fn sync_shards(&self, leases: &LeaseTable, rows: &[Lease]) -> Result<(), KeepError> {
        let shards = self.shards().await?;
        // No stream is without shards: this one is being deleted, or made.
        if shards.is_empty() {
            return Ok(());
        }
        for shard in to_create(&shards, rows) {
            leases.create(&shard.id).await?;
        }
        for row in to_remove(&shards, rows) {
            if !row.ended {
                error!(
                    stream = %self.stream, shard = row.shard, after = row.checkpoint,
                    "a shard is gone that was not read to its end: what it held behind its checkpoint is lost; \
                     the stream's retention is too short, or nothing was stored for that long"
                );
                self.shared.status.update(|status| status.shards_expired += 1);
            }
            match leases.remove(row).await {
                Ok(()) => {
                    info!(stream = %self.stream, shard = row.shard, "removed the lease of a shard that is gone")
                }
                // Another worker has it in its hands.
                Err(LeaseError::Lost) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn shards(&self) -> Result<Vec<Shard>, KeepError> {
        let mut shards = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let asked = self.shared.kinesis.list_shards();
            // A token says the stream; both together are refused.
            let asked = match next {
                Some(token) => asked.next_token(token),
                None => asked.stream_name(&*self.stream),
            };
            let page = asked.send().await.map_err(|error| self.stream_error(&error, "kinesis:ListShards"))?;
            shards.extend(page.shards.unwrap_or_default().into_iter().map(|shard| Shard {
                id: shard.shard_id,
                parents: shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id).collect(),
            }));
            next = page.next_token;
            if next.is_none() || shards.len() >= SHARDS_MAX {
                return Ok(shards);
            }
        }
    }

    async fn take(&mut self, leases: &LeaseTable, rows: &[Lease]) -> Result<(), LeaseError> {
        let now = Instant::now();
        let failover = self.shared.config.lease_failover;
        let may_steal = self.stole_at.is_none_or(|at| now - at >= self.shared.config.steal_interval());
        let held = self.held_shards();
        // One that is ours by its row and not by our list was taken by a request whose answer was lost.
        let is_unknown = |row: &Lease| row.owner.as_deref() == Some(self.shared.worker.as_str());
        let is_free = |row: &Lease| {
            !held.contains(row.shard.as_str())
                && (is_unknown(row) || self.observer.is_free(row, failover, now))
        };
        let wanted: Vec<Lease> =
            to_take(rows, &self.shared.worker, is_free, may_steal).into_iter().cloned().collect();
        for seen in wanted {
            let was_stolen = !is_free(&seen);
            match self.take_one(leases, &seen).await {
                Ok(()) if was_stolen => self.stole_at = Some(now),
                // Another worker was first.
                Ok(()) | Err(LeaseError::Lost) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn held_shards(&self) -> HashSet<Arc<str>> {
        let held = self.shared.held();
        let of_stream = held.values().filter(|held| held.place.stream == self.stream);
        of_stream.map(|held| Arc::clone(&held.place.shard)).collect()
    }

    async fn take_one(&self, leases: &LeaseTable, seen: &Lease) -> Result<(), LeaseError> {
        let token = proto::Uuid::new_v4().to_string();
        let taken = leases.take(seen, &self.shared.worker, &token).await?;
        if taken.ended {
            return Ok(());
        }
        let place = ShardPlace {
            stream: Arc::clone(&self.stream),
            shard: taken.shard.as_str().into(),
            name: format!("{}/{}", self.stream, taken.shard).into(),
            holding: self.shared.next_holding(),
        };
        let stored: Arc<str> = taken.checkpoint.unwrap_or_default().into();
        let reader = Reader::new(Arc::clone(&self.shared), place.clone(), Arc::clone(&stored));
        // Entered before it runs, since what it hands on is looked up in the list.
        let (go, begin) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            if begin.await.is_ok() {
                reader.run().await;
            }
        });
        self.shared.enter(place, token, leases.clone(), stored, task.abort_handle());
        let _ = go.send(());
        Ok(())
    }

    fn stream_error<E>(&self, error: &aws_sdk_kinesis::error::SdkError<E>, action: &'static str) -> KeepError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let reason = match Trouble::of(error, action, &self.stream) {
            Some(trouble) => trouble.to_string(),
            None => said(error),
        };
        KeepError::Stream { stream: Arc::clone(&self.stream), reason }
    }
}
