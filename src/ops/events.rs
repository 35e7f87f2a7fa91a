//! Questions about stored events and refused hits.

use consumers::{Cursor, Listing, Query, Start, Table, TableError};
use programs::decision::Refusal;
use programs::{Entry, ProgramId, Registry};
use proto::Uuid;
use serde_json::{Value as Json, json};

use super::event_json::{event_json, rejected_json};
use super::{OpError, Part};
use crate::owner::Owner;
use crate::registry::RegistryKind;
use crate::similar;

pub async fn tail(owner: &Owner, part: Part, program: Option<ProgramId>) -> Result<Json, OpError> {
    let name = program.as_ref().map(ProgramId::as_str);
    let is_first = matches!(part.start, Start::Newest | Start::Oldest);
    let listing = owner.events().await?.tail(name, part.start, part.limit).await?;
    if let Some(program) = program.filter(|_| is_first && listing.items.is_empty()) {
        require_program(owner, &program).await?;
    }
    Ok(listing_json(&listing, |_, event| event_json(event)))
}

pub async fn rejected(owner: &Owner, part: Part, reason: Option<String>) -> Result<Json, OpError> {
    if let Some(reason) = &reason {
        require_reason(reason)?;
    }
    let listing = owner.events().await?.rejected(part.start, part.limit, reason.as_deref()).await?;
    Ok(listing_json(&listing, |_, rejected| rejected_json(rejected)))
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

/// The items, and where the next part continues.
pub(super) fn listing_json<T>(listing: &Listing<T>, item_json: impl Fn(&Cursor, &T) -> Json) -> Json {
    let items: Vec<Json> = listing.items.iter().map(|(place, item)| item_json(place, item)).collect();
    json!({ "items": items, "next": listing.next })
}

pub async fn get(owner: &Owner, program: &ProgramId, id: Uuid) -> Result<Json, OpError> {
    if let Some(event) = owner.events().await?.get(program.as_str(), id).await? {
        return Ok(event_json(&event));
    }
    require_program(owner, program).await?;
    Err(OpError::NotFound(format!(
        "program {program} has no stored event {id}; it may be in the log still (`clickgate log cursor`), \
         in the dead letters, or expired"
    )))
}

pub async fn query(owner: &Owner, query: Query) -> Result<Json, OpError> {
    let page = owner.events().await?.query(query.clone()).await?;
    if page.items.is_empty() && query.after.is_none() {
        let program = query.program.parse().map_err(|error| OpError::invalid(format!("program: {error}")))?;
        require_program(owner, &program).await?;
    }
    Ok(listing_json(&page, |_, event| event_json(event)))
}

pub async fn count(owner: &Owner, program: Option<ProgramId>, scan: bool) -> Result<Json, OpError> {
    let table = owner.events().await?;
    let name = program.as_ref().map(ProgramId::as_str);
    let mut counted = match table.count(name).await {
        Err(TableError::NotOffered(_)) if scan => json!({}),
        counted => json!(counted?),
    };
    if scan {
        counted["scanned"] = json!(table.count_by_scan(name).await?);
    }
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
    let is_registry_elsewhere = owner.settings.registry.kind == RegistryKind::Local
        && owner.opened_registry().is_none()
        && !(owner.has_directory() && owner.data.registry(&owner.settings).exists());
    if is_registry_elsewhere || owner.events().await?.has_had(program.as_str()).await? {
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
