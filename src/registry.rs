//! The registry that the configuration chooses: a file of this machine, or the Redis of a region.
//!
//! Everything behind it is the same code on either. Known when the process starts and one of
//! two, so an enum.

use programs::{
    Changes, Epoch, ImportReport, LocalRegistry, Program, ProgramId, Put, RedisRegistry, Registry,
    RegistryError, Snapshot, State, Subscription, Version, Versioned,
};

/// Which of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistryKind {
    /// A file, opened by one process at a time.
    #[default]
    Local,
    /// Shared by all trackers of a region, and by everybody who changes programs.
    Redis,
}

/// One of them, open.
#[derive(Debug)]
pub enum AnyRegistry {
    Local(LocalRegistry),
    Redis(RedisRegistry),
}

/// Asks the one that it is.
macro_rules! ask {
    ($registry:ident . $call:ident ( $($argument:expr),* )) => {
        match $registry {
            AnyRegistry::Local(registry) => registry.$call($($argument),*).await,
            AnyRegistry::Redis(registry) => registry.$call($($argument),*).await,
        }
    };
}

impl Registry for AnyRegistry {
    fn has_version_per_change(&self) -> bool {
        match self {
            Self::Local(registry) => registry.has_version_per_change(),
            Self::Redis(registry) => registry.has_version_per_change(),
        }
    }

    async fn state(&self) -> Result<State, RegistryError> {
        ask!(self.state())
    }

    async fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        ask!(self.get(id))
    }

    async fn put(&self, program: Program) -> Result<Put, RegistryError> {
        ask!(self.put(program))
    }

    async fn remove(&self, id: &ProgramId, revision: u64) -> Result<Put, RegistryError> {
        ask!(self.remove(id, revision))
    }

    async fn put_all(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        ask!(self.put_all(programs))
    }

    async fn import(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        ask!(self.import(programs))
    }

    async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        ask!(self.snapshot())
    }

    async fn changes_since(&self, epoch: Epoch, version: Version) -> Result<Changes, RegistryError> {
        ask!(self.changes_since(epoch, version))
    }

    async fn subscribe(&self) -> Result<Subscription, RegistryError> {
        ask!(self.subscribe())
    }
}
