//! Questions about stored events and refused hits.

use std::ops::ControlFlow;

use consumers::{Listing, Query, Start};
use programs::ProgramId;
use proto::Uuid;
use serde_json::{Value as Json, json};

use super::event_json::{event_json, rejected_json};
use super::{OpError, Part};
use crate::owner::Owner;

impl Part {
    pub(super) fn start(self) -> Start {
        self.after.map_or(Start::Newest, Start::At)
    }
}

pub async fn tail(owner: &Owner, part: Part) -> Result<Json, OpError> {
    let listing = owner.table().await?.ask(move |store| store.tail(part.start(), part.limit)).await?;
    Ok(listing_json(&listing, event_json))
}

pub async fn rejected(owner: &Owner, part: Part, reason: Option<String>) -> Result<Json, OpError> {
    let ask = move |store: &consumers::Store| store.rejected(part.start(), part.limit, reason.as_deref());
    let listing = owner.table().await?.ask(ask).await?;
    Ok(listing_json(&listing, rejected_json))
}

/// The items, each with its sequence, and where the next part continues.
pub(super) fn listing_json<T>(listing: &Listing<T>, item_json: impl Fn(&T) -> Json) -> Json {
    let item = |(sequence, item): &(u64, T)| {
        let mut json = item_json(item);
        json["sequence"] = json!(sequence);
        json
    };
    json!({ "items": listing.items.iter().map(item).collect::<Vec<_>>(), "next": listing.next })
}

pub async fn get(owner: &Owner, program: &ProgramId, id: Uuid) -> Result<Json, OpError> {
    let asked = program.clone();
    let found = owner.table().await?.ask(move |store| store.get(asked.as_str(), id)).await?;
    found.as_ref().map(event_json).ok_or_else(|| {
        OpError::NotFound(format!(
            "program {program} has no stored event {id}; it may be in the log still (`clickgate log cursor`), \
             in the dead letters, or expired"
        ))
    })
}

pub async fn query(owner: &Owner, query: Query) -> Result<Json, OpError> {
    let page = owner.table().await?.ask(move |store| store.query(&query)).await?;
    let items: Vec<Json> = page.items.iter().map(|(_, event)| event_json(event)).collect();
    Ok(json!({ "items": items, "next": page.next }))
}

pub async fn count(owner: &Owner, program: Option<ProgramId>, scan: bool) -> Result<Json, OpError> {
    let ask = move |store: &consumers::Store| {
        let program = program.as_ref().map(ProgramId::as_str);
        let count = json!(store.count(program)?);
        if !scan {
            return Ok(count);
        }
        let mut scanned = 0u64;
        store.scan(|of, _| {
            scanned += u64::from(program.is_none_or(|program| program == of));
            ControlFlow::Continue(())
        })?;
        Ok(json!({ "items": count["items"], "expired": count["expired"], "scanned": scanned }))
    };
    Ok(owner.table().await?.ask(ask).await?)
}
