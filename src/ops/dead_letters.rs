//! Operations on what could not be stored.

use std::sync::Arc;

use bridges::programs::{position, read_message};
use consumers::{Cursor, Replayed, Table};
use proto::{BootId, DeadLetter, Stage};
use serde_json::{Value as Json, json};
use supervise::now_ms;

use super::event_json::{dead_letter_json, whole_dead_letter_json};
use super::events::listing_json;
use super::programs::not_accepted;
use super::{OpError, Part};
use crate::bridging;
use crate::owner::Owner;
use crate::shipping::destination;

/// Them, with how many there are and how many there may be.
pub async fn list(owner: &Owner, part: Part) -> Result<Json, OpError> {
    let table = owner.table().await?;
    let listing = table.dead_letters(part.start, part.limit).await?;
    let mut json = listing_json(&listing, |id, letter| {
        let mut json = dead_letter_json(letter);
        json["id"] = json!(id);
        json
    });
    json["held"] = json!(table.dead_letters_held().await?);
    Ok(json)
}

pub async fn show(owner: &Owner, id: &Cursor) -> Result<Json, OpError> {
    let letter = owner.table().await?.dead_letter(id).await?;
    let mut json = whole_dead_letter_json(&letter.ok_or_else(|| none(id))?);
    json["id"] = json!(id);
    Ok(json)
}

pub async fn replay(owner: &Arc<Owner>, id: &Cursor) -> Result<Json, OpError> {
    let table = owner.table().await?;
    let letter = table.dead_letter(id).await?;
    if let Some(letter) = letter.as_ref().filter(|letter| letter.stage() == bridges::programs::STAGE) {
        return replay_core_data(owner, id, letter).await;
    }
    if let Some(letter) = letter.as_ref().filter(|letter| letter.stage() == Stage::BridgeActivemq) {
        return replay_message(owner, id, letter).await;
    }
    if let Some(letter) = letter.filter(|letter| letter.stage() == Stage::Shipper) {
        return resend(owner, id, &letter).await;
    }
    match table.replay_dead_letter(id, now_ms()).await? {
        Replayed::NoSuchLetter => Err(none(id)),
        Replayed::StillDead(reason) => {
            Err(OpError::Conflict(format!("dead letter {id} cannot be stored still: {reason}")))
        }
        replayed => Ok(json!({ "id": id, "result": replayed })),
    }
}

/// Sends it to the stream once more. A crash before it is dropped leaves it both there and here;
/// whoever stores it knows it by its place.
async fn resend(owner: &Owner, id: &Cursor, letter: &DeadLetter) -> Result<Json, OpError> {
    let sent = destination(owner).await?.resend(letter).await;
    sent.map_err(|reason| OpError::Conflict(format!("dead letter {id} is not in the stream: {reason}")))?;
    owner.table().await?.drop_dead_letter(id).await?;
    Ok(json!({ "id": id, "result": "in_stream" }))
}

/// Puts it back into the log that it came from, as old as it is: what was said since stands.
///
/// Without a revision of its own it gets the one that the bridge would have given it, by its
/// place in the log. The time at which it failed is no measure: a bridge that was held up
/// fails it long after newer changes were accepted behind it.
///
/// It is a letter until the log has it, so a crash between the two leaves both, and the log
/// may be asked twice.
async fn replay_core_data(owner: &Owner, id: &Cursor, letter: &DeadLetter) -> Result<Json, OpError> {
    let changes = read_message(&letter.payload).map_err(|errors| {
        let reason = errors.first().map(ToString::to_string).unwrap_or_default();
        OpError::Conflict(format!("dead letter {id} cannot be read still: {reason}"))
    })?;
    let boot = BootId::from_slice(&letter.boot).map_err(|_| {
        let bytes = letter.boot.len();
        OpError::Failed(format!("dead letter {id} has no place in a log: its boot has {bytes} bytes"))
    })?;
    let revision = position(&boot, letter.number);
    let changes = changes.into_iter().map(|change| change.or_revision(revision)).collect();
    owner.intake().await?.accept(changes).await.map_err(not_accepted)?;
    owner.table().await?.drop_dead_letter(id).await?;
    Ok(json!({ "id": id, "result": "in_log" }))
}

/// Puts it through the mapping of its queue again, by the programs and the configuration of now.
///
/// It is a letter until the log has its event. A crash between the two leaves both, and the event that a
/// second replay makes is the same one.
async fn replay_message(owner: &Arc<Owner>, id: &Cursor, letter: &DeadLetter) -> Result<Json, OpError> {
    let Some(queue) = bridging::queue_of(owner, letter) else {
        let origin = letter.origin.clone().unwrap_or_default();
        return Err(OpError::Conflict(format!(
            "dead letter {id} is of {} at the broker {:?}, and no queue is configured so; its configuration says \
             what the message becomes",
            origin.destination, origin.broker
        )));
    };
    let sink = bridging::sink(owner, Some(bridging::judge(owner).await?)).await?;
    let replayed = sink.replay(queue, letter, owner.replay_lane().await?).await;
    replayed.map_err(|error| {
        OpError::Conflict(format!("dead letter {id} cannot become what its queue says still: {error}"))
    })?;
    owner.table().await?.drop_dead_letter(id).await?;
    Ok(json!({ "id": id, "result": "in_log" }))
}

pub async fn drop(owner: &Owner, id: &Cursor) -> Result<Json, OpError> {
    let table = owner.table().await?;
    let orphaned = match table.dead_letter(id).await? {
        Some(letter) => table.orphaned_by(&letter).await?,
        None => None,
    };
    if table.drop_dead_letter(id).await? {
        Ok(json!({ "id": id, "result": "dropped", "orphaned": orphaned }))
    } else {
        Err(none(id))
    }
}

fn none(id: &Cursor) -> OpError {
    OpError::NotFound(format!("there is no dead letter {id}; `clickgate dead-letters list` shows all"))
}
