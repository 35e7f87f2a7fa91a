//! Operations on core data.

use std::collections::HashMap;

use bridges::programs::{IntakeError, ReadLines, read_body, read_lines};
use programs::{Entry, Program, ProgramId, Put, REVISION_MAX, Registry, RegistryError, State};
use serde_json::{Value as Json, json};
use stream::Shed;
use supervise::now_ms;

use super::OpError;
use super::call::{import_error, import_errors};
use crate::owner::Owner;

/// How often a program is written without a revision of its own, if each time somebody else writes
/// it just before.
const WRITES_MAX: usize = 16;

pub async fn list(owner: &Owner) -> Result<Json, OpError> {
    let snapshot = owner.registry().await?.snapshot().await?;
    Ok(snapshot.programs.iter().map(|(_, program)| json!(**program)).collect())
}

pub async fn get(owner: &Owner, id: &ProgramId) -> Result<Json, OpError> {
    let read = owner.registry().await?.get(id).await?;
    match read.entry {
        Entry::Program { program, .. } => Ok(json!(*program)),
        Entry::Removed { revision, .. } => {
            Err(OpError::NotFound(format!("program {id} was removed (revision {revision})")))
        }
        Entry::Absent => Err(absent(id, read.state)),
    }
}

pub async fn put(owner: &Owner, program: Program) -> Result<Json, OpError> {
    let id = program.id.clone();
    let registry = owner.registry().await?;
    let put = async |revision| registry.put(program.clone().or_revision(revision)).await;
    let stored = write_with_revision(&id, program.revision, put).await?;
    forget(owner, &id).await;
    accepted(&id, stored)
}

/// A program that never was is a misspelt id, and an error. One that is removed already stays as it
/// is, so that a removal may be repeated; a revision that is given is that of its source, and may
/// be newer than the removal.
pub async fn remove(owner: &Owner, id: &ProgramId, revision: Option<u64>) -> Result<Json, OpError> {
    let registry = owner.registry().await?;
    let read = registry.get(id).await?;
    match read.entry {
        Entry::Absent => return Err(absent(id, read.state)),
        Entry::Removed { version, .. } if revision.is_none() => return Ok(json!(Put::Unchanged { version })),
        Entry::Removed { .. } | Entry::Program { .. } => {}
    }
    let removed =
        write_with_revision(id, revision, async |revision| registry.remove(id, revision).await).await?;
    forget(owner, id).await;
    accepted(id, removed)
}

/// Writes with the revision that was given. Without one it is now, or one more than what is
/// stored: what an operator says last stands, also within one millisecond, or after a source
/// that numbers its changes higher than the clock.
async fn write_with_revision(
    id: &ProgramId,
    given: Option<u64>,
    write: impl AsyncFn(u64) -> Result<Put, RegistryError>,
) -> Result<Put, OpError> {
    if let Some(revision) = given {
        return Ok(write(revision).await?);
    }
    let mut revision = now_ms();
    for _ in 0..WRITES_MAX {
        let put = write(revision).await?;
        match stored_revision(put) {
            None => return Ok(put),
            Some(stored) if stored >= REVISION_MAX => return Err(no_newer(id)),
            Some(stored) => revision = stored + 1,
        }
    }
    Err(OpError::Unavailable(format!("others change program {id} at the same time; nothing was stored")))
}

/// The revision that was in the way.
fn stored_revision(put: Put) -> Option<u64> {
    match put {
        Put::Stored { .. } | Put::Unchanged { .. } => None,
        Put::OlderRevision { stored, .. } => Some(stored),
        Put::SameRevision { revision } => Some(revision),
    }
}

fn no_newer(id: &ProgramId) -> OpError {
    OpError::Conflict(format!(
        "program {id} is stored with revision {REVISION_MAX}, the highest there is, so nothing can be newer. \
         Give it another id; or write all programs to a file (`clickgate programs list --json`), lower its \
         revision there, and import the file into a new registry (registry.path, registry.redis.prefix)"
    ))
}

