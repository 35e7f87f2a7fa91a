//! The memory budget for the heads and bodies of one worker.
//!
//! 25,000 connections with a body of the largest size would hold 25 GB, so all connections share
//! `limits.bodies_bytes_max`. A head that fits into a pooled buffer is not charged.

use std::{cell::Cell, rc::Rc};

/// The budget of a worker, and how much of it is claimed.
#[derive(Debug)]
pub struct Budget {
    held_bytes: Cell<usize>,
    bytes_max: usize,
}

/// A granted share of the budget; returned when dropped.
#[derive(Debug)]
pub struct Claim {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `bytes_max`, none of it claimed.
    pub fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { held_bytes: Cell::new(0), bytes_max })
    }

    /// An empty claim, to be grown.
    pub fn claim(self: &Rc<Self>) -> Claim {
        Claim { budget: Rc::clone(self), bytes: 0 }
    }

    /// Bytes currently claimed.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }
}

impl Claim {
    /// Grows the claim to `bytes`; `false`, with the claim unchanged, if the budget has no room.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let held_bytes = self.budget.held_bytes.get() + more;
        if held_bytes > self.budget.bytes_max {
            return false;
        }
        self.budget.held_bytes.set(held_bytes);
        self.bytes += more;
        true
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.held_bytes.set(self.budget.held_bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_share_the_budget_and_give_it_back() {
        let budget = Budget::new(10);
        let mut first = budget.claim();
        assert!(first.grow_to(4) && first.grow_to(6));
        let mut second = budget.claim();
        assert!(!second.grow_to(5) && second.grow_to(4));
        assert_eq!(budget.held_bytes(), 10);
        drop(first);
        assert!(second.grow_to(10) && !second.grow_to(11));
        drop(second);
        assert_eq!(budget.held_bytes(), 0);
    }
}
