//! The program bridge with what it works on: the log `programs`, the registry, the list of
//! dead letters.

use std::sync::Arc;

use bridges::programs::{LettersError, RunningBridge, StatusHandle};
use consumers::Table;
use proto::DeadLetter;

use super::failed;
use crate::cursors;
use crate::exit::Failure;
use crate::owner::Owner;

/// Starts it on the files of `owner`, inside an actix system.
///
/// # Errors
/// The log or the registry cannot be opened.
pub async fn start(owner: &Arc<Owner>) -> Result<RunningBridge, Failure> {
    let log = owner.core_data_log().await.map_err(failed("cannot start the program bridge"))?.clone();
    let registry = owner.registry().await.map_err(failed("cannot start the program bridge"))?;
    let status = StatusHandle::new();
    let _ = owner.bridge.set(status.clone());
    let config = owner.settings.bridge.programs.clone();
    let keeping = Arc::clone(owner);
    let letters = move |letters| keep(Arc::clone(&keeping), letters);
    let open = move || log.source(cursors::PROGRAMS);
    Ok(RunningBridge::start(open, Arc::clone(registry), letters, config, status))
}

/// Opens the table with the first letter: a bridge alone needs none before.
async fn keep(owner: Arc<Owner>, letters: Vec<DeadLetter>) -> Result<u64, LettersError> {
    let limits = owner.settings.bridge.dead_letters;
    let given = owner.table().await?.give_dead_letters(letters, limits).await?;
    Ok(given.discarded)
}
