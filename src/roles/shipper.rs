//! The shipper as a part of the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::{counter, gauge};
use serde_json::{Value as Json, json};
use stream::{Checked, Destination, Log, RunningShipper, ShipperStatusHandle, Trouble};
use supervise::now_ms;
use tracing::{error, warn};

use crate::admin::metrics::{flag, seconds, set_reader_lag};
use crate::cursors;
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage};
use crate::shipping::{destination, letters};

/// A running shipper.
pub struct ShipperPart {
    running: RunningShipper,
    report: ShipperReport,
}

impl ShipperPart {
    /// Starts it on the log of `owner`, inside an actix system.
    ///
    /// # Errors
    /// The log cannot be opened; or its streams would take nothing, and never did.
    pub async fn start(owner: &Arc<Owner>) -> Result<Self, Failure> {
        let log = owner.log().await.map_err(failed("cannot start the shipper"))?;
        let destination = destination(owner).await.map_err(failed("cannot start the shipper"))?;
        let status = ShipperStatusHandle::new();
        look_at(&destination, log, &status).await?;
        let letters = letters(owner);
        let running = RunningShipper::start(&destination, log, cursors::SHIPPER, letters, &status);
        let running = running.map_err(failed("cannot start the shipper"))?;
        let report = ShipperReport { status, log: log.clone(), started_at_ms: owner.started_at_ms };
        Ok(Self { running, report })
    }
}

/// Refuses to start what would ship nothing. But a directory that has shipped before always starts:
/// its hits are taken, and wait in the log.
async fn look_at(destination: &Destination, log: &Log, status: &ShipperStatusHandle) -> Result<(), Failure> {
    match destination.check().await {
        Checked::Fit => {}
        Checked::NoAnswer(reason) => {
            warn!(reason, "nothing is heard of the stream; events wait in the log until it takes them");
        }
        Checked::Unfit(trouble) if log.was_read(cursors::SHIPPER) => stall(status, &trouble),
        Checked::Unfit(trouble) => {
            return Err(Failure::Failed(format!("cannot ship events: {trouble}")));
        }
    }
    Ok(())
}

fn stall(status: &ShipperStatusHandle, trouble: &Trouble) {
    error!(reason = %trouble, "the shipper is stalled; hits are taken, and wait in the log");
    status.update(|status| status.stalled_by(trouble, now_ms()));
}

impl Part for ShipperPart {
    fn name(&self) -> &'static str {
        "the shipper"
    }

    fn stage(&self) -> Stage {
        Stage::CatchUp
    }

    fn report(&self) -> Option<Box<dyn Report>> {
        Some(Box::new(self.report.clone()))
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        let status = self.report.status.clone();
        let died = self.running.died().map(move |()| match status.get().error {
            Some(error) => error.reason,
            None => "it panicked".to_owned(),
        });
        died.boxed_local()
    }

    /// What it leaves is in the log and is counted there.
    fn drain(self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        self.running.drain(limits.grace).map(|_to_the_end| Ok(())).boxed_local()
    }
}

#[derive(Clone)]
struct ShipperReport {
    status: ShipperStatusHandle,
    log: Log,
    started_at_ms: u64,
}

impl Report for ShipperReport {
    fn key(&self) -> &'static str {
        "shipper"
    }

    fn status(&self) -> Json {
        json!(self.status.get())
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        self.set_metrics();
        std::future::ready(()).boxed_local()
    }
}

impl ShipperReport {
    fn set_metrics(&self) {
        let status = self.status.get();
        let cursor = self.log.cursors().into_iter().find(|cursor| cursor.name == cursors::SHIPPER);
        let lag = cursor.map_or(0, |cursor| cursor.lag);
        set_reader_lag(cursors::SHIPPER, lag, status.acknowledged_until_ms, self.started_at_ms);
        counter!("clickgate_shipper_acknowledged_total").absolute(status.acknowledged);
        counter!("clickgate_shipper_dead_letters_total").absolute(status.dead_letters);
        counter!("clickgate_shipper_kinesis_records_total").absolute(status.kinesis_records);
        counter!("clickgate_shipper_bytes_total").absolute(status.bytes);
        counter!("clickgate_shipper_payload_units_total").absolute(status.payload_units);
        counter!("clickgate_shipper_requests_total", "outcome" => "answered").absolute(status.requests);
        counter!("clickgate_shipper_requests_total", "outcome" => "failed").absolute(status.requests_failed);
        counter!("clickgate_shipper_outcome_unknown_total").absolute(status.outcome_unknown);
        each("clickgate_shipper_retries_total", "cause", "throttled", status.retries);
        each("clickgate_shipper_throttled_total", "shard", "unknown", status.throttled);
        gauge!("clickgate_shipper_requests_in_flight").set(status.requests_in_flight as f64);
        gauge!("clickgate_shipper_bytes_in_flight").set(status.bytes_in_flight as f64);
        gauge!("clickgate_shipper_bytes_held_back").set(status.bytes_held_back as f64);
        let oldest_ms = match status.oldest_received_at_ms {
            0 => 0,
            received_at_ms => now_ms().saturating_sub(received_at_ms),
        };
        gauge!("clickgate_shipper_oldest_unshipped_seconds").set(seconds(oldest_ms));
        gauge!("clickgate_shipper_failing").set(flag(status.error.is_some()));
        gauge!("clickgate_shipper_stalled").set(flag(status.stalled));
    }
}

/// A counter per name; that of `first` is there from the start, so that its rate is right.
fn each(metric: &'static str, label: &'static str, first: &str, mut counts: BTreeMap<String, u64>) {
    counts.entry(first.to_owned()).or_default();
    for (name, count) in counts {
        counter!(metric, label => name).absolute(count);
    }
}
