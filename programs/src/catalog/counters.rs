//! The counters of the catalog, each handle resolved once.

use metrics::{Counter, Gauge, counter, gauge};

/// The catalog's counters.
pub struct CatalogCounters {
    /// Hits that had to ask the registry.
    pub misses: Counter,
    /// Registry reads without a trustworthy answer.
    pub unverified: Counter,
    /// Misses that were not read because too many reads were under way.
    pub loads_refused: Counter,
    /// 1 while changes are followed.
    pub fresh: Gauge,
}

impl CatalogCounters {
    /// Resolves the handles at the recorder of the calling thread.
    pub fn new() -> Self {
        Self {
            misses: counter!("clickgate_catalog_misses_total"),
            unverified: counter!("clickgate_catalog_unverified_total"),
            loads_refused: counter!("clickgate_catalog_loads_refused_total"),
            fresh: gauge!("clickgate_catalog_fresh"),
        }
    }
}

impl Default for CatalogCounters {
    fn default() -> Self {
        Self::new()
    }
}
