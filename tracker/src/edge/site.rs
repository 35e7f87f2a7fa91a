//! The state that all workers of a tracker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use programs::Registry;
use serde::Serialize;
use stream::Log;

use crate::config::Config;
use crate::edge::decider::Decider;
use crate::edge::tag::Tag;
use crate::metrics::counters::Counters;

/// The state that all workers share.
pub struct Site {
    /// Decides on hits.
    pub decider: Decider,
    /// The counters.
    pub counters: Counters,
    /// The browser tag.
    pub tag: Tag,
    /// The log of events.
    pub log: Log,
    /// Set once the tracker drains or stops.
    pub draining: AtomicBool,
}

/// The answer of `/health/check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether a load balancer should send hits.
    pub ready: bool,
    /// Whether the programs have been loaded at least once.
    pub catalog_loaded: bool,
    /// Whether changes of programs are being followed; not required to be ready.
    pub catalog_fresh: bool,
    /// Whether a lane of this process failed to write or to sync.
    pub lane_poisoned: bool,
    /// Whether the tracker drains or stops.
    pub draining: bool,
}

impl Site {
    /// With an empty catalog that loads from `registry`. Metrics go to the recorder of the calling
    /// thread.
    pub fn new<R: Registry>(config: Config, log: Log, registry: Arc<R>) -> Self {
        let tag = Tag::new(&config.prefixes);
        let decider = Decider::new(config, registry);
        Self { decider, counters: Counters::new(), tag, log, draining: AtomicBool::new(false) }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.decider.config
    }

    /// The current health.
    pub fn health(&self) -> Health {
        let catalog_loaded = self.decider.catalog.is_loaded();
        let lane_poisoned = self.log.poisoned();
        let draining = self.draining.load(Ordering::Acquire);
        Health {
            ready: catalog_loaded && !lane_poisoned && !draining,
            catalog_loaded,
            catalog_fresh: self.decider.catalog.is_fresh(),
            lane_poisoned,
            draining,
        }
    }
}
