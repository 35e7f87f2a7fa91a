//! Registry reads under way: one per id (single flight).
//!
//! A read is a shared future, driven by whichever waiter is polled; nothing is spawned. The table
//! holds it weakly, so a read without waiters is dropped.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::verdict::Verdict;
use crate::ProgramId;

pub(super) type Pending = Shared<BoxFuture<'static, Verdict>>;

pub(super) struct Loads {
    table: Arc<Table>,
    max: usize,
}

type Table = Mutex<HashMap<ProgramId, Load>>;

struct Load {
    pending: WeakShared<BoxFuture<'static, Verdict>>,
    /// Whether its answer may be kept; its address also distinguishes two reads of one id.
    still_wanted: Arc<AtomicBool>,
}

impl Loads {
    pub(super) fn new(max: usize) -> Self {
        Self { table: Arc::default(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The current read of `id`, else a new one; `None` if there are too many.
    ///
    /// `read` is given the flag that says whether its answer may still be kept.
    pub(super) fn join<F, Fut>(&self, id: ProgramId, read: F) -> Option<Pending>
    where
        F: FnOnce(Arc<AtomicBool>) -> Fut,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        let mut table = self.lock();
        if let Some(pending) = table.get(&id).and_then(|load| load.pending.upgrade()) {
            return Some(pending);
        }
        if table.len() >= self.max {
            return None;
        }
        let still_wanted = Arc::new(AtomicBool::new(true));
        let guard = RemoveOnDrop {
            table: Arc::downgrade(&self.table),
            id: id.clone(),
            still_wanted: Arc::clone(&still_wanted),
        };
        let read = read(Arc::clone(&still_wanted));
        let pending = async move {
            let _guard = guard;
            read.await
        };
        let pending = pending.boxed().shared();
        let weak = pending.downgrade().expect("it was not polled yet");
        table.insert(id, Load { pending: weak, still_wanted });
        Some(pending)
    }

    /// Discards the current read of `id`: its answer is not kept, and later callers start a new one.
    pub(super) fn forget(&self, id: &ProgramId) {
        if let Some(load) = self.lock().remove(id) {
            load.still_wanted.store(false, Ordering::Release);
        }
    }

    /// As [`Loads::forget`], for all of them.
    pub(super) fn forget_all(&self) {
        for (_, load) in self.lock().drain() {
            load.still_wanted.store(false, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProgramId, Load>> {
        lock(&self.table)
    }
}

fn lock(table: &Table) -> MutexGuard<'_, HashMap<ProgramId, Load>> {
    table.lock().expect("nothing panics while it is held")
}

/// Removes a read from the table when it completes, panics or is dropped.
struct RemoveOnDrop {
    table: Weak<Table>,
    id: ProgramId,
    still_wanted: Arc<AtomicBool>,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else {
            return;
        };
        let mut table = lock(&table);
        // The entry may be of a later read, if this one was forgotten meanwhile.
        let is_this =
            table.get(&self.id).is_some_and(|load| Arc::ptr_eq(&load.still_wanted, &self.still_wanted));
        if is_this {
            table.remove(&self.id);
        }
    }
}
