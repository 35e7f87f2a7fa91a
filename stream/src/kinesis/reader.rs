//! The task that reads one shard, from a checkpoint to the shard's end.
//!
//! It is ahead of whoever stores by what the queue takes. A place that it cannot read is tried again
//! for ever, with full jitter; what is wrong stands in the status.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::ShardIteratorType;
use supervise::{Backoff, Failure, now_ms};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::shared::Shared;
use super::unpack::{KinesisRecord, ShardPlace, end, unpack};

use crate::source::Batch;
use crate::trouble::{Trouble, said};

/// Kinesis answers five GetRecords a second and shard (API reference, "GetRecords"); a second
/// application may read the stream too.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(250);

/// What one answer held.
pub(super) struct Fetched {
    pub place: ShardPlace,
    pub batches: VecDeque<Batch>,
    /// Its part of the queue's bytes, until it was handed out.
    pub _room: OwnedSemaphorePermit,
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    place: ShardPlace,
    /// The last sequence number that was read; empty before the first.
    read: Arc<str>,
    iterator: Option<String>,
    backoff: Backoff,
}

/// Why a shard was not read.
enum ReadError {
    /// The iterator is older than five minutes: a new one is asked for.
    Expired,
    /// Too much was read of the shard in this second.
    Throttled,
    /// Anything else.
    Failed(String),
}

impl Reader {
    /// Begins behind the sequence number `after`, or at the oldest record if that is empty.
    pub fn new(shared: Arc<Shared>, place: ShardPlace, after: Arc<str>) -> Self {
        let backoff = Backoff::new(shared.config.retry_pause_max);
        Self { shared, place, read: after, iterator: None, backoff }
    }

    /// Reads until the shard ends, reading is to stop, or nobody takes what is read.
    pub async fn run(mut self) {
        let mut stopping = self.shared.stopping.subscribe();
        while !self.shared.is_stopping() {
            let next_request = Instant::now() + BETWEEN_REQUESTS;
            let fetched = tokio::select! {
                fetched = self.fetch() => fetched,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let pause = match fetched {
                Ok(answer) => {
                    self.say(None);
                    self.backoff.reset();
                    match self.hand_on(answer).await {
                        HandedOn::ShardEnded | HandedOn::Nobody => return,
                        HandedOn::Behind => Duration::ZERO,
                        HandedOn::AtTheEnd => self.shared.config.poll,
                    }
                }
                Err(ReadError::Expired) => {
                    self.shared.status.update(|status| status.iterators_expired += 1);
                    self.iterator = None;
                    continue;
                }
                Err(ReadError::Throttled) => {
                    self.shared.status.update(|status| status.throttled += 1);
                    debug!(shard = %self.place.name, "reading is throttled");
                    self.backoff.pause()
                }
                Err(ReadError::Failed(reason)) => {
                    warn!(shard = %self.place.name, reason, "a shard cannot be read, trying again");
                    self.say(Some(reason));
                    // Whatever was wrong, the iterator may be part of it.
                    self.iterator = None;
                    self.backoff.pause()
                }
            };
            tokio::select! {
                () = async { sleep(pause).await; sleep_until(next_request).await } => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    async fn fetch(&mut self) -> Result<GetRecordsOutput, ReadError> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let iterator = self.new_iterator().await?;
                self.iterator = Some(iterator.clone());
                iterator
            }
        };
        let records_max = i32::try_from(self.shared.config.records_max).unwrap_or(i32::MAX);
        let asked = self.shared.kinesis.get_records().shard_iterator(iterator).limit(records_max);
        asked.send().await.map_err(|error| self.error(&error, "kinesis:GetRecords"))
    }

    async fn new_iterator(&self) -> Result<String, ReadError> {
        let ShardPlace { stream, shard, .. } = &self.place;
        let asked = self.shared.kinesis.get_shard_iterator().stream_name(&**stream).shard_id(&**shard);
        let asked = if self.read.is_empty() {
            asked.shard_iterator_type(ShardIteratorType::TrimHorizon)
        } else {
            let after = asked.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
            after.starting_sequence_number(&*self.read)
        };
        let answer = asked.send().await.map_err(|error| self.error(&error, "kinesis:GetShardIterator"))?;
        answer.shard_iterator.ok_or_else(|| ReadError::Failed("an answer has no shard iterator".to_owned()))
    }

    fn error<E>(&self, error: &SdkError<E>, action: &'static str) -> ReadError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.code().unwrap_or_default();
        match code {
            "ExpiredIteratorException" => return ReadError::Expired,
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException" => {
                return ReadError::Throttled;
            }
            _ => {}
        }
        let reason = match Trouble::of(error, action, &self.place.stream) {
            Some(trouble) => trouble.to_string(),
            None => said(error),
        };
        ReadError::Failed(reason)
    }

