//! Where messages go: the log, through the rules of their programs; the registry; the dead letters.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use programs::catalog::{Catalog, Verdict};
use programs::decision::{Accepted, Refusal, Rules, decide};
use proto::DeadLetter;
use stream::{AppendError, LaneThread, Level, Log, NewRecord};
use supervise::now_ms;

use super::config::{Queue, Target};
use super::event::{Lane, candidate, event, record};
use super::frame::Frame;
use super::identity;
use super::letter::{LetterError, message_of_letter};
use super::mapping::{Unmappable, map};
use crate::programs::{CoreData, LettersError, read_message};

/// Per cent of the log at which a bridge reads no more; messages can wait at the broker.
pub const FILL_PERCENT_MAX: u64 = 90;

/// Accepts core data; the changes are durable when it returns.
pub type AcceptCoreData =
    Arc<dyn Fn(Vec<CoreData>) -> LocalBoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Keeps dead letters; they are durable when it returns.
pub type KeepLetters =
    Arc<dyn Fn(Vec<DeadLetter>) -> LocalBoxFuture<'static, Result<u64, LettersError>> + Send + Sync>;

/// Judges events by the rules of their programs.
#[derive(Clone)]
pub struct Judge {
    /// The programs.
    pub catalog: Catalog,
    /// As for hits.
    pub rules: Arc<Rules>,
}

/// What a bridge works on.
#[derive(Clone)]
pub struct Sink {
    /// The log of events.
    pub log: Log,
    /// Decides on events; needed by queues that validate.
    pub judge: Option<Judge>,
    /// Takes core data; needed by queues with target `programs`.
    pub core_data: Option<AcceptCoreData>,
    /// Takes what the broker does not let us put aside.
    pub letters: KeepLetters,
}

/// Why a dead letter did not become what its message says.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It holds no message that can be read.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// It cannot be mapped still.
    #[error(transparent)]
    Poison(Unmappable),
    /// It cannot be said at the moment.
    #[error("{0}")]
    NotNow(&'static str),
    /// The log did not take the event.
    #[error("the log: {0}")]
    Log(#[from] AppendError),
    /// The log of core data did not take the changes.
    #[error("{0}")]
    CoreData(String),
}

/// What a message became.
pub enum Taken {
    /// A record for the log, of so many bytes.
    Event(NewRecord, usize),
    /// Changes for the registry.
    CoreData(Vec<CoreData>),
    /// Nothing: it is to be put aside.
    Poison(Unmappable),
    /// It cannot be said at the moment; the message must stay at the broker.
    NotNow(&'static str),
}

impl Sink {
    /// What `message`, received at `now_ms`, becomes.
    pub async fn take(&self, queue: &Queue, message: &Frame, lane: Lane, now_ms: u64) -> Taken {
        let taken = match queue.target {
            Target::Events => self.take_event(queue, message, lane, now_ms).await,
            Target::Programs => take_core_data(message),
        };
        taken.unwrap_or_else(Taken::Poison)
    }

    async fn take_event(
        &self,
        queue: &Queue,
        message: &Frame,
        lane: Lane,
        now_ms: u64,
    ) -> Result<Taken, Unmappable> {
        let draft = map(message, queue, &mut ())?;
        let id = identity::message_id(queue, &draft, message);
        let verdict: Verdict;
        let accepted: Option<Accepted<'_>> = match &self.judge {
            Some(judge) if queue.validate => {
                verdict = judge.catalog.find(draft.program.as_str(), now_ms).await;
                match decide(&candidate(&draft), &verdict, now_ms, &judge.rules, &mut ()) {
                    Ok(accepted) => Some(accepted),
                    // Of a hit nobody waits for the registry; a message can.
                    Err(refused) if refused.reason == Refusal::UnverifiedProgram => {
                        return Ok(Taken::NotNow("the registry cannot say whether its program exists"));
                    }
                    Err(refused) => {
                        let detail = refused.detail.into_owned();
                        return Err(Unmappable::Refused { reason: refused.reason.name(), detail });
                    }
                }
            }
            _ => None,
        };
        let event = event(queue, &draft, message, accepted, id, now_ms, lane);
        record(&event).map(|(record, bytes)| Taken::Event(record, bytes))
    }

    /// Puts the message of a dead letter through the mapping once more, as if it came now. What it becomes is
    /// durable on return.
    ///
    /// # Errors
    /// See [`ReplayError`]; the letter must be kept.
    pub async fn replay(
        &self,
        queue: &Queue,
        letter: &DeadLetter,
        lane: &LaneThread,
    ) -> Result<(), ReplayError> {
        let message = message_of_letter(letter)?;
        let place = Lane { boot: lane.boot(), lane: lane.lane() };
        match self.take(queue, &message, place, now_ms()).await {
            Taken::Event(record, _) => Ok(append(lane, vec![record], Level::Synced).await?),
            Taken::CoreData(changes) => match &self.core_data {
                Some(accept) => accept(changes).await.map_err(ReplayError::CoreData),
                None => Err(ReplayError::CoreData("there is nothing that takes core data".to_owned())),
            },
            Taken::Poison(reason) => Err(ReplayError::Poison(reason)),
            Taken::NotNow(reason) => Err(ReplayError::NotNow(reason)),
        }
    }

    /// Whether the log has room for messages.
    pub fn has_room(&self) -> bool {
        self.log.fill_percent() < FILL_PERCENT_MAX
    }
}

fn take_core_data(message: &Frame) -> Result<Taken, Unmappable> {
    message.fault.map_or(Ok(()), Err)?;
    match read_message(&message.body) {
        Ok(changes) => Ok(Taken::CoreData(changes)),
        Err(errors) => {
            let first: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
            Err(Unmappable::CoreData(first.join("; ")))
        }
    }
}

/// Appends records and waits for their level.
///
/// # Errors
/// See [`AppendError`]; the messages must not be acknowledged.
pub async fn append(lane: &LaneThread, records: Vec<NewRecord>, level: Level) -> Result<(), AppendError> {
    lane.append(records, level).await.map(drop)
}
