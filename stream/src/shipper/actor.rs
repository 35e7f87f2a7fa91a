//! The actor around the shipper, on a thread of its own.
//!
//! A thin shell: one turn at a time (`ctx.wait`), and between two turns a message. It is not
//! started again when it dies: what it had under way is unknown then, and a start of the process
//! recovers that from the log. Its lifeline tells the owner.
//!
//! Mailbox: 4. Only [`Drain`] is ever sent, once.

use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, AtomicResponse, Context, ContextFutureSpawner,
    Handler, Message, WrapFuture,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use supervise::{ArbiterOwner, Lifeline, causes, lifeline};
use tokio::time::Instant;

use super::work::{Letters, Shipper};
use super::{Destination, ShipError, ShipperStatusHandle};
use crate::log::Log;
use crate::source::SourceError;

const MAILBOX_MAX: usize = 4;

/// From the owner, once, when the process stops: ship what is left until the deadline, and stop.
/// Answers whether everything was shipped.
#[derive(Clone, Copy, Debug)]
struct Drain {
    until: Instant,
}

impl Message for Drain {
    type Result = Result<bool, SourceError>;
}

struct ShipperActor<L> {
    /// `None` while a future uses it; actix runs one at a time (`ctx.wait`).
    shipper: Option<Shipper<L>>,
    _lifeline: Lifeline,
}

impl<L: Letters + Unpin> ShipperActor<L> {
    fn start_turn(&mut self, ctx: &mut Context<Self>) {
        // actix polls timers once more after a message called `ctx.wait`, so this may be called
        // while a drain has the shipper. The actor ends with the drain; no further turn is due.
        let Some(mut shipper) = self.shipper.take() else { return };
        async move {
            let turned = shipper.turn().await;
            (shipper, turned)
        }
        .into_actor(self)
        .map(|(shipper, turned), actor, ctx| match turned {
            Ok(()) => {
                actor.shipper = Some(shipper);
                ctx.run_later(Duration::ZERO, Self::start_turn);
            }
            Err(error) => {
                shipper.give_up(&causes(&error));
                ctx.stop();
            }
        })
        .wait(ctx);
    }
}

impl<L: Letters + Unpin> Actor for ShipperActor<L> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        self.start_turn(ctx);
    }
}

impl<L: Letters + Unpin> Handler<Drain> for ShipperActor<L> {
    type Result = AtomicResponse<Self, Result<bool, SourceError>>;

    fn handle(&mut self, Drain { until }: Drain, _: &mut Self::Context) -> Self::Result {
        let mut shipper = self.shipper.take().expect("a turn that waits is over before a message comes");
        let drained = async move {
            let drained = shipper.drain(until).await;
            (shipper, drained)
        };
        AtomicResponse::new(Box::pin(drained.into_actor(self).map(|(shipper, drained), actor, ctx| {
            actor.shipper = Some(shipper);
            ctx.stop();
            drained
        })))
    }
}

/// A shipper at work. Dropping it ends it where it is.
pub struct RunningShipper {
    drain: Box<dyn Fn(Instant) -> BoxFuture<'static, bool> + Send>,
    died: Shared<BoxFuture<'static, ()>>,
    _arbiter: ArbiterOwner,
}

impl RunningShipper {
    /// Starts to ship `log` with the cursor `cursor`. To be called inside an actix system.
    ///
    /// # Errors
    /// The cursor is not declared, or has a reader.
    pub fn start<L: Letters + Unpin>(
        destination: &Destination,
        log: &Log,
        cursor: &str,
        letters: L,
        status: &ShipperStatusHandle,
    ) -> Result<Self, ShipError> {
        let shipper = destination.shipper(log, cursor, letters, status)?;
        let arbiter = ArbiterOwner::start();
        let (lifeline, snapped) = lifeline();
        let actor: Addr<_> = ShipperActor::start_in_arbiter(&arbiter.handle(), move |_| ShipperActor {
            shipper: Some(shipper),
            _lifeline: lifeline,
        });
        let drain = move |until| {
            let asked = actor.send(Drain { until });
            // A turn that hangs keeps the message waiting past the deadline.
            let patience = until + Duration::from_secs(1);
            async move {
                let drained = tokio::time::timeout_at(patience, asked).await;
                matches!(drained, Ok(Ok(Ok(true))))
            }
            .boxed()
        };
        Ok(Self { drain: Box::new(drain), died: snapped.boxed().shared(), _arbiter: arbiter })
    }

    /// Completes once it is gone, asked or not.
    pub async fn died(&self) {
        self.died.clone().await;
    }

    /// Ships what is left within `grace`; returns whether that was everything.
    pub async fn drain(self, grace: Duration) -> bool {
        (self.drain)(Instant::now() + grace).await
    }
}
