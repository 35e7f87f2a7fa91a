//! One queue's bridge, without its actor: sessions, one after the other.
//!
//! What holds the promise is the order: an event has reached its level before its message is acknowledged,
//! and a message that is put aside is at its place before it is. A crash between brings the message again,
//! and its event has the same id. Handles of acknowledgement belong to their connection: what was not
//! acknowledged when it broke is forgotten and comes again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stream::{LaneError, LaneThread};
use supervise::{Backoff, Failure, causes, now_ms};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::attempts::Attempts;
use super::codec::BadFrame;
use super::config::{Broker, Queue};
use super::session::{IoThread, Session, SessionError};
use super::sink::Sink;
use super::status::StatusHandle;
use super::work::{End, Until, Work};

/// Appends under way, each of a batch of messages.
pub const APPENDS_MAX: usize = 8;
/// A session that lived so long, or was done with a message, was useful.
const USEFUL_AFTER: Duration = Duration::from_secs(60);
/// How often the same unreadable frame is tried before the queue is stopped.
const UNREADABLE_MAX: u32 = 3;
/// Windows of the broker's prefetch that are read one message at a time after such a frame.
const CAREFUL_WINDOWS: u64 = 2;
/// Longest wait for the broker's receipt at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// When a bridge has to stop: nothing before somebody asks; then the deadline.
pub type Stop = watch::Receiver<Option<Instant>>;

/// Why a bridge cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its lane of the log.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// Its thread, or the files of the attempts.
    #[error("{what}")]
    Io {
        /// Which.
        what: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// What identifies a bridge, and all that it was told.
#[derive(Clone)]
pub struct Plan {
    /// The configured name of the queue.
    pub name: String,
    /// Its broker.
    pub broker: Broker,
    /// The queue.
    pub queue: Queue,
    /// Where its messages go.
    pub sink: Sink,
    /// The directory of the attempts.
    pub dir: PathBuf,
}

/// What a turn ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another one is due after this pause.
    Again(Duration),
    /// There is none.
    Stopped,
}

/// A bridge.
pub struct Bridge {
    plan: Plan,
    status: StatusHandle,
    io: IoThread,
    lane: Arc<LaneThread>,
    attempts: Attempts,
    backoff: Backoff,
    /// Index of the endpoint that is tried next.
    next_endpoint: usize,
    unreadable: u32,
}

