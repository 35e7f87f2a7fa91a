//! Reads everything after a version, page by page, as a consistent snapshot.
//!
//! The log has one entry per program, at the version of its last change. Pages go up in
//! versions, and each is read with the state in one script. A program that changes while
//! pages are read moves to the end of the log, so a later page brings it again, with its new
//! content. When the last page is read, every program has been seen as it was at that page's
//! version.
//!
//! A row that cannot be read is left out and counted: one row must not stop a region. A
//! readable row with another version than in the log means that one of the keys was restored
//! alone: that store is damaged.

use std::collections::BTreeMap;

use super::{
    fault::{damaged, unavailable},
    keys::Keys,
    link::Link,
    row::Row,
    script::{self, CHANGES},
};
use crate::{
    id::ProgramId,
    registry::{CHANGE_LOG_MAX, Change, Epoch, RegistryError, State, Version},
};

/// Rows of one page: a few ms of Redis' time.
const PAGE_ROWS_MAX: usize = 1_000;
/// A page ends with the row that exceeds it, so it has at most this and one program.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// How often reading restarts because the store was replaced meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// Rows of one consistent read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) state: State,
    /// `None` for an unreadable row.
    pub(super) rows: BTreeMap<ProgramId, Option<Row>>,
}

impl Read {
    /// In the order of their versions.
    pub(super) fn into_changes(self, epoch: Epoch) -> Vec<Change> {
        let changes = self.rows.into_iter().filter_map(|(id, row)| Some(row?.into_change(epoch, id)));
        let mut changes: Vec<_> = changes.collect();
        changes.sort_unstable_by_key(|change| change.version);
        changes
    }
}

/// Whether a follower that is at `version` of `epoch` has to load everything.
pub(super) fn is_reload(state: State, epoch: Epoch, version: Version) -> bool {
    epoch != state.epoch || version > state.version || version.saturating_add(CHANGE_LOG_MAX) < state.version
}

/// Every row whose last change came after `since`.
pub(super) async fn read_from(link: &Link, keys: &Keys, since: Version) -> Result<Read, RegistryError> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(read) = try_read_from(link, keys, since).await? {
            return Ok(read);
        }
    }
    Err(unavailable("redis was emptied or replaced repeatedly while it was read"))
}

fn read_row(id: &str, version: Version, stored: &[u8]) -> Result<(ProgramId, Row), RegistryError> {
    let id: ProgramId =
        id.parse().map_err(|error| damaged(format!("{id:?} of version {version}: {error}")))?;
    let row = Row::read(&id, stored)?;
    Ok((id, row))
}

/// `None` if the store was replaced between two pages.
async fn try_read_from(link: &Link, keys: &Keys, since: Version) -> Result<Option<Read>, RegistryError> {
    let mut rows = BTreeMap::new();
    let mut before: Option<State> = None;
    let mut after = since;
    let mut enough = None;
    loop {
        let arguments = [after.to_string(), PAGE_ROWS_MAX.to_string(), PAGE_BYTES_MAX.to_string()];
        let mut answer = CHANGES.run(link, keys, &arguments.map(String::into_bytes)).await?;
        let state = answer.state;
        if before.is_some_and(|before| before.epoch != state.epoch || state.version < before.version) {
            return Ok(None);
        }
        before = Some(state);
        let more = script::text(answer.rest.next())? == "1";
        let began_after = after;
        while let Some(id) = answer.rest.next() {
            let id = String::from_utf8_lossy(&script::bytes(Some(id))?).into_owned();
            let version = script::number(answer.rest.next())?;
            let stored = script::bytes(answer.rest.next())?;
            after = after.max(version);
            match read_row(&id, version, &stored) {
                Ok((id, row)) if row.version == version => {
                    rows.insert(id, Some(row));
                }
                Ok((id, row)) => {
                    return Err(damaged(format!(
                        "{} has version {} of {id}, {} has {version}; were they restored from different copies?",
                        keys.programs, row.version, keys.versions
                    )));
                }
                // Skipped, but remembered as present, so that its program is not taken for removed.
                Err(error) => {
                    link.counters().leave_out(&id, &error);
                    rows.extend(id.parse().map(|id| (id, None)));
                }
            }
        }
        if !more {
            return Ok(Some(Read { state, rows }));
        }
        // A full page that does not advance would loop for ever.
        if after <= began_after {
            return Err(damaged(format!("{} has versions that do not rise after {after}", keys.versions)));
        }
        // Changes keep moving rows to the end; a bound on how far this read chases them.
        if after > *enough.get_or_insert(state.version.saturating_add(CHANGE_LOG_MAX)) {
            return Err(unavailable("programs change faster than they can be read"));
        }
    }
}
