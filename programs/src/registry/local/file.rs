//! The redb file, opened again after a read or a write that failed.
//!
//! redb answers nothing more once the disk refused it, until it is opened again: a
//! disk that was full for a moment would take core data away until a restart. So a
//! failed call closes the file, and the next call opens it, verified like the first
//! time. What the failed call wrote is then there or not; versions make either
//! visible to followers.

use std::{
    fmt,
    fs::File,
    io,
    path::Path,
    sync::{PoisonError, RwLock},
};

use redb::{Builder, Database, DatabaseError};

use super::fault::Fault;
use crate::registry::RegistryError;

/// redb's own page cache. Small, since it would only keep what the catalog holds anyway: the
/// operating system caches the file as well. With 100,000 programs 16 MiB cost 15 MiB of
/// resident memory for good.
const CACHE_BYTES: usize = 1024 * 1024;

type Open = Box<dyn Fn() -> Result<Database, Fault> + Send + Sync>;

pub(super) struct DatabaseFile {
    open: Open,
    current: RwLock<Current>,
}

struct Current {
    /// `None` after a failure.
    database: Option<Database>,
    /// Tells a failure of this opening from one that was answered already.
    openings: u64,
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseFile").finish_non_exhaustive()
    }
}

impl DatabaseFile {
    /// Opens the file, or creates it empty.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let in_use = path.display().to_string();
        let opened = move |result| match result {
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                Err(RegistryError::InUse { place: in_use.clone() }.into())
            }
            other => other.map_err(Fault::from),
        };
        let first = opened(builder().create(path))?;
        let path = path.to_owned();
        // A file that went away is not to be replaced by an empty one.
        Ok(Self::new(first, Box::new(move || opened(builder().open(&path)))))
    }

    /// `open` is called after each failure of the one before.
    pub(super) fn new(first: Database, open: Open) -> Self {
        Self { open, current: RwLock::new(Current { database: Some(first), openings: 1 }) }
    }

    /// Does `work`; if the file could not be read or written, closes it.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, RegistryError> {
        self.open_again_if_closed()?;
        let (result, opening) = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            let result = match &current.database {
                Some(database) => work(database),
                None => {
                    Err(RegistryError::Unavailable("it was closed by another call that failed".into()).into())
                }
            };
            (result, current.openings)
        };
        if result.as_ref().is_err_and(Fault::is_unavailable) {
            self.close(opening);
        }
        Ok(result?)
    }

    fn open_again_if_closed(&self) -> Result<(), Fault> {
        if self.current.read().unwrap_or_else(PoisonError::into_inner).database.is_some() {
            return Ok(());
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.database.is_none() {
            current.database = Some((self.open)()?);
            current.openings += 1;
        }
        Ok(())
    }

    fn close(&self, opening: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.openings == opening {
            current.database = None;
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// A new file survives a crash of the machine only when its directory was synced.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
