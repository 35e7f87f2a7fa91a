//! The seam between core data and the trackers: the source of truth about every program.
//!
//! Two implementations: [`LocalRegistry`] on one machine, [`RedisRegistry`] for a region.
//!
//! # What a follower may rely on
//!
//! - Every change has a **version**, one more than the change before. A follower
//!   that sees a hole calls [`Registry::changes_since`].
//! - Versions count within an **epoch**, a random id that is created with the counter.
//!   Another epoch, or a version below one that was seen, means another store (it
//!   was emptied, restored from a copy, or a replica took over that may lack the last
//!   changes): load everything again, and do not compare versions across the two. Changes with a
//!   higher *revision* that were seen before are lost there; their source will send them again,
//!   and a follower may keep them until then.
//! - A store that is not **ready** was never filled: a program that is missing from it may exist.
//!   Only [`Registry::import`] makes it ready.
//! - Subscribe first, load second: a change between the two is then seen twice
//!   instead of never, and its version makes twice harmless.
//!
//! # What a writer may rely on
//!
//! Each program has a **revision**, which orders its source's changes. A lower one is refused, so
//! a replay rolls nothing back. An equal one with equal content changes nothing, so a redelivery
//! is harmless. An equal one with *different* content is refused too: two sources disagree, and
//! otherwise the last to arrive would win, differently on each machine. A removed program leaves a
//! tombstone with its revision, so a late older change does not bring it back.

mod local;
mod redis;

use std::{fmt, future::Future, sync::Arc};

use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{id::ProgramId, program::Program};

pub use local::LocalRegistry;
pub use redis::{RedisConfig, RedisConfigError, RedisCounts, RedisRegistry};

/// Changes that a subscriber may be behind before it gets [`Notice::Lagged`].
pub const SUBSCRIPTION_CHANGES_MAX: usize = 1_024;
/// Changes that [`Registry::changes_since`] reaches back, at least.
pub const CHANGE_LOG_MAX: u64 = 100_000;

/// Counts the changes of one epoch, from 1; 0 is the empty store.
pub type Version = u64;

/// Where programs are kept.
///
/// # Errors
/// See [`RegistryError`]. A call that fails has changed nothing, except that a write which ends in
/// [`RegistryError::Unavailable`] may have been stored, a write of many programs in part.
/// Repeating it is harmless.
pub trait Registry: Send + Sync + 'static {
    /// Whether every change has a version of its own. If not, an unchanged version proves nothing:
    /// so with the AWS sample, whose hashes have none.
    fn has_version_per_change(&self) -> bool;

    /// Epoch, version and whether the store was ever filled.
    fn state(&self) -> impl Future<Output = Result<State, RegistryError>> + Send;

    /// One program, with the state at which it was read.
    fn get(&self, id: &ProgramId) -> impl Future<Output = Result<Versioned, RegistryError>> + Send;

    /// Stores a program, which must have a revision (see [`Program::or_revision`]).
    ///
    /// Durable on return, as far as the store is.
    fn put(&self, program: Program) -> impl Future<Output = Result<Put, RegistryError>> + Send;

    /// Leaves a tombstone with this revision, even if there is no such program.
    fn remove(
        &self,
        id: &ProgramId,
        revision: u64,
    ) -> impl Future<Output = Result<Put, RegistryError>> + Send;

    /// Puts many programs at once. Makes no statement about others: a store that was not ready
    /// stays so. For changes as they come, as from a bridge.
    ///
    /// Each change has a version of its own. Readers of [`LocalRegistry`] see
    /// all of them or none. [`RedisRegistry`] stores up to 256 at a time, each time all or
    /// none, in the order they were given; a call that fails may have stored the first ones.
    fn put_all(
        &self,
        programs: Vec<Program>,
    ) -> impl Future<Output = Result<ImportReport, RegistryError>> + Send;

    /// [`put_all`](Self::put_all), and then marks the store as ready: from now on a program that is
    /// missing is unknown. Only for a caller that knows that these, with what is stored already,
    /// are all programs.
    ///
    /// [`RedisRegistry`] sets the ready mark with the last programs: of the first import of a
    /// store readers see all or nothing, of a later one perhaps a part.
    fn import(
        &self,
        programs: Vec<Program>,
    ) -> impl Future<Output = Result<ImportReport, RegistryError>> + Send;

    /// Every program, without tombstones, at one version. [`RedisRegistry`] leaves out what
    /// cannot be read, here and in the changes, and counts it.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, RegistryError>> + Send;

    /// What changed after `version` of `epoch`.
    fn changes_since(
        &self,
        epoch: Epoch,
        version: Version,
    ) -> impl Future<Output = Result<Changes, RegistryError>> + Send;

    /// Changes from now on, in order.
    fn subscribe(&self) -> impl Future<Output = Result<Subscription, RegistryError>> + Send;
}

/// Names one life of a store: random, made together with its counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Epoch(Uuid);