    /// Puts what an answer holds into the queue, once there is room.
    async fn hand_on(&mut self, answer: GetRecordsOutput) -> HandedOn {
        let behind_ms = u64::try_from(answer.millis_behind_latest.unwrap_or(0)).unwrap_or(0);
        let records: Vec<KinesisRecord> = answer.records.into_iter().map(kinesis_record).collect();
        let count = records.len() as u64;
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        let previous = Arc::clone(&self.read);
        if let Some(last) = records.last() {
            self.read = Arc::clone(&last.sequence);
        }
        self.shared.status.update(|status| {
            status.requests += 1;
            status.kinesis_records += count;
            status.bytes += bytes as u64;
            if let Some(shard) = status.shards.get_mut(&*self.place.name) {
                shard.behind_ms = behind_ms;
                shard.read = self.read.to_string();
            }
        });
        let mut batches: VecDeque<Batch> =
            unpack(self.shared.config.form, &self.place, &previous, records).into();
        // Without an iterator for more, the shard was split or merged and this was its end.
        let has_ended = answer.next_shard_iterator.is_none();
        if has_ended {
            batches.push_back(end(&self.place, &self.read));
        }
        self.iterator = answer.next_shard_iterator;
        if !batches.is_empty() && !self.put(batches, bytes).await {
            return HandedOn::Nobody;
        }
        if has_ended {
            info!(shard = %self.place.name, "read a shard to its end");
            return HandedOn::ShardEnded;
        }
        if behind_ms > 0 { HandedOn::Behind } else { HandedOn::AtTheEnd }
    }

    /// False if nobody takes it.
    async fn put(&self, batches: VecDeque<Batch>, bytes: usize) -> bool {
        let all_kib = (self.shared.config.buffer_bytes_max / 1_024).max(1);
        let kib = u32::try_from((bytes / 1_024).clamp(1, all_kib)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.shared.room).acquire_many_owned(kib).await else { return false };
        let fetched = Fetched { place: self.place.clone(), batches, _room: room };
        self.shared.queue.send(fetched).await.is_ok()
    }

    fn say(&self, error: Option<String>) {
        self.shared.status.update(|status| {
            if let Some(shard) = status.shards.get_mut(&*self.place.name) {
                shard.error = error.map(|reason| Failure { at_ms: now_ms(), reason });
            }
        });
    }
}

enum HandedOn {
    /// There is more already.
    Behind,
    /// It was the newest.
    AtTheEnd,
    /// Nothing comes any more.
    ShardEnded,
    /// Nobody takes it.
    Nobody,
}

fn kinesis_record(record: aws_sdk_kinesis::types::Record) -> KinesisRecord {
    let arrived_at_ms = record.approximate_arrival_timestamp.and_then(|at| at.to_millis().ok());
    KinesisRecord {
        sequence: record.sequence_number.into(),
        arrived_at_ms: arrived_at_ms.and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
        data: record.data.into_inner().into(),
    }
}
