//! Puts batches into the registry; for the bridge, and later the Lambda.

use programs::{ImportError, Put, Registry, RegistryError};
use proto::{BootId, DeadLetter, Stage, ids};
use serde::Serialize;
use stream::{Batch, Item, Number, Record, RecordKind};

use super::message::{CoreData, read_message};

/// The stage in the bridge's dead letters.
pub const STAGE: Stage = Stage::BridgePrograms;

/// Errors of one message that are listed in its dead letter.
const REASONS_MAX: usize = 3;

/// Changes and messages by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Changes that the registry stored.
    pub stored: u64,
    /// Changes that it had from an earlier delivery.
    pub unchanged: u64,
    /// Late changes: it has a higher revision.
    pub older: u64,
    /// Changes that differ from a stored one of the same revision: two sources disagree.
    pub conflicting: u64,
    /// Messages that became dead letters.
    pub dead: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.unchanged += other.unchanged;
        self.older += other.older;
        self.conflicting += other.conflicting;
        self.dead += other.dead;
    }
}

impl Counts {
    fn add(&mut self, put: Put) {
        match put {
            Put::Stored { .. } => self.stored += 1,
            Put::Unchanged { .. } => self.unchanged += 1,
            Put::OlderRevision { .. } => self.older += 1,
            Put::SameRevision { .. } => self.conflicting += 1,
        }
    }
}

/// The outcome of some batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By outcome.
    pub counts: Counts,
    /// The unreadable messages. They must be durable before the source's cursor moves.
    pub dead: Vec<DeadLetter>,
}

/// Puts the core data of `batches` into `registry`, in the order of the batches.
///
/// Consecutive programs are put together; each removal is a call of its own, as removals are rare.
/// An unreadable message is part of the outcome, not an error.
///
/// Programs are put, not imported: a message is a change, not the complete set. An emptied registry
/// therefore stays not ready, and its followers keep what they hold, until everything is imported.
///
/// # Errors
/// See [`RegistryError`]. Some changes may be stored then. The same batches may be processed
/// again, alone or with others: the registry recognises stored changes by their revisions.
pub async fn process<R: Registry>(
    batches: &[Batch],
    registry: &R,
    now_ms: u64,
) -> Result<Outcome, RegistryError> {
    let mut outcome = Outcome::default();
    let mut puts = Vec::new();
    for (batch, record) in records(batches) {
        let changes = match read_record(record) {
            Ok(changes) => changes,
            Err(reason) => {
                outcome.counts.dead += 1;
                outcome.dead.push(batch.dead_letter(record, STAGE, reason, now_ms));
                continue;
            }
        };
        for change in changes {
            match change.or_revision(position(&batch.boot, record.number)) {
                CoreData::Put(program) => puts.push(*program),
                CoreData::Remove { id, revision } => {
                    put_all(std::mem::take(&mut puts), registry, &mut outcome.counts).await?;
                    let revision = revision.expect("or_revision gave it one");
                    outcome.counts.add(registry.remove(&id, revision).await?);
                }
            }
        }
    }
    put_all(puts, registry, &mut outcome.counts).await?;
    Ok(outcome)
}

/// The revision of a message without one, by its place in the log.
///
/// Clickgate itself appends changes with a revision (see [`Intake`](super::Intake)); this is for
/// other writers to the log. It increases within a lane, and from one process start to the next
/// unless a lane had more than a thousand messages a second over the whole life of its process.
/// It is the same at every reading, so redelivery changes nothing.
pub fn position(boot: &BootId, number: Number) -> u64 {
    ids::time_ms(boot).saturating_add(number)
}

fn records(batches: &[Batch]) -> impl Iterator<Item = (&Batch, &Record)> {
    batches.iter().flat_map(|batch| {
        batch.items.iter().filter_map(move |item| match item {
            Item::Record(record) => Some((batch, record)),
            Item::Abandoned { .. } | Item::End { .. } | Item::Foreign(_) => None,
        })
    })
}

/// The changes of a record, or the reason for its dead letter.
fn read_record(record: &Record) -> Result<Vec<CoreData>, String> {
    match record.kind {
        RecordKind::CoreData => read_message(&record.payload).map_err(|errors| reason(&errors)),
        // Lane reports serve `reconcile`, which does not cover this log.
        RecordKind::LaneReport => Ok(Vec::new()),
        RecordKind::Event | RecordKind::Rejected => Err("is an event, not core data".to_owned()),
        RecordKind::Other(code) => {
            Err(format!("is a record of kind {code}, which this version does not know"))
        }
    }
}

/// The first errors, each with its place.
fn reason(errors: &[ImportError]) -> String {
    let mut said: Vec<String> = errors.iter().take(REASONS_MAX).map(ToString::to_string).collect();
    if errors.len() > REASONS_MAX {
        said.push(format!("and {} more", errors.len() - REASONS_MAX));
    }
    said.join("; ")
}

async fn put_all<R: Registry>(
    programs: Vec<programs::Program>,
    registry: &R,
    counts: &mut Counts,
) -> Result<(), RegistryError> {
    if programs.is_empty() {
        return Ok(());
    }
    let report = registry.put_all(programs).await?;
    counts.stored += report.stored;
    counts.unchanged += report.unchanged;
    for refused in report.refused {
        tracing::debug!(program = %refused.id, reason = ?refused.reason, "core data was refused");
        counts.add(refused.reason);
    }
    Ok(())
}
