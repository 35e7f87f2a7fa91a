//! Those who wait until the stream has their record.
//!
//! The stream may be away for hours, and a caller may give up meanwhile. So each waiter
//! has an entry of its own that it takes back when it is dropped; what stays in here is
//! bounded by the futures that live.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use crate::record::Number;

/// Names one waiter among those of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    number: Number,
    id: u64,
}

/// The waiters of a lane, in the order of the numbers that they wait for.
#[derive(Default)]
pub(crate) struct StreamWaiters {
    waiting: RefCell<BTreeMap<Ticket, Waker>>,
    next_id: Cell<u64>,
}

impl StreamWaiters {
    /// A ticket for somebody who will wait for `number`.
    pub fn ticket(&self, number: Number) -> Ticket {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Ticket { number, id }
    }

    /// Waits, or goes on waiting with another waker.
    pub fn wait(&self, ticket: Ticket, waker: &Waker) {
        self.waiting.borrow_mut().insert(ticket, waker.clone());
    }

    /// No longer waits.
    pub fn leave(&self, ticket: Ticket) {
        self.waiting.borrow_mut().remove(&ticket);
    }

    /// Wakes those who wait for a number below `end`. The others would only find that they
    /// have to go on waiting.
    pub fn wake_below(&self, end: Number) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.first_entry()
            && first.key().number < end
        {
            first.remove().wake();
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.waiting.borrow().len()
    }
}
