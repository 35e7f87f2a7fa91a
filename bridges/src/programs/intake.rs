//! Where this process accepts core data: one lane of the log `programs`, on a thread.
//!
//! Callers (the admin address, a command, a bridge with target `programs`) run on any thread, a
//! lane on one of its own. [`REQUESTS_MAX`] callers are served at a time; further ones wait.
//!
//! # Why is the revision assigned here?
//!
//! Because the log then keeps it: whenever the record is read again, it has the same order among
//! the others. The revision is the time, in milliseconds, as
//! `clickgate programs put` gives it; a program that changes twice within a millisecond
//! gets the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use programs::ProgramId;
use stream::{
    AppendError, Class, LaneError, LaneThread, Level, Log, NewRecord, NotDurable, RecordKind, Shed,
};
use supervise::now_ms;

use super::message::CoreData;

/// Callers that are served at a time.
pub const REQUESTS_MAX: usize = 16;

/// Accepts core data for the log.
#[derive(Debug)]
pub struct Intake {
    lane: LaneThread,
    stamps: Mutex<Stamps>,
}

/// Why changes were not accepted. A prefix of them may be in the log; sending all of them again is
/// harmless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The process is stopping.
    #[error("core data is no longer accepted, as the process stops")]
    Closed,
    /// It cannot be appended: too large, or the log is full or failed.
    #[error("program {id}: {shed}")]
    Shed {
        /// The first program that was not appended.
        id: ProgramId,
        /// Why.
        shed: Shed,
    },
    /// It was appended, but the sync failed.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

impl Intake {
    /// Opens a lane of `log`. Blocks until it is open.
    ///
    /// # Errors
    /// [`LaneError`].
    pub fn start(log: &Log) -> Result<Self, LaneError> {
        let lane = LaneThread::start(log, "core-data", REQUESTS_MAX)?;
        Ok(Self { lane, stamps: Mutex::default() })
    }

    /// Appends the changes, each with a revision, in their order; they are synced on return.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn accept(&self, changes: Vec<CoreData>) -> Result<(), IntakeError> {
        let changes: Arc<[CoreData]> = self.stamped(changes).into();
        // Encoded lazily, one at a time: an import may have a hundred thousand.
        let record = |at: usize| {
            let changes = Arc::clone(&changes);
            let encode = move |_, payload: &mut Vec<u8>| {
                payload.extend_from_slice(changes[at].to_json().as_bytes());
            };
            NewRecord { class: Class::Conversion, kind: RecordKind::CoreData, encode: Box::new(encode) }
        };
        let records = (0..changes.len()).map(record).collect();
        match self.lane.append(records, Level::Synced).await {
            Ok(_numbers) => Ok(()),
            Err(AppendError::Closed) => Err(IntakeError::Closed),
            Err(AppendError::Shed { at, shed }) => {
                Err(IntakeError::Shed { id: changes[at].id().clone(), shed })
            }
            Err(AppendError::NotDurable(error)) => Err(error.into()),
        }
    }

    /// Assigns missing revisions. Callers may reach the lane in any order: the highest revision wins.
    fn stamped(&self, changes: Vec<CoreData>) -> Vec<CoreData> {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().map(|change| stamps.stamp(change, now_ms())).collect()
    }

    /// Finishes pending requests and closes the lane. Blocks until then.
    pub fn close(&self) {
        self.lane.close();
    }
}

/// Assigns revisions: the time, but strictly increasing per program.
#[derive(Debug, Default)]
struct Stamps {
    /// The last revision of each program for which it is not before the clock.
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
