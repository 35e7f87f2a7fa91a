//! The programs that we can track, held in memory (L1).
//!
//! Reading sends no message; what a thread found lately it finds again without asking the
//! shared cache (module `front`). There is one [`CatalogWriter`] at a time, held
//! by the refresher, which follows the registry; besides it only a miss adds an entry.
//!
//! # Which value wins
//!
//! Every slot has the generation of the catalog and the version of the registry it was
//! read at, and a slot is replaced only by one that is not older, compared under the
//! key's lock. So a read of the registry that began before a change, and ends after it,
//! changes nothing. A removal leaves a slot that says "gone" for the same reason. A
//! reload, after which anything may be different, begins a new generation: its slots are
//! put beside the readers first, then the number is advanced, and older ones are gone at
//! once. A purge does the same without putting anything.
//!
//! # How old a program gets
//!
//! A hit on one that is due (`fresh_seconds`) asks for it to be read again. That may come to
//! nothing: nobody hits it, or the registry is slow. But as long as comparing says that the
//! catalog is where the registry is, all that it holds is right, so what is about to become too
//! old is made young again ([`Renewal`]). Only what the registry has lost is
//! not, as that is given up when it is read again; and when the registry is away, everything is
//! served until it is too old.
//!
//! # Bounds
//!
//! Programs: `entries_max`. Ids that do not exist: `unknown_entries_max`, in a cache of
//! their own, so that random ids evict no program. Registry reads under way:
//! `loads_max`, one per id; a miss beyond that is unverified at once. In front of the cache
//! 131,072 places a thread, in sets of eight that take turns when more than eight share one.

mod config;
mod counters;
mod fallback;
mod front;
mod loads;
mod renewal;
mod slot;
mod turn;
mod writer;

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::Recipient;
use futures_util::future::BoxFuture;
use moka::{future::Cache, ops::compute::Op};
use serde::Serialize;

use crate::refresher::ReadAgain;
use crate::{Entry, Epoch, Program, ProgramId, Registry, RegistryError, Versioned};

pub use config::CatalogConfig;
pub use counters::CatalogCounters;
use loads::Loads;
pub use renewal::Renewal;
use slot::{Content, Slot, live_seconds};
pub use turn::Turn;
pub use writer::CatalogWriter;

/// What the catalog says of an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The program, as fresh as [`Catalog::is_fresh`] says.
    Known(Arc<Program>),
    /// There is no such program; the registry was there and said so.
    Unknown,
    /// The registry is away, too slow, too busy or was never filled. Not kept.
    Unverified,
}

/// Reads one program from the registry.
type Read = Box<dyn Fn(ProgramId) -> BoxFuture<'static, Result<Versioned, RegistryError>> + Send + Sync>;

/// Reads what the registry says. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells this catalog from others on a thread.
    name: u64,
    slots: Cache<ProgramId, Arc<Slot>>,
    /// The generation in which the registry said that the id does not exist.
    unknown: Cache<ProgramId, u64>,
    loads: Loads,
    read: Read,
    /// Slots of an older generation are not there.
    generation: AtomicU64,
    /// The store whose versions we compare; `None` before the first load.
    epoch: Mutex<Option<Epoch>>,
    has_writer: AtomicBool,
    fresh: AtomicBool,
    loaded: AtomicBool,
    refresher: RwLock<Option<Recipient<ReadAgain>>>,
    /// Programs that wait there to be read again, in its mailbox or behind it.
    refreshes: AtomicU64,
    /// When it was last in step with the registry, milliseconds since 1970; 0 before the first load.
    in_step_at_ms: AtomicU64,
    config: CatalogConfig,
    counters: CatalogCounters,
}

