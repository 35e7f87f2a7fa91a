//! What became of 256 numbers of a lane: a bitmap per fate. Pure.

use super::fault::Fault;
use super::item::{Item, bytes, bytes_of};
use super::keys::BLOCK_NUMBERS;
use super::versioned::Content;
use crate::ledger::Fate;

const BITMAP_BYTES: usize = (BLOCK_NUMBERS / 8) as usize;

/// The attributes of an item, one a fate.
const FATES: [(Fate, &str); 6] = [
    (Fate::Stored, "stored"),
    (Fate::Duplicate, "duplicates"),
    (Fate::Dead, "dead_letters"),
    (Fate::Dropped, "dropped"),
    (Fate::Rejected, "rejected"),
    (Fate::Report, "reports"),
];

/// The fates of the numbers of a block.
///
/// Invariant: a number has one fate at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block([[u8; BITMAP_BYTES]; FATES.len()]);

impl Block {
    /// What became of the number; `None` if it was not entered.
    pub fn get(&self, number: u64) -> Option<Fate> {
        let (byte, bit) = place(number);
        let at = self.0.iter().position(|bitmap| bitmap[byte] & bit != 0)?;
        Some(FATES[at].0)
    }

    /// Gives the number this fate, whatever it had.
    pub fn set(&mut self, number: u64, fate: Fate) {
        let (byte, bit) = place(number);
        for (bitmap, (of, _)) in self.0.iter_mut().zip(FATES) {
            if of == fate {
                bitmap[byte] |= bit;
            } else {
                bitmap[byte] &= !bit;
            }
        }
    }

    /// Enters the number; false, without a change, if it is entered already.
    pub fn enter(&mut self, number: u64, fate: Fate) -> bool {
        let is_new = self.get(number).is_none();
        if is_new {
            self.set(number, fate);
        }
        is_new
    }

    /// The numbers of the block that begins with `first`, in order, each with its fate.
    pub fn numbers(&self, first: u64) -> impl Iterator<Item = (u64, Fate)> + '_ {
        (0..BLOCK_NUMBERS).filter_map(move |at| Some((first.saturating_add(at), self.get(at)?)))
    }
}

fn place(number: u64) -> (usize, u8) {
    let at = (number % BLOCK_NUMBERS) as usize;
    (at / 8, 1 << (at % 8))
}

impl Content for Block {
    /// Without the zeros at the end of a bitmap, and without the bitmaps that are empty.
    fn write_to(&self, item: &mut Item) {
        for (bitmap, (_, name)) in self.0.iter().zip(FATES) {
            if let Some(last) = bitmap.iter().rposition(|byte| *byte != 0) {
                item.insert(name.to_owned(), bytes(&bitmap[..=last]));
            }
        }
    }

    fn read_from(item: &Item) -> Result<Self, Fault> {
        let mut block = Self::default();
        for (bitmap, (_, name)) in block.0.iter_mut().zip(FATES) {
            if item.contains_key(name) {
                let found = bytes_of(item, name)?;
                let known = bitmap.get_mut(..found.len()).ok_or_else(|| super::item::damaged(item, name))?;
                known.copy_from_slice(found);
            }
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_one_fate_and_keeps_it_until_it_is_given_another() {
        let mut block = Block::default();
        assert!(block.enter(256 + 7, Fate::Dead));
        assert!(!block.enter(256 + 7, Fate::Stored));
        assert_eq!((block.get(256 + 7), block.get(256 + 8)), (Some(Fate::Dead), None));
        block.set(256 + 7, Fate::Dropped);
        assert_eq!(block.numbers(256).collect::<Vec<_>>(), [(263, Fate::Dropped)]);
    }

    #[test]
    fn a_bitmap_that_is_too_long_is_named() {
        let item = Item::from([("stored".to_owned(), bytes([1; 33]))]);
        assert!(matches!(Block::read_from(&item), Err(Fault::Damaged(said)) if said.contains("\"stored\"")));
    }

    proptest! {
        #[test]
        fn an_item_gives_the_same_block_back(entered in prop::collection::vec((0u64..256, 0usize..6), 0..300)) {
            let mut block = Block::default();
            let mut expected = std::collections::BTreeMap::new();
            for (number, fate) in entered {
                let fate = FATES[fate].0;
                prop_assert_eq!(block.enter(number, fate), !expected.contains_key(&number));
                expected.entry(number).or_insert(fate);
            }
            let mut item = Item::new();
            block.write_to(&mut item);
            let read = Block::read_from(&item).unwrap();
            prop_assert_eq!(&read, &block);
            prop_assert_eq!(read.numbers(0).collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
