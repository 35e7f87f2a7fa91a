//! Questions about stored events and refused hits.

use std::ops::ControlFlow;

use consumers::{Listing, Query, Start};
use programs::decision::Refusal;
use programs::{Entry, ProgramId, Registry};
use proto::Uuid;
use serde_json::{Value as Json, json};

use super::event_json::{event_json, rejected_json};
use super::{OpError, Part};
use crate::owner::Owner;
use crate::registry::RegistryKind;
use crate::similar;

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
    if let Some(reason) = &reason {
        require_reason(reason)?;
    }
    let ask = move |store: &consumers::Store| store.rejected(part.start(), part.limit, reason.as_deref());
    let listing = owner.table().await?.ask(ask).await?;
    Ok(listing_json(&listing, rejected_json))
}

/// A misspelt reason would look as if no hit were refused for it.
fn require_reason(reason: &str) -> Result<(), OpError> {
    let known: Vec<&str> = Refusal::ALL.iter().map(|known| known.name()).collect();
    if known.contains(&reason) {
        return Ok(());
    }
    let nearest = similar::nearest(reason, known.iter().copied());
    let hint = nearest.map_or_else(|| ".".to_owned(), |nearest| format!("; did you mean {nearest}?"));
    Err(OpError::invalid(format!("there is no reason {reason:?}{hint} The reasons are {}", known.join(", "))))
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
    if let Some(event) = found {
        return Ok(event_json(&event));
    }
    require_program(owner, program).await?;
    Err(OpError::NotFound(format!(
        "program {program} has no stored event {id}; it may be in the log still (`clickgate log cursor`), \
         in the dead letters, or expired"
    )))
}

pub async fn query(owner: &Owner, query: Query) -> Result<Json, OpError> {
    let asked = query.clone();
    let page = owner.table().await?.ask(move |store| store.query(&asked)).await?;
    if page.items.is_empty() && query.after.is_none() {
        let program = query.program.parse().map_err(|error| OpError::invalid(format!("program: {error}")))?;
        require_program(owner, &program).await?;
    }
    let items: Vec<Json> = page.items.iter().map(|(_, event)| event_json(event)).collect();
    Ok(json!({ "items": items, "next": page.next }))
}

pub async fn count(owner: &Owner, program: Option<ProgramId>, scan: bool) -> Result<Json, OpError> {
    let asked = program.clone();
    let ask = move |store: &consumers::Store| {
        let program = asked.as_ref().map(ProgramId::as_str);
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
    let counted = owner.table().await?.ask(ask).await?;
    if let Some(program) = &program
        && counted["scanned"].as_u64().is_none_or(|scanned| scanned == 0)
    {
        require_program(owner, program).await?;
    }
    Ok(counted)
}

/// That a program has no events says nothing if there is no such program: then its id is wrong.
///
/// It is taken for wrong only where nothing speaks for it: no event of it is or was in the table
/// (a program may have been removed, or its events came with `log ship`), the registry has not
/// even a tombstone of it, and can be believed. Where the registry is away, was never filled or
/// was never opened here, as beside a consumer alone, nobody knows.
async fn require_program(owner: &Owner, program: &ProgramId) -> Result<(), OpError> {
    let asked = program.clone();
    let count = owner.table().await?.ask(move |store| store.count(Some(asked.as_str()))).await?;
    let is_registry_elsewhere = owner.settings.registry.kind == RegistryKind::Local
        && owner.opened_registry().is_none()
        && !owner.data.registry(&owner.settings).exists();
    if count.items > 0 || count.expired > 0 || is_registry_elsewhere {
        return Ok(());
    }
    let Ok(registry) = owner.registry().await else { return Ok(()) };
    match registry.get(program).await {
        Ok(read) if read.state.ready && read.entry == Entry::Absent => Err(OpError::NotFound(format!(
            "there is no program {program}, and no event of it is stored; `clickgate programs list` shows all"
        ))),
        _ => Ok(()),
    }
}
