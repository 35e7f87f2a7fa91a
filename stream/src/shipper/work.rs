//! The shipper's work, without the actor: read, send, take the answers, commit.

use std::error::Error;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use proto::{DeadLetter, EventKeys, Message};
use supervise::{Backoff, causes, now_ms};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, info, warn};

use super::answer::{Answer, EntryAnswer, Failed, Why};
use super::client::Client;
use super::config::ShipperConfig;
use super::entry::Entry;
use super::outbox::{Outbox, Request};
use super::pack::Packer;
use super::progress::Progress;
use super::status::{ShipperStatus, ShipperStatusHandle};
use crate::log::Log;
use crate::reader::LogSource;
use crate::record::RecordKind;
use crate::source::{Batch, Item, Source, SourceError};

/// How much of a lane is read at once.
const READ_BYTES: usize = 256 << 10;
/// Kinesis bills a record in units of this size (pricing page, "PUT Payload Unit").
const PAYLOAD_UNIT_BYTES: usize = 25 << 10;

/// Whether a dead letter was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is durable, or was before.
    Kept,
    /// There is no room for it; the reason, with the way out.
    Full(String),
}

/// Why a dead letter could not be kept; it is given again.
pub type LetterError = Box<dyn Error + Send + Sync>;

/// Where dead letters go. A letter may be given again after a crash; it must be recognised by its
/// stage, boot, lane and number, and none may be discarded to make room.
pub trait Letters: Fn(DeadLetter) -> BoxFuture<'static, Result<Kept, LetterError>> + Send + 'static {}
impl<F: Fn(DeadLetter) -> BoxFuture<'static, Result<Kept, LetterError>> + Send + 'static> Letters for F {}

/// Takes a log to a stream.
pub(crate) struct Shipper<L> {
    log: Log,
    source: LogSource,
    pub(super) client: Client,
    config: ShipperConfig,
    pub(super) letters: L,
    pub(super) status: ShipperStatusHandle,
    packer: Packer,
    progress: Progress,
    pub(super) outbox: Outbox,
    in_flight: FuturesUnordered<BoxFuture<'static, (Request, Answer)>>,
    /// When the log is looked at again.
    read_at: Instant,
    /// When the log had nothing more, milliseconds since 1970; `None` if it had at the last look.
    nothing_more_at_ms: Option<u64>,
    commit_at: Instant,
    retry: Backoff,
    /// Whether the stream took a record since the last one that became a dead letter.
    pub(super) took_one: bool,
}

impl<L: Letters> Shipper<L> {
    pub fn new(
        log: Log,
        source: LogSource,
        client: Client,
        config: ShipperConfig,
        letters: L,
        status: ShipperStatusHandle,
    ) -> Self {
        let now = Instant::now();
        status.update(|status| status.stream.clone_from(&client.events));
        Self {
            packer: Packer::new(&config),
            progress: Progress::default(),
            outbox: Outbox::new(config.clone(), now),
            in_flight: FuturesUnordered::new(),
            read_at: now,
            nothing_more_at_ms: None,
            commit_at: now + config.commit_interval,
            retry: Backoff::new(config.retry_pause_max),
            took_one: true,
            log,
            source,
            client,
            config,
            letters,
            status,
        }
    }

    /// Reads what there is room for, sends what may be sent, and waits for the next thing to do:
    /// an answer, the end of a pause, a look at the log.
    ///
    /// # Errors
    /// The log is damaged.
    pub async fn turn(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        if self.read_at <= now {
            self.read(now)?;
        }
        while let Some(request) = self.outbox.next_request(now) {
            self.in_flight.push(self.client.put(request).boxed());
        }
        if self.commit_at <= now && self.progress.has_uncommitted() {
            self.commit().await?;
        }
        self.report();
        let wakes_at = self.wakes_at(now);
        tokio::select! {
            Some((request, answer)) = self.in_flight.next() => self.take(request, answer).await,
            () = sleep_until(wakes_at) => {}
        }
        // Others that came meanwhile, so that room for all of them is made at once.
        while let Some(Some((request, answer))) = self.in_flight.next().now_or_never() {
            self.take(request, answer).await;
        }
        self.report();
        Ok(())
    }

