//! The actor around a [`Bridge`], and its keeper.
//!
//! A thin shell: one turn at a time (`ctx.wait`), and between two turns a message. A panic
//! ends it for good; its lifeline ends, and the keeper starts another one, at the last
//! commit, after a pause that grows. The tracker is not affected: pixels are served with
//! the programs that it holds.
//!
//! Mailbox: 4. Only [`Drain`] is ever sent, once.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, ContextFutureSpawner,
    Handler, Message, WrapFuture,
};
use programs::Registry;
use proto::DeadLetter;
use stream::Source;
use supervise::{ArbiterOwner, Backoff, Lifeline, causes, lifeline};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use super::bridge::{Bridge, LettersError};
use super::config::Config;
use super::status::StatusHandle;

const MAILBOX_MAX: usize = 4;
/// Longest pause before a bridge that died is replaced.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// From the keeper, once, when the process stops: drain the source until the deadline, and stop.
/// Answers whether the source was drained.
#[derive(Clone, Copy, Debug)]
struct Drain {
    until: Instant,
}

impl Message for Drain {
    type Result = bool;
}

struct BridgeActor<S, R, L> {
    /// `None` while a future uses it; actix runs one at a time (`ctx.wait`).
    bridge: Option<Bridge<S, R, L>>,
    _lifeline: Lifeline,
}

impl<S, R, L> BridgeActor<S, R, L>
where
    S: Source + Unpin + 'static,
    R: Registry,
    L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + Unpin + 'static,
{
    fn start_turn(&mut self, ctx: &mut Context<Self>) {
        // actix polls timers once more after a message called `ctx.wait`, so this may be called
        // while a drain has the bridge. The actor ends with the drain; no further turn is due.
        let Some(mut bridge) = self.bridge.take() else { return };
        async move {
            let pause = bridge.turn_and_pause().await;
            (bridge, pause)
        }
        .into_actor(self)
        .map(|(bridge, pause), actor, ctx| {
            actor.bridge = Some(bridge);
            ctx.run_later(pause, Self::start_turn);
        })
        .wait(ctx);
    }
}

impl<S, R, L> Actor for BridgeActor<S, R, L>
where
    S: Source + Unpin + 'static,
    R: Registry,
    L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + Unpin + 'static,
{
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        self.start_turn(ctx);
    }
}

impl<S, R, L> Handler<Drain> for BridgeActor<S, R, L>
where
    S: Source + Unpin + 'static,
    R: Registry,
    L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + Unpin + 'static,
{
    type Result = AtomicResponse<Self, bool>;

    fn handle(&mut self, Drain { until }: Drain, _: &mut Self::Context) -> Self::Result {
        let mut bridge = self.bridge.take().expect("a turn that waits is over before a message comes");
        let drained = async move {
            let to_the_end = bridge.drain(until).await;
            (bridge, to_the_end)
        };
        AtomicResponse::new(Box::pin(drained.into_actor(self).map(|(bridge, to_the_end), actor, ctx| {
            actor.bridge = Some(bridge);
            ctx.stop();
            to_the_end
        })))
    }
}

/// The bridge that is currently running.
pub struct RunningBridge {
    stop: watch::Sender<Option<Instant>>,
    keeper: actix_rt::task::JoinHandle<bool>,
}

impl RunningBridge {
    /// Starts a bridge on a thread of its own, and another one whenever it dies. To be called
    /// inside an actix system.
    ///
    /// `open` opens the source at its last commit; it is called again after a death.
    pub fn start<S, R, L, E>(
        open: impl Fn() -> Result<S, E> + 'static,
        registry: Arc<R>,
        letters: L,
        config: Config,
        status: StatusHandle,
    ) -> Self
    where
        S: Source + Send + Unpin + 'static,
        R: Registry,
        L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + Clone + Send + Unpin + 'static,
        E: std::error::Error,
    {
        let (stop, stopped) = watch::channel(None);
        let keeper = actix_rt::spawn(async move {
            let mut backoff = Backoff::new(RESTART_PAUSE_MAX);
            loop {
                let before = status.get().counts;
                match open() {
                    Ok(source) => {
                        let letters = letters.clone();
                        let config = config.clone();
                        let bridge =
                            Bridge::new(source, Arc::clone(&registry), letters, config, status.clone());
                        if let Some(to_the_end) = keep_one(bridge, stopped.clone()).await {
                            return to_the_end;
                        }
                        error!("the program bridge died; starting another");
                    }
                    Err(error) => {
                        warn!(error = causes(&error), "the program bridge cannot open its log");
                    }
                }
                status.update(|status| status.restarts += 1);
                if status.get().counts != before {
                    backoff.reset();
                }
                let pause = backoff.pause();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop_requested(stopped.clone()) => return false,
                }
            }
        });
        Self { stop, keeper }
    }

    /// Drains the source within `grace`; returns whether it was drained.
    pub async fn drain(self, grace: Duration) -> bool {
        self.stop.send_replace(Some(Instant::now() + grace));
        self.keeper.await.unwrap_or(false)
    }
}

/// Runs one bridge until it dies (`None`) or has drained after a request to stop.
async fn keep_one<S, R, L>(
    bridge: Bridge<S, R, L>,
    mut stopped: watch::Receiver<Option<Instant>>,
) -> Option<bool>
where
    S: Source + Send + Unpin + 'static,
    R: Registry,
    L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + Send + Unpin + 'static,
{
    let arbiter = ArbiterOwner::start();
    let (lifeline, snapped) = lifeline();
    let actor = BridgeActor::start_in_arbiter(&arbiter.handle(), move |_| BridgeActor {
        bridge: Some(bridge),
        _lifeline: lifeline,
    });
    let until = tokio::select! {
        () = snapped => return None,
        until = stop_deadline(&mut stopped) => until,
    };
    // A turn with a hanging registry would keep the message waiting past the deadline.
    let patience = until + Duration::from_secs(1);
    let drained = tokio::time::timeout_at(patience, actor.send(Drain { until })).await;
    Some(matches!(drained, Ok(Ok(true))))
}

async fn stop_requested(mut stopped: watch::Receiver<Option<Instant>>) {
    stop_deadline(&mut stopped).await;
}

/// Waits for the request to stop; returns the deadline for draining, or now if the sender is gone.
async fn stop_deadline(stopped: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stopped.wait_for(Option::is_some).await {
        Ok(until) => until.unwrap_or_else(Instant::now),
        Err(_gone) => Instant::now(),
    }
}
