//! What the owner of a data directory has open. A role opens what it needs at its start;
//! a short command only what its question needs, on first use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bridges::programs::Intake;
use consumers::LocalTable;
use programs::{LocalRegistry, RedisRegistry, RegistryError};
use stream::{LaneThread, Log};
use supervise::now_ms;
use tokio::sync::OnceCell;
use tracker::{Decider, TrackerAdmin};

use crate::config::{Settings, TableKind};
use crate::cursors::{EventSinks, core_data_log, events_log};
use crate::data::DataDir;
use crate::part::Report;
use crate::registry::{AnyRegistry, RegistryKind};
use crate::table::{AnyTable, dynamo};

/// The name of the log of events.
pub const EVENTS: &str = "events";
/// The name of the log of core data.
pub const CORE_DATA: &str = "programs";

/// Messages that are replayed at a time; further ones wait.
const REPLAYS_MAX: usize = 4;

/// The open files of a data directory.
pub struct Owner {
    pub settings: Settings,
    pub data: DataDir,
    /// When this process began, milliseconds since 1970.
    pub started_at_ms: u64,
    /// Whether the directory is ours, rather than anybody's: then nothing in it is opened.
    has_directory: bool,
    log: OnceCell<Log>,
    core_data_log: OnceCell<Log>,
    intake: OnceCell<Intake>,
    /// No core data is accepted any more.
    closing: AtomicBool,
    /// For events of messages that are replayed.
    replay_lane: OnceCell<LaneThread>,
    registry: OnceCell<Arc<AnyRegistry>>,
    table: OnceCell<AnyTable>,
    /// The tracker that runs in this process.
    tracker: OnceCell<TrackerAdmin>,
    /// How the parts that run in this process stand.
    reports: OnceCell<Vec<Box<dyn Report>>>,
}

