//! The tracker as a part of the process.

use std::sync::Arc;

use actix_rt::task::JoinHandle;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::gauge;
use serde_json::{Value as Json, json};
use supervise::{causes, now_ms};
use tracing::{error, info};
use tracker::{RunError, Tracker, TrackerAdmin, TrackerHandle};

use crate::admin::metrics::{flag, seconds};
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage, reason};
use crate::registry::AnyRegistry;

/// A tracker with its address taken; it serves once it was told to begin.
pub struct TrackerPart {
    bound: Option<Tracker<AnyRegistry>>,
    task: Option<JoinHandle<Result<(), RunError>>>,
    handle: TrackerHandle,
    admin: TrackerAdmin,
}

impl TrackerPart {
    /// Takes the address, on the log and the registry of `owner`, which knows it from now on.
    ///
    /// # Errors
    /// The log or the registry cannot be opened; the address cannot be taken.
    pub async fn bind(owner: &Owner) -> Result<Self, Failure> {
        let log = owner.log().await.map_err(failed("cannot start"))?.clone();
        let registry = owner.registry().await.map_err(failed("cannot start"))?;
        let bound = Tracker::bind(owner.tracker_config(), log, Arc::clone(registry));
        let bound = bound.map_err(failed("cannot start the tracker"))?;
        owner.set_tracker(bound.admin());
        Ok(Self { handle: bound.handle(), admin: bound.admin(), bound: Some(bound), task: None })
    }
}

impl Part for TrackerPart {
    fn name(&self) -> &'static str {
        "the tracker"
    }

    fn stage(&self) -> Stage {
        Stage::Intake
    }

    fn report(&self) -> Option<Box<dyn Report>> {
        Some(Box::new(TrackerReport(self.admin.clone())))
    }

    fn begin(&mut self) {
        self.task = self.bound.take().map(|tracker| actix_rt::spawn(tracker.run()));
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        match &mut self.task {
            Some(task) => task.map(reason).boxed_local(),
            None => std::future::pending().boxed_local(),
        }
    }

    fn drain(self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        let stopping = async move {
            let Some(task) = self.task else { return Ok(()) };
            self.handle.drain();
            if let Some(linger) = limits.linger {
                info!(linger_ms = linger.as_millis(), "draining: not ready from now on");
                tokio::time::sleep(linger).await;
            }
            self.handle.stop();
            match task.await {
                Ok(Ok(())) => info!("the tracker has answered its last hit"),
                Ok(Err(error)) => error!(error = causes(&error), "the tracker did not stop cleanly"),
                Err(error) => error!(%error, "the tracker panicked while it stopped"),
            }
            Ok(())
        };
        stopping.boxed_local()
    }
}

struct TrackerReport(TrackerAdmin);

impl Report for TrackerReport {
    fn key(&self) -> &'static str {
        "tracker"
    }

    fn status(&self) -> Json {
        json!(self.0.health())
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        measure(&self.0).boxed_local()
    }
}

async fn measure(tracker: &TrackerAdmin) {
    let catalog = tracker.catalog().await;
    gauge!("clickgate_ready").set(flag(tracker.health().ready));
    gauge!("clickgate_catalog_entries").set(catalog.entries as f64);
    gauge!("clickgate_catalog_unknown_entries").set(catalog.unknown_entries as f64);
    gauge!("clickgate_catalog_loads").set(catalog.loads as f64);
    if catalog.in_step_at_ms > 0 {
        let age_ms = now_ms().saturating_sub(catalog.in_step_at_ms);
        gauge!("clickgate_catalog_age_seconds").set(seconds(age_ms));
    }
    let snapshot = tracker.snapshot_in_step_at_ms();
    let age_seconds = snapshot.map_or(f64::NAN, |at_ms| seconds(now_ms().saturating_sub(at_ms)));
    gauge!("clickgate_snapshot_age_seconds").set(age_seconds);
}
