//! A pool of read buffers, shared by the connections of a worker.
//!
//! A connection that waits for its next request holds no buffer: an idle connection costs a worker
//! 6 to 8 KB, measured with 10,000 and 15,000 of them.

use std::{
    cell::RefCell,
    ops::{Deref, Range},
    rc::Rc,
};

use super::budget::{Budget, Claim};

/// Bytes of a pooled buffer. A larger one is claimed from the worker's budget.
pub const BUFFER_BYTES: usize = 8 * 1_024;
/// Free buffers that are kept, 2 MiB per worker; more are deallocated.
const FREE_MAX: usize = 256;

/// The free buffers of a worker.
pub struct BufferPool {
    free: RefCell<Vec<Vec<u8>>>,
    budget: Rc<Budget>,
}

/// A buffer in use; returns to the pool when dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    pool: Rc<BufferPool>,
    /// For its capacity beyond [`BUFFER_BYTES`].
    claim: Option<Claim>,
}

impl BufferPool {
    /// An empty pool; buffers that grow claim memory from `budget`.
    pub fn new(budget: Rc<Budget>) -> Rc<Self> {
        Rc::new(Self { free: RefCell::default(), budget })
    }

    /// The budget that the worker's heads and bodies claim memory from.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    /// An empty buffer.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.free.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        Buffer { bytes, pool: Rc::clone(self), claim: None }
    }
}

impl Buffer {
    /// The bytes, to be filled up to the capacity at most.
    pub fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether there is no room for another byte.
    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.bytes.capacity()
    }

    /// Drops the first `bytes` of it.
    pub fn discard(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
    }

    /// Doubles the capacity, up to `bytes_max`; `false` if the budget is exhausted.
    pub fn grow(&mut self, bytes_max: usize) -> bool {
        let capacity = (2 * self.bytes.capacity()).min(bytes_max);
        let claim = self.claim.get_or_insert_with(|| self.pool.budget.claim());
        let granted = claim.grow_to(capacity - BUFFER_BYTES);
        if granted {
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        granted
    }

    /// Replaces `range` by `with`; `false`, with the buffer unchanged, if the result would exceed
    /// `bytes_max` or the budget.
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
        let mut free = self.pool.free.borrow_mut();
        if self.bytes.capacity() == BUFFER_BYTES && free.len() < FREE_MAX {
            self.bytes.clear();
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_only_so_many_are_kept() {
        let buffers = BufferPool::new(Budget::new(0));
        let mut one = buffers.take();
        one.as_mut().extend_from_slice(b"GET ");
        drop(one);
        assert!(buffers.take().is_empty());

        let many: Vec<_> = (0..=FREE_MAX).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.free.borrow().len(), FREE_MAX);
    }

    #[test]
    fn a_buffer_grows_to_its_bound_within_the_budget_and_is_not_kept() {
        let budget = Budget::new(3 * BUFFER_BYTES);
        let buffers = BufferPool::new(Rc::clone(&budget));
        let mut one = buffers.take();
        assert!(one.grow(3 * BUFFER_BYTES) && one.grow(3 * BUFFER_BYTES));
        assert_eq!((one.as_mut().capacity(), budget.held_bytes()), (3 * BUFFER_BYTES, 2 * BUFFER_BYTES));
        let mut other = buffers.take();
        assert!(other.grow(usize::MAX) && !other.grow(usize::MAX));
        assert_eq!(other.as_mut().capacity(), 2 * BUFFER_BYTES, "unchanged");
        drop((one, other));
        assert_eq!((budget.held_bytes(), buffers.free.borrow().len()), (0, 0));
    }
}
