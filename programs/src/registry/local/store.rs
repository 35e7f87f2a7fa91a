//! The file of the local registry: three redb tables and the rules of a change.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format`, `epoch`, `version`, `ready` | 128-bit number |
//! | `programs` | program id | version, revision, JSON; without JSON a tombstone |
//! | `changes` | version | program id; the last 100,000 |
//!
//! Commits are two-phase: redb's one-phase commit relies on a checksum that a torn write can be
//! crafted to pass.

use std::{path::Path, sync::Arc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{
    fault::{Fault, damaged},
    file::{self, DatabaseFile},
};
use crate::{
    id::ProgramId,
    program::Program,
    registry::{
        CHANGE_LOG_MAX, Change, Changes, Entry, Epoch, Put, RegistryError, Snapshot, State, Version,
        Versioned,
    },
};

/// Version, revision, JSON.
type Row<'a> = (u64, u64, Option<&'a [u8]>);

const META: TableDefinition<&str, u128> = TableDefinition::new("meta");
const PROGRAMS: TableDefinition<&str, Row> = TableDefinition::new("programs");
const CHANGES: TableDefinition<u64, &str> = TableDefinition::new("changes");

/// The version of the three tables above.
const FORMAT: u128 = 1;

#[derive(Debug)]
pub(super) struct Store {
    file: DatabaseFile,
    change_log_max: u64,
}

/// A requested change.
#[derive(Debug)]
pub(super) struct Edit {
    id: ProgramId,
    revision: u64,
    /// `None` removes.
    program: Option<Arc<Program>>,
}

impl Edit {
    pub(super) fn put(program: Program) -> Result<Self, RegistryError> {
        let id = program.id.clone();
        let Some(revision) = program.revision else { return Err(RegistryError::NoRevision { id }) };
        Ok(Self { id, revision, program: Some(Arc::new(program)) })
    }

    pub(super) fn remove(id: ProgramId, revision: u64) -> Self {
        Self { id, revision, program: None }
    }
}

/// What a transaction did; one result per edit, in their order.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) puts: Vec<Put>,
    pub(super) changes: Vec<Change>,
    pub(super) version: Version,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, RegistryError> {
        file::create_if_missing(path, initialise)?;
        let store = Self { file: DatabaseFile::open(path)?, change_log_max: CHANGE_LOG_MAX };
        store.file.with(initialise)?;
        Ok(store)
    }

    pub(super) fn state(&self) -> Result<State, RegistryError> {
        self.file.with(|database| read_state(&database.begin_read()?.open_table(META)?))
    }

    pub(super) fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let state = read_state(&transaction.open_table(META)?)?;
            let row = transaction.open_table(PROGRAMS)?.get(id.as_str())?;
            let entry = match &row {
                None => Entry::Absent,
                Some(row) => match row.value() {
                    (version, revision, None) => Entry::Removed { version, revision },
                    (version, _, Some(json)) => {
                        Entry::Program { version, program: parse(id.as_str(), json)? }
                    }
                },
            };
            Ok(Versioned { state, entry })
        })
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let state = read_state(&transaction.open_table(META)?)?;
            let mut programs = Vec::new();
            for row in transaction.open_table(PROGRAMS)?.iter()? {
                let (id, row) = row?;
                if let (version, _, Some(json)) = row.value() {
                    programs.push((version, parse(id.value(), json)?));
                }
            }
            Ok(Snapshot { state, programs })
        })
    }

    pub(super) fn changes_since(&self, epoch: Epoch, since: Version) -> Result<Changes, RegistryError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let state = read_state(&transaction.open_table(META)?)?;
            let log = transaction.open_table(CHANGES)?;
            let reaches_back = match log.first()? {
                Some((oldest, _)) => since.saturating_add(1) >= oldest.value(),
                None => true,
            };
            if epoch != state.epoch || since > state.version || !reaches_back {
                return Ok(Changes::Reload);
            }
            let programs = transaction.open_table(PROGRAMS)?;
            let mut changes = Vec::new();
            for entry in log.range(since.saturating_add(1)..)? {
                let (version, id) = entry?;
                let row = programs.get(id.value())?;
                let row = row.ok_or_else(|| damaged(format!("{} changed and is not stored", id.value())))?;
                let (last, _, json) = row.value();
                if last == version.value() {
                    changes.push(change(epoch, last, id.value(), json)?);
                }
            }
            Ok(Changes::List { state, changes })
        })
    }

    /// All edits in one transaction; nothing is written when none changes anything.
    pub(super) fn apply(&self, edits: Vec<Edit>) -> Result<Applied, RegistryError> {
        self.file.with(|database| self.apply_to(database, edits))
    }

    fn apply_to(&self, database: &Database, edits: Vec<Edit>) -> Result<Applied, Fault> {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        let mut applied = Applied { puts: Vec::with_capacity(edits.len()), changes: Vec::new(), version: 0 };
        {
            let mut meta = transaction.open_table(META)?;
            let mut programs = transaction.open_table(PROGRAMS)?;
            let mut log = transaction.open_table(CHANGES)?;
            let State { epoch, mut version, .. } = read_state(&meta)?;
            for edit in edits {
                let refused = match programs.get(edit.id.as_str())? {
                    Some(row) => refusal(&edit, row.value())?,
                    None => None,
                };
                if let Some(refused) = refused {
                    applied.puts.push(refused);
                    continue;
                }
                version += 1;
                let json = edit.program.as_ref().map(|program| {
                    serde_json::to_vec(program.as_ref()).expect("a program has no key that JSON cannot hold")
                });
                programs.insert(edit.id.as_str(), (version, edit.revision, json.as_deref()))?;
                log.insert(version, edit.id.as_str())?;
                applied.puts.push(Put::Stored { version });
                applied.changes.push(Change { epoch, version, id: edit.id, program: edit.program });
            }
            let forgotten = version.saturating_sub(self.change_log_max);
            log.retain_in(..=forgotten, |_, _| false)?;
            meta.insert("version", u128::from(version))?;
            applied.version = version;
        }
        if applied.changes.is_empty() {
            transaction.abort()?
        } else {
            transaction.commit()?
        }
        Ok(applied)
    }
}

