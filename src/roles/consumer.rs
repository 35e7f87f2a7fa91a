//! The consumer as a part of the process: from the log or from a stream into the table, on a thread of
//! its own.

use std::sync::Arc;

use consumers::{Checked, Ended, RunError, StatusHandle, Table, run};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::{counter, gauge};
use serde_json::{Value as Json, json};
use stream::{Log, Source, Worker, WorkerChecked, WorkerControl, WorkerStatusHandle};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::admin::metrics::{flag, seconds, set_reader_lag};
use crate::cursors::{self, EventSinks};
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage, unasked};
use crate::reading;
use crate::table::AnyTable;

/// A running pull loop, with the maintenance of the table.
pub struct ConsumerPart {
    stop: watch::Sender<Option<Instant>>,
    ended: oneshot::Receiver<Result<Ended, ConsumerError>>,
    /// Of a stream.
    control: Option<oneshot::Receiver<WorkerControl>>,
    report: ConsumerReport,
}

/// Why there is no consumer any more.
#[derive(Debug, thiserror::Error)]
enum ConsumerError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("one of its tasks panicked")]
    Panicked,
}

impl ConsumerPart {
    /// Starts it on the log, or on the stream, and on the table of `owner`.
    ///
    /// # Errors
    /// The log or the table cannot be opened, or the stream cannot be read; the thread or its runtime
    /// cannot be created.
    pub async fn start(owner: &Owner) -> Result<Self, Failure> {
        let table = owner.table().await.map_err(failed("cannot start the consumer"))?.clone();
        look_at_table(&table).await?;
        let config = Arc::new(owner.consumer_config());
        let status = StatusHandle::new();
        let started_at_ms = owner.started_at_ms;
        let (stop, stopped) = watch::channel(None);
        let (ending, ended) = oneshot::channel();
        let loop_status = status.clone();
        if EventSinks::consumes_stream(&owner.settings) {
            let worker = reading::events(owner).await.map_err(failed("cannot start the consumer"))?;
            look_at(&worker).await?;
            let stream = WorkerStatusHandle::new();
            let report = ConsumerReport {
                status,
                from: From::Stream(stream.clone()),
                table: table.clone(),
                started_at_ms,
            };
            let (controlling, control) = oneshot::channel();
            start_thread(ending, async move {
                let (source, control) = worker.start(stream);
                let _ = controlling.send(control.clone());
                let ended = work(source, table, &config, stopped, &loop_status).await;
                control.release().await;
                ended
            })?;
            return Ok(Self { stop, ended, control: Some(control), report });
        }
        let log = owner.log().await.map_err(failed("cannot start the consumer"))?;
        let source = log.source(cursors::TABLE).map_err(failed("cannot start the consumer"))?;
        let report =
            ConsumerReport { status, from: From::Log(log.clone()), table: table.clone(), started_at_ms };
        start_thread(ending, async move { work(source, table, &config, stopped, &loop_status).await })?;
        Ok(Self { stop, ended, control: None, report })
    }

    async fn result(&mut self) -> Result<Ended, ConsumerError> {
        (&mut self.ended).await.unwrap_or(Err(ConsumerError::Panicked))
    }
}

/// Refuses to start what would read nothing.
async fn look_at(worker: &Worker) -> Result<(), Failure> {
    match worker.check().await {
        WorkerChecked::Fit => Ok(()),
        WorkerChecked::NoAnswer(reason) => {
            warn!(reason, "nothing is heard of the stream; it is asked again");
            Ok(())
        }
        WorkerChecked::Unfit(trouble) => Err(Failure::Failed(format!("cannot read events: {trouble}"))),
    }
}

/// Refuses to start what would store nothing.
async fn look_at_table(table: &AnyTable) -> Result<(), Failure> {
    match table.check().await {
        Checked::Fit => Ok(()),
        Checked::NoAnswer(reason) => {
            warn!(reason, "nothing is heard of the table; it is asked again");
            Ok(())
        }
        Checked::Unfit(reasons) => {
            Err(Failure::Failed(format!("cannot store events: {}", reasons.join("\n"))))
        }
    }
}

/// Runs `work` on a thread of its own.
fn start_thread<F>(ending: oneshot::Sender<Result<Ended, ConsumerError>>, work: F) -> Result<(), Failure>
where
    F: Future<Output = Result<Ended, ConsumerError>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("cannot start the consumer"))?;
    let body = move || {
        let result = runtime.block_on(work);
        // The receiver is gone if the process ends for another reason.
        let _ = ending.send(result);
    };
    let thread = std::thread::Builder::new().name("consumer".to_owned()).spawn(body);
    thread.map(drop).map_err(failed("cannot start the consumer"))
}

