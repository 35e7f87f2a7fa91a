//! The bridges of the configured ActiveMQ queues as one part of the process.
//!
//! One that dies is started again, and the hits go on; so their end never ends the process.

use std::sync::Arc;
use std::time::Duration;

use bridges::activemq::{Bridge, Judge, Plan, RunningBridge, Status, StatusHandle, Target, Turn};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use metrics::{counter, gauge};
use programs::refresher::{RefresherAddress, keep_refreshing};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::shipper::ShipperPart;
use crate::admin::metrics::flag;
use crate::bridging;
use crate::cursors::EventSinks;
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage};

/// The bridges of all queues.
pub struct ActiveMqPart {
    bridges: Vec<RunningBridge>,
    report: ActiveMqReport,
}

impl ActiveMqPart {
    /// Starts one a queue on the files of `owner`, inside an actix system. A broker need not be there.
    ///
    /// # Errors
    /// The log or the registry cannot be opened.
    pub async fn start(owner: &Arc<Owner>) -> Result<Self, Failure> {
        let mut bridges = Vec::new();
        let mut statuses = Vec::new();
        for plan in plans(owner).await? {
            let status = status_of(&plan);
            statuses.push(status.clone());
            bridges.push(RunningBridge::start(plan, status));
        }
        Ok(Self { bridges, report: ActiveMqReport { statuses } })
    }
}

/// With the programs that the tracker of this process holds; without a tracker, with programs that follow the
/// registry.
async fn judge(owner: &Arc<Owner>) -> Result<Judge, Failure> {
    let judge = bridging::judge(owner).await.map_err(failed("cannot start the ActiveMQ bridge"))?;
    if owner.running_tracker().is_none() {
        let registry = owner.registry().await.map_err(failed("cannot start the ActiveMQ bridge"))?;
        let refreshing =
            keep_refreshing(judge.catalog.clone(), Arc::clone(registry), RefresherAddress::default());
        actix_rt::spawn(refreshing);
    }
    Ok(judge)
}

/// What each bridge has to do.
async fn plans(owner: &Arc<Owner>) -> Result<Vec<Plan>, Failure> {
    let settings = &owner.settings.bridge.activemq;
    let judges = settings.queues.values().any(|queue| queue.validate && queue.target == Target::Events);
    let judge = if judges { Some(judge(owner).await?) } else { None };
    let sink = bridging::sink(owner, judge).await.map_err(failed("cannot start the ActiveMQ bridge"))?;
    let plan = |(name, queue): (&String, &bridges::activemq::Queue)| Plan {
        name: name.clone(),
        broker: settings.brokers[&queue.broker].clone(),
        queue: queue.clone(),
        sink: sink.clone(),
        dir: owner.data.activemq(),
    };
    Ok(settings.queues.iter().map(plan).collect())
}

fn status_of(plan: &Plan) -> StatusHandle {
    let status = StatusHandle::new();
    status.update(|status| {
        status.queue.clone_from(&plan.name);
        status.broker.clone_from(&plan.queue.broker);
        status.destination.clone_from(&plan.queue.destination);
    });
    status
}

/// A queue counts as empty when so long nothing has come.
const QUIET: Duration = Duration::from_secs(2);

/// Reads every queue until it is empty, within `budget`, and ends: for a schedule. Returns what became of
/// the messages.
///
/// # Errors
/// A bridge cannot begin.
pub async fn poll(owner: &Arc<Owner>, budget: Duration) -> Result<Vec<Status>, Failure> {
    // At level stream a message is acknowledged once the stream has it.
    let shipper = match EventSinks::of(&owner.settings).stream {
        true => Some(Box::new(ShipperPart::start(owner).await?)),
        false => None,
    };
    let statuses = poll_queues(owner, budget).await?;
    if let Some(shipper) = shipper {
        let log = owner.log().await.map_err(failed("the log is gone"))?.clone();
        let closing = actix_rt::task::spawn_blocking(move || log.close());
        closing.await.map_err(failed("cannot close the log"))?;
        let grace = Duration::from_millis(owner.settings.drain.grace_ms);
        // What it leaves is in the log, for the next poll.
        let _ = shipper.drain(DrainLimits { linger: None, grace }).await;
    }
    Ok(statuses)
}

