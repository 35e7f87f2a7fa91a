//! What an operator may set for the catalog.

use std::path::PathBuf;

/// The catalog in memory (L1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogConfig {
    /// Programs held.
    pub entries_max: u64,
    /// Age at which a program that is hit is read again while the catalog is not in step with the
    /// registry. In step, programs do not age.
    pub fresh_seconds: u64,
    /// How long a program is still served after that; then a hit waits for a read.
    pub stale_seconds: u64,
    /// Ids known not to exist, in a cache of their own: random ids evict no program.
    pub unknown_entries_max: u64,
    /// How long such an id is remembered.
    pub unknown_seconds: u64,
    /// Longest wait for the registry on a miss; then the verdict is `unverified`.
    pub registry_timeout_ms: u64,
    /// Registry reads under way at once; a miss beyond that is `unverified` at once, and no
    /// program is read in the background.
    pub loads_max: usize,
    /// Where the last-good snapshot is kept, from which a tracker starts while the registry is
    /// away. Without it, a tracker needs the registry to start.
    pub snapshot_path: Option<PathBuf>,
    /// The snapshot is written at most once in this time, and only if something changed.
    pub snapshot_seconds: u64,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self {
            entries_max: 100_000,
            fresh_seconds: 600,
            stale_seconds: 900,
            unknown_entries_max: 10_000,
            unknown_seconds: 5,
            registry_timeout_ms: 250,
            loads_max: 1_024,
            snapshot_path: None,
            snapshot_seconds: 60,
        }
    }
}