impl Bridge {
    /// Opens a lane of the log, a thread and the attempts. Blocks until they are there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(plan: Plan, status: StatusHandle) -> Result<Self, OpenError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| OpenError::Io { what, source }
        };
        let thread = IoThread::start("activemq-io").map_err(io("cannot start a thread"))?;
        let attempts = Attempts::open(&plan.dir, &plan.name, plan.queue.prefetch);
        let attempts =
            attempts.map_err(io(&format!("cannot open the attempts in {}", plan.dir.display())))?;
        let lane = LaneThread::start(&plan.sink.log, "activemq-lane", APPENDS_MAX)?;
        let backoff = Backoff::new(Duration::from_millis(plan.broker.retry_pause_ms_max));
        status.update(|status| {
            status.queue.clone_from(&plan.name);
            status.broker.clone_from(&plan.queue.broker);
            status.destination.clone_from(&plan.queue.destination);
        });
        let lane = Arc::new(lane);
        Ok(Self { plan, status, io: thread, lane, attempts, backoff, next_endpoint: 0, unreadable: 0 })
    }

    /// One session, from connecting until it is over. `quiet` ends it in order when so long no message has
    /// come and none is under way.
    pub async fn turn(&mut self, stop: &mut Stop, quiet: Option<Duration>) -> Turn {
        let began = Instant::now();
        let before = self.status.get().counts.done();
        let is_careful = self.unreadable > 0;
        let opened = tokio::select! {
            opened = self.connect(is_careful) => opened,
            _ = stop.wait_for(Option::is_some) => return Turn::Stopped,
        };
        let enough = is_careful.then(|| u64::from(self.plan.queue.prefetch) * CAREFUL_WINDOWS);
        let end = match opened {
            Ok(session) => self.work(session, stop, Until { quiet, messages: enough }).await,
            Err(error) => End::Lost(error),
        };
        self.status.update(|status| {
            status.endpoint = None;
            status.in_flight = 0;
            status.in_flight_bytes = 0;
        });
        let is_useful = self.status.get().counts.done() > before || began.elapsed() > USEFUL_AFTER;
        if is_useful {
            self.backoff.reset();
        }
        match end {
            End::Asked => Turn::Stopped,
            End::Enough => {
                self.unreadable = 0;
                Turn::Again(Duration::ZERO)
            }
            // Something before it was done with in a session that was useful, so it is not the first yet.
            End::Lost(SessionError::BadFrame { fault, .. })
                if self.unreadable + 1 >= UNREADABLE_MAX && !is_useful =>
            {
                self.give_up(&fault, stop).await
            }
            End::Lost(error) => {
                if let SessionError::BadFrame { .. } = error {
                    self.unreadable += 1;
                }
                self.fail(causes(&error))
            }
            End::Held(reason) => self.fail(reason),
        }
    }

    /// After bytes that were no frame, the broker sends one message at a time. So everything before them is
    /// done with when they come, and what they belong to is the first message at the broker.
    async fn connect(&mut self, is_careful: bool) -> Result<Session, SessionError> {
        let urls = &self.plan.broker.urls;
        let endpoint = &urls[self.next_endpoint % urls.len()];
        let mut queue = self.plan.queue.clone();
        if is_careful {
            queue.prefetch = 1;
        }
        let opened = Session::open(&self.io, &self.plan.broker, &queue, endpoint).await;
        if opened.is_err() {
            // Of an active and a standby broker only one listens.
            self.next_endpoint = (self.next_endpoint + 1) % urls.len();
        }
        opened
    }

    async fn work(&mut self, session: Session, stop: &mut Stop, until: Until) -> End {
        let endpoint = session.endpoint().to_owned();
        info!(queue = self.plan.name, endpoint, destination = self.plan.queue.destination, "subscribed");
        self.status.update(|status| {
            status.endpoint = Some(endpoint);
            status.sessions += 1;
            status.error = None;
        });
        let mut work = Work::new(session, &self.plan, &self.status, &self.lane, &mut self.attempts);
        let end = work.run(stop, until).await;
        if let End::Asked | End::Enough = end {
            let until = (*stop.borrow()).unwrap_or_else(|| Instant::now() + CLOSE_WITHIN);
            work.finish(until).await;
            if !work.close(CLOSE_WITHIN).await {
                warn!(
                    queue = self.plan.name,
                    "the broker did not confirm the end; it may deliver some messages again"
                );
            }
        }
        end
    }

    /// Notes a failure; an error that repeats is logged once.
    fn fail(&mut self, reason: String) -> Turn {
        let pause = self.backoff.pause();
        let is_new = self.status.get().error.is_none_or(|known| known.reason != reason);
        if is_new {
            warn!(queue = self.plan.name, error = reason, "no messages at the moment; trying again");
        }
        self.status.update(|status| {
            status.retries += 1;
            status.error = Some(Failure { at_ms: now_ms(), reason });
        });
        Turn::Again(pause)
    }

    /// Each attempt would end at the same bytes; an operator has to remove that message.
    async fn give_up(&mut self, fault: &BadFrame, stop: &mut Stop) -> Turn {
        let reason = format!(
            "the broker sent what is no STOMP frame, {UNREADABLE_MAX} times in a row ({fault}); a text with a NUL, \
             or a property called content-length, does that. Remove the first message of {} at the broker, and \
             start again",
            self.plan.queue.destination
        );
        error!(queue = self.plan.name, reason, "stopped");
        self.status.update(|status| {
            status.stopped = true;
            status.error = Some(Failure { at_ms: now_ms(), reason });
        });
        let _ = stop.wait_for(Option::is_some).await;
        Turn::Stopped
    }

    /// The end, in order: the next start need not look closely.
    pub fn end(self) {
        if let Err(error) = self.attempts.end() {
            warn!(queue = self.plan.name, %error, "cannot say that the bridge ended in order");
        }
        // Blocks until what is appended is synced.
        self.lane.close();
    }
}
