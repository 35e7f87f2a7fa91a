//! Decides on hits by the settings, the rules derived from them, and the programs.
//!
//! It binds no address, opens no lane and counts no hit, so a decision can be explained without a
//! running tracker.

use std::sync::Arc;

use programs::Registry;
use programs::catalog::{Catalog, CatalogCounters, Verdict};
use programs::decision::Rules;

use crate::config::{Config, ConfigError};
use crate::request::hit::Hit;

/// Decides on hits.
pub struct Decider {
    /// The settings.
    pub config: Config,
    /// The rules derived from the settings.
    pub rules: Rules,
    /// The programs.
    pub catalog: Catalog,
}

impl Decider {
    /// By checked settings, with an empty catalog that loads from `registry`.
    pub(crate) fn new<R: Registry>(config: Config, registry: Arc<R>) -> Self {
        let catalog = Catalog::new(config.catalog.clone(), registry, CatalogCounters::new());
        let rules = Rules::new(&config.reserved_parameters, &config.allowed_parameters, config.unverified);
        Self { config, rules, catalog }
    }

    /// Without a running tracker: each program is read from `registry` when it is needed.
    ///
    /// # Errors
    /// Every invalid setting.
    pub fn standalone<R: Registry>(config: Config, registry: Arc<R>) -> Result<Self, Vec<ConfigError>> {
        config.check()?;
        Ok(Self::new(config, registry))
    }

    /// Looks a hit's program up in the catalog.
    pub async fn verdict(&self, hit: &Hit<'_>, now_ms: u64) -> Verdict {
        match &hit.program {
            Some(id) => self.catalog.find(id, now_ms).await,
            None => Verdict::Unknown,
        }
    }
}
