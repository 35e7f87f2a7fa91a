//! The right to say what the catalog holds.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use moka::ops::compute::{CompResult, Op};

use super::{
    Catalog, Renewal, Shared,
    slot::{Content, Slot, live_seconds, waning_seconds},
};
use crate::{Change, Entry, ProgramId, Snapshot, State, Version, Versioned};

/// What is kept of that which the registry lost.
#[derive(Default)]
pub(super) struct Kept {
    /// Remembered as removed, under these versions.
    pub(super) removed: HashMap<ProgramId, Version>,
    /// Programs in the snapshot that are not the registry's.
    pub(super) programs: HashSet<ProgramId>,
}

/// What a revision means that is lower than the one held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lower {
    /// The source repeats itself from further back, and is on its way to the one held.
    IsReplay,
    /// What was lost is given up.
    Counts,
}

/// What was held under an id, and what is now.
struct Taken {
    before: Option<Content>,
    now: Content,
}

/// The one that says what the catalog holds: there is one at a time.
pub struct CatalogWriter {
    catalog: Catalog,
}

impl CatalogWriter {
    /// The caller has made sure that there is no other.
    pub(super) fn of(catalog: Catalog) -> Self {
        Self { catalog }
    }

    /// Takes over one change, and returns it as the catalog holds it now. An older one than what is
    /// held changes nothing, and neither does one whose revision is lower: then a registry that has
    /// lost something hears it again from the start, see `fallback`.
    pub async fn apply(&self, change: Change, now_ms: u64) -> Change {
        let Change { epoch, version, id, program } = change;
        let content = Content::of(program);
        let taken = self.put(&id, version, content, now_ms, Lower::IsReplay).await;
        Change { epoch, version, id, program: taken.now.program() }
    }

    /// Takes over what the registry said of one program; see [`Catalog`] for what wins. Returns
    /// the change that this was, if the catalog held something else.
    pub async fn renew(&self, id: ProgramId, answer: Versioned, now_ms: u64) -> Option<Change> {
        let State { epoch, version: at, ready } = answer.state;
        if !self.shared().is_our_epoch(epoch) {
            return None;
        }
        let (version, content) = match answer.entry {
            Entry::Program { version, program } => (version, Content::Known(program)),
            Entry::Removed { version, .. } => (version, Content::Gone),
            Entry::Absent if ready => {
                self.catalog.purge(&id).await;
                return Some(Change { epoch, version: at, id, program: None });
            }
            Entry::Absent => return None,
        };
        let Taken { before, now } = self.put(&id, version, content, now_ms, Lower::Counts).await;
        let is_new = before.as_ref() != Some(&now);
        is_new.then(|| Change { epoch, version, id, program: now.program() })
    }

    /// Replaces everything by what the registry holds; returns the number of programs kept.
    ///
    /// Readers see the old programs until the new ones are all there.
    pub async fn replace_all(&self, snapshot: Snapshot, now_ms: u64) -> u64 {
        self.replace(snapshot, Kept::default(), now_ms).await
    }

    /// As [`CatalogWriter::replace_all`], with what is kept although the registry lost it.
    pub(super) async fn replace(&self, snapshot: Snapshot, lost: Kept, now_ms: u64) -> u64 {
        let shared = self.shared();
        let generation = shared.generation() + 1;
        for (id, version) in lost.removed {
            let slot = Slot::new(id.clone(), generation, version, Content::Gone, now_ms, &shared.config);
            shared.slots.insert(id, Arc::new(slot)).await;
        }
        let kept = snapshot.programs.into_iter().take(shared.config.entries_max as usize);
        let mut programs = 0;
        for (version, program) in kept {
            let id = program.id.clone();
            let known = Content::Known(program);
            let slot = Slot::new(id.clone(), generation, version, known, now_ms, &shared.config);
            let slot = if lost.programs.contains(&id) { slot.kept() } else { slot };
            shared.slots.insert(id, Arc::new(slot)).await;
            programs += 1;
        }
        *shared.epoch.lock().expect("no panic while it is held") = Some(snapshot.state.epoch);
        shared.loads.forget_all();
        shared.advance(generation).await;
        shared.loaded.store(true, Ordering::Release);
        programs
    }

    /// A look for programs that become too old since nobody has read them again in time: the
    /// registry is slow, or nobody asked for them. They become as young as if they had been read
    /// when the catalog was last in step. Changes may be applied while it runs.
    pub fn renewal(&self) -> Renewal {
        Renewal::of(self.catalog.clone(), self.shared().in_step_at_ms.load(Ordering::Relaxed))
    }

    /// How often there should be a [`CatalogWriter::renewal`], at least.
    pub fn renew_every(&self) -> Duration {
        Duration::from_secs(waning_seconds(&self.shared().config)) / 4
    }

    /// What readers find now.
    pub(super) fn held(&self) -> Vec<Arc<Slot>> {
        let generation = self.shared().generation();
        let slots = self.shared().slots.iter().map(|(_, slot)| slot);
        slots.filter(|slot| slot.generation >= generation).collect()
    }

    /// Whether there is something to serve.
    pub fn is_loaded(&self) -> bool {
        self.catalog.is_loaded()
    }

    /// Longest time a program is served after it was read, in milliseconds.
    pub fn live_ms(&self) -> u64 {
        live_seconds(&self.shared().config) * 1_000
    }

    /// Programs that are held at most.
    pub fn entries_max(&self) -> u64 {
        self.shared().config.entries_max
    }

    /// Says whether changes are being followed.
    pub fn set_fresh(&self, fresh: bool) {
        self.shared().fresh.store(fresh, Ordering::Release);
        self.shared().counters.fresh.set(if fresh { 1.0 } else { 0.0 });
    }

    /// Says that the catalog has all that the registry had at `now_ms`.
    pub fn set_in_step(&self, now_ms: u64) {
        self.shared().in_step_at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Longest wait for the registry to answer for one program.
    pub fn registry_timeout(&self) -> Duration {
        Duration::from_millis(self.shared().config.registry_timeout_ms)
    }

    async fn put(
        &self,
        id: &ProgramId,
        version: Version,
        content: Content,
        now_ms: u64,
        lower: Lower,
    ) -> Taken {
        let shared = self.shared();
        let slot = Slot::new(id.clone(), shared.generation(), version, content, now_ms, &shared.config);
        let mut before = None;
        let decide = |current: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let held = current.map(moka::Entry::into_value);
            before = held.as_ref().map(|held| held.content.clone());
            let is_replay = |held: &Slot| lower == Lower::IsReplay && held.is_ahead_of(&slot, now_ms);
            let op = match held {
                Some(held) if held.outranks(&slot) => Op::Nop,
                Some(held) if is_replay(&held) => Op::Put(Arc::new(slot.with(held.content.clone()).kept())),
                _ => Op::Put(Arc::new(slot)),
            };
            std::future::ready(op)
        };
        let done = shared.slots.entry_by_ref(id).and_compute_with(decide).await;
        shared.unknown.invalidate(id).await;
        let now = match done {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry) => {
                entry.value().content.clone()
            }
            CompResult::StillNone(_) | CompResult::Removed(_) => Content::Gone,
        };
        Taken { before, now }
    }

    fn shared(&self) -> &Shared {
        &self.catalog.shared
    }
}

impl Drop for CatalogWriter {
    fn drop(&mut self) {
        self.set_fresh(false);
        self.shared().has_writer.store(false, Ordering::Release);
    }
}
