//! Putting messages aside, a transaction at a time beside the other work: into the quarantine, or, where
//! the broker forbids that, into the local dead letters.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use supervise::causes;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::aside::{Aside, Next, Poison};
use super::super::frame::{Command, Frame};
use super::super::identity;
use super::super::letter::letter;
use super::super::session::SessionError;
use super::super::status::Status;
use super::poison_queue::{POISON_BYTES_MAX, PoisonQueue};
use super::{End, Work, held};
use crate::programs::LettersError;

/// Longest time for one transaction.
pub const ASIDE_WITHIN: Duration = Duration::from_secs(30);

/// A message, and whether its dead letter was kept.
pub type Buried = (Poison, Result<u64, LettersError>);

/// What is on its way out of the queue without becoming an event.
#[derive(Default)]
pub struct Quarantine {
    pub waiting: PoisonQueue,
    /// Of all that is on its way.
    pub bytes: usize,
    /// The transaction under way, and when it is late.
    pub aside: Option<(Aside, Instant)>,
    pub burying: Option<LocalBoxFuture<'static, Buried>>,
}

impl Quarantine {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.aside.is_none() && self.burying.is_none()
    }

    /// While frames are not read, no receipt can come, and nothing is late.
    pub fn give_time(&mut self) {
        if let Some((_, due)) = &mut self.aside {
            *due = Instant::now() + ASIDE_WITHIN;
        }
    }
}

impl Work<'_> {
    pub(super) fn set_aside(&mut self, mut poison: Poison) {
        if self.quarantine.bytes > POISON_BYTES_MAX {
            self.left = Some("a lot of messages cannot be read; going on with the next of them".to_owned());
            return;
        }
        let Poison { message, reason } = &poison;
        let id = message.header("message-id").unwrap_or_default();
        // The first of a kind is news; thousands of them would hide everything else.
        match self.status.get().aside_by_reason.contains_key(reason.name()) || !self.quarantine.is_empty() {
            false => warn!(queue = self.plan.name, message_id = id, %reason, "a message is put aside"),
            true => debug!(queue = self.plan.name, message_id = id, %reason, "a message is put aside"),
        }
        // A slice would keep alive all that was read with it.
        poison.message.body = Bytes::copy_from_slice(&poison.message.body);
        self.quarantine.bytes += poison.bytes();
        self.in_flight += 1;
        self.quarantine.waiting.push(poison);
    }

    /// Begins with the next messages to be put aside, if none are under way.
    pub(super) async fn put_next_aside(&mut self) -> Result<(), End> {
        if self.quarantine.aside.is_some() || self.quarantine.burying.is_some() {
            return Ok(());
        }
        let group = self.quarantine.waiting.next_group();
        if group.is_empty() {
            return Ok(());
        }
        let broker = &self.plan.broker;
        let queue = &self.plan.queue;
        let (aside, frames) = Aside::begin(group, broker, queue, || self.session.new_receipt());
        self.quarantine.aside = Some((aside, Instant::now() + ASIDE_WITHIN));
        self.session.send(&frames).await.map_err(End::Lost)
    }

    /// A RECEIPT, or an ERROR with one's id, came.
    pub(super) async fn answered(&mut self, frame: &Frame) -> Result<(), End> {
        let Some((aside, due)) = self.quarantine.aside.take() else { return Ok(()) };
        let receipt = self.session.new_receipt();
        let frames = match aside.answered(frame, || receipt) {
            Next::Wait(aside) => {
                self.quarantine.aside = Some((aside, due));
                Vec::new()
            }
            Next::Send(aside, frames) => {
                self.quarantine.aside = Some((aside, due));
                frames
            }
            Next::Done(poisons, frames) => {
                for poison in poisons {
                    self.done(&poison, |status| status.counts.quarantined += 1)?;
                }
                frames
            }
            Next::Refused(mut poisons, why, frames) => {
                if poisons.len() > 1 {
                    // That one, or all: each alone will show.
                    self.quarantine.waiting.put_back(poisons);
                } else if let Some(poison) = poisons.pop() {
                    self.bury(poison, &why);
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
        let keeping = (self.plan.sink.letters)(vec![letter(&self.plan.queue, &poison)]);
        self.quarantine.burying = Some(keeping.map(|kept| (poison, kept)).boxed_local());
    }

    pub(super) async fn buried(&mut self, (poison, kept): Buried) -> Result<(), End> {
        self.quarantine.burying = None;
        match kept {
            Ok(_discarded) => {
                let ack = Frame::new(Command::Ack, &[("id", poison.ack())]);
                self.session.send(&[ack]).await.map_err(End::Lost)?;
                self.done(&poison, |status| status.counts.dead += 1)
            }
            Err(error) => {
                // It stays at the broker; the others go on.
                self.in_flight -= 1;
                self.quarantine.bytes -= poison.bytes();
                self.left = Some(format!("the dead letters cannot be kept: {}", causes(&*error)));
                Ok(())
            }
        }
    }

    fn done(&mut self, poison: &Poison, count: impl FnOnce(&mut Status)) -> Result<(), End> {
        self.in_flight -= 1;
        self.quarantine.bytes -= poison.bytes();
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
}
