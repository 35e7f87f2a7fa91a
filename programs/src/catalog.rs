//! The programs that hits are checked against, held in memory (L1).
//!
//! A look-up sends no message: a thread finds its recent programs in a table of its own before it
//! asks the shared cache (module `front`). There is one [`CatalogWriter`] at a time, held by the
//! refresher, which follows the registry; apart from it, only a read of the
//! registry adds an entry.
//!
//! # Which value wins
//!
//! Every slot has the generation of the catalog and the registry version at which it was read. A
//! slot is replaced only by one that is not older; the comparison happens under the key's lock. So
//! a registry read that starts before a change and ends after it changes nothing. For the same
//! reason a removal leaves a slot that says "removed". A reload, after which anything may differ,
//! begins a new generation: its slots are inserted first, then the number is advanced, and all older
//! slots become invisible at once. A purge advances the number without inserting anything.
//!
//! A read is kept only if its answer includes every change that was applied here before the read: a
//! lagging replica may return an older one. A change that arrives while its program is being read
//! marks the read as outdated. So changes of programs that are not held need no bookkeeping, and a
//! program that a miss brought in stays correct as changes are applied to it.
//!
//! # Freshness
//!
//! Freshness is one figure for the whole catalog, see module `freshness`. In step with the registry,
//! everything held is correct. Out of step, a program older than `fresh_seconds` is served and read
//! again in the background when it is hit; after `stale_seconds` more it is read before it is
//! served, as on a miss. The hashes of the AWS sample have no versions, so a comparison proves
//! nothing and the catalog is never in step with them.
//!
//! # Bounds
//!
//! Programs: `entries_max`. Unknown ids: `unknown_entries_max`, in a separate cache, so that random
//! ids evict no program. Concurrent registry reads: `loads_max`, one per id; beyond that a miss is
//! unverified at once, and no background read is started. In front of the cache: 131,072 slots per
//! thread, in sets of eight.

mod config;
mod counters;
mod fallback;
mod freshness;
mod front;
mod loads;
mod read;
mod slot;
mod verdict;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use moka::{future::Cache, ops::compute::Op, policy::EvictionPolicy};
use serde::Serialize;

use crate::{Epoch, ProgramId, Registry, RegistryError, Version, Versioned};

pub use config::CatalogConfig;
pub use counters::CatalogCounters;
use freshness::{Age, Freshness};
use loads::Loads;
use slot::Slot;
pub use verdict::Verdict;
pub use writer::CatalogWriter;

/// Reads one program from the registry.
type Read = Box<dyn Fn(ProgramId) -> BoxFuture<'static, Result<Versioned, RegistryError>> + Send + Sync>;

/// A handle for look-ups. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    /// Distinguishes this catalog from others in a thread's table.
    name: u64,
    slots: Cache<ProgramId, Arc<Slot>>,
    /// The generation in which the registry said that the id does not exist.
    unknown: Cache<ProgramId, u32>,
    loads: Loads,
    read: Read,
    /// Slots of an older generation are invisible.
    generation: AtomicU32,
    freshness: Freshness,
    /// How far the registry's changes were applied; `None` before the first load.
    position: Mutex<Option<Position>>,
    /// After a background read without an answer, no other is started before this time,
    /// milliseconds since 1970.
    no_background_read_before_ms: AtomicU64,
    has_writer: AtomicBool,
    is_following: AtomicBool,
    loaded: AtomicBool,
    config: CatalogConfig,
    counters: CatalogCounters,
}

/// A place in the changes of one store.
#[derive(Clone, Copy)]
struct Position {
    epoch: Epoch,
    version: Version,
}

/// Figures for the admin pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogStatistics {
    /// Programs held, including removed ones that are still remembered.
    pub entries: u64,
    /// Ids remembered not to exist.
    pub unknown_entries: u64,
    /// Registry reads under way.
    pub loads: usize,
    /// When the catalog was last in step with the registry, milliseconds since 1970; 0 before
    /// the first load. Compared every 3 s. With the AWS sample: when it was last loaded.
    pub in_step_at_ms: u64,
    /// Whether changes are being followed.
    pub fresh: bool,
    /// Whether the registry's programs were loaded at least once.
    pub loaded: bool,
    /// Advances with every reload and purge.
    pub generation: u64,
}

