//! What the owner of a data directory has open. A role opens what it needs at its start;
//! a short command only what its question needs, on first use.

use std::sync::Arc;

use consumers::{LocalTable, StatusHandle, Store};
use programs::LocalRegistry;
use stream::Log;
use tokio::sync::OnceCell;
use tracker::{Tracker, TrackerAdmin};

use crate::config::Settings;
use crate::data::DataDir;

/// The name of the log of events.
pub const EVENTS: &str = "events";

/// The open files of a data directory.
pub struct Owner {
    pub settings: Settings,
    pub data: DataDir,
    log: OnceCell<Log>,
    registry: OnceCell<Arc<LocalRegistry>>,
    table: OnceCell<LocalTable>,
    /// The tracker that runs in this process.
    tracker: OnceCell<TrackerAdmin>,
    /// The pull loop that runs in this process.
    pub consumer: OnceCell<StatusHandle>,
}

/// What could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error(transparent)]
    Log(#[from] stream::OpenError),
    #[error("the registry {path}: {source}")]
    Registry { path: String, source: programs::RegistryError },
    #[error(transparent)]
    Table(#[from] consumers::OpenError),
    #[error(transparent)]
    Tracker(#[from] tracker::BindError),
}

impl Owner {
    /// Opens nothing yet. The caller holds the claim of `data`.
    pub fn new(settings: Settings, data: DataDir) -> Self {
        Self {
            settings,
            data,
            log: OnceCell::new(),
            registry: OnceCell::new(),
            table: OnceCell::new(),
            tracker: OnceCell::new(),
            consumer: OnceCell::new(),
        }
    }

    /// The log of events; the first call recovers what an earlier process left.
    ///
    /// # Errors
    /// [`OwnerError::Log`].
    pub async fn log(&self) -> Result<&Log, OwnerError> {
        let open = async || Ok(Log::open(&self.data.log(), EVENTS, self.settings.stream.clone())?);
        self.log.get_or_try_init(open).await
    }

    /// The programs.
    ///
    /// # Errors
    /// [`OwnerError::Registry`].
    pub async fn registry(&self) -> Result<&Arc<LocalRegistry>, OwnerError> {
        let open = async || {
            let path = self.data.registry(&self.settings);
            let opened = LocalRegistry::open(&path);
            let opened =
                opened.map_err(|source| OwnerError::Registry { path: path.display().to_string(), source })?;
            Ok(Arc::new(opened))
        };
        self.registry.get_or_try_init(open).await
    }

    /// The events.
    ///
    /// # Errors
    /// [`OwnerError::Table`].
    pub async fn table(&self) -> Result<&LocalTable, OwnerError> {
        let open = async || Ok(LocalTable::new(Store::open(&self.consumer_config())?));
        self.table.get_or_try_init(open).await
    }

    /// The consumer's settings, with the table's place.
    pub fn consumer_config(&self) -> consumers::Config {
        consumers::Config { table: self.data.table(&self.settings), ..self.settings.consumer.clone() }
    }

    /// Says that a tracker runs in this process.
    pub fn set_tracker(&self, tracker: TrackerAdmin) {
        let _ = self.tracker.set(tracker);
    }

    /// The tracker that runs in this process, if one does.
    pub fn running_tracker(&self) -> Option<&TrackerAdmin> {
        self.tracker.get()
    }

    /// A tracker to be asked for decisions: the running one, else one that only decides and
    /// knows of the programs what the registry says now.
    ///
    /// # Errors
    /// See [`OwnerError`].
    pub async fn decider(&self) -> Result<TrackerAdmin, OwnerError> {
        if let Some(running) = self.tracker.get() {
            return Ok(running.clone());
        }
        let config = tracker::Config { listen: ([127, 0, 0, 1], 0).into(), ..self.settings.tracker.clone() };
        let registry = Arc::clone(self.registry().await?);
        Ok(Tracker::bind(config, self.log().await?.clone(), registry)?.admin())
    }
}
