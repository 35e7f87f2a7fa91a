//! Operations on what could not be stored.

use bridges::programs::{position, read_message};
use consumers::Replayed;
use proto::{BootId, DeadLetter};
use serde_json::{Value as Json, json};
use supervise::now_ms;

use super::event_json::{dead_letter_json, whole_dead_letter_json};
use super::events::listing_json;
use super::programs::not_accepted;
use super::{OpError, Part};
use crate::owner::Owner;

pub async fn list(owner: &Owner, part: Part) -> Result<Json, OpError> {
    let ask = move |store: &consumers::Store| store.dead_letters(part.start(), part.limit);
    Ok(listing_json(&owner.table().await?.ask(ask).await?, dead_letter_json))
}

pub async fn show(owner: &Owner, sequence: u64) -> Result<Json, OpError> {
    let letter = owner.table().await?.ask(move |store| store.dead_letter(sequence)).await?;
    let mut json = whole_dead_letter_json(&letter.ok_or_else(|| none(sequence))?);
    json["sequence"] = json!(sequence);
    Ok(json)
}

pub async fn replay(owner: &Owner, sequence: u64) -> Result<Json, OpError> {
    let letter = owner.table().await?.ask(move |store| store.dead_letter(sequence)).await?;
    if let Some(letter) = letter.filter(|letter| letter.stage == bridges::programs::STAGE) {
        return replay_core_data(owner, sequence, &letter).await;
    }
    let now_ms = now_ms();
    match owner.table().await?.ask(move |store| store.replay_dead_letter(sequence, now_ms)).await? {
        Replayed::NoSuchLetter => Err(none(sequence)),
        Replayed::StillDead(reason) => {
            Err(OpError::Conflict(format!("dead letter {sequence} cannot be stored still: {reason}")))
        }
        replayed => Ok(json!({ "sequence": sequence, "result": replayed })),
    }
}

/// Puts it back into the log that it came from, as old as it is: what was said since stands.
///
/// Without a revision of its own it gets the one that the bridge would have given it, by its
/// place in the log. The time at which it failed is no measure: a bridge that was held up
/// fails it long after newer changes were accepted behind it.
///
/// It is a letter until the log has it, so a crash between the two leaves both, and the log
/// may be asked twice.
async fn replay_core_data(owner: &Owner, sequence: u64, letter: &DeadLetter) -> Result<Json, OpError> {
    let changes = read_message(&letter.payload).map_err(|errors| {
        let reason = errors.first().map(ToString::to_string).unwrap_or_default();
        OpError::Conflict(format!("dead letter {sequence} cannot be read still: {reason}"))
    })?;
    let boot = BootId::from_slice(&letter.boot).map_err(|_| {
        let bytes = letter.boot.len();
        OpError::Failed(format!("dead letter {sequence} has no place in a log: its boot has {bytes} bytes"))
    })?;
    let revision = position(&boot, letter.number);
    let changes = changes.into_iter().map(|change| change.or_revision(revision)).collect();
    owner.intake().await?.accept(changes).await.map_err(not_accepted)?;
    owner.table().await?.ask(move |store| store.drop_dead_letter(sequence)).await?;
    Ok(json!({ "sequence": sequence, "result": "in_log" }))
}

pub async fn drop(owner: &Owner, sequence: u64) -> Result<Json, OpError> {
    if owner.table().await?.ask(move |store| store.drop_dead_letter(sequence)).await? {
        Ok(json!({ "sequence": sequence, "result": "dropped" }))
    } else {
        Err(none(sequence))
    }
}

fn none(sequence: u64) -> OpError {
    OpError::NotFound(format!("there is no dead letter {sequence}; `clickgate dead-letters list` shows all"))
}
