//! Writes to the catalog.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use moka::ops::compute::{CompResult, Op};

use super::{
    Catalog, Position, Shared,
    slot::{Content, Slot},
};
use crate::{Change, ProgramId, Snapshot, Version};

/// The right to write; there is one at a time.
pub struct CatalogWriter {
    catalog: Catalog,
}

impl Catalog {
    /// The right to write, unless it is taken. Dropping it makes the catalog not fresh.
    pub fn writer(&self) -> Option<CatalogWriter> {
        let taken = self.shared.has_writer.swap(true, Ordering::AcqRel);
        (!taken).then(|| CatalogWriter { catalog: self.clone() })
    }
}

impl CatalogWriter {
    /// Applies one change, and returns the program as the catalog holds it then. An older version
    /// changes nothing. Neither does a lower revision: it is a replay into a registry that lost
    /// changes, see `fallback`.
    pub(crate) async fn apply(&self, change: Change, now_ms: u64) -> Change {
        let Change { epoch, version, id, program } = change;
        let shared = self.shared();
        // Before the change is put: a read that starts now must include it in its answer, and a read
        // that started earlier is discarded, whether or not the change is cached.
        shared.set_position(Position { epoch, version });
        shared.loads.forget(&id);
        let content = Content::of(&id, program);
        let now = self.put(&id, Slot::new(shared.generation(), version, content, now_ms)).await;
        shared.unknown.invalidate(&id).await;
        Change { epoch, version, id, program: now.program() }
    }

    /// Replaces everything by `snapshot`, read at `read_at_ms`; returns the number of programs that
    /// fit.
    ///
    /// Readers see the old programs until the new ones are all there.
    pub async fn replace_all(&self, snapshot: &Snapshot, read_at_ms: u64) -> u64 {
        self.replace(snapshot, HashMap::new(), read_at_ms).await
    }

    /// As [`CatalogWriter::replace_all`], and remembers `removed` as removed at these versions.
    pub(super) async fn replace(
        &self,
        snapshot: &Snapshot,
        removed: HashMap<ProgramId, Version>,
        read_at_ms: u64,
    ) -> u64 {
        let shared = self.shared();
        let generation = shared.generation() + 1;
        // Invisible to readers until the generation advances.
        for (id, version) in removed {
            let slot = Slot::new(generation, version, Content::Removed(id.clone()), read_at_ms);
            shared.slots.insert(id, Arc::new(slot)).await;
        }
        let mut programs = 0;
        for (version, program) in snapshot.programs.iter().take(shared.config.entries_max as usize) {
            let slot = Slot::new(generation, *version, Content::Known(Arc::clone(program)), read_at_ms);
            shared.slots.insert(program.id.clone(), Arc::new(slot)).await;
            programs += 1;
        }
        let state = snapshot.state;
        shared.set_position(Position { epoch: state.epoch, version: state.version });
        shared.loads.forget_all();
        shared.advance(generation).await;
        shared.freshness.set_loaded(read_at_ms);
        shared.loaded.store(true, Ordering::Release);
        programs
    }

    /// The slots that readers find now.
    pub(super) fn held(&self) -> Vec<Arc<Slot>> {
        let generation = self.shared().generation();
        let slots = self.shared().slots.iter().map(|(_, slot)| slot);
        slots.filter(|slot| slot.generation >= generation).collect()
    }

    /// Whether there is something to serve.
    pub(crate) fn is_loaded(&self) -> bool {
        self.catalog.is_loaded()
    }

    /// How long a program is served after it was last known to be correct, in milliseconds.
    pub(crate) fn served_ms(&self) -> u64 {
        self.shared().freshness.served_ms()
    }

    /// How long a program is fresh while the catalog is not in step.
    pub(crate) fn fresh_for(&self) -> Duration {
        Duration::from_secs(self.shared().config.fresh_seconds)
    }

    /// The most programs that are held.
    pub(crate) fn entries_max(&self) -> u64 {
        self.shared().config.entries_max
    }

    /// Sets whether changes are being followed. A catalog that does not follow is not in step.
    pub(crate) fn set_following(&self, is_following: bool) {
        if !is_following {
            self.set_out_of_step();
        }
        self.shared().is_following.store(is_following, Ordering::Release);
        self.shared().counters.fresh.set(if is_following { 1.0 } else { 0.0 });
    }

    /// The catalog holds everything that the registry had at `at_ms`, and will receive every change
    /// since.
    pub(crate) fn set_in_step(&self, at_ms: u64) {
        self.shared().freshness.set_in_step(at_ms);
    }

    /// The registry may differ from now on: programs begin to age.
    pub(crate) fn set_out_of_step(&self) {
        self.shared().freshness.set_out_of_step();
    }

    /// Puts `slot` unless a newer value is held; returns what is held then.
    async fn put(&self, id: &ProgramId, slot: Slot) -> Content {
        let shared = self.shared();
        let has_room = shared.slots.entry_count() < shared.config.entries_max;
        let put = slot.content.clone();
        let decide = |held: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let op = match held.map(moka::Entry::into_value) {
                Some(held) if held.outranks(&slot) => Op::Nop,
                // The source replays older revisions on its way to the one held: take the version
                // of the change, keep the program.
                Some(held) if held.has_higher_revision_than(&slot) => {
                    let kept = held.content.clone();
                    Op::Put(Arc::new(Slot::new(slot.generation, slot.version, kept, slot.read_at_ms)))
                }
                // In a full catalog, a change of a program that is not hit must not evict one that is.
                None if !has_room => Op::Nop,
                _ => Op::Put(Arc::new(slot)),
            };
            std::future::ready(op)
        };
        match shared.slots.entry_by_ref(id).and_compute_with(decide).await {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry) => {
                entry.value().content.clone()
            }
            CompResult::StillNone(_) | CompResult::Removed(_) => put,
        }
    }

    fn shared(&self) -> &Shared {
        &self.catalog.shared
    }
}

impl Drop for CatalogWriter {
    fn drop(&mut self) {
        self.set_following(false);
        self.shared().has_writer.store(false, Ordering::Release);
    }
}