/// The pull loop with the table's maintenance, whichever ends first.
async fn work<S: Source, T: Table>(
    source: S,
    table: T,
    config: &consumers::Config,
    stopped: watch::Receiver<Option<Instant>>,
    status: &StatusHandle,
) -> Result<Ended, ConsumerError> {
    let maintaining = tokio::spawn({
        let table = table.clone();
        let stopped = stopped.clone();
        async move { table.maintain(stopped).await }
    });
    let maintenance_died = async {
        if maintaining.await.is_ok() {
            // It was told to stop, as the loop is.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = run(source, &table, config, stopped, status) => Ok(ended?),
        () = maintenance_died => Err(ConsumerError::Panicked),
    }
}

impl Part for ConsumerPart {
    fn name(&self) -> &'static str {
        "the consumer"
    }

    fn stage(&self) -> Stage {
        Stage::CatchUp
    }

    fn report(&self) -> Option<Box<dyn Report>> {
        Some(Box::new(self.report.clone()))
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        let ended = async {
            match self.result().await {
                Ok(_) => unasked(),
                Err(error) => error.to_string(),
            }
        };
        ended.boxed_local()
    }

    fn drain(mut self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        let drained = async move {
            // A stream has no end to catch up with: what was read of it is stored.
            if let Some(control) = self.control.take()
                && let Ok(control) = control.await
            {
                control.stop_reading();
            }
            self.stop.send_replace(Some(Instant::now() + limits.grace));
            self.result().await.map(drop).map_err(|error| error.to_string())
        };
        drained.boxed_local()
    }
}

#[derive(Clone)]
struct ConsumerReport {
    status: StatusHandle,
    from: From,
    table: AnyTable,
    started_at_ms: u64,
}

/// Where it reads.
#[derive(Clone)]
enum From {
    Log(Log),
    Stream(WorkerStatusHandle),
}

impl Report for ConsumerReport {
    fn key(&self) -> &'static str {
        "consumer"
    }

    fn status(&self) -> Json {
        let mut status = json!(self.status.get());
        if let From::Stream(stream) = &self.from {
            status["stream"] = json!(stream.get());
        }
        status
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        let status = self.status.get();
        match &self.from {
            From::Log(log) => {
                let table = log.cursors().into_iter().find(|cursor| cursor.name == cursors::TABLE);
                let lag = table.map_or(0, |cursor| cursor.lag);
                set_reader_lag(cursors::TABLE, lag, status.stored_until_ms, self.started_at_ms);
            }
            From::Stream(stream) => set_stream_metrics("consumer", stream),
        }
        gauge!("clickgate_consumer_failing").set(flag(status.error.is_some()));
        gauge!("clickgate_consumer_stalled").set(flag(status.stalled));
        gauge!("clickgate_consumer_transactions").set(status.transactions as f64);
        let cost = self.table.cost();
        counter!("clickgate_table_write_units_total").absolute(cost.write_units as u64);
        counter!("clickgate_table_read_units_total").absolute(cost.read_units as u64);
        counter!("clickgate_table_throttled_total").absolute(cost.throttled);
        counter!("clickgate_table_repeated_total").absolute(cost.repeated);
        std::future::ready(()).boxed_local()
    }
}

/// Of whoever reads a stream; `reader` is its name.
pub fn set_stream_metrics(reader: &'static str, stream: &WorkerStatusHandle) {
    let status = stream.get();
    gauge!("clickgate_worker_shards", "reader" => reader).set(status.shards.len() as f64);
    gauge!("clickgate_worker_behind_seconds", "reader" => reader).set(seconds(status.behind_ms()));
    gauge!("clickgate_worker_failing", "reader" => reader).set(flag(status.error().is_some()));
    for (metric, count) in [
        ("clickgate_worker_leases_taken_total", status.leases_taken),
        ("clickgate_worker_leases_lost_total", status.leases_lost),
        ("clickgate_worker_shards_ended_total", status.shards_ended),
        ("clickgate_worker_shards_expired_total", status.shards_expired),
        ("clickgate_worker_kinesis_records_total", status.kinesis_records),
        ("clickgate_worker_bytes_total", status.bytes),
        ("clickgate_worker_requests_total", status.requests),
        ("clickgate_worker_throttled_total", status.throttled),
        ("clickgate_worker_iterators_expired_total", status.iterators_expired),
    ] {
        counter!(metric, "reader" => reader).absolute(count);
    }
}
