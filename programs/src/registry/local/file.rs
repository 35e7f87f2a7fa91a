//! The redb file, opened again after a read or a write that failed.
//!
//! redb answers nothing more once the disk refused it, until it is opened again: a
//! disk that was full for a moment would take core data away until a restart. So a
//! failed call closes the file, and the next call opens it, verified like the first
//! time. What the failed call wrote is then there or not; versions make either
//! visible to followers.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use redb::backends::FileBackend;
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
    /// Opens the file, which must be there: one that went away is not to be replaced by an
    /// empty one.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let in_use = path.display().to_string();
        let opened = move |result| match result {
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                Err(RegistryError::InUse { place: in_use.clone() }.into())
            }
            other => other.map_err(Fault::from),
        };
        let path = path.to_owned();
        let open = move || opened(builder().open(&path));
        Ok(Self::new(open()?, Box::new(open)))
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

/// Creates the file for its owner only, if there is none, with what `fill` puts into it.
///
/// It gets its name when it is whole and synced. So a process that is killed before that leaves
/// nothing under the name, and a file under the name that is empty or cut is a damaged one.
pub(super) fn create_if_missing(
    path: &Path,
    fill: impl FnOnce(&Database) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if path.try_exists()? {
        return Ok(());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let database = FileBackend::new(file).and_then(|backend| builder().create_with_backend(backend));
    let filled = database.map_err(Fault::from).and_then(|database| fill(&database));
    let named = filled.and_then(|()| match fs::hard_link(&unfinished, path) {
        // A rename would take the file away from another process that was faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    });
    fs::remove_file(&unfinished)?;
    named?;
    // A new name survives a crash of the machine only when its directory was synced.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
}
