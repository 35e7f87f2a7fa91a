//! The consumer as a part of the process, on a thread of its own.

use std::sync::Arc;

use consumers::{Ended, RunError, StatusHandle, Table, run};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::gauge;
use serde_json::{Value as Json, json};
use stream::Log;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::admin::metrics::{flag, set_reader_lag};
use crate::cursors;
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Report, Stage, unasked};

/// A running pull loop, with the sweep of what has expired.
pub struct ConsumerPart {
    stop: watch::Sender<Option<Instant>>,
    ended: oneshot::Receiver<Result<Ended, ConsumerError>>,
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
    /// Starts it on the log and the table of `owner`.
    ///
    /// # Errors
    /// The log or the table cannot be opened; the thread or its runtime cannot be created.
    pub async fn start(owner: &Owner) -> Result<Self, Failure> {
        let log = owner.log().await.map_err(failed("cannot start the consumer"))?;
        let source = log.source(cursors::TABLE).map_err(failed("cannot start the consumer"))?;
        let table = owner.table().await.map_err(failed("cannot start the consumer"))?.clone();
        let config = Arc::new(owner.consumer_config());
        let status = StatusHandle::new();
        let report =
            ConsumerReport { status: status.clone(), log: log.clone(), started_at_ms: owner.started_at_ms };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(failed("cannot start the consumer"))?;

        let (stop, stopped) = watch::channel(None);
        let (ending, ended) = oneshot::channel();
        let work = move || {
            let result = runtime.block_on(async {
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
                    ended = run(source, &table, &config, stopped, &status) => Ok(ended?),
                    () = maintenance_died => Err(ConsumerError::Panicked),
                }
            });
            // The receiver is gone if the process ends for another reason.
            let _ = ending.send(result);
        };
        let thread = std::thread::Builder::new().name("consumer".to_owned()).spawn(work);
        thread.map_err(failed("cannot start the consumer"))?;
        Ok(Self { stop, ended, report })
    }

    async fn result(&mut self) -> Result<Ended, ConsumerError> {
        (&mut self.ended).await.unwrap_or(Err(ConsumerError::Panicked))
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
            self.stop.send_replace(Some(Instant::now() + limits.grace));
            self.result().await.map(drop).map_err(|error| error.to_string())
        };
        drained.boxed_local()
    }
}

#[derive(Clone)]
struct ConsumerReport {
    status: StatusHandle,
    log: Log,
    started_at_ms: u64,
}

impl Report for ConsumerReport {
    fn key(&self) -> &'static str {
        "consumer"
    }

    fn status(&self) -> Json {
        json!(self.status.get())
    }

    fn measure(&self) -> LocalBoxFuture<'_, ()> {
        let status = self.status.get();
        let table = self.log.cursors().into_iter().find(|cursor| cursor.name == cursors::TABLE);
        let lag = table.map_or(0, |cursor| cursor.lag);
        set_reader_lag(cursors::TABLE, lag, status.stored_until_ms, self.started_at_ms);
        gauge!("clickgate_consumer_failing").set(flag(status.error.is_some()));
        gauge!("clickgate_consumer_stalled").set(flag(status.stalled));
        gauge!("clickgate_consumer_transactions").set(status.transactions as f64);
        std::future::ready(()).boxed_local()
    }
}