    /// Goes on until everything in the log is acknowledged and committed; `false` at the deadline.
    ///
    /// # Errors
    /// The log is damaged.
    pub async fn drain(&mut self, until: Instant) -> Result<bool, SourceError> {
        self.read_at = Instant::now();
        self.nothing_more_at_ms = None;
        let mut is_drained = true;
        while is_drained && !self.is_caught_up() {
            // What is dropped at the deadline is in the log, and comes again.
            is_drained =
                timeout_at(until, self.turn()).await.unwrap_or(Ok(())).map(|()| Instant::now() < until)?;
        }
        self.commit().await?;
        self.report();
        match is_drained {
            true => info!("the shipper has shipped everything and stops"),
            false => warn!("the shipper stops before it has shipped everything"),
        }
        Ok(is_drained)
    }

    /// Says why there will be no further turn.
    pub fn give_up(&self, reason: &str) {
        error!(reason, "the shipper cannot go on");
        self.status.update(|status| status.failed(reason.to_owned(), now_ms()));
    }

    fn is_caught_up(&self) -> bool {
        self.nothing_more_at_ms.is_some() && self.outbox.is_empty()
    }

    fn wakes_at(&self, now: Instant) -> Instant {
        let reads = self.outbox.has_room(0).then_some(self.read_at);
        let commits = self.progress.has_uncommitted().then_some(self.commit_at);
        let wakes = self.outbox.wakes_at(now).into_iter().chain(reads).chain(commits).min();
        wakes.unwrap_or(now + self.config.linger)
    }

