//! The end of a process, in order.

use std::time::Duration;

use tracing::{error, info};

use super::consumer::ConsumerError;
use super::signals::Signals;
use super::{Running, failed};
use crate::exit::Failure;

/// What ended the process.
pub enum Why {
    /// Somebody asked.
    Asked,
    /// The tracker's workers are gone already.
    TrackerDied(String),
    /// The consumer is gone already.
    ConsumerDied(String),
}

impl Running {
    /// Serves until there is a reason to stop.
    pub async fn until_something_ends(&mut self, signals: &Signals) -> Why {
        let tracker = async {
            match &mut self.tracker {
                Some(tracker) => (&mut tracker.task).await,
                None => std::future::pending().await,
            }
        };
        let consumer = async {
            match &mut self.consumer {
                Some(consumer) => consumer.ended().await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            () = signals.asked() => return Why::Asked,
            ended = tracker => Why::TrackerDied(match ended {
                Ok(Ok(())) => "the tracker stopped without being asked".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            }),
            ended = consumer => Why::ConsumerDied(match ended {
                Ok(_) => "the consumer stopped without being asked".to_owned(),
                Err(error) => error.to_string(),
            }),
        };
        match &why {
            Why::TrackerDied(_) => self.tracker = None,
            Why::ConsumerDied(_) => self.consumer = None,
            Why::Asked => {}
        }
        why
    }

    /// Lets everybody finish.
    ///
    /// # Errors
    /// What ended the process, if nobody asked for it; else what is left in the log.
    pub async fn drain(mut self, why: Why) -> Result<(), Failure> {
        if let Why::TrackerDied(reason) | Why::ConsumerDied(reason) = &why {
            error!(reason, "stopping, because a part of the process died");
        }
        self.stop_tracker(&why).await;
        let log = self.owner.log().await.map_err(failed("the log is gone"))?.clone();
        let closing = log.clone();
        let closed = actix_rt::task::spawn_blocking(move || closing.close()).await;
        closed.map_err(failed("cannot close the log"))?;

        let died = self.stop_consumer().await.err();
        let left = log.cursors().iter().map(|cursor| cursor.lag).max().unwrap_or(0);
        self.admin.stop(true).await;
        info!(left_records = left, "stopped");
        match (why, died) {
            (Why::TrackerDied(reason), _) => Err(Failure::Failed(format!("the tracker died: {reason}"))),
            (Why::ConsumerDied(reason), _) => Err(Failure::Failed(format!("the consumer died: {reason}"))),
            (Why::Asked, Some(error)) => Err(Failure::Failed(format!("the consumer died: {error}"))),
            (Why::Asked, None) if left > 0 => Err(Failure::Remaining(left)),
            (Why::Asked, None) => Ok(()),
        }
    }

    async fn stop_tracker(&mut self, why: &Why) {
        let Some(tracker) = self.tracker.take() else {
            return;
        };
        tracker.handle.drain();
        if matches!(why, Why::Asked) {
            let linger = Duration::from_millis(self.owner.settings.drain.linger_ms);
            info!(linger_ms = linger.as_millis(), "draining: not ready from now on");
            tokio::time::sleep(linger).await;
        }
        tracker.handle.stop();
        match tracker.task.await {
            Ok(Ok(())) => info!("the tracker has answered its last hit"),
            Ok(Err(error)) => error!(%error, "the tracker did not stop cleanly"),
            Err(error) => error!(%error, "the tracker panicked while it stopped"),
        }
    }

    /// Waits until it has caught up, or its grace is over.
    async fn stop_consumer(&mut self) -> Result<(), ConsumerError> {
        let Some(mut consumer) = self.consumer.take() else {
            return Ok(());
        };
        consumer.stop(Duration::from_millis(self.owner.settings.drain.grace_ms));
        consumer.ended().await.map(drop)
    }
}
