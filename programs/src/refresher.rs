//! The actor that keeps the catalog in step with the registry.
//!
//! A thin shell: what to do with a change is in `Follower`. Losing the registry stops
//! the actor, and its supervisor starts it again; so connecting the first time and the
//! hundredth is the same code. A panic ends it for good: its catalog writer is dropped,
//! the catalog is no longer in step, the lifeline tells the owner, which starts another.
//!
//! Its mailbox takes `Fill` only, `MAILBOX_MAX` of them; whoever sends one more waits. What
//! the registry says does not come through the mailbox; see `follow_loop`.

mod counters;
mod error;
mod follow_loop;
mod follower;
mod keeper;

use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, Handler,
    Message, ResponseActFuture, Supervised, WrapFuture,
};
use supervise::{Backoff, Lifeline, causes};
use tracing::warn;

use crate::{Notice, Registry};

pub use error::FollowError;
use follow_loop::FollowLoop;
use follower::Follower;
pub use keeper::{FillError, RefresherAddress, keep_refreshing};

/// How often we compare with the registry, in case a notice was lost. With the time that the
/// comparison and the reading take, a lost notice is noticed within 5 s.
const COMPARE_EVERY: Duration = Duration::from_secs(3);

/// Longest pause between two attempts to connect. With what an attempt takes, it bounds how stale
/// a program is after the registry has come back: 5 s.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Operators that may ask for a full load at once; the next one waits. One after the other is
/// served, and a load takes a second, so a few are plenty.
const MAILBOX_MAX: usize = 16;

/// From the admin address, when somebody asks for it: load everything again. Answers
/// with the number of programs held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill;

impl Message for Fill {
    type Result = Result<u64, FollowError>;
}

/// Follows the registry, sole writer of the catalog.
pub(crate) struct Refresher<R> {
    /// Taken out while a future works with it; actix runs one at a time (`ctx.wait`).
    follower: Option<Follower<R>>,
    backoff: Backoff,
    /// Before the next attempt to connect; none before the first one.
    pause: Duration,
    _lifeline: Lifeline,
}

impl<R: Registry> Refresher<R> {
    /// Will follow once it is started.
    pub(crate) fn new(follower: Follower<R>, lifeline: Lifeline) -> Self {
        Self {
            follower: Some(follower),
            backoff: Backoff::new(PAUSE_MAX),
            pause: Duration::ZERO,
            _lifeline: lifeline,
        }
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

    /// Goes on after a piece of work, or ends the connection if that failed.
    fn go_on(&mut self, followed: Result<(), FollowError>, ctx: &mut Context<Self>) {
        // Only now, not when connecting succeeded: a registry that takes connections and drops
        // them would be hammered.
        if followed.is_ok() {
            self.backoff.reset();
        }
        stop_on_error(followed, ctx);
    }

    fn compare(&mut self, ctx: &mut Context<Self>) {
        self.work(|mut follower| async move {
            let compared = follower.compare().await;
            (follower, compared)
        })
        .map(|compared, refresher, ctx| refresher.go_on(compared, ctx))
        .wait(ctx);
    }

    fn hear(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        self.work(|mut follower| async move {
            let heard = follower.hear(notice).await;
            (follower, heard)
        })
        .map(|heard, refresher, ctx| refresher.go_on(heard, ctx))
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
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        let pause = self.pause;
        // The pause is inside the work that the mailbox waits for, so that a `Fill` does not get
        // around it.
        self.work(move |mut follower| async move {
            tokio::time::sleep(pause).await;
            let connected = follower.connect().await;
            (follower, connected)
        })
        .map(|connected, _, ctx| match connected {
            Ok(subscription) => {
                ctx.spawn(FollowLoop::new(subscription, COMPARE_EVERY));
            }
            Err(error) => stop_on_error(Err(error), ctx),
        })
        .wait(ctx);
    }
}

impl<R: Registry> Supervised for Refresher<R> {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.pause = self.backoff.pause();
        if let Some(follower) = &self.follower {
            follower.stop_following();
        }
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
