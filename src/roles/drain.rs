//! A process at work, and its end, in order.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use stream::Log;
use tracing::{error, info};

use super::rescue::rescue;
use super::signals::Signals;
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::{DrainLimits, Part, Stage};

/// Everything that runs.
pub struct Running {
    pub owner: Arc<Owner>,
    pub parts: Vec<Box<dyn Part>>,
    /// Whether the events in the log of this directory are for this process to store. Those in
    /// the directory of a bridge alone are not.
    pub stores_events: bool,
}

/// What ended the process.
pub enum Why {
    /// Somebody asked.
    Asked,
    /// A part is gone already.
    Died(Death),
}

/// A part that is gone though nobody asked it to end.
pub struct Death {
    part: &'static str,
    reason: String,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} died: {}", self.part, self.reason)
    }
}

impl Running {
    /// Serves until there is a reason to stop.
    pub async fn until_something_ends(&mut self, signals: &Signals) -> Why {
        let ends = select_all(self.parts.iter_mut().map(|part| part.ended()));
        let (reason, at) = tokio::select! {
            () = signals.asked() => return Why::Asked,
            (reason, at, _others) = ends => (reason, at),
        };
        let part = self.parts.remove(at);
        Why::Died(Death { part: part.name(), reason })
    }

    /// Lets everybody finish.
    ///
    /// # Errors
    /// What ended the process, if nobody asked for it; else what is left in the log.
    pub async fn drain(mut self, why: Why) -> Result<(), Failure> {
        if let Why::Died(Death { part, reason }) = &why {
            error!(part, reason, "stopping, because a part of the process died");
        }
        let settings = &self.owner.settings.drain;
        let linger = match why {
            Why::Asked => Some(Duration::from_millis(settings.linger_ms)),
            Why::Died(_) => None,
        };
        let limits = DrainLimits { linger, grace: Duration::from_millis(settings.grace_ms) };

        let died_at_intake = drain_stage(&mut self.parts, Stage::Intake, limits).await;
        let log = self.owner.log().await.map_err(failed("the log is gone"))?.clone();
        self.close_logs(&log).await?;
        let died = died_at_intake.or(drain_stage(&mut self.parts, Stage::CatchUp, limits).await);

        let events = if self.stores_events { lag(&log) } else { 0 };
        let core_data = self.owner.opened_core_data_log().map_or(0, lag);
        let rescued = self.rescue(&log, events).await?;
        if core_data > 0 && rescued.is_some() {
            error!(
                left_records = core_data,
                "core data is left in its log and was not rescued; send it again"
            );
        }
        drain_stage(&mut self.parts, Stage::Operators, limits).await;
        info!(left_records = events, left_core_data = core_data, "stopped");
        let left = events + core_data;
        let poisoned = log.poisoned() || self.owner.opened_core_data_log().is_some_and(Log::poisoned);
        match (why, died) {
            (Why::Died(death), _) | (Why::Asked, Some(death)) => Err(Failure::Failed(death.to_string())),
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

    /// After it nothing is appended, and readers come to an end.
    async fn close_logs(&self, log: &Log) -> Result<(), Failure> {
        let log = log.clone();
        let owner = Arc::clone(&self.owner);
        let close = move || {
            owner.close_replays();
            log.close();
            owner.close_core_data();
        };
        actix_rt::task::spawn_blocking(close).await.map_err(failed("cannot close the log"))
    }

    /// Copies what is left to a disk that lives longer, if this one does not.
    async fn rescue(&self, log: &Log, left: u64) -> Result<Option<PathBuf>, Failure> {
        let drain = &self.owner.settings.drain;
        let Some(to) = drain.rescue.clone().filter(|_| drain.log_is_ephemeral && left > 0) else {
            return Ok(None);
        };
        let data = self.owner.data.clone();
        let log = log.clone();
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
}

/// Drains the parts of one stage, all at once, and takes them out; the first that died instead.
async fn drain_stage(parts: &mut Vec<Box<dyn Part>>, stage: Stage, limits: DrainLimits) -> Option<Death> {
    let drained = parts.extract_if(.., |part| part.stage() == stage).map(|part| async move {
        let name = part.name();
        part.drain(limits).await.err().map(|reason| Death { part: name, reason })
    });
    join_all(drained).await.into_iter().flatten().next()
}

/// Records that the slowest cursor has not passed.
fn lag(log: &Log) -> u64 {
    log.cursors().iter().map(|cursor| cursor.lag).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;

    use super::*;

    /// Writes down that it was drained.
    struct Noted {
        name: &'static str,
        stage: Stage,
        dies: bool,
        drained: Rc<RefCell<Vec<&'static str>>>,
    }

    impl Part for Noted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn stage(&self) -> Stage {
            self.stage
        }

        fn ended(&mut self) -> LocalBoxFuture<'_, String> {
            std::future::pending().boxed_local()
        }

        fn drain(self: Box<Self>, _: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
            self.drained.borrow_mut().push(self.name);
            let result = if self.dies { Err("as the test ordered".to_owned()) } else { Ok(()) };
            std::future::ready(result).boxed_local()
        }
    }

    #[tokio::test]
    async fn a_stage_drains_its_parts_whoever_of_them_dies_and_no_others() {
        let drained = Rc::new(RefCell::new(Vec::new()));
        let part = |name, stage, dies| -> Box<dyn Part> {
            Box::new(Noted { name, stage, dies, drained: Rc::clone(&drained) })
        };
        let mut parts = vec![
            part("the admin address", Stage::Operators, false),
            part("the consumer", Stage::CatchUp, true),
            part("the tracker", Stage::Intake, false),
            part("a bridge", Stage::CatchUp, false),
        ];
        let limits = DrainLimits { linger: None, grace: Duration::ZERO };

        assert!(drain_stage(&mut parts, Stage::Intake, limits).await.is_none());
        assert_eq!(*drained.borrow(), ["the tracker"]);
        let died = drain_stage(&mut parts, Stage::CatchUp, limits).await.unwrap();
        assert_eq!(died.to_string(), "the consumer died: as the test ordered");
        assert_eq!(*drained.borrow(), ["the tracker", "the consumer", "a bridge"]);
        assert_eq!(parts.len(), 1, "operators are answered until the end");
    }
}
