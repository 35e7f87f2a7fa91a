//! Adopts the log of a machine that is dead: ships its records to the stream of this
//! configuration, or without one stores them in this table.
//!
//! The same code reads it as the log of a living one, with a cursor of its own (`ship`) in that
//! directory. Each number is entered in the ledger with its item, so whatever is shipped twice, or
//! was by that machine, is stored once. Nothing is removed that the dead machine's own cursor has
//! not passed.
//!
//! One call works for [`SLICE`] and says whether it is done, so that no call of the admin
//! API takes for ever and the caller can show progress.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consumers::{StatusHandle, run};
use serde_json::{Value as Json, json};
use stream::{Log, OpenError, ShipperStatusHandle};
use supervise::causes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::OpError;
use crate::cursors::{EventSinks, SHIP, adopted_log};
use crate::owner::{EVENTS, Owner};
use crate::shipping::{destination, letters};

/// How long one call works.
const SLICE: Duration = Duration::from_secs(20);

/// Ships what a slice of time allows.
///
/// # Errors
/// There is no log, it is in use, damaged, or ours; the table cannot be written.
pub async fn ship(owner: &Arc<Owner>, dir: &Path) -> Result<Json, OpError> {
    let events = find(dir)?;
    let ours = std::fs::canonicalize(owner.data.log().join(EVENTS));
    if ours.is_ok_and(|ours| ours == events) {
        let reason = format!("{} is the log of this data directory; its consumer stores it", dir.display());
        return Err(OpError::Conflict(reason));
    }
    let config = adopted_log(&owner.settings);
    let opening = tokio::task::spawn_blocking(move || {
        let name = events.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Log::open(events.parent().unwrap_or(&events), &name, config)
    });
    let log = opening.await.map_err(|error| OpError::Failed(error.to_string()))?.map_err(opened)?;
    let shipped = match EventSinks::of(&owner.settings).stream {
        true => to_stream(owner, &log).await?,
        false => to_table(owner, &log).await?,
    };
    let left = log.cursors().iter().find(|cursor| cursor.name == SHIP).map_or(0, |cursor| cursor.lag);
    let mut answer = json!({ "dir": dir, "left": left });
    answer.as_object_mut().expect("it is an object").extend(shipped);
    Ok(answer)
}

/// What a slice did.
type Slice = serde_json::Map<String, Json>;

async fn to_table(owner: &Owner, log: &Log) -> Result<Slice, OpError> {
    let table = owner.table().await?;
    let source = log.source(SHIP).map_err(|error| OpError::Failed(error.to_string()))?;
    let status = StatusHandle::new();
    let (_stop, stopped) = watch::channel(Some(Instant::now() + SLICE));
    let config = Arc::new(owner.consumer_config());
    run(source, table, &config, stopped, &status).await.map_err(|error| OpError::Failed(causes(&error)))?;
    let done = status.get();
    Ok(Slice::from_iter([
        ("done".to_owned(), json!(done.caught_up)),
        ("known".to_owned(), json!(done.replayed)),
        ("fates".to_owned(), json!(done.fates)),
    ]))
}

async fn to_stream(owner: &Arc<Owner>, log: &Log) -> Result<Slice, OpError> {
    let destination = destination(owner).await?;
    let status = ShipperStatusHandle::new();
    let until = Instant::now() + SLICE;
    let shipped = destination.ship(log, SHIP, letters(owner), &status, until).await;
    let done = shipped.map_err(|error| OpError::Failed(causes(&error)))?;
    let status = status.get();
    if let Some(error) = status.error.filter(|_| status.acknowledged == 0 && !done) {
        return Err(OpError::Unavailable(error.reason));
    }
    Ok(Slice::from_iter([
        ("done".to_owned(), json!(done)),
        ("stream".to_owned(), json!(status.stream)),
        ("acknowledged".to_owned(), json!(status.acknowledged)),
        ("dead_letters".to_owned(), json!(status.dead_letters)),
    ]))
}

/// The log in `dir`: a data directory, what a rescue left, or the log's own directory.
fn find(dir: &Path) -> Result<PathBuf, OpError> {
    let candidates = [dir.join("log").join(EVENTS), dir.join(EVENTS), dir.to_owned()];
    let found = candidates.iter().find(|candidate| is_a_log(candidate));
    let found = found.and_then(|found| std::fs::canonicalize(found).ok());
    found.ok_or_else(|| {
        OpError::invalid(format!(
            "there is no log in {}: expected a data directory, a directory below drain.rescue, or one with \
             *.seg files",
            dir.display()
        ))
    })
}

/// Segments, or what a log has that was emptied.
fn is_a_log(dir: &Path) -> bool {
    let is_of_a_log = |name: &str| name == "cursors" || name.ends_with(".seg") || name.ends_with(".lane");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_of_a_log))
}

fn opened(error: OpenError) -> OpError {
    match error {
        OpenError::InUse(dir) => OpError::Conflict(format!(
            "{} belongs to a process that is alive; only a dead machine's log can be shipped",
            dir.display()
        )),
        other => OpError::Failed(other.to_string()),
    }
}