    fn read(&mut self, now: Instant) -> Result<(), SourceError> {
        let mut ready = Vec::new();
        let mut read = Ok(());
        let looked_at_ms = now_ms();
        self.nothing_more_at_ms = None;
        while self.outbox.has_room(self.packer.open_bytes()) {
            match self.source.read(READ_BYTES) {
                Ok(Some(batch)) => {
                    let piece = self.progress.read(&batch, received_at_ms(&batch));
                    self.packer.add(batch, piece, &mut ready);
                    ready.drain(..).for_each(|entry| self.outbox.push(entry));
                }
                Ok(None) => {
                    self.nothing_more_at_ms = Some(looked_at_ms);
                    self.read_at = now + self.config.linger;
                    self.retry.reset();
                    break;
                }
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
        }
        self.packer.flush(&mut ready);
        ready.into_iter().for_each(|entry| self.outbox.push(entry));
        match read {
            Err(error) if error.is_retryable() => {
                self.read_at = now + self.pause("the log cannot be read", &causes(&error));
                Ok(())
            }
            read => read,
        }
    }

    fn pause(&mut self, what: &str, error: &str) -> Duration {
        let pause = self.retry.pause();
        warn!(error, pause_ms = pause.as_millis(), "{what}, trying again");
        self.status.update(|status| status.failed(format!("{what}: {error}"), now_ms()));
        pause
    }

    /// Moves the cursor to where the lanes are acknowledged. Durable on return, or tried again.
    async fn commit(&mut self) -> Result<(), SourceError> {
        self.commit_at = Instant::now() + self.config.commit_interval;
        let checkpoints = self.progress.uncommitted();
        if checkpoints.is_empty() {
            return Ok(());
        }
        match self.source.commit(&checkpoints).await {
            Ok(()) => self.progress.committed(),
            Err(error) if error.is_retryable() => {
                let pause = self.pause("the cursor cannot be moved", &causes(&error));
                self.commit_at = Instant::now() + self.config.commit_interval.max(pause);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn take(&mut self, request: Request, answer: Answer) {
        let target = request.target;
        let took = request.sent_at.elapsed();
        match answer {
            Answer::Each(answers) => {
                self.outbox.answered(target, took);
                self.take_each(request.entries, answers).await;
            }
            Answer::Failed(failed) if failed.why == Why::Refused => {
                self.outbox.answered(target, took);
                self.status.update(|status| status.requests_failed += 1);
                self.refused(target, request.entries, failed.reason).await;
            }
            Answer::Failed(failed) => self.failed(request, &failed),
        }
    }

    async fn take_each(&mut self, entries: Vec<Entry>, answers: Vec<EntryAnswer>) {
        let now = Instant::now();
        let mut taken = Taken::default();
        let mut refused = Vec::new();
        let status = self.status.clone();
        for (entry, answer) in entries.into_iter().zip(answers) {
            match answer {
                EntryAnswer::Stored => {
                    taken.add(&entry);
                    self.acknowledge(&entry);
                }
                EntryAnswer::Throttled { shard } => {
                    status.update(|status| {
                        status.throttled(shard.as_deref());
                        status.retried("throttled", 1);
                    });
                    self.outbox.throttled(entry, now);
                }
                EntryAnswer::Failed { code } => {
                    status.update(|status| status.retried(&code, 1));
                    self.outbox.failed(entry, now);
                }
                EntryAnswer::Refused { reason } => refused.push((entry, reason)),
            }
        }
        self.took_one |= taken.kinesis_records > 0;
        status.update(|status| {
            status.requests += 1;
            taken.add_to(status);
            if taken.kinesis_records > 0 {
                (status.error, status.stalled) = (None, false);
            }
        });
        for (entry, reason) in refused {
            self.refused(entry.target, vec![entry], reason).await;
        }
    }

    pub(super) fn acknowledge(&mut self, entry: &Entry) {
        self.outbox.done(entry);
        for run in &entry.runs {
            if let Some(advance) = self.progress.done(run.piece, run.records) {
                let (boot, lane) = advance.lane;
                self.log.advance_stream(boot, lane, advance.end);
            }
        }
    }

    fn failed(&mut self, request: Request, failed: &Failed) {
        let entries = request.entries.len() as u64;
        let stream = self.client.stream(request.target).to_owned();
        let reason = failed.describe(&stream);
        let is_stalled = failed.why == Why::Misconfigured;
        let is_news = self.outbox.put_back(request, !failed.timed_out, Instant::now());
        let was_stalled = self.status.get().stalled;
        self.status.update(|status| {
            status.requests_failed += 1;
            status.retried(if failed.why == Why::Throttled { "throttled" } else { &failed.cause }, entries);
            status.outcome_unknown += if failed.outcome_unknown { entries } else { 0 };
            status.stalled |= is_stalled;
            status.failed(reason.clone(), now_ms());
        });
        // Eight requests that were under way fail for one reason. A stall is said once, an outage
        // with each attempt.
        match (is_stalled, was_stalled) {
            (true, false) => error!(reason, "the shipper is stalled"),
            (false, _) if is_news => warn!(reason, "trying again"),
            _ => {}
        }
    }

    fn report(&self) {
        let oldest = self.progress.oldest_received_at_ms();
        let acknowledged_until_ms = oldest.or(self.nothing_more_at_ms.filter(|_| self.outbox.is_empty()));
        self.status.update(|status| {
            status.requests_in_flight = self.outbox.requests();
            status.bytes_in_flight = self.outbox.bytes();
            status.bytes_held_back = self.outbox.held_bytes();
            status.oldest_received_at_ms = oldest.unwrap_or(0);
            status.caught_up = self.is_caught_up();
            status.acknowledged_until_ms =
                status.acknowledged_until_ms.max(acknowledged_until_ms.unwrap_or_default());
        });
    }
}

/// What one answer acknowledged.
#[derive(Default)]
struct Taken {
    records: u64,
    kinesis_records: u64,
    bytes: u64,
    payload_units: u64,
}

impl Taken {
    fn add(&mut self, entry: &Entry) {
        self.records += u64::from(entry.records());
        self.kinesis_records += 1;
        self.bytes += entry.bytes() as u64;
        self.payload_units += entry.bytes().div_ceil(PAYLOAD_UNIT_BYTES).max(1) as u64;
    }

    fn add_to(&self, status: &mut ShipperStatus) {
        status.acknowledged += self.records;
        status.kinesis_records += self.kinesis_records;
        status.bytes += self.bytes;
        status.payload_units += self.payload_units;
    }
}

/// When the first event of a batch was received; 0 without one.
fn received_at_ms(batch: &Batch) -> u64 {
    let event = batch.items.iter().find_map(|item| match item {
        Item::Record(record) if record.kind == RecordKind::Event => Some(&record.payload),
        _ => None,
    });
    event.and_then(|event| EventKeys::decode(&event[..]).ok()).map_or(0, |keys| keys.received_at_ms)
}
