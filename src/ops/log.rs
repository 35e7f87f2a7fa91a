//! Questions about the log: how it stands, and whether every number is somewhere.

use consumers::{LogLane, Reconciliation, Table};
use serde_json::{Value as Json, json};

use super::OpError;
use crate::owner::Owner;

/// Reads the log first and the ledger second: see [`consumers::reconcile()`].
pub async fn reconciliation(owner: &Owner) -> Result<Reconciliation, OpError> {
    let log: Vec<LogLane> = owner.log().await?.lanes().iter().map(LogLane::from).collect();
    let ledger = owner.table().await?.ledger().await?;
    Ok(consumers::reconcile(&ledger, &log))
}

pub async fn reconcile(owner: &Owner) -> Result<Json, OpError> {
    let reconciliation = reconciliation(owner).await?;
    let mut json = json!(reconciliation);
    json["whole"] = json!(reconciliation.is_whole());
    Ok(json)
}

pub async fn status(owner: &Owner) -> Result<Json, OpError> {
    let log = owner.log().await?;
    let mut cursors = log.cursors();
    cursors.extend(owner.core_data_log().await?.cursors());
    Ok(json!({
        "boot": log.boot(),
        "bytes": log.bytes(),
        "bytes_max": owner.settings.stream.log_bytes_max,
        "fill_percent": log.fill_percent(),
        "poisoned": log.poisoned(),
        "lanes": log.lanes(),
        "cursors": cursors,
        "bridge": owner.bridge.get().map(|status| json!(status.get())),
        "consumer": owner.consumer.get().map(|status| json!(status.get())),
    }))
}
