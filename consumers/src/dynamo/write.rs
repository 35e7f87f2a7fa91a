//! A write: what is new, in the order that makes a crash harmless.
//!
//! ```text
//! plan ─► letters ─► hours ─► identities ─► items ─► lanes ─► blocks ─► what lanes say
//! pure    room for   where    whose id      events,  so that   the       reports, abandoned
//! but for poison?    readers  is it?        refused  blocks    ledger    ranges, ends
//! the ledger         look                   hits     are found
//! ```
//!
//! Each step may be made again, alone or by two workers at once: a letter is known by its place, an
//! identity by the record that has it, an item is a function of its record, and a block takes a
//! number once. Until the block says so, a record is not done, and comes again.

mod items;
mod poison;
mod todo;

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::iter;

use self::todo::{Course, Todo, What, has_lane, left, place, what};
use super::DynamoTable;
use super::block::Block;
use super::fault::Fault;
use super::keys::{self, Place};
use super::ledger::{BlockId, LaneId, Loaded, block_of};
use super::versioned::Held;
use crate::decode::{Decoded, DecodedBatch, WriteBatch};
use crate::ledger::{Fate, LaneLedger};
use crate::table::{Left, LeftReason, Written};

/// The records of a write that are new, and what else it is about.
struct Plan<'a> {
    todo: Vec<Todo<'a>>,
    loaded: Loaded,
    replayed: u64,
}

impl DynamoTable {
    pub(super) async fn write_all(&self, work: &WriteBatch) -> Result<Written, Fault> {
        let mut plan = self.plan(work).await?;
        let mut written = Written { replayed: plan.replayed, ..Written::default() };
        self.put_letters(&mut plan.todo, &mut written).await?;
        self.put_hours(&plan.todo).await?;
        self.claim_identities(&mut plan.todo).await?;
        self.put_items(&mut plan.todo).await?;
        self.put_refused(&mut plan.todo).await?;
        let Plan { mut todo, loaded, .. } = plan;
        let lanes = self.put_lanes(&todo, loaded.lanes).await?;
        self.put_blocks(&mut todo, loaded.blocks, &mut written).await?;
        written.left = left(work, &todo);
        self.put_sayings(work, lanes, &written.left).await?;
        let newest = todo.iter().filter_map(|todo| match (&todo.what, todo.course) {
            (What::Event(event), Course::Done) => Some(event.received_at_ms),
            _ => None,
        });
        written.newest_received_at_ms = newest.max().unwrap_or(0);
        Ok(written)
    }

    /// Stores the one record of `work` although its number is in the ledger, as dead; its place and
    /// what became of it, or why it cannot be stored.
    pub(super) async fn store_dead(&self, work: &WriteBatch) -> Result<Result<(Place, Fate), String>, Fault> {
        let batch_and_record = work.batches.first().and_then(|batch| Some((batch, batch.records.first()?)));
        let Some((batch, record)) = batch_and_record else {
            return Ok(Err("it says nothing of a record".to_owned()));
        };
        let place = place(batch, record.number);
        let what = what(&record.decoded, place);
        let mut todo = [Todo { batch: 0, place, what, course: Course::Begun }];
        if todo[0].what.letter().is_none() {
            self.put_hours(&todo).await?;
            self.claim_identities(&mut todo).await?;
            self.put_items(&mut todo).await?;
        }
        match (todo[0].course, &todo[0].what) {
            (Course::Decided(fate), what) => {
                if let What::Report = what {
                    let id = (place.boot, place.lane);
                    let held = self.db.held(&keys::lane(id.0, id.1)).await?;
                    self.ledger.change_lane(&self.db, id, held, |lane| say(batch, lane)).await?;
                }
                Ok(Ok((place, fate)))
            }
            (_, What::Dead(letter)) => Ok(Err(letter.reason.clone())),
            (Course::Begun | Course::Done | Course::Left(_), _) => Err(Fault::Throttled),
        }
    }