/// What the admin pages say of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogStatistics {
    /// Programs held, removed ones that are still remembered included.
    pub entries: u64,
    /// Ids remembered not to exist.
    pub unknown_entries: u64,
    /// Registry reads under way.
    pub loads: usize,
    /// Programs that wait to be read again by the refresher.
    pub refreshes: u64,
    /// When the catalog was last in step with the registry, milliseconds since 1970; 0 before
    /// the first load. It is compared every 3 s.
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
                .time_to_live(Duration::from_secs(live_seconds(&config)))
                .eviction_listener(|_, slot: Arc<Slot>, _| slot.retire())
                .build(),
            unknown: Cache::builder()
                .max_capacity(config.unknown_entries_max)
                .time_to_live(Duration::from_secs(config.unknown_seconds))
                .build(),
            loads: Loads::new(config.loads_max),
            read,
            generation: AtomicU64::new(0),
            epoch: Mutex::new(None),
            has_writer: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            refresher: RwLock::default(),
            refreshes: AtomicU64::new(0),
            in_step_at_ms: AtomicU64::new(0),
            config,
            counters,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is known of `id`, at `now_ms` milliseconds since 1970.
    ///
    /// A miss waits for the registry, `registry_timeout_ms` at most; all misses of one
    /// id wait for the same read. Text that is no program id is unknown.
    pub async fn find(&self, id: &str, now_ms: u64) -> Verdict {
        if let Some(verdict) = self.recall(id, now_ms) {
            return verdict;
        }
        if let Some(verdict) = self.shared.held(id, now_ms).await {
            return verdict;
        }
        let Ok(id) = ProgramId::try_from(id) else {
            return Verdict::Unknown;
        };
        self.load(id, now_ms).await
    }

    /// What this thread found lately of `id`, as true as [`Catalog::find`] and without a
    /// future; `None` says nothing of the id.
    pub fn recall(&self, id: &str, now_ms: u64) -> Option<Verdict> {
        let shared = &self.shared;
        let found = |slot: &Arc<Slot>| shared.verdict(slot, now_ms);
        front::with(shared.name, shared.generation(), id, now_ms, found)
    }

    /// Whether changes are being followed, as opposed to serving what we last knew.
    pub fn is_fresh(&self) -> bool {
        self.shared.fresh.load(Ordering::Acquire)
    }

    /// Whether the registry's programs were loaded at least once.
    pub fn is_loaded(&self) -> bool {
        self.shared.loaded.load(Ordering::Acquire)
    }

    /// Where the last-good snapshot is to be, and how often it may be written.
    pub(crate) fn snapshot_place(&self) -> Option<(&Path, Duration)> {
        let config = &self.shared.config;
        Some((config.snapshot_path.as_deref()?, Duration::from_secs(config.snapshot_seconds)))
    }

    /// Figures for the admin pages.
    pub async fn statistics(&self) -> CatalogStatistics {
        let shared = &self.shared;
        // moka counts when it tidies up.
        shared.slots.run_pending_tasks().await;
        shared.unknown.run_pending_tasks().await;
        CatalogStatistics {
            entries: shared.slots.entry_count(),
            unknown_entries: shared.unknown.entry_count(),
            loads: shared.loads.len(),
            refreshes: shared.refreshes.load(Ordering::Relaxed),
            in_step_at_ms: shared.in_step_at_ms.load(Ordering::Relaxed),
            fresh: self.is_fresh(),
            loaded: self.is_loaded(),
            generation: shared.generation(),
        }
    }

    /// Forgets one program, or that it does not exist; the next hit reads it again.
    pub async fn purge(&self, id: &ProgramId) {
        self.shared.loads.forget(id);
        // Through the key's lock: a load that has just passed its check is done before.
        let remove = |_| std::future::ready(Op::Remove);
        self.shared.slots.entry_by_ref(id).and_compute_with(remove).await;
        self.shared.unknown.invalidate(id).await;
    }

    /// Forgets everything; each program's next hit reads it again.
    pub async fn purge_all(&self) {
        self.shared.loads.forget_all();
        self.shared.advance(self.shared.generation() + 1).await;
    }

    /// The right to write, unless somebody has it. Dropping it makes the catalog not fresh.
    pub fn writer(&self) -> Option<CatalogWriter> {
        let taken = self.shared.has_writer.swap(true, Ordering::AcqRel);
        (!taken).then(|| CatalogWriter::of(self.clone()))
    }

    /// Whom to ask for programs to be read again before they are stale.
    pub fn set_refresher(&self, refresher: Recipient<ReadAgain>) {
        *self.shared.refresher.write().expect("nothing panics while it is held") = Some(refresher);
    }

    fn load(&self, id: ProgramId, now_ms: u64) -> impl Future<Output = Verdict> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let read = {
            let id = id.clone();
            |still_wanted| async move { shared.read_through(id, now_ms, still_wanted).await }
        };
        let joined = self.shared.loads.join(id, read);
        if joined.is_none() {
            self.shared.counters.loads_refused.increment(1);
        }
        async move {
            match joined {
                Some(load) => load.await,
                None => Verdict::Unverified,
            }
        }
    }
}

