//! Buffers for what is read, shared by the connections of a worker.
//!
//! A connection that waits for its next request holds none: an idle browser costs a worker 6 to
//! 8 KB, measured with 10,000 and 15,000 of them.

use std::{
    cell::RefCell,
    ops::{Deref, Range},
    rc::Rc,
};

use super::budget::{Budget, Claim};

/// Bytes of a buffer from the pool. What does not fit is claimed from the worker's budget.
pub const BUFFER_BYTES: usize = 8 * 1_024;
/// Buffers that are kept for later; more are freed: 2 MiB a worker.
const KEPT_MAX: usize = 256;

/// The buffers that nobody uses.
pub struct Buffers {
    kept: RefCell<Vec<Vec<u8>>>,
    budget: Rc<Budget>,
}

/// A buffer in use; goes back when it is dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    home: Rc<Buffers>,
    /// For what it holds beyond [`BUFFER_BYTES`].
    claim: Option<Claim>,
}

impl Buffers {
    /// None kept yet; what is larger than usual is claimed from `budget`.
    pub fn new(budget: Rc<Budget>) -> Rc<Self> {
        Rc::new(Self { kept: RefCell::default(), budget })
    }

    /// What the worker's heads and bodies are claimed from.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    /// An empty buffer.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.kept.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        Buffer { bytes, home: Rc::clone(self), claim: None }
    }
}

impl Buffer {
    /// To be filled up to its capacity.
    pub fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether nothing more fits in.
    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.bytes.capacity()
    }

    /// Drops the first `bytes` of it.
    pub fn forget(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
    }

    /// Doubles what fits in, up to `bytes_max`; `false` if the budget has no room.
    pub fn grow(&mut self, bytes_max: usize) -> bool {
        let capacity = (2 * self.bytes.capacity()).min(bytes_max);
        let claim = self.claim.get_or_insert_with(|| self.home.budget.claim());
        let granted = claim.grow_to(capacity - BUFFER_BYTES);
        if granted {
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        granted
    }
}

impl Buffer {
    /// Puts `with` in the place of `range`; `false`, and nothing changed, if it would have more
    /// than `bytes_max` or the budget has no room.
    pub fn replace(&mut self, range: Range<usize>, with: &[u8], bytes_max: usize) -> bool {
        let bytes = self.bytes.len() - range.len() + with.len();
        if bytes > bytes_max {
            return false;
        }
        while self.bytes.capacity() < bytes {
            if !self.grow(bytes_max) {
                return false;
            }
        }
        self.bytes.splice(range, with.iter().copied());
        true
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self.home.kept.borrow_mut();
        if self.bytes.capacity() == BUFFER_BYTES && kept.len() < KEPT_MAX {
            self.bytes.clear();
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_only_so_many_are_kept() {
        let buffers = Buffers::new(Budget::new(0));
        let mut one = buffers.take();
        one.as_mut().extend_from_slice(b"GET ");
        drop(one);
        assert!(buffers.take().is_empty());

        let many: Vec<_> = (0..=KEPT_MAX).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.kept.borrow().len(), KEPT_MAX);
    }

    #[test]
    fn a_buffer_grows_to_its_bound_within_the_budget_and_is_not_kept() {
        let budget = Budget::new(3 * BUFFER_BYTES);
        let buffers = Buffers::new(Rc::clone(&budget));
        let mut one = buffers.take();
        assert!(one.grow(3 * BUFFER_BYTES) && one.grow(3 * BUFFER_BYTES));
        assert_eq!((one.as_mut().capacity(), budget.held_bytes()), (3 * BUFFER_BYTES, 2 * BUFFER_BYTES));
        let mut other = buffers.take();
        assert!(other.grow(usize::MAX) && !other.grow(usize::MAX));
        assert_eq!(other.as_mut().capacity(), 2 * BUFFER_BYTES, "it is what it was");
        drop((one, other));
        assert_eq!((budget.held_bytes(), buffers.kept.borrow().len()), (0, 0));
    }
}
