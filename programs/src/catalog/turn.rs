//! A program's turn to be read again.

use std::sync::{Arc, atomic::Ordering};

use supervise::now_ms;

use super::{Shared, slot::Slot};
use crate::ProgramId;

/// Pause before a program is asked for again that could not be read, in milliseconds. A region's
/// hits would otherwise ask a registry that is away all the time.
const PAUSE_MS: u64 = 1_000;

/// Taken by the hit that asks for a new read; nobody else asks for this program meanwhile.
///
/// Whatever becomes of it, the turn is given back when this is dropped: a program that was read
/// has a new slot by then, and one that was not is asked for again.
pub struct Turn {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
}

impl Turn {
    /// The turn of `slot`, if it is due at `now_ms` and nobody has it. Counted while it is held.
    pub(super) fn take(shared: &Arc<Shared>, slot: &Arc<Slot>, now_ms: u64) -> Option<Self> {
        if !slot.take_turn(now_ms) {
            return None;
        }
        shared.refreshes.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: Arc::clone(shared), slot: Arc::clone(slot) })
    }

    /// Which program.
    pub fn id(&self) -> &ProgramId {
        &self.slot.id
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.slot.give_turn_back(now_ms() + PAUSE_MS);
        self.shared.refreshes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Turn").field(self.id()).finish()
    }
}
