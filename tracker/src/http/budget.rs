//! The bytes of heads and bodies that one worker holds.
//!
//! 25,000 connections with a body of the largest size each would be 25 GB, so all of them share
//! `limits.bodies_bytes_max`. A head is free up to the size of a buffer of the pool.

use std::{cell::Cell, rc::Rc};

/// What may be held, and what is.
#[derive(Debug)]
pub struct Budget {
    held_bytes: Cell<usize>,
    bytes_max: usize,
}

/// Bytes that were granted; given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { held_bytes: Cell::new(0), bytes_max })
    }

    /// A claim to nothing, to be grown.
    pub fn claim(self: &Rc<Self>) -> Claim {
        Claim { budget: Rc::clone(self), bytes: 0 }
    }

    /// Bytes that are held at the moment.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }
}

impl Claim {
    /// Whether the claim is `bytes` now; if not, it is what it was.
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