impl Epoch {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The epoch of these 128 bits.
    pub fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The epoch with this text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Its 128 bits, for storage.
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The position of a store. A Redis that is empty has epoch 0, version 0, and is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Which store.
    pub epoch: Epoch,
    /// Its last change.
    pub version: Version,
    /// Whether a program that is missing is known not to exist.
    pub ready: bool,
}

/// One program as a store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// The state at which it was read. `ready` is about this program: it is false even in a ready
    /// store if the row of that id cannot be read, as the program may then exist.
    pub state: State,
    /// The entry.
    pub entry: Entry,
}

/// What is known under one id.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A program.
    Program {
        /// Of its last change.
        version: Version,
        /// The program, with its revision.
        program: Arc<Program>,
    },
    /// There was one, or its removal came first.
    Removed {
        /// Of the removal.
        version: Version,
        /// Of the removal.
        revision: u64,
    },
    /// No trace of it; it is known not to exist only if the state is ready.
    Absent,
}

/// What became of a put or a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Put {
    /// It is the newest, and has this version.
    Stored {
        /// Of this change.
        version: Version,
    },
    /// The same is stored already, by an earlier delivery.
    Unchanged {
        /// Of that delivery.
        version: Version,
    },
    /// Refused: a newer revision is stored.
    OlderRevision {
        /// The revision in the store.
        stored: u64,
        /// The refused one.
        given: u64,
    },
    /// Refused: something else is stored under this revision.
    SameRevision {
        /// The revision of both.
        revision: u64,
    },
}

/// What became of an import, or of many programs that were put at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Programs that are new or changed.
    pub stored: u64,
    /// Programs that were stored already.
    pub unchanged: u64,
    /// Programs whose revision was refused; the others are stored nevertheless.
    pub refused: Vec<Refused>,
    /// The version after it.
    pub version: Version,
}

/// One of many programs that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Which.
    pub id: ProgramId,
    /// [`Put::OlderRevision`] or [`Put::SameRevision`].
    #[serde(flatten)]
    pub reason: Put,
}

/// One change of one program.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of the store that changed.
    pub epoch: Epoch,
    /// Its place among all changes.
    pub version: Version,
    /// Which program.
    pub id: ProgramId,
    /// What it is now; `None` was removed.
    pub program: Option<Arc<Program>>,
}

/// Every program at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// How far the store was.
    pub state: State,
    /// In the order of their ids, each with the version of its last change.
    pub programs: Vec<(Version, Arc<Program>)>,
}

/// What happened after a version.
#[derive(Clone, Debug, PartialEq)]
pub enum Changes {
    /// The last change of each changed program, in the order of versions; earlier
    /// changes of the same program are left out, so the versions have holes.
    List {
        /// Where the follower is after it.
        state: State,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Another epoch, a version ahead of the store, or too long ago: take a snapshot.
    Reload,
}

/// Changes as they happen. Bounded by [`SUBSCRIPTION_CHANGES_MAX`]: the writer never
/// waits for a subscriber, which loses the oldest changes instead and gets [`Notice::Lagged`].
#[derive(Debug)]
pub struct Subscription {
    notices: broadcast::Receiver<Notice>,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The next change.
    Change(Change),
    /// Changes were lost: call [`Registry::changes_since`].
    Lagged {
        /// The number of lost changes.
        missed: u64,
    },
    /// The subscription has ended: subscribe again.
    Closed,
}

impl Subscription {
    /// Receives from the channel; [`Notice::Closed`] once its last sender is dropped.
    pub(crate) fn new(notices: broadcast::Receiver<Notice>) -> Self {
        Self { notices }
    }

    /// The next notice. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Notice {
        match self.notices.recv().await {
            Ok(notice) => notice,
            Err(broadcast::error::RecvError::Lagged(missed)) => Notice::Lagged { missed },
            Err(broadcast::error::RecvError::Closed) => Notice::Closed,
        }
    }
}

/// Why a registry could not answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The same call may succeed later.
    #[error("the registry cannot be reached at the moment")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Authentication or authorisation failed: operator action required, in our configuration or in
    /// the store. The same call may succeed then.
    #[error(
        "the registry denies access: {0}; check the user, its password, and the rights it needs on keys, channel and commands"
    )]
    Denied(String),
    /// Another process has the file open; go through that process.
    #[error("the registry {place} is open in another process")]
    InUse {
        /// Its file.
        place: String,
    },
    /// What is stored cannot be read; operator action required.
    #[error("the registry is damaged: {0}")]
    Damaged(String),
    /// A newer release wrote the store; start that release.
    #[error("the registry was written by version {found} of its format, this release reads up to {known}")]
    Newer {
        /// The version of the store's format.
        found: u128,
        /// The version this release writes.
        known: u128,
    },
    /// A program without a revision was passed; nothing was stored.
    #[error("program {id} has no revision")]
    NoRevision {
        /// Which.
        id: ProgramId,
    },
}