impl Shared {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is known of `id` without asking the registry.
    async fn held(self: &Arc<Self>, id: &str, now_ms: u64) -> Option<Verdict> {
        let generation = self.generation();
        if let Some(slot) = self.slots.get(id).await
            && slot.generation >= self.generation()
            && !slot.is_dead(now_ms)
        {
            front::keep(self.name, generation, &slot);
            return Some(self.verdict(&slot, now_ms));
        }
        let is_unknown = self.unknown.get(id).await == Some(self.generation());
        is_unknown.then_some(Verdict::Unknown)
    }

    fn verdict(self: &Arc<Self>, slot: &Arc<Slot>, now_ms: u64) -> Verdict {
        if let Some(turn) = Turn::take(self, slot, now_ms) {
            self.ask_to_read_again(turn);
        }
        slot.verdict()
    }

    /// Reads one program and keeps the answer while `still_wanted` says so.
    async fn read_through(
        self: &Arc<Self>,
        id: ProgramId,
        now_ms: u64,
        still_wanted: Arc<AtomicBool>,
    ) -> Verdict {
        // The read before this one may have ended after our caller looked.
        if let Some(verdict) = self.held(id.as_str(), now_ms).await {
            return verdict;
        }
        self.counters.misses.increment(1);
        let generation = self.generation();
        let limit = Duration::from_millis(self.config.registry_timeout_ms);
        let answer = match tokio::time::timeout(limit, (self.read)(id.clone())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => {
                self.counters.unverified.increment(1);
                return Verdict::Unverified;
            }
        };
        let ours = self.is_our_epoch(answer.state.epoch);
        let key = id.clone();
        let slot = |version, content| Slot::new(key, generation, version, content, now_ms, &self.config);
        match answer.entry {
            Entry::Program { version, program } => {
                if ours {
                    let slot = slot(version, Content::Known(Arc::clone(&program)));
                    self.offer(id, slot, Some(&still_wanted)).await;
                }
                Verdict::Known(program)
            }
            Entry::Removed { version, .. } => {
                if ours {
                    self.offer(id, slot(version, Content::Gone), Some(&still_wanted)).await;
                }
                Verdict::Unknown
            }
            Entry::Absent if answer.state.ready => {
                if ours && still_wanted.load(Ordering::Acquire) {
                    self.unknown.insert(id, generation).await;
                }
                Verdict::Unknown
            }
            Entry::Absent => {
                self.counters.unverified.increment(1);
                Verdict::Unverified
            }
        }
    }

    /// Puts `slot` unless a newer one is there or it is no longer wanted.
    async fn offer(&self, id: ProgramId, slot: Slot, still_wanted: Option<&AtomicBool>) {
        let decide = |current: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let unwanted = still_wanted.is_some_and(|wanted| !wanted.load(Ordering::Acquire));
            let outdated = current.is_some_and(|current| current.value().outranks(&slot));
            std::future::ready(if unwanted || outdated { Op::Nop } else { Op::Put(Arc::new(slot)) })
        };
        self.slots.entry(id).and_compute_with(decide).await;
    }

    /// Makes `generation` the current one and frees what is older.
    async fn advance(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
        self.unknown.invalidate_all();
        let old = self.slots.iter().filter(|(_, slot)| slot.generation < generation);
        let old: Vec<_> = old.map(|(id, _)| id).collect();
        for id in old {
            self.slots.invalidate(id.as_ref()).await;
        }
    }

    fn is_our_epoch(&self, epoch: Epoch) -> bool {
        self.epoch.lock().expect("no panic while it is held").is_none_or(|ours| ours == epoch)
    }

    fn ask_to_read_again(&self, turn: Turn) {
        let refresher = self.refresher.read().expect("nothing panics while it is held");
        let Some(refresher) = &*refresher else { return };
        // It takes messages out of its mailbox before it can serve them.
        let is_full = self.refreshes.load(Ordering::Relaxed) > self.config.refresh_queue_max as u64;
        if is_full || refresher.try_send(ReadAgain { turn }).is_err() {
            self.counters.refreshes_dropped.increment(1);
        }
    }
}

#[cfg(test)]
mod tests;
