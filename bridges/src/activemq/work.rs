//! The work of one session: messages into the log, acknowledgements back, poison aside.
//!
//! ```text
//! frames ─► take ─┬─► append (8 at a time) ── reached its level ──► ACK of each, in one write
//!                 └─► poison ─► aside, a transaction at a time, beside the rest
//! ```
//!
//! | bound | value | when it is reached |
//! |---|---|---|
//! | messages in flight | `prefetch` | the broker sends no more |
//! | appends under way | [`APPENDS_MAX`] | frames are not read |
//! | events on their way into the log | [`EVENTS_BYTES_MAX`], and a batch | the same |
//! | the log | 90 % full | the same |
//! | poison that waits | [`POISON_BYTES_MAX`] and one | further poison is left at the broker, and the session ends when what waits is done |
//! | messages of a transaction that puts aside | [`ASIDE_MESSAGES_MAX`], 1 MiB or one larger one | the others wait |
//! | time of such a transaction | [`ASIDE_WITHIN`] | the session ends |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use proto::{DeadLetter, Origin, Stage, Uuid};
use stream::{LaneThread, NewRecord};
use supervise::{causes, now_ms};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::aside::{Aside, Next, Poison};
use super::attempts::Attempts;
use super::bridge::{APPENDS_MAX, Plan, Stop};
use super::codec::encode;
use super::event::Lane;
use super::frame::{Command, Frame};
use super::identity;
use super::mapping::Unmappable;
use super::session::{Session, SessionError, reason};
use super::sink::{Taken, append};
use super::status::{Status, StatusHandle};
use crate::programs::{CoreData, LettersError};

/// Bytes of events that wait for their level.
pub const EVENTS_BYTES_MAX: usize = 64 << 20;
/// Bytes of messages that wait to be put aside.
pub const POISON_BYTES_MAX: usize = 64 << 20;
/// Messages that are put aside in one transaction.
pub const ASIDE_MESSAGES_MAX: usize = 64;
/// Their bytes.
const ASIDE_BYTES_MAX: usize = 1 << 20;
/// Longest time for one transaction.
pub const ASIDE_WITHIN: Duration = Duration::from_secs(30);
/// How often a log that is full is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a session is over.
pub enum End {
    /// Somebody asked, or no message came for a while and that was to be the end.
    Asked,
    /// The connection is gone, or of no use.
    Lost(SessionError),
    /// Something of ours is not there: the log, the registry, the dead letters.
    Held(String),
}

/// Messages of one batch that were appended.
struct Appended {
    /// Their acknowledgements, encoded.
    acks: Bytes,
    messages: u64,
    bytes: usize,
    /// Of those that have attempts.
    ids: Vec<Uuid>,
    result: Result<(), String>,
}

type Buried = (Poison, Result<u64, LettersError>);

/// One session's work.
pub struct Work<'b> {
    session: Session,
    plan: &'b Plan,
    status: &'b StatusHandle,
    lane: &'b Arc<LaneThread>,
    attempts: &'b mut Attempts,
    appends: FuturesUnordered<LocalBoxFuture<'static, Appended>>,
    in_flight: u64,
    events_bytes: usize,
    poison: VecDeque<Poison>,
    poison_bytes: usize,
    aside: Option<(Aside, Instant)>,
    /// So many of the next go one by one, since the broker refused one of them.
    alone: usize,
    burying: Option<LocalBoxFuture<'static, Buried>>,
    /// Why poison was left at the broker.
    left: Option<String>,
}

/// What the loop woke up for.
enum Event {
    Frames(Result<Vec<Frame>, SessionError>),
    Appended(Appended),
    Buried(Buried),
    Asked,
    Quiet,
    AsideIsLate,
    Look,
}

impl<'b> Work<'b> {
    /// With nothing in flight.
    pub fn new(
        session: Session,
        plan: &'b Plan,
        status: &'b StatusHandle,
        lane: &'b Arc<LaneThread>,
        attempts: &'b mut Attempts,
    ) -> Self {
        Self {
            session,
            plan,
            status,
            lane,
            attempts,
            appends: FuturesUnordered::new(),
            in_flight: 0,
            events_bytes: 0,
            poison: VecDeque::new(),
            poison_bytes: 0,
            aside: None,
            alone: 0,
            burying: None,
            left: None,
        }
    }

