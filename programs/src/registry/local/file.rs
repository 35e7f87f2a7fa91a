//! The redb file, reopened after a failed read or write.
//!
//! After an I/O error redb refuses every call until it is reopened: a disk that was full for a
//! moment would make core data unavailable until a restart. So a failed call closes the file, and
//! the next call reopens and verifies it. The failed write may or may not be there; versions show
//! followers which.

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

/// redb's own page cache. Small, since the catalog already holds the programs, and the operating
/// system caches the file as well. With 100,000 programs 16 MiB cost 15 MiB of
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
    /// Distinguishes a failure of this opening from one of an earlier opening.
    openings: u64,
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseFile").finish_non_exhaustive()
    }
}

impl DatabaseFile {
    /// Opens the file, which must exist: a missing one must not be replaced by an empty one.
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

    /// `open` reopens the file after a failure.
    pub(super) fn new(first: Database, open: Open) -> Self {
        Self { open, current: RwLock::new(Current { database: Some(first), openings: 1 }) }
    }

    /// Runs `work`; closes the file if it could not be read or written.
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

/// Creates the file, readable by its owner only, if there is none; `fill` writes its content.
///
/// It gets its name once it is complete and synced. So a killed process leaves nothing under the
/// name, and an empty or truncated file under the name is damaged.
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
        // A rename would replace the file of another process that was faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    });
    fs::remove_file(&unfinished)?;
    named?;
    // A new name survives a power loss only once its directory is synced.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
}
