//! The consumer on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use consumers::{Ended, RunError, StatusHandle, Table, run};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::failed;
use crate::cursors;
use crate::exit::Failure;
use crate::owner::Owner;

/// A running pull loop, with the sweep of what has expired.
pub struct Consumer {
    stop: watch::Sender<Option<Instant>>,
    ended: oneshot::Receiver<Result<Ended, ConsumerError>>,
}

/// Why there is no consumer any more.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("one of its tasks panicked")]
    Panicked,
}

impl Consumer {
    /// Starts it on the log and the table of `owner`.
    ///
    /// # Errors
    /// No thread, no runtime.
    pub async fn start(owner: &Owner) -> Result<Self, Failure> {
        let source = owner.log().await.map_err(failed("cannot start the consumer"))?.source(cursors::TABLE);
        let source = source.map_err(failed("cannot start the consumer"))?;
        let table = owner.table().await.map_err(failed("cannot start the consumer"))?.clone();
        let config = Arc::new(owner.consumer_config());
        let status = StatusHandle::new();
        let _ = owner.consumer.set(status.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(failed("cannot start the consumer"))?;

        let (stop, stopped) = watch::channel(None);
        let (ending, ended) = oneshot::channel();
        let work = move || {
            let result = runtime.block_on(async {
                let maintained = table.clone();
                let until = stopped.clone();
                let maintaining = tokio::spawn(async move { maintained.maintain(until).await });
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
            // Nobody listens if the process is ending for another reason.
            let _ = ending.send(result);
        };
        let thread = std::thread::Builder::new().name("consumer".to_owned()).spawn(work);
        thread.map_err(failed("cannot start the consumer"))?;
        Ok(Self { stop, ended })
    }

    /// Tells it to catch up within `grace` and then to end.
    pub fn stop(&self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
    }

    /// Completes when it has ended, once.
    ///
    /// # Errors
    /// It died.
    pub async fn ended(&mut self) -> Result<Ended, ConsumerError> {
        match (&mut self.ended).await {
            Ok(ended) => ended,
            Err(_gone) => Err(ConsumerError::Panicked),
        }
    }
}