impl Catalog {
    /// An empty catalog that asks `registry` on a miss.
    pub fn new<R: Registry>(config: CatalogConfig, registry: Arc<R>, counters: CatalogCounters) -> Self {
        let read: Read = Box::new(move |id| {
            let registry = Arc::clone(&registry);
            Box::pin(async move { registry.get(&id).await })
        });
        static CATALOGS: AtomicU64 = AtomicU64::new(1);
        let shared = Shared {
            name: CATALOGS.fetch_add(1, Ordering::Relaxed),
            slots: Cache::builder()
                .max_capacity(config.entries_max)
                .eviction_policy(EvictionPolicy::lru())
                .eviction_listener(|_, slot: Arc<Slot>, _| slot.retire())
                .build(),
            unknown: Cache::builder()
                .max_capacity(config.unknown_entries_max)
                .time_to_live(Duration::from_secs(config.unknown_seconds))
                .build(),
            loads: Loads::new(config.loads_max),
            read,
            generation: AtomicU32::new(0),
            freshness: Freshness::new(&config),
            position: Mutex::new(None),
            no_background_read_before_ms: AtomicU64::new(0),
            has_writer: AtomicBool::new(false),
            is_following: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            config,
            counters,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is known of `id`, at `now_ms` milliseconds since 1970.
    ///
    /// A miss waits for the registry, `registry_timeout_ms` at most; all misses of one
    /// id wait for the same read. Text that is not a program id is unknown.
    pub async fn find(&self, id: &str, now_ms: u64) -> Verdict {
        if let Some(verdict) = self.recall(id, now_ms) {
            return verdict;
        }
        if let Some(verdict) = self.shared.look_up(id, now_ms).await {
            return verdict;
        }
        let Ok(id) = ProgramId::try_from(id) else {
            return Verdict::Unknown;
        };
        self.shared.read_on_miss(id, now_ms).await
    }

    /// The verdict on `id` from this thread's recent look-ups: as correct as [`Catalog::find`], and
    /// without a future. `None` means: not held by this thread.
    pub fn recall(&self, id: &str, now_ms: u64) -> Option<Verdict> {
        let shared = &self.shared;
        front::with(shared.name, shared.generation(), id, |slot| shared.serve(slot, now_ms))
    }

    /// Whether changes are being followed, as opposed to serving what we last knew.
    pub fn is_fresh(&self) -> bool {
        self.shared.is_following.load(Ordering::Acquire)
    }

    /// Whether the registry's programs were loaded at least once.
    pub fn is_loaded(&self) -> bool {
        self.shared.loaded.load(Ordering::Acquire)
    }

    /// The path of the last-good snapshot, and the shortest time between two writes.
    pub(crate) fn snapshot_place(&self) -> Option<(&Path, Duration)> {
        let config = &self.shared.config;
        Some((config.snapshot_path.as_deref()?, Duration::from_secs(config.snapshot_seconds)))
    }

    /// Figures for the admin pages.
    pub async fn statistics(&self) -> CatalogStatistics {
        let shared = &self.shared;
        // moka updates its counts only when it runs its pending tasks.
        shared.slots.run_pending_tasks().await;
        shared.unknown.run_pending_tasks().await;
        CatalogStatistics {
            entries: shared.slots.entry_count(),
            unknown_entries: shared.unknown.entry_count(),
            loads: shared.loads.len(),
            in_step_at_ms: shared.freshness.in_step_at_ms(),
            fresh: self.is_fresh(),
            loaded: self.is_loaded(),
            generation: shared.generation().into(),
        }
    }

    /// Forgets one program, or that it does not exist; the next hit reads it again.
    pub async fn purge(&self, id: &ProgramId) {
        self.shared.loads.forget(id);
        // Takes the key's lock, so a read that has passed its check is inserted before, not after.
        let remove = |_| std::future::ready(Op::Remove);
        self.shared.slots.entry_by_ref(id).and_compute_with(remove).await;
        self.shared.unknown.invalidate(id).await;
    }

    /// Forgets everything; each program's next hit reads it again.
    pub async fn purge_all(&self) {
        self.shared.loads.forget_all();
        self.shared.advance(self.shared.generation() + 1).await;
    }
}

impl Shared {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The slot of `id` in the current generation, whatever its age.
    async fn slot(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots.get(id).await.filter(|slot| slot.generation >= self.generation())
    }

    async fn is_known_not_to_exist(&self, id: &str) -> bool {
        self.unknown.get(id).await == Some(self.generation())
    }

    /// What is known of `id` without asking the registry.
    async fn look_up(self: &Arc<Self>, id: &str, now_ms: u64) -> Option<Verdict> {
        let generation = self.generation();
        if let Some(slot) = self.slot(id).await
            && let Some(verdict) = self.serve(&slot, now_ms)
        {
            front::keep(self.name, generation, &slot);
            return Some(verdict);
        }
        self.is_known_not_to_exist(id).await.then_some(Verdict::Unknown)
    }

    /// The verdict of a slot, unless it is too old to be served.
    fn serve(self: &Arc<Self>, slot: &Arc<Slot>, now_ms: u64) -> Option<Verdict> {
        match self.freshness.age(slot.read_at_ms, now_ms) {
            Age::Fresh => {}
            Age::Stale => self.read_in_background(slot, now_ms),
            Age::Expired => return None,
        }
        Some(slot.verdict())
    }

    /// Makes `generation` the current one and frees older slots.
    async fn advance(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
        self.unknown.invalidate_all();
        let old = self.slots.iter().filter(|(_, slot)| slot.generation < generation);
        let old: Vec<_> = old.map(|(id, _)| id).collect();
        for id in old {
            self.slots.invalidate(id.as_ref()).await;
        }
    }

    fn position(&self) -> Option<Position> {
        *self.position.lock().expect("no panic while it is held")
    }

    fn set_position(&self, position: Position) {
        *self.position.lock().expect("no panic while it is held") = Some(position);
    }
}

#[cfg(test)]
mod tests;
