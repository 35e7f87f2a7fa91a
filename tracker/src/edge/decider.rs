//! What decides over a hit: the settings, the rules that follow from them, the programs.
//!
//! It takes no address, has no lane and counts no hit, so a question about a decision needs
//! nothing else.

use std::sync::Arc;

use programs::Registry;
use programs::catalog::{Catalog, CatalogCounters, Verdict};
use programs::decision::Rules;

use crate::config::{Config, ConfigError};
use crate::request::hit::Hit;

/// Decides over hits.
pub struct Decider {
    /// The settings.
    pub config: Config,
    /// What of them a decision needs.
    pub rules: Rules,
    /// The programs.
    pub catalog: Catalog,
}

impl Decider {
    /// Of settings that were checked, with an empty catalog that asks `registry`.
    pub(crate) fn new<R: Registry>(config: Config, registry: Arc<R>) -> Self {
        let catalog = Catalog::new(config.catalog.clone(), registry, CatalogCounters::new());
        let rules = Rules::new(&config.reserved_parameters, &config.allowed_parameters, config.unverified);
        Self { config, rules, catalog }
    }

    /// Without a tracker that serves: of the programs it knows what `registry` says when it
    /// is asked.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn alone<R: Registry>(config: Config, registry: Arc<R>) -> Result<Self, Vec<ConfigError>> {
        config.check()?;
        Ok(Self::new(config, registry))
    }

    /// What the catalog says of a hit's program, now.
    pub async fn verdict(&self, hit: &Hit<'_>, now_ms: u64) -> Verdict {
        match &hit.program {
            Some(id) => self.catalog.find(id, now_ms).await,
            None => Verdict::Unknown,
        }
    }
}
