//! The actor that keeps the catalog in step with the registry.
//!
//! A thin shell: what to do with a change is in `Follower`. Losing the registry stops
//! the actor, and its supervisor starts it again; so connecting the first time and the
//! hundredth is the same code. A panic ends it for good: its catalog writer is dropped,
//! the catalog is no longer fresh, the lifeline tells the owner, which starts another.
//!
//! Programs to be read again wait in a queue: `refresh_queue_max`, with those in the mailbox.
//! When it is full, a [`ReadAgain`] is not sent, counted, and asked for again by a later hit on
//! that program. They are served last; see `turns` for why one future takes all the turns.

mod counters;
mod error;
mod follower;
mod keeper;
mod turns;

use std::{collections::VecDeque, time::Duration};

use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, Handler,
    Message, ResponseActFuture, Supervised, WrapFuture,
};
use supervise::{Lifeline, causes};
use tracing::{debug, warn};

use crate::catalog::Turn;
use crate::{Notice, Registry};

pub use error::FollowError;
use follower::Follower;
pub use keeper::{FillError, RefresherAddress, keep_refreshing};
use turns::Turns;

/// How often we compare with the registry, in case a notice was lost. With the time that the
/// comparison and the reading take, a lost notice is noticed within 5 s.
pub(crate) const COMPARE_EVERY: Duration = Duration::from_secs(3);
/// Pause before the second attempt to connect; doubles with each further one. The longest, with
/// what an attempt takes, bounds how stale a program is after the registry has come back: 5 s.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// From the catalog, when a hit found a program that has become old: once per program
/// and age, so 170 a second with 100,000 programs and ten minutes.
#[derive(Debug)]
pub struct ReadAgain {
    /// Which program's; given back when the message is dropped.
    pub turn: Turn,
}

impl Message for ReadAgain {
    type Result = ();
}

/// From the admin address, when somebody asks for it: load everything again. Answers
/// with the number of programs held.
#[derive(Clone, Copy, Debug)]
pub struct Fill;

impl Message for Fill {
    type Result = Result<u64, FollowError>;
}

/// Follows the registry, sole writer of the catalog.
pub(crate) struct Refresher<R> {
    /// Taken out while a future works with it; actix runs one at a time (`ctx.wait`).
    follower: Option<Follower<R>>,
    mailbox_max: usize,
    /// Attempts to connect since a connection was last useful.
    attempts: u32,
    /// To be read again. Their senders see to it that no more than `refresh_queue_max` wait here
    /// and in the mailbox.
    old: VecDeque<Turn>,
    /// There is a renewal under way; it ends with the connection.
    is_renewing: bool,
    _lifeline: Lifeline,
}

impl<R: Registry> Refresher<R> {
    /// Will follow once it is started.
    pub(crate) fn new(follower: Follower<R>, mailbox_max: usize, lifeline: Lifeline) -> Self {
        let (follower, old) = (Some(follower), VecDeque::new());
        Self { follower, mailbox_max, attempts: 0, old, is_renewing: false, _lifeline: lifeline }
    }

    /// Lets the follower work; messages wait meanwhile.
    fn work<T, F, W>(&mut self, task: W) -> impl ActorFuture<Self, Output = T> + use<T, R, F, W>
    where
        T: 'static,
        F: Future<Output = (Follower<R>, T)>,
        W: FnOnce(Follower<R>) -> F,
    {
        let follower = self.follower.take().expect("one future at a time has it, and puts it back");
        task(follower).into_actor(self).map(|(follower, done), refresher: &mut Self, _| {
            refresher.follower = Some(follower);
            done
        })
    }

    fn pause(&self) -> Duration {
        match self.attempts {
            0 => Duration::ZERO,
            attempts => {
                let most = PAUSE_MIN.saturating_mul(1 << (attempts - 1).min(10)).min(PAUSE_MAX);
                most.mul_f64(0.5 + fastrand::f64() / 2.0)
            }
        }
    }

    /// A connection that was of use is not held against the next one.
    fn go_on(&mut self, followed: Result<(), FollowError>, ctx: &mut Context<Self>) {
        if followed.is_ok() {
            self.attempts = 1;
        }
        stop_on_error(followed, ctx);
    }

    fn compare(&mut self, ctx: &mut Context<Self>) {
        self.work(|mut follower| async move {
            let compared = follower.compare().await;
            (follower, compared)
        })
        .map(|compared, refresher, ctx| {
            let is_in_step = compared.is_ok();
            refresher.go_on(compared, ctx);
            if is_in_step {
                refresher.renew(ctx);
            }
        })
        .wait(ctx);
    }

    /// Sees to it that nothing becomes too old that is right, beside everything else.
    fn renew(&mut self, ctx: &mut Context<Self>) {
        let follower = self.follower.as_mut().filter(|_| !self.is_renewing);
        let Some(renewal) = follower.and_then(Follower::renewal) else { return };
        self.is_renewing = true;
        let renewed = renewal.run().into_actor(self).map(|programs, refresher: &mut Self, _| {
            refresher.is_renewing = false;
            debug!(programs, "renewed what was not read again, as the registry has not changed");
        });
        ctx.spawn(renewed);
    }

    fn hear(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        self.work(|mut follower| async move {
            let heard = follower.hear(notice).await;
            (follower, heard)
        })
        .map(|heard, refresher, ctx| refresher.go_on(heard, ctx))
        .wait(ctx);
    }

    /// Reads the program again that waits longest for it, if there is one.
    fn read_next(&mut self, ctx: &mut Context<Self>) {
        let Some(turn) = self.old.pop_front() else { return };
        self.work(|mut follower| async move {
            follower.read_again(turn.id()).await;
            drop(turn);
            (follower, ())
        })
        .wait(ctx);
    }
}

/// Ends the connection; the supervisor begins a new one.
fn stop_on_error<R: Registry>(followed: Result<(), FollowError>, ctx: &mut Context<Refresher<R>>) {
    if let Err(error) = followed {
        warn!(error = causes(&error), "no longer following program changes");
        ctx.stop();
    }
}

impl<R: Registry> Actor for Refresher<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.mailbox_max);
        self.is_renewing = false;
        let pause = self.pause();
        self.attempts = self.attempts.saturating_add(1);
        self.work(move |mut follower| async move {
            tokio::time::sleep(pause).await;
            let connected = follower.connect().await;
            (follower, connected)
        })
        .map(|connected, _, ctx| match connected {
            Ok(subscription) => {
                ctx.spawn(Turns::new(subscription, COMPARE_EVERY));
            }
            Err(error) => stop_on_error(Err(error), ctx),
        })
        .wait(ctx);
    }
}

impl<R: Registry> Supervised for Refresher<R> {
    fn restarting(&mut self, _: &mut Self::Context) {
        if let Some(follower) = &self.follower {
            follower.catalog().set_fresh(false);
            follower.count_lost();
        }
    }
}

/// It waits until there is nothing else to do.
impl<R: Registry> Handler<ReadAgain> for Refresher<R> {
    type Result = ();

    fn handle(&mut self, message: ReadAgain, _: &mut Self::Context) {
        self.old.push_back(message.turn);
    }
}

impl<R: Registry> Handler<Fill> for Refresher<R> {
    type Result = actix::AtomicResponse<Self, Result<u64, FollowError>>;

    fn handle(&mut self, _: Fill, _: &mut Self::Context) -> Self::Result {
        let filled: ResponseActFuture<Self, _> = Box::pin(self.work(|mut follower| async move {
            let filled = follower.reload().await;
            (follower, filled)
        }));
        actix::AtomicResponse::new(filled)
    }
}

#[cfg(test)]
mod tests;