    /// Works until there is a reason to end.
    pub async fn run(&mut self, stop: &mut Stop, quiet: Option<Duration>) -> End {
        loop {
            if let Err(end) = self.put_next_aside().await {
                return end;
            }
            if self.is_idle()
                && let Some(reason) = self.left.take()
            {
                return End::Held(reason);
            }
            self.report();
            let handled = match self.next_event(stop, quiet).await {
                Event::Frames(Ok(frames)) => self.take(frames).await,
                Event::Frames(Err(error)) => Err(End::Lost(error)),
                Event::Appended(appended) => self.acknowledge(appended).await,
                Event::Buried(buried) => self.buried(buried).await,
                Event::AsideIsLate => Err(End::Lost(SessionError::Timeout {
                    endpoint: self.session.endpoint().to_owned(),
                    what: "putting a message aside",
                    within_ms: ASIDE_WITHIN.as_millis(),
                })),
                Event::Asked | Event::Quiet => return End::Asked,
                Event::Look => Ok(()),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    async fn next_event(&mut self, stop: &mut Stop, quiet: Option<Duration>) -> Event {
        let has_room = self.plan.sink.has_room();
        let may_read = has_room && self.appends.len() < APPENDS_MAX && self.events_bytes < EVENTS_BYTES_MAX;
        let is_idle = self.is_idle();
        let quiet = quiet.filter(|_| is_idle && has_room).unwrap_or(Duration::MAX);
        // Receipts are not read while the log is full, so nothing is late then.
        let aside_due = self.aside.as_ref().filter(|_| may_read).map(|(_, due)| *due);
        let aside_is_late = async {
            match aside_due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let burying = async {
            match &mut self.burying {
                Some(burying) => burying.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Acknowledging first: it lets the broker send more.
            biased;
            _ = stop.wait_for(Option::is_some) => Event::Asked,
            Some(appended) = self.appends.next() => Event::Appended(appended),
            buried = burying => Event::Buried(buried),
            frames = self.session.next(), if may_read => Event::Frames(frames),
            () = aside_is_late => Event::AsideIsLate,
            () = tokio::time::sleep(LOOK_EVERY), if !has_room => Event::Look,
            () = tokio::time::sleep(quiet) => Event::Quiet,
        }
    }

    /// Nothing is under way.
    fn is_idle(&self) -> bool {
        self.appends.is_empty() && self.poison.is_empty() && self.aside.is_none() && self.burying.is_none()
    }

    async fn take(&mut self, frames: Vec<Frame>) -> Result<(), End> {
        let now_ms = now_ms();
        let lane = Lane { boot: self.lane.boot(), lane: self.lane.lane() };
        let mut batch = Batch::default();
        let mut received = 0;
        let mut redelivered = 0;
        let mut ignored = 0;
        for frame in frames {
            match frame.command {
                Command::Message if self.session.is_ours(&frame) && frame.header("ack").is_some() => {
                    received += 1;
                    redelivered += u64::from(frame.header("redelivered") == Some("true"));
                    self.take_message(frame, lane, now_ms, &mut batch).await?;
                }
                Command::Receipt => self.answered(&frame).await?,
                Command::Error if frame.header("receipt-id").is_some() => self.answered(&frame).await?,
                Command::Error => {
                    return Err(End::Lost(SessionError::Refused {
                        endpoint: self.session.endpoint().to_owned(),
                        what: "a frame",
                        reason: reason(&frame),
                    }));
                }
                _ => ignored += 1,
            }
        }
        self.status.update(|status| {
            status.counts.received += received;
            status.counts.redelivered += redelivered;
            status.counts.ignored += ignored;
            if received > 0 {
                status.last_message_ms = now_ms;
            }
        });
        self.append(batch);
        Ok(())
    }

    async fn take_message(
        &mut self,
        message: Frame,
        lane: Lane,
        now_ms: u64,
        batch: &mut Batch,
    ) -> Result<(), End> {
        let queue = &self.plan.queue;
        let guards = self.attempts.is_guarding();
        // Costs a hash, and is needed only after a death.
        let id = (guards || !self.attempts.is_empty()).then(|| identity::of_broker(queue, &message));
        let attempts = id.map_or(0, |id| self.attempts.of(&id));
        if attempts >= queue.attempts_max {
            self.set_aside(Poison { message, reason: Unmappable::Deadly(attempts) });
            return Ok(());
        }
        if let Some(id) = id.filter(|_| guards) {
            self.attempts.begin(&id).map_err(|error| held("cannot write the attempts", &error))?;
        }
        let taken = self.plan.sink.take(queue, &message, lane, now_ms).await;
        if guards {
            self.attempts.survived().map_err(|error| held("cannot write the attempts", &error))?;
        }
        match taken {
            Taken::Event(record, bytes) => {
                batch.records.push(record);
                batch.add(&message, bytes, id.filter(|_| attempts > 0));
            }
            Taken::CoreData(changes) => {
                batch.changes.extend(changes);
                batch.add(&message, message.body.len(), id.filter(|_| attempts > 0));
            }
            Taken::Poison(reason) => self.set_aside(Poison { message, reason }),
            Taken::NotNow(reason) => return Err(End::Held(reason.to_owned())),
        }
        Ok(())
    }

    fn append(&mut self, batch: Batch) {
        let Batch { records, changes, acks, messages, bytes, ids } = batch;
        if messages == 0 {
            return;
        }
        self.in_flight += messages;
        self.events_bytes += bytes;
        let acks = acks.freeze();
        let (lane, queue) = (Arc::clone(self.lane), self.plan.queue.clone());
        let core_data = self.plan.sink.core_data.clone();
        let appending = async move {
            let result = match (records.is_empty(), core_data) {
                (false, _) => append(lane, records, queue).await.map_err(|error| format!("the log: {error}")),
                (true, Some(accept)) => accept(changes).await,
                (true, None) => Err("there is nothing that takes core data".to_owned()),
            };
            Appended { acks, messages, bytes, ids, result }
        };
        self.appends.push(appending.boxed_local());
    }

    async fn acknowledge(&mut self, appended: Appended) -> Result<(), End> {
        let Appended { acks, messages, bytes, ids, result } = appended;
        self.in_flight -= messages;
        self.events_bytes -= bytes;
        result.map_err(End::Held)?;
        self.session.send_encoded(acks).await.map_err(End::Lost)?;
        self.status.update(|status| status.counts.acknowledged += messages);
        for id in ids {
            self.attempts.forget(&id).map_err(|error| held("cannot write the attempts", &error))?;
        }
        Ok(())
    }

    fn set_aside(&mut self, poison: Poison) {
        if self.poison_bytes > POISON_BYTES_MAX {
            self.left = Some("a lot of messages cannot be read; going on with the next of them".to_owned());
            return;
        }
        let Poison { message, reason } = &poison;
        let id = message.header("message-id").unwrap_or_default();
        // The first of a kind is news; thousands of them would hide everything else.
        match self.status.get().aside_by_reason.contains_key(reason.name()) || !self.poison.is_empty() {
            false => warn!(queue = self.plan.name, message_id = id, %reason, "a message is put aside"),
            true => debug!(queue = self.plan.name, message_id = id, %reason, "a message is put aside"),
        }
        self.poison_bytes += poison.bytes();
        self.in_flight += 1;
        self.poison.push_back(poison);
    }

    /// Begins with the next messages to be put aside, if none are under way.
    async fn put_next_aside(&mut self) -> Result<(), End> {
        if self.aside.is_some() || self.burying.is_some() {
            return Ok(());
        }
        let mut next: Vec<Poison> = Vec::new();
        let mut bytes = 0;
        while let Some(poison) = self.poison.front()
            && (next.is_empty() || self.alone == 0 && bytes + poison.bytes() <= ASIDE_BYTES_MAX)
            && next.len() < ASIDE_MESSAGES_MAX
        {
            bytes += poison.bytes();
            next.extend(self.poison.pop_front());
        }
        if next.is_empty() {
            return Ok(());
        }
        self.alone = self.alone.saturating_sub(1);
        let (broker, queue) = (&self.plan.broker, &self.plan.queue);
        let (aside, frames) = Aside::begin(next, broker, queue, || self.session.new_receipt());
        self.aside = Some((aside, Instant::now() + ASIDE_WITHIN));
        self.session.send(&frames).await.map_err(End::Lost)
    }

    async fn answered(&mut self, frame: &Frame) -> Result<(), End> {
        let Some((aside, due)) = self.aside.take() else { return Ok(()) };
        let receipt = self.session.new_receipt();
        let frames = match aside.answered(frame, || receipt) {
            Next::Wait(aside) => {
                self.aside = Some((aside, due));
                Vec::new()
            }
            Next::Send(aside, frames) => {
                self.aside = Some((aside, due));
                frames
            }
            Next::Done(poisons, frames) => {
                for poison in poisons {
                    self.done(&poison, |status| status.counts.quarantined += 1)?;
                }
                frames
            }
            Next::Refused(mut poisons, why, frames) => {
                match poisons.len() {
                    // That one, or all: each alone will show.
                    2.. => {
                        self.alone = poisons.len();
                        poisons.into_iter().rev().for_each(|poison| self.poison.push_front(poison));
                    }
                    _ => poisons.drain(..).for_each(|poison| self.bury(poison, &why)),
                }
                frames
            }
            Next::Unknown(reason) => {
                return Err(End::Lost(SessionError::Refused {
                    endpoint: self.session.endpoint().to_owned(),
                    what: "COMMIT",
                    reason,
                }));
            }
        };
        match frames.is_empty() {
            true => Ok(()),
            false => self.session.send(&frames).await.map_err(End::Lost),
        }
    }

    /// Into the local dead letters, as the broker did not take it for the reason `why`.
    fn bury(&mut self, poison: Poison, why: &str) {
        warn!(
            queue = self.plan.name,
            error = why,
            "the broker takes no quarantined message; it becomes a dead letter"
        );
        let queue = &self.plan.queue;
        let id = identity::of_broker(queue, &poison.message);
        let letter = DeadLetter {
            stage: Stage::BridgeActivemq.into(),
            reason: poison.reason.to_string(),
            failed_at_ms: now_ms(),
            // No record's place: what identifies the message, so that it is kept once.
            boot: id.as_bytes().to_vec(),
            payload: poison.message.body.to_vec(),
            origin: Some(Origin {
                broker: queue.broker.clone(),
                destination: queue.destination.clone(),
                broker_message_id: poison.message.header("message-id").unwrap_or_default().to_owned(),
                ..Origin::default()
            }),
            ..DeadLetter::default()
        };
        let keeping = (self.plan.sink.letters)(vec![letter]);
        self.burying = Some(keeping.map(|kept| (poison, kept)).boxed_local());
    }

    async fn buried(&mut self, (poison, kept): Buried) -> Result<(), End> {
        self.burying = None;
        match kept {
            Ok(_discarded) => {
                let ack = Frame::new(Command::Ack, &[("id", poison.ack())]);
                self.session.send(&[ack]).await.map_err(End::Lost)?;
                self.done(&poison, |status| status.counts.dead += 1)
            }
            Err(error) => {
                // It stays at the broker; the others go on.
                self.in_flight -= 1;
                self.poison_bytes -= poison.bytes();
                self.left = Some(format!("the dead letters cannot be kept: {}", causes(&*error)));
                Ok(())
            }
        }
    }

    fn done(&mut self, poison: &Poison, count: impl FnOnce(&mut Status)) -> Result<(), End> {
        self.in_flight -= 1;
        self.poison_bytes -= poison.bytes();
        self.status.update(|status| {
            *status.aside_by_reason.entry(poison.reason.name()).or_default() += 1;
            count(status);
        });
        if !self.attempts.is_empty() {
            let id = identity::of_broker(&self.plan.queue, &poison.message);
            self.attempts.forget(&id).map_err(|error| held("cannot write the attempts", &error))?;
        }
        Ok(())
    }

    fn report(&self) {
        self.status.update(|status| {
            status.in_flight = self.in_flight;
            status.in_flight_bytes = (self.events_bytes + self.poison_bytes) as u64;
        });
    }

    /// Acknowledges what reaches its level until the deadline. What is being put aside is left: the
    /// broker takes an open transaction back.
    pub async fn finish(&mut self, until: Instant) {
        while let Ok(Some(appended)) = timeout_at(until, self.appends.next()).await {
            if self.acknowledge(appended).await.is_err() {
                return;
            }
        }
    }

    /// Ends the session; whether the broker confirmed it.
    pub async fn close(self, within: Duration) -> bool {
        self.session.close(within).await
    }
}

/// Messages that were read together.
#[derive(Default)]
struct Batch {
    records: Vec<NewRecord>,
    changes: Vec<CoreData>,
    acks: BytesMut,
    messages: u64,
    bytes: usize,
    ids: Vec<Uuid>,
}

impl Batch {
    fn add(&mut self, message: &Frame, bytes: usize, id: Option<Uuid>) {
        encode(
            &Frame::new(Command::Ack, &[("id", message.header("ack").unwrap_or_default())]),
            &mut self.acks,
        );
        self.messages += 1;
        self.bytes += bytes;
        self.ids.extend(id);
    }
}

fn held(what: &str, error: &std::io::Error) -> End {
    End::Held(format!("{what}: {error}"))
}
