//! Test support: sample programs, and a registry that can be blocked. Behind the feature `testing`,
//! for the tests of other crates.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::{
    Arc, Mutex, RwLock,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::catalog::CatalogConfig;
use crate::{
    Changes, Epoch, ImportReport, LocalRegistry, Program, ProgramId, Put, Registry, RegistryError, Snapshot,
    State, Subscription, Version, Versioned,
};

pub const NOW: u64 = 1_790_000_000_000;

/// A catalog whose misses wait as long as a busy machine needs; a test of the limit sets it.
pub fn patient() -> CatalogConfig {
    CatalogConfig { registry_timeout_ms: 60_000, ..CatalogConfig::default() }
}

/// A program with this id and name, of this revision.
pub fn program(id: &str, name: &str, revision: u64) -> Program {
    let mut program = crate::samples().remove(0);
    program.id = id.parse().unwrap();
    let url = program.landing_url().map(|url| crate::LandingUrl::parse(url.as_str()).unwrap());
    program.texts = crate::Texts::new(name, program.checksum(), program.customer_name(), url.as_ref());
    program.revision = Some(revision);
    program
}

pub fn id(text: &str) -> ProgramId {
    text.parse().unwrap()
}

/// A local registry that counts its reads and can be unavailable, not ready, slow or replaced.
pub struct Held {
    store: RwLock<Arc<LocalRegistry>>,
    pub dir: TempDir,
    reads: Mutex<Vec<ProgramId>>,
    pub away: AtomicBool,
    pub unready: AtomicBool,
    /// Its next call panics.
    pub panics: AtomicBool,
    /// Its changes have no versions, as those of the AWS sample.
    pub unversioned: AtomicBool,
    /// Each answer to a read needs a permit; there are plenty unless `hold` was called.
    gate: Semaphore,
}

impl Held {
    pub fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let store = RwLock::new(Arc::new(LocalRegistry::open(&dir.path().join("0.redb")).unwrap()));
        let flag = || AtomicBool::new(false);
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            store,
            dir,
            reads: Mutex::default(),
            away: flag(),
            unready: flag(),
            panics: flag(),
            unversioned: flag(),
            gate,
        })
    }

    /// From now on answers wait until they are released.
    pub fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn release(&self) {
        self.gate.add_permits(100_000);
    }

    pub fn reads(&self) -> usize {
        self.reads.lock().unwrap().len()
    }

    pub fn reads_of(&self, id: &str) -> usize {
        self.reads.lock().unwrap().iter().filter(|read| read.as_str() == id).count()
    }

    pub fn forget_reads(&self) {
        self.reads.lock().unwrap().clear();
    }

    pub fn store(&self) -> Arc<LocalRegistry> {
        Arc::clone(&self.store.read().unwrap())
    }

    /// Replaces the store; subscriptions end.
    pub fn replace(&self, store: LocalRegistry) {
        *self.store.write().unwrap() = Arc::new(store);
    }

    fn check(&self) -> Result<Arc<LocalRegistry>, RegistryError> {
        if self.away.load(SeqCst) { Err(RegistryError::Unavailable("away".into())) } else { Ok(self.store()) }
    }

    fn state_of(&self, state: State) -> State {
        State { ready: state.ready && !self.unready.load(SeqCst), ..state }
    }
}

impl Registry for Held {
    fn has_version_per_change(&self) -> bool {
        !self.unversioned.load(SeqCst)
    }

    async fn state(&self) -> Result<State, RegistryError> {
        assert!(!self.panics.load(SeqCst), "as the test ordered");
        Ok(self.state_of(self.check()?.state().await?))
    }

    async fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        self.reads.lock().unwrap().push(id.clone());
        let answer = self.check()?.get(id).await?;
        self.gate.acquire().await.unwrap().forget();
        Ok(Versioned { state: self.state_of(answer.state), ..answer })
    }

    async fn put(&self, program: Program) -> Result<Put, RegistryError> {
        self.check()?.put(program).await
    }

    async fn remove(&self, id: &ProgramId, revision: u64) -> Result<Put, RegistryError> {
        self.check()?.remove(id, revision).await
    }

    async fn put_all(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        self.check()?.put_all(programs).await
    }

    async fn import(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        self.check()?.import(programs).await
    }

    async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        let snapshot = self.check()?.snapshot().await?;
        Ok(Snapshot { state: self.state_of(snapshot.state), ..snapshot })
    }

    async fn changes_since(&self, epoch: Epoch, version: Version) -> Result<Changes, RegistryError> {
        Ok(match self.check()?.changes_since(epoch, version).await? {
            Changes::List { state, changes } => Changes::List { state: self.state_of(state), changes },
            Changes::Reload => Changes::Reload,
        })
    }

    async fn subscribe(&self) -> Result<Subscription, RegistryError> {
        self.check()?.subscribe().await
    }
}