/// Of programs without a revision the last word counts, as in [`write_with_revision`].
pub async fn import(owner: &Owner, programs: Vec<Program>) -> Result<Json, OpError> {
    let registry = owner.registry().await?;
    let without_revision = programs.iter().filter(|program| program.revision.is_none());
    let mut without_revision: HashMap<ProgramId, Program> =
        without_revision.map(|program| (program.id.clone(), program.clone())).collect();
    let now_ms = now_ms();
    let programs = programs.into_iter().map(|program| program.or_revision(now_ms)).collect();
    let mut report = registry.import(programs).await?;
    let mut newer = Vec::new();
    report.refused.retain(|refused| {
        let stored = stored_revision(refused.reason).filter(|stored| *stored < REVISION_MAX);
        let Some(revision) = stored.map(|stored| stored + 1) else { return true };
        let Some(program) = without_revision.remove(&refused.id) else { return true };
        newer.push(program.or_revision(revision));
        false
    });
    if !newer.is_empty() {
        let again = registry.put_all(newer).await?;
        report.stored += again.stored;
        report.unchanged += again.unchanged;
        report.refused.extend(again.refused);
        report.version = again.version;
    }
    if let Some(tracker) = owner.running_tracker()
        && let Err(error) = tracker.fill().await
    {
        // It follows the registry all the same, a moment later.
        tracing::warn!(%error, "the catalog was not filled after an import");
    }
    Ok(json!(report))
}

/// Core data for the log `programs`: accepted is what is synced there. The program bridge puts
/// it into the registry, now or when it runs next. Of `lines` the good ones are accepted,
/// whatever the others are; as of an import, only the first errors are named.
pub async fn stream(owner: &Owner, text: &str, lines: bool) -> Result<Json, OpError> {
    let read = match lines {
        true => read_lines(text),
        false => {
            let changes = read_body(text).map_err(|errors| import_errors(&errors, 0))?;
            ReadLines { changes, ..ReadLines::default() }
        }
    };
    let accepted = read.changes.len();
    if accepted == 0 && read.refused > 0 {
        return Err(import_errors(&read.errors, read.more_errors));
    }
    owner.intake().await?.accept(read.changes).await.map_err(not_accepted)?;
    Ok(json!({
        "accepted": accepted,
        "refused": read.errors.iter().map(import_error).collect::<Vec<_>>(),
        "refused_more": read.more_errors,
        "refused_lines": read.refused,
        "bridge": owner.runs("bridge"),
    }))
}

pub fn not_accepted(error: IntakeError) -> OpError {
    match error {
        IntakeError::Shed { shed: Shed::TooLarge { .. }, .. } => OpError::invalid(error.to_string()),
        IntakeError::Closed | IntakeError::Shed { shed: Shed::Full(_) | Shed::Closed, .. } => {
            OpError::Unavailable(error.to_string())
        }
        IntakeError::Shed { shed: Shed::Poisoned, .. } | IntakeError::NotDurable(_) => {
            OpError::Failed(format!("core data was not accepted: {error}"))
        }
    }
}

/// The change reaches the catalog by itself, a moment after the registry has it. Whoever
/// asked for it may not wait for that moment: the next hit reads the registry.
async fn forget(owner: &Owner, id: &ProgramId) {
    if let Some(tracker) = owner.running_tracker() {
        tracker.purge(Some(id)).await;
    }
}

fn accepted(id: &ProgramId, put: Put) -> Result<Json, OpError> {
    match put {
        Put::Stored { .. } | Put::Unchanged { .. } => Ok(json!(put)),
        Put::OlderRevision { stored, given } => Err(OpError::Conflict(format!(
            "program {id} is stored with revision {stored}, which is newer than {given}; \
             to overrule its source give a revision above {stored}"
        ))),
        Put::SameRevision { revision } => Err(OpError::Conflict(format!(
            "something else is stored of program {id} under the same revision {revision}; give a higher one"
        ))),
    }
}

fn absent(id: &ProgramId, state: State) -> OpError {
    OpError::NotFound(match state.ready {
        true => format!("there is no program {id}; `clickgate programs list` shows all"),
        false => format!(
            "program {id} cannot be found, which says little: the registry was never filled, or what it \
             holds of it cannot be read"
        ),
    })
}