/// What could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error(transparent)]
    Log(#[from] stream::OpenError),
    #[error(transparent)]
    Lane(#[from] stream::LaneError),
    #[error(
        "events of this directory are in no table here: they go to the Kinesis stream {0:?} (shipper.stream), \
         and are stored and accounted for where that is read. `clickgate log cursor` shows what is not there yet"
    )]
    NoTable(String),
    #[error("no stream is configured: set shipper.stream")]
    NoStream,
    #[error(
        "this needs the log of a data directory, and there is none in {}. Do it where that is, and name it with \
         --data", .0.display()
    )]
    NoDirectory(PathBuf),
    #[error("core data is no longer accepted, as the process stops")]
    Closing,
    #[error(
        "core data of this directory comes from the Kinesis stream {0:?} (bridge.programs.stream): put it there, or          change programs with `clickgate programs put`, which goes to the registry"
    )]
    CoreDataInStream(String),
    #[error("the registry {path}: {source}")]
    Registry { path: String, source: RegistryError },
    #[error("the registry in Redis: {0}")]
    Redis(String),
    #[error(transparent)]
    Table(#[from] consumers::OpenError),
    /// The registry, or whatever file of which the library that reads it gave up.
    #[error(
        "{} is damaged and cannot be opened{reason}. Put a copy of it back, or move it away to begin with an \
         empty one; what the log has not handed on yet is still there", path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Tracker(#[from] tracker::BindError),
}

impl Owner {
    /// Opens nothing yet. The caller holds the claim on `data`.
    pub fn new(settings: Settings, data: DataDir) -> Self {
        Self {
            settings,
            data,
            started_at_ms: now_ms(),
            has_directory: true,
            log: OnceCell::new(),
            core_data_log: OnceCell::new(),
            intake: OnceCell::new(),
            closing: AtomicBool::new(false),
            replay_lane: OnceCell::new(),
            registry: OnceCell::new(),
            table: OnceCell::new(),
            tracker: OnceCell::new(),
            reports: OnceCell::new(),
        }
    }

    /// For what is elsewhere, and reached from every machine. Nobody claims `data`, and no file of it
    /// is opened.
    pub fn without_directory(settings: Settings, data: DataDir) -> Self {
        Self { has_directory: false, ..Self::new(settings, data) }
    }

    /// Whether the data directory is ours.
    pub fn has_directory(&self) -> bool {
        self.has_directory
    }

    fn require_directory(&self) -> Result<(), OwnerError> {
        match self.has_directory {
            true => Ok(()),
            false => Err(OwnerError::NoDirectory(self.data.path().to_owned())),
        }
    }

    /// The log of events; the first call recovers what an earlier process left.
    ///
    /// # Errors
    /// [`OwnerError::Log`].
    pub async fn log(&self) -> Result<&Log, OwnerError> {
        self.require_directory()?;
        let open = async || Ok(Log::open(&self.data.log(), EVENTS, events_log(&self.settings))?);
        self.log.get_or_try_init(open).await
    }

    /// A lane of the log of events, for operators' commands.
    ///
    /// # Errors
    /// [`OwnerError::Log`], [`OwnerError::Lane`].
    pub async fn replay_lane(&self) -> Result<&LaneThread, OwnerError> {
        let open = async || {
            let log = self.log().await?.clone();
            let start = move || LaneThread::start(&log, "replay-lane", REPLAYS_MAX);
            open_file(&self.data.log().join(EVENTS), start).await?.map_err(Into::into)
        };
        self.replay_lane.get_or_try_init(open).await
    }

    /// Nothing is replayed any more. Blocks until the disk is done.
    pub fn close_replays(&self) {
        if let Some(lane) = self.replay_lane.get() {
            lane.close();
        }
    }

    /// The log of core data; the first call recovers what an earlier process left.
    ///
    /// # Errors
    /// [`OwnerError::Log`].
    pub async fn core_data_log(&self) -> Result<&Log, OwnerError> {
        self.require_directory()?;
        let open = async || Ok(Log::open(&self.data.log(), CORE_DATA, core_data_log(&self.settings))?);
        self.core_data_log.get_or_try_init(open).await
    }

    /// The log of core data, if this process has had to do with it.
    pub fn opened_core_data_log(&self) -> Option<&Log> {
        self.core_data_log.get()
    }

    /// Where this process accepts core data.
    ///
    /// # Errors
    /// [`OwnerError::Log`], [`OwnerError::Lane`]; [`OwnerError::Closing`] once it was closed.
    pub async fn intake(&self) -> Result<&Intake, OwnerError> {
        if self.closing.load(Relaxed) {
            return Err(OwnerError::Closing);
        }
        // The program bridge would never read it.
        if let Some(stream) = &self.settings.bridge.programs_stream {
            return Err(OwnerError::CoreDataInStream(stream.clone()));
        }
        let open = async || {
            let log = self.core_data_log().await?.clone();
            open_file(&self.data.log().join(CORE_DATA), move || Intake::start(&log))
                .await?
                .map_err(Into::into)
        };
        self.intake.get_or_try_init(open).await
    }

    /// Accepts no more core data and closes the log of core data. Blocks until the disk is done.
    pub fn close_core_data(&self) {
        self.closing.store(true, Relaxed);
        if let Some(intake) = self.intake.get() {
            intake.close();
        }
        if let Some(log) = self.core_data_log.get() {
            log.close();
        }
    }

    /// The programs. Redis need not be there.
    ///
    /// # Errors
    /// [`OwnerError::Registry`], [`OwnerError::Redis`].
    pub async fn registry(&self) -> Result<&Arc<AnyRegistry>, OwnerError> {
        let open = async || {
            if self.settings.registry.kind == RegistryKind::Redis {
                let connected = RedisRegistry::connect(&self.settings.registry.redis);
                let wrong = |errors: Vec<programs::RedisConfigError>| {
                    OwnerError::Redis(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
                };
                return Ok(Arc::new(AnyRegistry::Redis(connected.map_err(wrong)?)));
            }
            let path = self.data.registry(&self.settings);
            let at = path.clone();
            let opened = open_file(&path, move || LocalRegistry::open(&at)).await?;
            let opened = opened.map_err(|error| match error {
                RegistryError::Damaged(reason) => {
                    OwnerError::Damaged { path: path.clone(), reason: format!(" ({reason})") }
                }
                source => OwnerError::Registry { path: path.display().to_string(), source },
            })?;
            Ok(Arc::new(AnyRegistry::Local(opened)))
        };
        self.registry.get_or_try_init(open).await
    }

    /// The table, if it has the events of this directory.
    ///
    /// # Errors
    /// [`OwnerError::NoTable`], [`OwnerError::Table`].
    pub async fn events(&self) -> Result<&AnyTable, OwnerError> {
        let sinks = EventSinks::of(&self.settings);
        if !sinks.table && !EventSinks::consumes_stream(&self.settings) {
            return Err(OwnerError::NoTable(self.settings.shipper.config.stream.clone().unwrap_or_default()));
        }
        self.table().await
    }

    /// The table, which keeps dead letters whether or not it has the events.
    ///
    /// # Errors
    /// [`OwnerError::Table`].
    pub async fn table(&self) -> Result<&AnyTable, OwnerError> {
        let open = async || {
            if self.settings.table.kind == TableKind::DynamoDb {
                return Ok(AnyTable::Dynamo(dynamo(&self.settings).await));
            }
            let config = self.consumer_config();
            let path = config.table.clone();
            Ok(AnyTable::Local(open_file(&path, move || LocalTable::open(&config)).await??))
        };
        self.table.get_or_try_init(open).await
    }

    /// The consumer's settings, with the table's place.
    pub fn consumer_config(&self) -> consumers::Config {
        consumers::Config { table: self.data.table(&self.settings), ..self.settings.consumer.clone() }
    }

    /// The registry, if this process has had to do with it.
    pub fn opened_registry(&self) -> Option<&AnyRegistry> {
        self.registry.get().map(|registry| &**registry)
    }

    /// The tracker's settings. A registry that may be away has a snapshot beside the log; the
    /// local one needs none, and has none.
    pub fn tracker_config(&self) -> tracker::Config {
        let mut config = self.settings.tracker.clone();
        let place = &mut config.catalog.snapshot_path;
        *place = match self.settings.registry.kind {
            RegistryKind::Local => None,
            RegistryKind::Redis => place.take().or_else(|| Some(self.data.programs_snapshot())),
        };
        config
    }

    /// Says that a tracker runs in this process.
    pub fn set_tracker(&self, tracker: TrackerAdmin) {
        let _ = self.tracker.set(tracker);
    }

    /// The tracker that runs in this process, if one does.
    pub fn running_tracker(&self) -> Option<&TrackerAdmin> {
        self.tracker.get()
    }

    /// Says which parts run in this process; once.
    pub fn set_reports(&self, reports: Vec<Box<dyn Report>>) {
        let _ = self.reports.set(reports);
    }

    /// The parts that run in this process; none of a short command.
    pub fn reports(&self) -> &[Box<dyn Report>] {
        self.reports.get().map_or(&[], Vec::as_slice)
    }

    /// Whether a part with this key runs in this process.
    pub fn runs(&self, key: &str) -> bool {
        self.reports().iter().any(|report| report.key() == key)
    }

    /// What decides where no tracker runs: of the programs it knows what the registry says now.
    /// It opens neither a log nor an address.
    ///
    /// # Errors
    /// [`OwnerError::Registry`], [`OwnerError::Redis`], [`OwnerError::Tracker`].
    pub async fn decider(&self) -> Result<Decider, OwnerError> {
        let registry = Arc::clone(self.registry().await?);
        Decider::standalone(self.settings.tracker.clone(), registry)
            .map_err(|errors| tracker::BindError::Config(errors).into())
    }
}

/// Opens a file on a thread that may block. redb panics where a damaged page tells it nonsense;
/// then the file is at fault, and the error says so.
async fn open_file<T: Send + 'static>(
    path: &Path,
    open: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OwnerError> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|_panicked| OwnerError::Damaged { path: path.to_owned(), reason: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_damaged_file_is_named_and_ends_no_process() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::new(root.path());
        let whole = Owner::new(Settings::default(), data.clone());
        whole.table().await.unwrap();
        whole.registry().await.unwrap();
        drop(whole);
        let good = ["table.redb", "registry.redb"]
            .map(|name| (name, std::fs::read(root.path().join(name)).unwrap()));
        let damages: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes[4_096..].iter_mut().step_by(64).for_each(|byte| *byte ^= 0xff),
            Vec::clear,
            |bytes| bytes.truncate(100),
            |bytes| bytes.truncate(5_000),
        ];
        for (at, damage) in damages.into_iter().enumerate() {
            for (name, bytes) in &good {
                let mut bytes = bytes.clone();
                damage(&mut bytes);
                std::fs::write(root.path().join(name), bytes).unwrap();
            }
            let owner = Owner::new(Settings::default(), data.clone());
            let errors = [owner.table().await.err(), owner.registry().await.err()];
            for (error, name) in errors.into_iter().zip(["table.redb", "registry.redb"]) {
                let said = error.unwrap_or_else(|| panic!("{name} was opened after damage {at}")).to_string();
                for part in [name, "is damaged", "move it away to begin with an empty one"] {
                    assert!(said.contains(part), "after damage {at} {part:?} is not in {said}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_decision_opens_neither_a_log_nor_an_address() {
        let root = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::default();
        settings.tracker.listen = taken.local_addr().unwrap();
        let owner = Owner::new(settings, DataDir::new(root.path()));
        let decider = owner.decider().await.unwrap();
        let request = r#"{"url": "/c/nosuch"}"#;
        assert!(decider.explain(&serde_json::from_str(request).unwrap()).await.is_ok());
        assert!(!owner.data.log().exists());
    }
}
