//! Reads programs from the registry: on a miss, before the hit is answered; and in the background,
//! when a hit finds an old program.
//!
//! Both use the same single flight, see [`super::loads`].

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::ops::compute::Op;
use tokio::runtime::Handle;

use super::{
    Position, Shared,
    freshness::Age,
    loads::Pending,
    slot::{Content, Slot},
    verdict::Verdict,
};
use crate::{Entry, ProgramId, Version, Versioned};

/// Pause of all background reads after one without an answer, in milliseconds. Otherwise every hit
/// would query an unreachable registry, each for another program.
const SILENCE_PAUSE_MS: u64 = 1_000;

/// Why a program is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A hit waits for it.
    Miss,
    /// The program held is old.
    Age,
}

impl Shared {
    /// Reads a program for a hit that found nothing to serve; unverified if too many reads are
    /// under way.
    pub(super) fn read_on_miss(
        self: &Arc<Self>,
        id: ProgramId,
        now_ms: u64,
    ) -> impl Future<Output = Verdict> + Send + use<> {
        let joined = self.join(id, now_ms, Cause::Miss);
        if joined.is_none() {
            self.counters.loads_refused.increment(1);
        }
        async move {
            match joined {
                Some(read) => read.await,
                None => Verdict::Unverified,
            }
        }
    }

    /// Starts a read of `slot`, which is served meanwhile, unless one was started within the last
    /// second. If the read fails, the slot stays as it is.
    pub(super) fn read_in_background(self: &Arc<Self>, slot: &Arc<Slot>, now_ms: u64) {
        let is_silent = now_ms < self.no_background_read_before_ms.load(Ordering::Relaxed);
        if is_silent || !slot.begin_read(now_ms) {
            return;
        }
        let reading = Reading { slot: Arc::clone(slot), began_at_ms: now_ms };
        // No hit waits for this read, so it is spawned, on the runtime of the hit that found it.
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(read) = self.join(slot.id().clone(), now_ms, Cause::Age) else {
            // Misses come first; the next hit tries again.
            return;
        };
        runtime.spawn(async move {
            read.await;
            drop(reading);
        });
    }

    /// The current read of `id`, else a new one; `None` if there are too many.
    fn join(self: &Arc<Self>, id: ProgramId, now_ms: u64, cause: Cause) -> Option<Pending> {
        let shared = Arc::clone(self);
        let read = {
            let id = id.clone();
            |still_wanted| async move { shared.read_through(id, now_ms, cause, still_wanted).await }
        };
        self.loads.join(id, read)
    }

    /// Reads one program and keeps the answer while `still_wanted` says so.
    async fn read_through(
        self: Arc<Self>,
        id: ProgramId,
        now_ms: u64,
        cause: Cause,
        still_wanted: Arc<AtomicBool>,
    ) -> Verdict {
        // An earlier read may have ended between the caller's look-up and this one.
        if let Some(slot) = self.slot(id.as_str()).await {
            if self.freshness.age(slot.read_at_ms, now_ms) == Age::Fresh {
                return slot.verdict();
            }
        } else if self.is_known_not_to_exist(id.as_str()).await {
            return Verdict::Unknown;
        }
        if cause == Cause::Miss {
            self.counters.misses.increment(1);
        }
        // Taken before the request: changes from now on mark this read as outdated.
        let begun = Begun { generation: self.generation(), position: self.position(), at_ms: now_ms };
        let limit = Duration::from_millis(self.config.registry_timeout_ms);
        let answer = match tokio::time::timeout(limit, (self.read)(id.clone())).await {
            Ok(Ok(answer)) => answer,
            // An error and a timeout are the same to the caller: existence cannot be verified.
            Ok(Err(_)) | Err(_) => {
                self.no_background_read_before_ms.store(now_ms + SILENCE_PAUSE_MS, Ordering::Relaxed);
                self.counters.unverified.increment(1);
                return Verdict::Unverified;
            }
        };
        let verdict = verdict_of(&answer);
        if verdict == Verdict::Unverified {
            self.counters.unverified.increment(1);
        } else if begun.covers(&answer) {
            self.keep(id, begun, answer, &still_wanted).await;
        }
        verdict
    }

    /// Caches the answer of a read, unless something newer is cached.
    async fn keep(&self, id: ProgramId, begun: Begun, answer: Versioned, still_wanted: &AtomicBool) {
        let slot = |version, content| Slot::new(begun.generation, version, content, begun.at_ms);
        match answer.entry {
            Entry::Program { version, program } => {
                self.put(id, slot(version, Content::Known(program)), still_wanted).await;
            }
            Entry::Removed { version, .. } => {
                let removed = Content::Removed(id.clone());
                self.put(id, slot(version, removed), still_wanted).await;
            }
            Entry::Absent => {
                self.remove_older(&id, begun.generation, answer.state.version, still_wanted).await;
                self.unknown.insert(id.clone(), begun.generation).await;
                // A change between the check and the insert found nothing to invalidate.
                if !still_wanted.load(Ordering::Acquire) {
                    self.unknown.invalidate(&id).await;
                }
            }
        }
    }

    /// Puts `slot` unless a newer one is there or the read is outdated; decided under the key's lock,
    /// as changes are.
    async fn put(&self, id: ProgramId, slot: Slot, still_wanted: &AtomicBool) {
        let decide = |held: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let is_outdated = held.is_some_and(|held| held.value().outranks(&slot));
            let is_wanted = still_wanted.load(Ordering::Acquire);
            std::future::ready(if is_wanted && !is_outdated { Op::Put(Arc::new(slot)) } else { Op::Nop })
        };
        self.slots.entry(id).and_compute_with(decide).await;
    }

    /// Removes a slot that is not newer than `version`, at which the registry does not have `id`.
    async fn remove_older(
        &self,
        id: &ProgramId,
        generation: u32,
        version: Version,
        still_wanted: &AtomicBool,
    ) {
        let decide = |held: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let is_older = held.is_some_and(|held| {
                let held = held.value();
                (held.generation, held.version) <= (generation, version)
            });
            let is_wanted = still_wanted.load(Ordering::Acquire);
            std::future::ready(if is_wanted && is_older { Op::Remove } else { Op::Nop })
        };
        self.slots.entry_by_ref(id).and_compute_with(decide).await;
    }
}

/// Where the catalog was when a read began.
struct Begun {
    generation: u32,
    position: Option<Position>,
    at_ms: u64,
}

impl Begun {
    /// Whether the answer comes from the store that we follow and includes every change that was
    /// applied here before the read. An older answer, as from a lagging replica, would be served as
    /// correct for as long as we are in step.
    fn covers(&self, answer: &Versioned) -> bool {
        self.position.is_none_or(|position| {
            answer.state.epoch == position.epoch && answer.state.version >= position.version
        })
    }
}

fn verdict_of(answer: &Versioned) -> Verdict {
    match &answer.entry {
        Entry::Program { program, .. } => Verdict::Known(Arc::clone(program)),
        Entry::Removed { .. } => Verdict::Unknown,
        Entry::Absent if answer.state.ready => Verdict::Unknown,
        // A store that was never filled proves nothing by lacking a program.
        Entry::Absent => Verdict::Unverified,
    }
}

/// A background read of a slot; ends the read on drop, however the read ended.
struct Reading {
    slot: Arc<Slot>,
    began_at_ms: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.slot.end_read(self.began_at_ms);
    }
}
