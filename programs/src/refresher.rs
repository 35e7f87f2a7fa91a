//! The actor that keeps the catalog in step with the registry.
//!
//! A thin shell: what to do with a change is in `Follower`. Losing the registry stops
//! the actor, and its supervisor starts it again; so connecting the first time and the
//! hundredth is the same code. A panic ends it for good: its catalog writer is dropped,
//! the catalog is no longer in step, and the owner sees its lifeline end and starts another.
//!
//! Its mailbox takes `Fill` only, `MAILBOX_MAX` of them; the next sender waits. Notices of the
//! registry do not go through the mailbox; see `follow_loop`.

mod counters;
mod error;
mod follow_loop;
mod follower;
mod keeper;

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, Handler,
    Message, ResponseActFuture, Supervised, WrapFuture,
};
use supervise::{Backoff, Lifeline, causes};
use tracing::warn;

use crate::{Notice, Registry};

pub use error::FollowError;
use follow_loop::{FollowLoop, Step};
use follower::Follower;
pub use keeper::{FillError, RefresherAddress, keep_refreshing};

/// How often we compare with the registry, in case a notice was lost. Together with the time for
/// comparing and reading, a lost notice is made up for within 5 s.
const COMPARE_EVERY: Duration = Duration::from_secs(3);

/// Longest pause between two attempts to connect. Together with the time for an attempt, it bounds
/// how stale a program is after the registry has come back: 5 s.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Full loads that may be waiting; the next sender waits. They run one after the other, a second
/// each, so a few are plenty.
const MAILBOX_MAX: usize = 16;

/// From the admin address, on an operator's request: load everything again. Answers with the
/// number of programs held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill;

impl Message for Fill {
    type Result = Result<u64, FollowError>;
}

/// Follows the registry, sole writer of the catalog.
pub(crate) struct Refresher<R> {
    /// `None` while a future uses it; actix runs one at a time (`ctx.wait`).
    follower: Option<Follower<R>>,
    backoff: Backoff,
    /// Before the next attempt to connect; zero before the first one.
    pause: Duration,
    _lifeline: Lifeline,
}

impl<R: Registry> Refresher<R> {
    /// An actor that follows once it is started.
    pub(crate) fn new(follower: Follower<R>, lifeline: Lifeline) -> Self {
        Self {
            follower: Some(follower),
            backoff: Backoff::new(PAUSE_MAX),
            pause: Duration::ZERO,
            _lifeline: lifeline,
        }
    }

    /// Runs `task` with the follower; messages wait meanwhile.
    fn run<T, F, W>(&mut self, task: W) -> impl ActorFuture<Self, Output = T> + use<T, R, F, W>
    where
        T: 'static,
        F: Future<Output = (Follower<R>, T)>,
        W: FnOnce(Follower<R>) -> F,
    {
        let follower = self.follower.take().expect("one future at a time takes it and puts it back");
        task(follower).into_actor(self).map(|(follower, done), refresher: &mut Self, _| {
            refresher.follower = Some(follower);
            done
        })
    }

    /// Continues after a step, or ends the connection if it failed.
    fn finish_step(&mut self, followed: Result<(), FollowError>, ctx: &mut Context<Self>) {
        // Not when connecting succeeded: a registry that accepts connections and drops them would be
        // hammered.
        if followed.is_ok() {
            self.backoff.reset();
        }
        stop_on_error(followed, ctx);
    }

    fn compare(&mut self, ctx: &mut Context<Self>) {
        self.run(|mut follower| async move {
            let compared = follower.compare().await;
            (follower, compared)
        })
        .map(|compared, refresher, ctx| refresher.finish_step(compared, ctx))
        .wait(ctx);
    }

    fn handle_notice(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        self.run(|mut follower| async move {
            let handled = follower.handle_notice(notice).await;
            (follower, handled)
        })
        .map(|handled, refresher, ctx| refresher.finish_step(handled, ctx))
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
        // The pause is inside the future that the mailbox waits for, so that a `Fill` cannot bypass
        // it.
        self.run(move |mut follower| async move {
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

/// Follows over one connection; ends, and stops the actor, with its subscription.
impl<R: Registry> ActorFuture<Refresher<R>> for FollowLoop {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        refresher: &mut Refresher<R>,
        ctx: &mut Context<Refresher<R>>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // The follower is busy; actix polls again when that future has ended.
        if refresher.follower.is_none() {
            return Poll::Pending;
        }
        match self.poll_step(task) {
            Poll::Ready(Step::Compare) => refresher.compare(ctx),
            Poll::Ready(Step::Hear(notice)) => refresher.handle_notice(notice, ctx),
            Poll::Ready(Step::End) => {
                ctx.stop();
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        Poll::Pending
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
        let filled: ResponseActFuture<Self, _> = Box::pin(self.run(|mut follower| async move {
            let filled = follower.reload().await;
            (follower, filled)
        }));
        actix::AtomicResponse::new(filled)
    }
}

#[cfg(test)]
mod tests;
