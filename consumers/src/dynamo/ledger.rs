//! The ledger: a block of 256 numbers is an item, and so is what a lane says of itself.
//!
//! A worker remembers the blocks and lanes that it wrote last, so that a lane that it reads in
//! order costs one read a block. What it remembers may be old, as another worker may have the lane
//! too: then a write fails on its condition, and is made again on what is there.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures_util::StreamExt;
use futures_util::stream::iter;
use proto::BootId;

use super::block::Block;
use super::client::Db;
use super::fault::Fault;
use super::item::{Item, key_of, text, text_of};
use super::keys::{self, BLOCK_NUMBERS, Key, LANE_BUCKETS, Place};
use super::scan::Ascending;
use super::versioned::{Content, Held};
use crate::ledger::{Fate, LaneLedger, LedgerRow};

/// Items that a worker remembers of each kind; with more, it forgets all and reads again.
const REMEMBERED_MAX: usize = 4_096;

const LANE: &str = "lane";

/// The item of a lane: all of its ledger but the fates of its numbers, which are in the blocks.
impl Content for LaneLedger {
    fn write_to(&self, item: &mut Item) {
        let json = serde_json::to_string(self).expect("numbers and strings are JSON");
        item.insert(LANE.to_owned(), text(json));
    }

    fn read_from(item: &Item) -> Result<Self, Fault> {
        serde_json::from_str(text_of(item, LANE)?).map_err(|error| {
            Fault::Damaged(format!(
                "the item of the lane {:?}: {error}",
                text_of(item, "sk").unwrap_or_default()
            ))
        })
    }
}

/// One lane.
pub(super) type LaneId = (BootId, u32);
/// One block of a lane.
pub(super) type BlockId = (BootId, u32, u64);

/// The block with the number of a place.
pub(super) fn block_of(place: Place) -> BlockId {
    (place.boot, place.lane, place.number / BLOCK_NUMBERS)
}

fn block_key((boot, lane, block): BlockId) -> Key {
    keys::block(boot, lane, block)
}

/// Blocks and lanes as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    blocks: Mutex<HashMap<BlockId, Held<Block>>>,
    lanes: Mutex<HashMap<LaneId, Held<LaneLedger>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn remember<K: Eq + std::hash::Hash, V>(map: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut map = lock(map);
    if map.len() >= REMEMBERED_MAX {
        map.clear();
    }
    map.insert(key, value);
}

/// Blocks and lanes of one write.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub blocks: HashMap<BlockId, Held<Block>>,
    pub lanes: HashMap<LaneId, Held<LaneLedger>>,
}

impl Loaded {
    /// What became of the record of this place, as far as it was known when this was loaded.
    pub fn fate(&self, place: Place) -> Option<Fate> {
        self.blocks.get(&block_of(place)).and_then(|held| held.content.get(place.number))
    }
}

/// What a worker knows of the ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    remembered: Remembered,
}

impl Ledger {
    /// The blocks and lanes, from memory or the table.
    pub async fn load(
        &self,
        db: &Db,
        blocks: HashSet<BlockId>,
        lanes: HashSet<LaneId>,
    ) -> Result<Loaded, Fault> {
        let mut loaded = Loaded::default();
        let mut keys = HashMap::new();
        {
            let known = lock(&self.remembered.blocks);
            for id in blocks {
                loaded.blocks.insert(id, known.get(&id).cloned().unwrap_or_default());
                if !known.contains_key(&id) {
                    keys.insert(block_key(id), Err(id));
                }
            }
        }
        {
            let known = lock(&self.remembered.lanes);
            for id in lanes {
                loaded.lanes.insert(id, known.get(&id).cloned().unwrap_or_default());
                if !known.contains_key(&id) {
                    keys.insert(keys::lane(id.0, id.1), Ok(id));
                }
            }
        }
        for item in db.get_all(keys.keys().cloned().collect()).await? {
            match keys.get(&key_of(&item)?) {
                Some(Ok(lane)) => drop(loaded.lanes.insert(*lane, Held::of(Some(&item))?)),
                Some(Err(block)) => drop(loaded.blocks.insert(*block, Held::of(Some(&item))?)),
                None => {}
            }
        }
        Ok(loaded)
    }

