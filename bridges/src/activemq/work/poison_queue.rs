//! Messages that wait to be put aside, in groups that share a transaction. Pure.

use std::collections::VecDeque;

use super::super::aside::Poison;

/// Bytes of messages that wait to be put aside, and one message more.
pub const POISON_BYTES_MAX: usize = 64 << 20;
/// Messages that are put aside in one transaction.
pub const GROUP_MESSAGES_MAX: usize = 64;
/// Their bytes; a larger one goes alone.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// In the order in which they came.
#[derive(Debug, Default)]
pub struct PoisonQueue {
    waiting: VecDeque<Poison>,
    /// So many of the next go one by one, since the broker refused one of them.
    alone: usize,
}

impl PoisonQueue {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn push(&mut self, poison: Poison) {
        self.waiting.push_back(poison);
    }

    /// The next that go together; none if none waits.
    pub fn next_group(&mut self) -> Vec<Poison> {
        let mut group: Vec<Poison> = Vec::new();
        let mut bytes = 0;
        while let Some(poison) = self.waiting.front()
            && (group.is_empty() || self.alone == 0 && bytes + poison.bytes() <= GROUP_BYTES_MAX)
            && group.len() < GROUP_MESSAGES_MAX
        {
            bytes += poison.bytes();
            group.extend(self.waiting.pop_front());
        }
        self.alone = self.alone.saturating_sub(group.len());
        group
    }

    /// Puts a group back of which one was refused: which one shows when each goes alone.
    pub fn put_back(&mut self, group: Vec<Poison>) {
        self.alone = group.len();
        group.into_iter().rev().for_each(|poison| self.waiting.push_front(poison));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activemq::frame::{Command, Frame};
    use crate::activemq::mapping::Unmappable;

    fn poison(body_bytes: usize) -> Poison {
        let mut message = Frame::new(Command::Message, &[]);
        message.body = vec![b'x'; body_bytes].into();
        Poison { message, reason: Unmappable::NotText }
    }

    fn sizes(queue: &mut PoisonQueue) -> Vec<usize> {
        std::iter::from_fn(|| Some(queue.next_group().len()).filter(|size| *size > 0)).collect()
    }

    #[test]
    fn a_group_has_its_bounds_and_what_is_larger_goes_alone() {
        let mut queue = PoisonQueue::default();
        (0..100).for_each(|_| queue.push(poison(10)));
        queue.push(poison(2 * GROUP_BYTES_MAX));
        queue.push(poison(10));
        assert_eq!(sizes(&mut queue), [GROUP_MESSAGES_MAX, 36, 1, 1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn those_of_a_refused_group_go_one_by_one_and_the_others_together() {
        let mut queue = PoisonQueue::default();
        (0..3).for_each(|_| queue.push(poison(10)));
        let group = queue.next_group();
        (0..2).for_each(|_| queue.push(poison(10)));
        queue.put_back(group);
        assert_eq!(sizes(&mut queue), [1, 1, 1, 2]);
    }
}
