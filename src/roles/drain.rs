//! The end of a process, in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bridges::programs::RunningBridge;
use stream::Log;
use tracing::{error, info};

use super::consumer::{Consumer, ConsumerError};
use super::rescue::rescue;
use super::signals::Signals;
use super::{Role, Running, failed};
use crate::exit::Failure;

/// What ended the process.
pub enum Why {
    /// Somebody asked.
    Asked,
    /// A part of us is gone already.
    Died(Part, String),
}

/// What runs in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Tracker,
    Consumer,
    Admin,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Tracker => "the tracker",
            Self::Consumer => "the consumer",
            Self::Admin => "the admin address",
        }
    }
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
        let unasked = || "it stopped without being asked".to_owned();
        let (part, reason) = tokio::select! {
            () = signals.asked() => return Why::Asked,
            ended = tracker => (Part::Tracker, match ended {
                Ok(Ok(())) => unasked(),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            }),
            ended = consumer => (Part::Consumer, match ended {
                Ok(_) => unasked(),
                Err(error) => error.to_string(),
            }),
            ended = &mut self.admin_task => (Part::Admin, match ended {
                Ok(Ok(())) => unasked(),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            }),
        };
        match part {
            Part::Tracker => self.tracker = None,
            Part::Consumer => self.consumer = None,
            Part::Admin => {}
        }
        Why::Died(part, reason)
    }

    /// Lets everybody finish.
    ///
    /// # Errors
    /// What ended the process, if nobody asked for it; else what is left in the log.
    pub async fn drain(mut self, why: Why) -> Result<(), Failure> {
        if let Why::Died(part, reason) = &why {
            error!(part = part.name(), reason, "stopping, because a part of the process died");
        }
        self.stop_tracker(&why).await;
        let log = self.owner.log().await.map_err(failed("the log is gone"))?.clone();
        let (closing, owner) = (log.clone(), Arc::clone(&self.owner));
        let close = move || {
            closing.close();
            owner.close_core_data();
        };
        actix_rt::task::spawn_blocking(close).await.map_err(failed("cannot close the log"))?;

        let (consumer, bridge) = (self.consumer.take(), self.program_bridge.take());
        let (stored, ()) = tokio::join!(self.stop_consumer(consumer), self.stop_bridge(bridge));
        let died = stored.err();
        // The events in a bridge's own directory are not its to store.
        let events = if self.role == Role::ProgramBridge { 0 } else { lag(&log) };
        let core_data = self.owner.opened_core_data_log().map_or(0, lag);
        let rescued = self.rescue(&log, events).await?;
        if core_data > 0 && rescued.is_some() {
            error!(
                left_records = core_data,
                "core data is left in its log and was not rescued; send it again"
            );
        }
        self.admin.stop(true).await;
        info!(left_records = events, left_core_data = core_data, "stopped");
        let left = events + core_data;
        let poisoned = log.poisoned() || self.owner.opened_core_data_log().is_some_and(Log::poisoned);
        match (why, died) {
            (Why::Died(part, reason), _) => Err(Failure::Failed(format!("{} died: {reason}", part.name()))),
            (Why::Asked, Some(error)) => Err(Failure::Failed(format!("the consumer died: {error}"))),
            (Why::Asked, None) if poisoned => Err(Failure::Failed(
                "a lane failed to write or to sync; what was acknowledged before that is safe, look at the disk".into(),
            )),
            (Why::Asked, None) if left > 0 => Err(match rescued {
                Some(dir) => Failure::Rescued(events, dir),
                None => Failure::Remaining(left),
            }),
            (Why::Asked, None) => Ok(()),
        }
    }

    /// Copies what is left to a disk that lives longer, if this one does not.
    async fn rescue(&self, log: &Log, left: u64) -> Result<Option<PathBuf>, Failure> {
        let drain = &self.owner.settings.drain;
        let Some(to) = drain.rescue.clone().filter(|_| drain.log_is_ephemeral && left > 0) else {
            return Ok(None);
        };
        let (data, log) = (self.owner.data.clone(), log.clone());
        let copied = actix_rt::task::spawn_blocking(move || rescue(&data, &log, left, &to)).await;
        let rescued = copied.map_err(failed("cannot rescue the log"))?.map_err(|error| {
            let place = self.owner.data.log().display().to_string();
            Failure::Failed(format!(
                "{left} records are still in the log in {place}, and could not be rescued: {error}"
            ))
        })?;
        info!(left_records = left, dir = %rescued.display(), "rescued what is left in the log");
        Ok(Some(rescued))
    }

    async fn stop_tracker(&mut self, why: &Why) {
        let Some(tracker) = self.tracker.take() else {
            return;
        };
        tracker.handle.drain();
        if matches!(why, Why::Asked) {
            let linger_ms = self.owner.settings.drain.linger_ms;
            info!(linger_ms, "draining: not ready from now on");
            tokio::time::sleep(Duration::from_millis(linger_ms)).await;
        }
        tracker.handle.stop();
        match tracker.task.await {
            Ok(Ok(())) => info!("the tracker has answered its last hit"),
            Ok(Err(error)) => error!(%error, "the tracker did not stop cleanly"),
            Err(error) => error!(%error, "the tracker panicked while it stopped"),
        }
    }

    /// Waits until it has caught up, or its grace is over.
    async fn stop_consumer(&self, consumer: Option<Consumer>) -> Result<(), ConsumerError> {
        let Some(mut consumer) = consumer else {
            return Ok(());
        };
        consumer.stop(self.grace());
        consumer.ended().await.map(drop)
    }

    /// The same; what it leaves is in the log and is counted there.
    async fn stop_bridge(&self, bridge: Option<RunningBridge>) {
        if let Some(bridge) = bridge {
            bridge.drain(self.grace()).await;
        }
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.owner.settings.drain.grace_ms)
    }
}

/// Records that the slowest cursor has not passed.
fn lag(log: &Log) -> u64 {
    log.cursors().iter().map(|cursor| cursor.lag).max().unwrap_or(0)
}
