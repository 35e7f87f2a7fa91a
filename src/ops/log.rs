//! Questions about the log: how it stands, and whether every number is somewhere.

use consumers::{LogLane, Reconciliation, Table};
use serde_json::{Value as Json, json};
use stream::{CursorStatus, RemoveCursorError};

use super::OpError;
use crate::owner::Owner;

/// Reads the log first and the ledger second: see [`consumers::reconcile()`].
pub async fn reconciliation(owner: &Owner) -> Result<Reconciliation, OpError> {
    let log: Vec<LogLane> = match owner.has_directory() {
        true => owner.log().await?.lanes().iter().map(LogLane::from).collect(),
        false => Vec::new(),
    };
    let ledger = owner.events().await?.ledger().await?;
    Ok(consumers::reconcile(&ledger, &log))
}

pub async fn reconcile(owner: &Owner) -> Result<Json, OpError> {
    let reconciliation = reconciliation(owner).await?;
    let mut json = json!(reconciliation);
    json["whole"] = json!(reconciliation.is_whole());
    json["log"] = json!(owner.has_directory());
    Ok(json)
}

pub async fn status(owner: &Owner) -> Result<Json, OpError> {
    let log = owner.log().await?;
    let core_data_log = owner.core_data_log().await?;
    let logs = [log, core_data_log];
    let declared = logs.iter().flat_map(|log| log.cursors());
    let cursors: Vec<CursorStatus> =
        declared.chain(logs.iter().flat_map(|log| log.undeclared_cursors())).collect();
    let mut status = json!({
        "boot": log.boot(),
        "bytes": log.bytes(),
        "bytes_max": owner.settings.stream.log_bytes_max,
        "fill_percent": log.fill_percent(),
        "poisoned": log.poisoned(),
        "lanes": log.lanes(),
        "cursors": cursors,
    });
    for part in owner.reports() {
        status[part.key()] = part.status();
    }
    Ok(status)
}

/// Removes a cursor that is not declared from whichever log has it.
pub async fn remove_cursor(owner: &Owner, name: &str, force: bool) -> Result<Json, OpError> {
    let removed = match owner.log().await?.remove_cursor(name, force) {
        Err(RemoveCursorError::Unknown(_)) => owner.core_data_log().await?.remove_cursor(name, force),
        removed => removed,
    };
    let removed = removed.map_err(|error| match error {
        RemoveCursorError::Unknown(_) => {
            OpError::NotFound(format!("there is no cursor {name:?}; `clickgate log cursor` lists all"))
        }
        RemoveCursorError::HoldsBack { .. } => {
            OpError::Conflict(format!("{error}. --force removes it all the same"))
        }
        RemoveCursorError::Declared(_) => OpError::Conflict(error.to_string()),
        RemoveCursorError::Io(_) => OpError::Failed(error.to_string()),
    })?;
    Ok(json!({ "removed": removed.name, "lag": removed.lag }))
}
