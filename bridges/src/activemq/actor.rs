//! The actor around a [`Bridge`], and its keeper.
//!
//! A thin shell: one session at a time (`ctx.wait`), and a pause between two. A panic ends it for good; its
//! lifeline ends, and the keeper starts another one after a pause that grows. The tracker is not
//! affected. Nothing is sent to the actor: it is told to stop by a watch, which also ends a session
//! that waits.

use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, WrapFuture};
use supervise::{ArbiterOwner, Backoff, Failure, Lifeline, causes, lifeline, now_ms};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{error, warn};

use super::bridge::{Bridge, OpenError, Plan, Stop, Turn};
use super::status::StatusHandle;

/// Longest pause before a bridge that died is replaced.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

struct BridgeActor {
    /// `None` while a future uses it; actix runs one at a time (`ctx.wait`).
    bridge: Option<Bridge>,
    stop: Stop,
    /// Told when it has ended in order.
    ended: Option<oneshot::Sender<()>>,
    _lifeline: Lifeline,
}

impl BridgeActor {
    fn start_turn(&mut self, ctx: &mut Context<Self>) {
        let Some(mut bridge) = self.bridge.take() else { return };
        let mut stop = self.stop.clone();
        async move {
            let mut turn = bridge.turn(&mut stop, None).await;
            if let Turn::Again(pause) = turn {
                // A request to stop ends the pause too.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.wait_for(Option::is_some) => turn = Turn::Stopped,
                }
            }
            (bridge, turn)
        }
        .into_actor(self)
        .map(|(bridge, turn), actor, ctx| match turn {
            Turn::Again(_) => {
                actor.bridge = Some(bridge);
                ctx.run_later(Duration::ZERO, Self::start_turn);
            }
            Turn::Stopped => {
                bridge.end();
                if let Some(ended) = actor.ended.take() {
                    let _ = ended.send(());
                }
                ctx.stop();
            }
        })
        .wait(ctx);
    }
}

impl Actor for BridgeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.start_turn(ctx);
    }
}

/// The bridge of a queue that is currently running.
pub struct RunningBridge {
    stop: watch::Sender<Option<Instant>>,
    keeper: actix_rt::task::JoinHandle<()>,
}

impl RunningBridge {
    /// Starts a bridge on a thread of its own, and another one whenever it dies. To be called inside an
    /// actix system.
    pub fn start(plan: Plan, status: StatusHandle) -> Self {
        let (stop, stopped) = watch::channel(None);
        let keeper = actix_rt::spawn(keep(plan, status, stopped));
        Self { stop, keeper }
    }

    /// Takes no more messages, acknowledges what reaches its level within `grace`, and ends.
    pub async fn drain(self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
        if let Err(error) = self.keeper.await {
            error!(%error, "the keeper of a bridge died");
        }
    }
}

async fn keep(plan: Plan, status: StatusHandle, mut stopped: Stop) {
    let mut backoff = Backoff::new(RESTART_PAUSE_MAX);
    loop {
        let before = status.get().counts;
        let opening = (plan.clone(), status.clone());
        // It waits for the disk, and nobody else here must.
        let opened = actix_rt::task::spawn_blocking(move || Bridge::open(opening.0, opening.1)).await;
        match opened {
            Ok(Ok(bridge)) => {
                if keep_one(bridge, stopped.clone()).await {
                    return;
                }
                if stopped.borrow().is_some() {
                    return;
                }
                error!(queue = plan.name, "the bridge died; starting another");
                note(&status, "it died and is started again".to_owned());
            }
            Ok(Err(error)) => could_not_open(&plan, &status, &error),
            Err(_panicked) => note(&status, "it died while it was opened".to_owned()),
        }
        status.update(|status| {
            status.restarts += 1;
            status.endpoint = None;
        });
        if status.get().counts != before {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            _ = stopped.wait_for(Option::is_some) => return,
        }
    }
}

fn could_not_open(plan: &Plan, status: &StatusHandle, error: &OpenError) {
    warn!(queue = plan.name, error = causes(error), "the bridge cannot begin");
    note(status, causes(error));
}

fn note(status: &StatusHandle, reason: String) {
    status.update(|status| status.error = Some(Failure { at_ms: now_ms(), reason }));
}

/// Runs one bridge until it has ended in order (`true`) or died.
async fn keep_one(bridge: Bridge, stop: Stop) -> bool {
    let arbiter = ArbiterOwner::start();
    let (lifeline, snapped) = lifeline();
    let (ending, ended) = oneshot::channel();
    let _actor = BridgeActor::start_in_arbiter(&arbiter.handle(), move |_| BridgeActor {
        bridge: Some(bridge),
        stop,
        ended: Some(ending),
        _lifeline: lifeline,
    });
    tokio::select! {
        biased;
        ended = ended => ended.is_ok(),
        () = snapped => false,
    }
}
