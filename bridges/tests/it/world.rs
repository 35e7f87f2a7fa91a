//! A log and a registry in a directory of their own, and what one would want to say to them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bridges::programs::{Bridge, Config, LettersError, StatusHandle, Turn};
use programs::{
    Changes, Epoch, ImportReport, LocalRegistry, Program, ProgramId, Put, Registry, RegistryError, Snapshot,
    State, Subscription, Version, Versioned,
};
use proto::DeadLetter;
use stream::{Class, Level, Log, LogConfig, LogSource, Number, RecordKind};
use tempfile::TempDir;

pub const CURSOR: &str = "programs";

pub struct World {
    directory: TempDir,
    pub registry: Arc<LocalRegistry>,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Arc::new(LocalRegistry::open(&directory.path().join("registry.redb")).unwrap());
        Self { directory, registry }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Opens the log; after an earlier one was closed and dropped it is a new process start.
    pub fn log(&self) -> Log {
        let config = LogConfig {
            segment_bytes: 64 << 10,
            lane_bytes_max: 16 << 10,
            log_bytes_max: 512 << 10,
            cursors: vec![CURSOR.to_owned()],
            ..LogConfig::default()
        };
        Log::open(self.path(), "programs", config).unwrap()
    }

    /// What the registry has, as (id, name).
    pub async fn names(&self) -> BTreeMap<String, String> {
        let snapshot = self.registry.snapshot().await.unwrap();
        snapshot.programs.iter().map(|(_, it)| (it.id.to_string(), it.name().to_string())).collect()
    }
}

/// Core data of a program that says its name.
pub fn put(id: &str, name: &str, revision: Option<u64>) -> String {
    let mut json = serde_json::json!({
        "programId": id, "programName": name, "customerId": 1, "customerName": "C", "valid": true,
    });
    if let Some(revision) = revision {
        json["revision"] = revision.into();
    }
    json.to_string()
}

pub fn remove(id: &str, revision: u64) -> String {
    serde_json::json!({ "programId": id, "removed": true, "revision": revision }).to_string()
}

/// Appends records in a lane of its own; the numbers that they got.
pub async fn append<T: AsRef<[u8]>>(log: &Log, kind: RecordKind, payloads: &[T]) -> Vec<Number> {
    let lane = log.open_lane().unwrap();
    let mut numbers = Vec::new();
    for payload in payloads {
        let payload = payload.as_ref();
        let number = lane.append(Class::Conversion, kind, |_, to| to.extend_from_slice(payload)).unwrap();
        lane.reached(Level::Written, number).await.unwrap();
        numbers.push(number);
    }
    numbers
}

/// Dead letters in memory, which fails as often as it is told to.
#[derive(Clone, Default)]
pub struct Letters {
    pub kept: Rc<RefCell<Vec<DeadLetter>>>,
    pub failures: Rc<RefCell<usize>>,
}

impl Letters {
    pub fn keep(&self) -> impl AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError> + use<> {
        let letters = self.clone();
        async move |given: Vec<DeadLetter>| {
            let failures = *letters.failures.borrow();
            if failures > 0 {
                *letters.failures.borrow_mut() -= 1;
                return Err("away".into());
            }
            letters.kept.borrow_mut().extend(given);
            Ok(0)
        }
    }

    pub fn reasons(&self) -> Vec<String> {
        self.kept.borrow().iter().map(|letter| letter.reason.clone()).collect()
    }
}

/// Looks again every millisecond, for 30 s at most.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), held).await.is_ok(), "never: {what}");
}

/// Small batches, short pauses.
pub fn config() -> Config {
    Config { batch_bytes_max: 500, poll_ms: 1, retry_pause_ms_max: 5 }
}

/// Turns until there is nothing more; fails at the first error.
pub async fn run_to_the_end<R: Registry>(
    source: LogSource,
    registry: &Arc<R>,
    letters: &Letters,
) -> StatusHandle {
    let status = StatusHandle::new();
    let mut bridge = Bridge::new(source, Arc::clone(registry), letters.keep(), config(), status.clone());
    while bridge.turn().await.unwrap() == Turn::Full {}
    status
}

/// A registry that is away for the first calls that write, and then is the one inside.
pub struct Away {
    pub inside: Arc<LocalRegistry>,
    pub failures: AtomicUsize,
    /// Whether a call that fails has stored all the same.
    pub stores_first: bool,
}

impl Away {
    fn fails(&self) -> Result<(), RegistryError> {
        let failed = self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if failed { Err(RegistryError::Unavailable("away".into())) } else { Ok(()) }
    }
}

impl Registry for Away {
    fn has_version_per_change(&self) -> bool {
        self.inside.has_version_per_change()
    }

    async fn state(&self) -> Result<State, RegistryError> {
        self.inside.state().await
    }

    async fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        self.inside.get(id).await
    }

    async fn put(&self, program: Program) -> Result<Put, RegistryError> {
        self.inside.put(program).await
    }

    async fn remove(&self, id: &ProgramId, revision: u64) -> Result<Put, RegistryError> {
        if !self.stores_first {
            self.fails()?;
        }
        let put = self.inside.remove(id, revision).await?;
        self.fails().map(|()| put)
    }

    async fn put_all(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        if !self.stores_first {
            self.fails()?;
        }
        let report = self.inside.put_all(programs).await?;
        self.fails().map(|()| report)
    }

    async fn import(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        if !self.stores_first {
            self.fails()?;
        }
        let report = self.inside.import(programs).await?;
        self.fails().map(|()| report)
    }

    async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        self.inside.snapshot().await
    }

    async fn changes_since(&self, epoch: Epoch, version: Version) -> Result<Changes, RegistryError> {
        self.inside.changes_since(epoch, version).await
    }

    async fn subscribe(&self) -> Result<Subscription, RegistryError> {
        self.inside.subscribe().await
    }
}

/// Runs a test on one thread, as a lane wants it.
pub fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}
