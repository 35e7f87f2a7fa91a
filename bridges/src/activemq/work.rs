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
//! | appends under way | [`APPENDS_MAX`] batches, each of 2 MiB and a frame at most | frames are not read |
//! | the log | 90 % full | the same |
//! | poison that waits | [`poison_queue::POISON_BYTES_MAX`] and one | further poison is left at the broker, and the session ends when what waits is done |
//! | messages of a transaction that puts aside | [`poison_queue::GROUP_MESSAGES_MAX`], 1 MiB or one larger one | the others wait |
//! | time of such a transaction | [`ASIDE_WITHIN`] | the session ends |

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use stream::LaneThread;
use supervise::now_ms;
use tokio::time::{Instant, timeout_at};

use super::aside::Poison;
use super::attempts::Attempts;
use super::bridge::{APPENDS_MAX, Plan, Stop};
use super::event::Lane;
use super::frame::{Command, Frame};
use super::identity;
use super::mapping::Unmappable;
use super::session::{Session, SessionError, reason};
use super::sink::Taken;
use super::status::StatusHandle;

mod batch;
mod poison_queue;
mod quarantine;

use batch::{Appended, Batch};
use quarantine::{ASIDE_WITHIN, Buried, Quarantine};

/// How often a log that is full is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a session is over.
pub enum End {
    /// Somebody asked, or no message came for a while and that was to be the end.
    Asked,
    /// As many messages as it was for are done with.
    Enough,
    /// The connection is gone, or of no use.
    Lost(SessionError),
    /// Something of ours is not there: the log, the registry, the dead letters.
    Held(String),
}

/// What ends the work in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// No message for so long, and none under way.
    pub quiet: Option<Duration>,
    /// So many messages, and none under way.
    pub messages: Option<u64>,
}

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
    quarantine: Quarantine,
    /// Messages that came in this session.
    received: u64,
    /// Why messages were left at the broker.
    left: Option<String>,
    /// Nothing can be decided at the moment, so all further ones are left.
    is_held: bool,
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
            quarantine: Quarantine::default(),
            received: 0,
            left: None,
            is_held: false,
        }
    }

    /// Works until there is a reason to end.
    pub async fn run(&mut self, stop: &mut Stop, until: Until) -> End {
        loop {
            if let Err(end) = self.put_next_aside().await {
                return end;
            }
            if self.is_idle() {
                if let Some(reason) = self.left.take() {
                    return End::Held(reason);
                }
                if until.messages.is_some_and(|enough| self.received >= enough) {
                    return End::Enough;
                }
            }
            self.report();
            let handled = match self.next_event(stop, until.quiet).await {
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
        let may_read = has_room && self.appends.len() < APPENDS_MAX;
        let is_idle = self.is_idle();
        let quiet = quiet.filter(|_| is_idle && has_room).unwrap_or(Duration::MAX);
        if !may_read {
            self.quarantine.give_time();
        }
        let aside_due = self.quarantine.aside.as_ref().filter(|_| may_read).map(|(_, due)| *due);
        let aside_is_late = async {
            match aside_due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let burying = async {
            match &mut self.quarantine.burying {
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
        self.appends.is_empty() && self.quarantine.is_empty()
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
                    // Each look at a registry that is away may take as long as its time limit.
                    if !self.is_held {
                        self.take_message(frame, lane, now_ms, &mut batch).await?;
                    }
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
        self.received += received;
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
            // It stays at the broker, and so do those behind it. What is under way is done with first.
            Taken::NotNow(reason) => {
                self.left = Some(reason.to_owned());
                self.is_held = true;
            }
        }
        Ok(())
    }

    fn report(&self) {
        self.status.update(|status| {
            status.in_flight = self.in_flight;
            status.in_flight_bytes = (self.events_bytes + self.quarantine.bytes) as u64;
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

fn held(what: &str, error: &std::io::Error) -> End {
    End::Held(format!("{what}: {error}"))
}
