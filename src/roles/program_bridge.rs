//! The program bridge as a part of the process, with what it works on: the log `programs`, the
//! registry, the list of dead letters.
//!
//! When it dies it is started again, and the hits go on; so its end never ends the process.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bridges::programs::{LettersError, RunningBridge, StatusHandle};
use consumers::{Table, WhenFull};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::{counter, gauge};
use proto::DeadLetter;
use serde_json::{Value as Json, json};
use stream::{Log, WorkerControl, WorkerStatusHandle};

use crate::admin::metrics::{flag, set_reader_lag};
use crate::cursors;
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage};
use crate::reading;
use crate::roles::consumer::set_stream_metrics;

/// A running program bridge.
pub struct ProgramBridgePart {
    bridge: RunningBridge,
    /// Of the stream, if it reads one.
    control: Option<Arc<Mutex<Option<WorkerControl>>>>,
    report: ProgramBridgeReport,
}

impl ProgramBridgePart {
    /// Starts it on the files of `owner`, inside an actix system.
    ///
    /// # Errors
    /// The log or the registry cannot be opened.
    pub async fn start(owner: &Arc<Owner>) -> Result<Self, Failure> {
        let log = owner.core_data_log().await.map_err(failed("cannot start the program bridge"))?.clone();
        let registry = owner.registry().await.map_err(failed("cannot start the program bridge"))?;
        let status = StatusHandle::new();
        let mut report = ProgramBridgeReport {
            status: status.clone(),
            stream: None,
            log: log.clone(),
            started_at_ms: owner.started_at_ms,
        };
        let config = owner.settings.bridge.programs.clone();
        let keeping = Arc::clone(owner);
        let letters = move |letters| keep(Arc::clone(&keeping), letters);
        let registry = Arc::clone(registry);
        let Some(worker) = reading::core_data(owner).await else {
            let open = move || log.source(cursors::PROGRAMS);
            let bridge = RunningBridge::start(open, registry, letters, config, status);
            return Ok(Self { bridge, control: None, report });
        };
        // Each time that the bridge is started again, another reads the stream.
        let control = Arc::new(Mutex::new(None));
        let stream = WorkerStatusHandle::new();
        report.stream = Some(stream.clone());
        let controlling = Arc::clone(&control);
        let open = move || {
            let (source, control) = worker.start(stream.clone());
            *controlling.lock().unwrap_or_else(PoisonError::into_inner) = Some(control);
            Ok::<_, Infallible>(source)
        };
        let bridge = RunningBridge::start(open, registry, letters, config, status);
        Ok(Self { bridge, control: Some(control), report })
    }
}

/// Opens the table with the first letter: a bridge alone needs none before.
async fn keep(owner: Arc<Owner>, letters: Vec<DeadLetter>) -> Result<u64, LettersError> {
    let limits = owner.settings.bridge.dead_letters;
    let given = owner.table().await?.give_dead_letters(letters, limits, WhenFull::DiscardOldest).await?;
    Ok(given.discarded)
}

impl Part for ProgramBridgePart {
    fn name(&self) -> &'static str {
        "the program bridge"
    }

    fn stage(&self) -> Stage {
        Stage::CatchUp
    }

    fn report(&self) -> Option<Box<dyn Report>> {
        Some(Box::new(self.report.clone()))
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        std::future::pending().boxed_local()
    }

    /// What it leaves is in the log and is counted there.
    fn drain(self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        let drained = async move {
            let control = self.control.as_ref();
            let control =
                control.and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
            if let Some(control) = &control {
                control.stop_reading();
            }
            self.bridge.drain(limits.grace).await;
            if let Some(control) = &control {
                control.release().await;
            }
            Ok(())
        };
        drained.boxed_local()
    }
}

#[derive(Clone)]
struct ProgramBridgeReport {
    status: StatusHandle,
    /// Where it reads, if not the log.
    stream: Option<WorkerStatusHandle>,
    log: Log,
    started_at_ms: u64,
}

impl Report for ProgramBridgeReport {
    fn key(&self) -> &'static str {
        "bridge"
    }

    fn status(&self) -> Json {
        let mut status = json!(self.status.get());
        if let Some(stream) = &self.stream {
            status["stream"] = json!(stream.get());
        }
        status
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        self.set_metrics();
        std::future::ready(()).boxed_local()
    }
}

impl ProgramBridgeReport {
    fn set_metrics(&self) {
        let status = self.status.get();
        if let Some(stream) = &self.stream {
            set_stream_metrics("programs", stream);
        }
        let lag = self.log.cursors().first().map_or(0, |cursor| cursor.lag);
        gauge!("clickgate_cursor_lag_records", "cursor" => cursors::PROGRAMS).set(lag as f64);
        set_reader_lag(cursors::PROGRAMS, lag, status.done_until_ms, self.started_at_ms);
        let counts = status.counts;
        for (outcome, count) in [
            ("stored", counts.stored),
            ("unchanged", counts.unchanged),
            ("older", counts.older),
            ("conflicting", counts.conflicting),
            ("dead", counts.dead),
        ] {
            counter!("clickgate_core_data_total", "outcome" => outcome).absolute(count);
        }
        counter!("clickgate_bridge_letters_discarded_total").absolute(status.letters_discarded);
        counter!("clickgate_bridge_retries_total", "bridge" => "programs").absolute(status.retries);
        counter!("clickgate_bridge_restarts_total", "bridge" => "programs").absolute(status.restarts);
        gauge!("clickgate_bridge_failing", "bridge" => "programs").set(flag(status.error.is_some()));
    }
}
