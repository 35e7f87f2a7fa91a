//! Operations on what could not be stored.

use consumers::Replayed;
use serde_json::{Value as Json, json};

use super::event_json::{dead_letter_json, whole_dead_letter_json};
use super::events::listing_json;
use super::{OpError, Part, now_ms};
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
    let now_ms = now_ms();
    match owner.table().await?.ask(move |store| store.replay_dead_letter(sequence, now_ms)).await? {
        Replayed::NoSuchLetter => Err(none(sequence)),
        Replayed::StillDead(reason) => {
            Err(OpError::Conflict(format!("dead letter {sequence} cannot be stored still: {reason}")))
        }
        replayed => Ok(json!({ "sequence": sequence, "result": replayed })),
    }
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