    /// Enters numbers of one block; those that were new.
    pub async fn enter(
        &self,
        db: &Db,
        id: BlockId,
        held: Held<Block>,
        numbers: &[(u64, Fate)],
    ) -> Result<Vec<(u64, Fate)>, Fault> {
        let key = block_key(id);
        let entered = db.change(&key, held, |block: &mut Block| {
            let is_new = |(number, fate): &&(u64, Fate)| block.enter(*number, *fate);
            let new: Vec<_> = numbers.iter().filter(is_new).copied().collect();
            (!new.is_empty(), new)
        });
        let (held, new) = entered.await?;
        remember(&self.remembered.blocks, id, held);
        Ok(new)
    }

    /// Gives a number another fate, if it has one of `from`; what it has in the end.
    pub async fn resolve(
        &self,
        db: &Db,
        place: Place,
        from: &[Fate],
        to: Fate,
    ) -> Result<Option<Fate>, Fault> {
        let id = block_of(place);
        let key = block_key(id);
        let held = db.held(&key).await?;
        let resolved = db.change(&key, held, |block: &mut Block| match block.get(place.number) {
            Some(fate) if from.contains(&fate) => {
                block.set(place.number, to);
                (true, Some(to))
            }
            fate => (false, fate),
        });
        let (held, fate) = resolved.await?;
        remember(&self.remembered.blocks, id, held);
        Ok(fate)
    }

    /// Changes what a lane says of itself; a lane that is new gets its item in any case, since a
    /// listing finds its blocks by it.
    pub async fn change_lane(
        &self,
        db: &Db,
        id: LaneId,
        held: Held<LaneLedger>,
        change: impl Fn(&mut LaneLedger),
    ) -> Result<Held<LaneLedger>, Fault> {
        let key = keys::lane(id.0, id.1);
        let mut is_new = !held.exists();
        let changed = db.change(&key, held, |lane: &mut LaneLedger| {
            let before = lane.clone();
            change(lane);
            // Only once: after a condition that failed there is an item.
            let is_changed = std::mem::take(&mut is_new) || *lane != before;
            (is_changed, ())
        });
        let (held, ()) = changed.await?;
        remember(&self.remembered.lanes, id, held.clone());
        Ok(held)
    }
}

impl Db {
    /// The ledgers of all lanes, by boot and lane.
    pub async fn ledgers(&self) -> Result<Vec<LedgerRow>, Fault> {
        let buckets = iter(0..LANE_BUCKETS).map(|bucket| self.all_of(keys::lanes_partition(bucket)));
        let mut lanes = Vec::new();
        let mut buckets = buckets.buffer_unordered(self.calls_max);
        while let Some(items) = buckets.next().await {
            lanes.extend(items?);
        }
        let mut rows = Vec::new();
        let mut read = iter(lanes).map(|item| self.row(item)).buffer_unordered(self.calls_max);
        while let Some(row) = read.next().await {
            rows.push(row?);
        }
        rows.sort_by_key(|row| (row.boot, row.lane));
        Ok(rows)
    }

    async fn row(&self, item: Item) -> Result<LedgerRow, Fault> {
        let (boot, lane) =
            keys::parse_lane(text_of(&item, "sk")?).ok_or_else(|| super::item::damaged(&item, "sk"))?;
        let mut ledger = LaneLedger::read_from(&item)?;
        let mut blocks = Ascending::partition(self, keys::blocks_partition(boot, lane));
        while let Some(item) = blocks.next().await? {
            let at =
                keys::parse_block(text_of(&item, "sk")?).ok_or_else(|| super::item::damaged(&item, "sk"))?;
            for (number, fate) in Block::read_from(&item)?.numbers(at.saturating_mul(BLOCK_NUMBERS)) {
                ledger.record(number, fate);
            }
        }
        Ok(LedgerRow { boot, lane, ledger })
    }
}