    /// Finds out which records are new.
    async fn plan<'a>(&self, work: &'a WriteBatch) -> Result<Plan<'a>, Fault> {
        let mut blocks = HashSet::new();
        let mut lanes = HashSet::new();
        for batch in &work.batches {
            blocks.extend(batch.records.iter().map(|record| block_of(place(batch, record.number))));
            if has_lane(batch) {
                lanes.insert((batch.boot, batch.lane));
            }
        }
        let loaded = self.ledger.load(&self.db, blocks, lanes).await?;
        let mut plan = Plan { todo: Vec::new(), loaded, replayed: 0 };
        let mut seen = HashSet::new();
        for (index, batch) in work.batches.iter().enumerate() {
            for record in &batch.records {
                let place = place(batch, record.number);
                if plan.loaded.fate(place).is_some() || !seen.insert(place) {
                    plan.replayed += 1;
                    continue;
                }
                let what = what(&record.decoded, place);
                plan.todo.push(Todo { batch: index, place, what, course: Course::Begun });
            }
            for letter in &batch.foreign {
                let place = place(batch, letter.number);
                let what = What::Foreign(letter);
                plan.todo.push(Todo { batch: index, place, what, course: Course::Begun });
            }
        }
        Ok(plan)
    }

    /// Makes sure that each lane has its item, by which its blocks are found.
    async fn put_lanes(
        &self,
        todo: &[Todo<'_>],
        mut lanes: HashMap<LaneId, Held<LaneLedger>>,
    ) -> Result<HashMap<LaneId, Held<LaneLedger>>, Fault> {
        let decided = todo.iter().filter(|todo| matches!(todo.course, Course::Decided(_)));
        let needed: HashSet<LaneId> = decided.map(|todo| (todo.place.boot, todo.place.lane)).collect();
        for id in needed {
            let held = lanes.remove(&id).unwrap_or_default();
            let held = match held.exists() {
                true => held,
                false => self.ledger.change_lane(&self.db, id, held, |_| ()).await?,
            };
            lanes.insert(id, held);
        }
        Ok(lanes)
    }

    /// Enters what was decided.
    async fn put_blocks(
        &self,
        todo: &mut [Todo<'_>],
        mut blocks: HashMap<BlockId, Held<Block>>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let mut by_block: HashMap<BlockId, Vec<(u64, Fate, usize)>> = HashMap::new();
        for (at, todo) in todo.iter().enumerate() {
            if let Course::Decided(fate) = todo.course {
                by_block.entry(block_of(todo.place)).or_default().push((todo.place.number, fate, at));
            }
        }
        let enters = by_block.into_iter().map(|(id, numbers)| {
            let held = blocks.remove(&id).unwrap_or_default();
            async move {
                let fates: Vec<_> = numbers.iter().map(|(number, fate, _)| (*number, *fate)).collect();
                (numbers, self.ledger.enter(&self.db, id, held, &fates).await)
            }
        });
        let mut entered = iter(enters).buffer_unordered(self.db.calls_max);
        while let Some((numbers, result)) = entered.next().await {
            let course = match result {
                Ok(new) => {
                    new.iter().for_each(|(_, fate)| written.fates.add(*fate));
                    written.replayed += (numbers.len() - new.len()) as u64;
                    Course::Done
                }
                Err(Fault::Throttled) => Course::Left(LeftReason::Throttled),
                Err(fault) => return Err(fault),
            };
            for (.., at) in numbers {
                todo[at].course = course;
            }
        }
        Ok(())
    }

    /// Writes what lanes say of themselves. Abandoned ranges and the end follow the records, so
    /// they wait if a record is left.
    async fn put_sayings(
        &self,
        work: &WriteBatch,
        mut lanes: HashMap<LaneId, Held<LaneLedger>>,
        left: &[Left],
    ) -> Result<(), Fault> {
        let mut of_lane: BTreeMap<LaneId, Vec<&DecodedBatch>> = BTreeMap::new();
        for (index, batch) in work.batches.iter().enumerate().filter(|(_, batch)| has_lane(batch)) {
            if left.iter().all(|left| left.batch != index) {
                of_lane.entry((batch.boot, batch.lane)).or_default().push(batch);
            }
        }
        for (id, batches) in of_lane {
            let held = lanes.remove(&id).unwrap_or_default();
            let say = |lane: &mut LaneLedger| batches.iter().for_each(|batch| say(batch, lane));
            // A lane of which there is nothing yet but a batch of no content.
            let is_empty = batches
                .iter()
                .all(|batch| batch.records.is_empty() && batch.abandoned.is_empty() && batch.end.is_none());
            if !is_empty {
                self.ledger.change_lane(&self.db, id, held, say).await?;
            }
        }
        Ok(())
    }
}

fn say(batch: &DecodedBatch, lane: &mut LaneLedger) {
    for record in &batch.records {
        if let Decoded::Report(report) = &record.decoded {
            lane.record_report(report.clone());
        }
    }
    for &(first, end) in &batch.abandoned {
        lane.abandon(first, end);
    }
    if let Some(end) = batch.end {
        lane.record_end(end);
    }
}
