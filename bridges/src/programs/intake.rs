//! Where this process accepts core data: one lane of the log `programs`, on a thread.
//!
//! A lane lives on one thread, and whoever brings core data (the admin address, a command,
//! a bridge with target `programs`) is on another. What is asked for waits in a queue of
//! [`REQUESTS_MAX`]; who finds it full waits too.
//!
//! # Why is a change given its revision here?
//!
//! Because here it is accepted, and the log keeps it: whenever the record is read again,
//! it has the same place among the others. The revision is the time, in milliseconds, as
//! `clickgate programs put` gives it; a program that changes twice within a millisecond
//! gets the next one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use programs::ProgramId;
use stream::{Class, Lane, LaneError, Level, Log, NotDurable, Number, RecordKind, Shed};
use supervise::now_ms;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::message::CoreData;

/// Callers that wait for one another.
pub const REQUESTS_MAX: usize = 16;
/// How long an append waits for room that is being made: a segment that is prepared, a
/// reader that is about to let one go.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Accepts core data for the log.
#[derive(Debug)]
pub struct Intake {
    /// `None` once it is closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Request {
    changes: Vec<CoreData>,
    answer: oneshot::Sender<Result<(), IntakeError>>,
}

/// Why changes were not accepted. Some of them, from the first on, may be in the log; to
/// bring all of them again is harmless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The process stops.
    #[error("core data is no longer accepted, as the process stops")]
    Closed,
    /// It cannot be appended: too large, or the log is full or failed.
    #[error("program {id}: {shed}")]
    Shed {
        /// The first that was not taken.
        id: ProgramId,
        /// Why.
        shed: Shed,
    },
    /// It was appended, and the disk did not take it.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

impl Intake {
    /// Opens a lane of `log`. Blocks until it is there.
    ///
    /// # Errors
    /// [`LaneError`].
    pub fn start(log: &Log) -> Result<Self, LaneError> {
        let (requests, incoming) = mpsc::channel(REQUESTS_MAX);
        let (opening, opened) = std::sync::mpsc::sync_channel(1);
        let log = log.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("a runtime with a timer needs nothing of the system");
            LocalSet::new().block_on(&runtime, async move {
                match log.open_lane() {
                    Ok(lane) => {
                        let _ = opening.send(Ok(()));
                        accept(&lane, incoming).await;
                    }
                    Err(error) => drop(opening.send(Err(error))),
                }
            });
        };
        let thread = std::thread::Builder::new().name("core-data".to_owned()).spawn(work);
        let thread = thread.map_err(|source| LaneError::Io { dir: "core-data".into(), source })?;
        opened.recv().expect("the thread says how it went before it ends")?;
        Ok(Self { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)) })
    }

    /// Appends the changes, each with a revision, in their order; they are synced on return.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn accept(&self, changes: Vec<CoreData>) -> Result<(), IntakeError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or(IntakeError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request { changes, answer };
        requests.send(request).await.map_err(|_gone| IntakeError::Closed)?;
        answered.await.map_err(|_gone| IntakeError::Closed)?
    }

    /// Finishes what was asked for and closes the lane. Blocks until it is done.
    pub fn close(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that accepts core data panicked");
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept(lane: &Lane, mut incoming: mpsc::Receiver<Request>) {
    let mut stamps = Stamps::default();
    while let Some(Request { changes, answer }) = incoming.recv().await {
        // Nobody waits for the answer if the caller was cancelled; what it brought counts.
        let _ = answer.send(append(lane, &mut stamps, changes).await);
    }
}

async fn append(lane: &Lane, stamps: &mut Stamps, changes: Vec<CoreData>) -> Result<(), IntakeError> {
    let mut last = None;
    for change in changes {
        let change = stamps.stamp(change, now_ms());
        last = Some(append_one(lane, &change, last).await?);
    }
    match last {
        Some(last) => Ok(lane.reached(Level::Synced, last).await?),
        None => Ok(()),
    }
}

/// Appends a change; where there is no room, the ones before it are written first.
async fn append_one(lane: &Lane, change: &CoreData, last: Option<Number>) -> Result<Number, IntakeError> {
    let (json, until) = (change.to_json(), Instant::now() + ROOM_WITHIN);
    loop {
        let appended = lane.append(Class::Conversion, RecordKind::CoreData, |_, payload| {
            payload.extend_from_slice(json.as_bytes());
        });
        match appended {
            Ok(number) => return Ok(number),
            Err(Shed::Full(_)) if Instant::now() < until => {
                if let Some(last) = last {
                    lane.reached(Level::Written, last).await?;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(shed) => return Err(IntakeError::Shed { id: change.id().clone(), shed }),
        }
    }
}

/// Revisions for changes that have none: the time, but rising for each program.
#[derive(Debug, Default)]
struct Stamps {
    /// Of the programs whose last stamp is not before the clock.
    newest: HashMap<ProgramId, u64>,
    /// The highest of them.
    highest: u64,
}

impl Stamps {
    fn stamp(&mut self, change: CoreData, now_ms: u64) -> CoreData {
        if change.revision().is_some() {
            return change;
        }
        if now_ms > self.highest {
            self.newest.clear();
        }
        let stamp = match self.newest.get(change.id()) {
            Some(newest) => now_ms.max(newest + 1),
            None => now_ms,
        };
        self.newest.insert(change.id().clone(), stamp);
        self.highest = self.highest.max(stamp);
        change.or_revision(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_changes_within_a_millisecond_or_while_the_clock_steps_back_gets_the_next_revision() {
        let mut stamps = Stamps::default();
        let mut stamp = |id: &str, own: Option<u64>, now_ms| {
            let change = CoreData::Remove { id: id.parse().unwrap(), revision: own };
            stamps.stamp(change, now_ms).revision().unwrap()
        };
        assert_eq!([stamp("a", None, 10), stamp("b", None, 10), stamp("a", None, 10)], [10, 10, 11]);
        assert_eq!([stamp("a", None, 5), stamp("b", None, 11), stamp("c", None, 11)], [12, 11, 11]);
        assert_eq!([stamp("a", Some(3), 11), stamp("a", None, 12)], [3, 13]);
        assert_eq!([stamp("a", None, 14), stamp("a", None, 14)], [14, 15]);
        assert!(stamps.newest.len() <= 1, "what the clock has passed is forgotten: {stamps:?}");
    }
}
