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
use super::config::{Broker, Queue};
use super::session::{IoThread, Session, SessionError};
use super::sink::Sink;
use super::status::StatusHandle;
use super::work::{End, Work};

/// Appends under way, each of a batch of messages.
pub const APPENDS_MAX: usize = 8;
/// A session that lived so long, or acknowledged something, was useful.
const USEFUL_AFTER: Duration = Duration::from_secs(60);
/// How often the same unreadable frame is tried before the queue is stopped.
const UNREADABLE_MAX: u32 = 3;
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
        let acknowledged = self.status.get().counts.acknowledged;
        let opened = tokio::select! {
            opened = self.connect() => opened,
            _ = stop.wait_for(Option::is_some) => return self.stopped(),
        };
        let end = match opened {
            Ok(session) => self.work(session, stop, quiet).await,
            Err(error) => End::Lost(error),
        };
        self.status.update(|status| {
            status.endpoint = None;
            (status.in_flight, status.in_flight_bytes) = (0, 0);
        });
        let is_useful =
            self.status.get().counts.acknowledged > acknowledged || began.elapsed() > USEFUL_AFTER;
        if is_useful {
            self.backoff.reset();
        }
        match end {
            End::Asked => self.stopped(),
            End::Lost(SessionError::BadFrame { .. })
                if self.unreadable + 1 >= UNREADABLE_MAX && !is_useful =>
            {
                self.give_up(stop).await
            }
            End::Lost(error) => {
                self.unreadable = match error {
                    SessionError::BadFrame { .. } => self.unreadable + 1,
                    _ => 0,
                };
                self.fail(causes(&error))
            }
            End::Held(reason) => self.fail(reason),
        }
    }

    async fn connect(&mut self) -> Result<Session, SessionError> {
        let urls = &self.plan.broker.urls;
        let endpoint = &urls[self.next_endpoint % urls.len()];
        let opened = Session::open(&self.io, &self.plan.broker, &self.plan.queue, endpoint).await;
        if opened.is_err() {
            // Of an active and a standby broker only one listens.
            self.next_endpoint = (self.next_endpoint + 1) % urls.len();
        }
        opened
    }

    async fn work(&mut self, session: Session, stop: &mut Stop, quiet: Option<Duration>) -> End {
        let endpoint = session.endpoint().to_owned();
        info!(queue = self.plan.name, endpoint, destination = self.plan.queue.destination, "subscribed");
        self.status.update(|status| {
            status.endpoint = Some(endpoint);
            status.sessions += 1;
            status.error = None;
        });
        let mut work = Work::new(session, &self.plan, &self.status, &self.lane, &mut self.attempts);
        let end = work.run(stop, quiet).await;
        if let End::Asked = end {
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
    async fn give_up(&mut self, stop: &mut Stop) -> Turn {
        let reason = format!(
            "the broker sent what is no STOMP frame, {UNREADABLE_MAX} times in a row; a text with a NUL does that. \
             Remove the first message of {} at the broker, and start again",
            self.plan.queue.destination
        );
        error!(queue = self.plan.name, reason, "stopped");
        self.status.update(|status| {
            status.stopped = true;
            status.error = Some(Failure { at_ms: now_ms(), reason });
        });
        let _ = stop.wait_for(Option::is_some).await;
        self.stopped()
    }

    fn stopped(&mut self) -> Turn {
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