async fn poll_queues(owner: &Arc<Owner>, budget: Duration) -> Result<Vec<Status>, Failure> {
    let until = Instant::now() + budget;
    let (stop, stopped) = watch::channel(None);
    let mut polls = Vec::new();
    for plan in plans(owner).await? {
        let status = status_of(&plan);
        let mut bridge =
            Bridge::open(plan, status.clone()).map_err(failed("cannot start the ActiveMQ bridge"))?;
        let mut stopped = stopped.clone();
        polls.push(async move {
            while let Turn::Again(pause) = bridge.turn(&mut stopped, Some(QUIET)).await {
                tokio::time::sleep(pause).await;
            }
            bridge.end();
            status.get()
        });
    }
    let stopping = async {
        tokio::time::sleep_until(until).await;
        // What is in flight then has as long again as a broker may take to confirm the end.
        stop.send_replace(Some(until + Duration::from_secs(5)));
        std::future::pending().await
    };
    tokio::select! {
        statuses = join_all(polls) => Ok(statuses),
        () = stopping => unreachable!("it waits for ever"),
    }
}

impl Part for ActiveMqPart {
    fn name(&self) -> &'static str {
        "the ActiveMQ bridge"
    }

    fn stage(&self) -> Stage {
        Stage::Intake
    }

    fn report(&self) -> Option<Box<dyn Report>> {
        Some(Box::new(self.report.clone()))
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        std::future::pending().boxed_local()
    }

    /// What is not acknowledged stays at the broker.
    fn drain(self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        let drains = self.bridges.into_iter().map(move |bridge| bridge.drain(limits.grace));
        join_all(drains).map(|_| Ok(())).boxed_local()
    }
}

#[derive(Clone)]
struct ActiveMqReport {
    statuses: Vec<StatusHandle>,
}

impl Report for ActiveMqReport {
    fn key(&self) -> &'static str {
        "activemq"
    }

    fn status(&self) -> Json {
        json!(self.statuses.iter().map(StatusHandle::get).collect::<Vec<_>>())
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        self.statuses.iter().map(StatusHandle::get).for_each(|status| measure(&status));
        std::future::ready(()).boxed_local()
    }
}

fn measure(status: &Status) {
    let queue = status.queue.clone();
    let counts = status.counts;
    for (outcome, count) in [
        ("received", counts.received),
        ("redelivered", counts.redelivered),
        ("acknowledged", counts.acknowledged),
        ("quarantined", counts.quarantined),
        ("dead", counts.dead),
        ("ignored", counts.ignored),
    ] {
        counter!("clickgate_activemq_messages_total", "queue" => queue.clone(), "outcome" => outcome)
            .absolute(count);
    }
    for reason in bridges::activemq::Unmappable::NAMES {
        let count = status.aside_by_reason.get(reason).copied().unwrap_or_default();
        counter!("clickgate_activemq_aside_total", "queue" => queue.clone(), "reason" => reason)
            .absolute(count);
    }
    counter!("clickgate_activemq_sessions_total", "queue" => queue.clone()).absolute(status.sessions);
    gauge!("clickgate_activemq_connected", "queue" => queue.clone()).set(flag(status.endpoint.is_some()));
    gauge!("clickgate_activemq_stopped", "queue" => queue.clone()).set(flag(status.stopped));
    gauge!("clickgate_activemq_in_flight", "queue" => queue.clone()).set(status.in_flight as f64);
    gauge!("clickgate_activemq_in_flight_bytes", "queue" => queue.clone()).set(status.in_flight_bytes as f64);
    let bridge = format!("activemq:{queue}");
    counter!("clickgate_bridge_retries_total", "bridge" => bridge.clone()).absolute(status.retries);
    counter!("clickgate_bridge_restarts_total", "bridge" => bridge.clone()).absolute(status.restarts);
    gauge!("clickgate_bridge_failing", "bridge" => bridge).set(flag(status.error.is_some()));
}
