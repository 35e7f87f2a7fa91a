//! The file: opening it, its format version, and reopening it after an I/O error.
//!
//! After an I/O error, a full disk for instance, redb refuses every further call on that handle.
//! The store then drops the handle and the next call reopens the file: from what is on disk, with
//! a new descriptor, so that fsync is never retried on a failed one.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::{fmt, fs, io};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageError};
use tracing::warn;

use super::schema::{
    ARRIVALS, EVENTS, FORMAT, Fault, GIVEN, IDENTITIES, KEPT, LEDGER, LETTERS, META, PLACES, PROGRAMS,
    REJECTED, begin_read, begin_write, meta, number_of,
};
use crate::config::Config;
use crate::table::TableError;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The local table's file. All methods block; see [`LocalTable`](super::LocalTable).
pub(crate) struct Store {
    path: PathBuf,
    open: Open,
    database: RwLock<Option<Database>>,
    pub(super) expiry_ms: u64,
    pub(super) rejected_expiry_ms: u64,
    pub(super) sweep_items_max: usize,
    /// Bounds of the consumer's own dead letters.
    pub(super) letters_max: u64,
    pub(super) letter_bytes_max: u64,
}

impl Store {
    /// Opens or creates the file `config.table`.
    ///
    /// # Errors
    /// See [`OpenError`]; each names the file.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let path = config.table.clone();
        let cache_bytes = config.cache_bytes;
        let open = Box::new(move || Builder::new().set_cache_size(cache_bytes).open(&path));
        Self::open_with(config, open)
    }

    pub(super) fn open_with(config: &Config, open: Open) -> Result<Self, OpenError> {
        let path = config.table.clone();
        create_if_missing(&path)?;
        let database = open().map_err(|error| OpenError::of(&path, error))?;
        check_format(&path, &database)?;
        Ok(Self {
            path,
            open,
            database: RwLock::new(Some(database)),
            expiry_ms: u64::from(config.expiry_days.max(1)) * DAY_MS,
            rejected_expiry_ms: u64::from(config.rejected_days.max(1)) * DAY_MS,
            sweep_items_max: config.sweep_items_max.max(1),
            letters_max: config.dead_letters_max.max(1),
            letter_bytes_max: config.dead_letters_bytes_max,
        })
    }

    /// Runs `action` on the open database.
    pub(super) fn with<R>(
        &self,
        action: impl FnOnce(&Database) -> Result<R, Fault>,
    ) -> Result<R, TableError> {
        self.reopen_if_closed()?;
        let done = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &*database else {
                return Err(TableError::Unavailable("it was closed by another call that failed".into()));
            };
            action(database)
        };
        done.map_err(|fault| self.settle(fault))
    }

    fn reopen_if_closed(&self) -> Result<(), TableError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            let opened = (self.open)().map_err(|error| TableError::Unavailable(Box::new(error)))?;
            *database = Some(opened);
            warn!(table = %self.path.display(), "reopened the table after an error");
        }
        Ok(())
    }

    fn settle(&self, fault: Fault) -> TableError {
        let is_retryable = fault.needs_reopening();
        if is_retryable {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        match fault {
            Fault::Redb(error) if is_retryable => TableError::Unavailable(Box::new(error)),
            Fault::Redb(error) => TableError::Damaged(format!("{}: {error}", self.path.display())),
            Fault::Damaged(what) => TableError::Damaged(format!("{}: {what}", self.path.display())),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Creates the file under another name first: a process that is killed while redb lays out a
/// new file leaves one that redb never opens again.
fn create_if_missing(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let file = supervise::files::create_private_file(&unfinished).map_err(failed)?;
    let database = FileBackend::new(file).and_then(|backend| Builder::new().create_with_backend(backend));
    let database = database.map_err(|error| OpenError::of(path, error))?;
    check_format(path, &database)?;
    drop(database);
    fs::rename(&unfinished, path).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
}

/// Creates the tables of a new file; refuses one that a newer version wrote.
fn check_format(path: &Path, database: &Database) -> Result<(), OpenError> {
    match prepare(database) {
        Ok(found) if found > FORMAT => Err(OpenError::Newer { path: path.to_owned(), found }),
        Ok(_) => Ok(()),
        Err(fault) => Err(OpenError::Unreadable { path: path.to_owned(), reason: fault.to_string() }),
    }
}

/// The format version, after creating what a new file needs.
fn prepare(database: &Database) -> Result<u64, Fault> {
    let known = match begin_read(database)?.open_table(META) {
        Ok(meta) => number_of(&meta, meta::FORMAT)?,
        Err(redb::TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    if known > 0 {
        return Ok(known);
    }
    let tx = begin_write(database)?;
    tx.open_table(EVENTS)?;
    tx.open_table(IDENTITIES)?;
    tx.open_table(ARRIVALS)?;
    tx.open_table(PROGRAMS)?;
    tx.open_table(REJECTED)?;
    tx.open_table(LETTERS)?;
    tx.open_table(GIVEN)?;
    tx.open_table(KEPT)?;
    tx.open_table(PLACES)?;
    tx.open_table(LEDGER)?;
    tx.open_table(META)?.insert(meta::FORMAT, FORMAT)?;
    tx.commit()?;
    Ok(FORMAT)
}

/// Why the table's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open; use that one, or stop it.
    #[error("{}: another process has this table open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it; nothing was changed.
    #[error("{}: written by version {found} of the table format, this program knows {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The operating system refused it.
    #[error("{}: cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It is damaged, or not a table of ours.
    #[error(
        "{} is damaged, or no table of events: {reason}. Put a copy of it back, or move it away to begin with \
         an empty one; what the log has not handed on yet is still there", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OpenError {
    fn of(path: &Path, error: DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse { path },
            DatabaseError::Storage(StorageError::Io(source))
                if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Io { path, source }
            }
            other => Self::Unreadable { path, reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use proto::{Message, TrackingEvent, Uuid, ids};
    use redb::StorageBackend;
    use stream::{Batch, Item, Record, RecordKind};

    use super::*;
    use crate::decode::WriteBatch;

    /// A file on a disk that is full while the flag is set.
    #[derive(Debug)]
    struct FullDisk(FileBackend, Arc<AtomicBool>);

    impl FullDisk {
        fn room(&self) -> io::Result<()> {
            let full = self.1.load(Ordering::SeqCst);
            if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for FullDisk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room().and_then(|()| self.0.set_len(len))
        }
        fn sync_data(&self) -> io::Result<()> {
            self.room().and_then(|()| self.0.sync_data())
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room().and_then(|()| self.0.write(offset, data))
        }
        fn close(&self) -> io::Result<()> {
            self.0.close()
        }
    }

    fn work(number: u64) -> WriteBatch {
        let event = TrackingEvent {
            programid: "p".into(),
            message_id: ids::from_sender(&["p", "click", &number.to_string()]).to_string(),
            received_at_ms: 1,
            ..TrackingEvent::default()
        };
        let record = Record { number, kind: RecordKind::Event, payload: event.encode_to_vec().into() };
        WriteBatch::of(&[Batch::of_lane(Uuid::from_u128(1), 0, vec![Item::Record(record)])], 1)
    }

    #[test]
    fn a_table_on_a_full_disk_goes_on_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { table: directory.path().join("table.redb"), ..Config::default() };
        let full = Arc::new(AtomicBool::new(false));
        let path = config.table.clone();
        let flag = full.clone();
        let open: Open = Box::new(move || {
            let file = fs::OpenOptions::new().read(true).write(true).open(&path).map_err(StorageError::Io)?;
            Builder::new().create_with_backend(FullDisk(FileBackend::new(file)?, flag.clone()))
        });
        let store = Store::open_with(&config, open).unwrap();
        store.write(&work(0)).unwrap();

        full.store(true, Ordering::SeqCst);
        for attempt in 0..3 {
            let error = store.write(&work(1)).unwrap_err();
            assert!(error.is_retryable(), "attempt {attempt}: {error}");
        }
        full.store(false, Ordering::SeqCst);
        let written = store.write(&work(1)).unwrap();
        assert_eq!((written.fates.stored, written.replayed), (1, 0));
        assert_eq!(store.count(None).unwrap().items, 2);
    }
}