/// Makes the tables, the epoch and the ready mark, unless they are there.
fn initialise(database: &Database) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(FORMAT) => {
                read_state(&meta)?;
                drop(meta);
                transaction.abort()?;
                return Ok(());
            }
            Some(found) if found > FORMAT => {
                return Err(RegistryError::Newer { found, known: FORMAT }.into());
            }
            Some(found) => return Err(damaged(format!("it has no format version {found}"))),
            None => {}
        }
        meta.insert("format", FORMAT)?;
        meta.insert("epoch", Epoch::random().as_u128())?;
        meta.insert("version", 0)?;
        meta.insert("ready", 1)?;
        transaction.open_table(PROGRAMS)?;
        transaction.open_table(CHANGES)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Why the edit does not replace what is stored; `None` when it does.
fn refusal(edit: &Edit, (version, stored, json): Row<'_>) -> Result<Option<Put>, Fault> {
    if edit.revision > stored {
        return Ok(None);
    }
    if edit.revision < stored {
        return Ok(Some(Put::OlderRevision { stored, given: edit.revision }));
    }
    let same = match (json, &edit.program) {
        (Some(json), Some(given)) => parse(edit.id.as_str(), json)? == *given,
        (stored, given) => stored.is_none() && given.is_none(),
    };
    Ok(Some(if same { Put::Unchanged { version } } else { Put::SameRevision { revision: stored } }))
}

fn read_state(meta: &impl ReadableTable<&'static str, u128>) -> Result<State, Fault> {
    let number = |key: &str| -> Result<u128, Fault> {
        let value = meta.get(key)?.ok_or_else(|| damaged(format!("it has no {key}")))?;
        Ok(value.value())
    };
    let version =
        u64::try_from(number("version")?).map_err(|_| damaged("its version is out of range".into()))?;
    Ok(State { epoch: Epoch::from_u128(number("epoch")?), version, ready: number("ready")? == 1 })
}

fn parse(id: &str, json: &[u8]) -> Result<Arc<Program>, Fault> {
    match serde_json::from_slice(json) {
        Ok(program) => Ok(Arc::new(program)),
        Err(error) => Err(damaged(format!("program {id}: {error}"))),
    }
}

fn change(epoch: Epoch, version: Version, id: &str, json: Option<&[u8]>) -> Result<Change, Fault> {
    let program = match json {
        Some(json) => Some(parse(id, json)?),
        None => None,
    };
    let id = id.parse().map_err(|error| damaged(format!("{id:?}: {error}")))?;
    Ok(Change { epoch, version, id, program })
}

#[cfg(test)]
mod tests;
