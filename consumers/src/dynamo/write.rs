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

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::iter;
use proto::{DeadLetter, Stage, ids};
use stream::RecordKind;
use supervise::now_ms;

use super::batch::{NotPut, Sized};
use super::block::Block;
use super::fault::Fault;
use super::item::{EVENT, EXPIRES_AT, PAYLOAD_BYTES_MAX, REJECTED, bytes, expires_at, keyed, number};
use super::keys::{self, Key, Place};
use super::ledger::{BlockId, LaneId, Loaded, block_of};
use super::letters::{Kind, Put, Room};
use super::versioned::Held;
use super::{DynamoTable, Settings};
use crate::decode::{Decoded, DecodedBatch, Event, WriteBatch};
use crate::ledger::{Fate, LaneLedger};
use crate::table::{Left, LeftReason, Written};

/// A record that is not in the ledger, on its way there.
pub(super) struct Todo<'a> {
    batch: usize,
    place: Place,
    what: What<'a>,
    course: Course,
}

enum What<'a> {
    Event(&'a Event),
    Rejected {
        received_at_ms: u64,
        payload: &'a [u8],
    },
    Report,
    /// Of a record of a lane.
    Dead(Cow<'a, DeadLetter>),
    /// Of a record that no lane wrote.
    Foreign(&'a DeadLetter),
}

/// How far a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Begun,
    /// All is done but the ledger.
    Decided(Fate),
    /// It is in the ledger, or belongs in none.
    Done,
    Left(LeftReason),
}

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

    /// Keeps what is poison, as long as there is room; a lane without room waits at that record.
    async fn put_letters(&self, todo: &mut [Todo<'_>], written: &mut Written) -> Result<(), Fault> {
        if !todo.iter().any(|todo| todo.what.letter().is_some()) {
            return Ok(());
        }
        let heads = self.db.heads().await?;
        let mut room = Room::of(heads.iter().filter(|head| head.kind.is_of_consumer()));
        let known: HashSet<&str> = heads.iter().map(|head| head.place.as_str()).collect();
        let mut waiting = HashSet::new();
        let mut new = Vec::new();
        for (at, todo) in todo.iter_mut().enumerate() {
            // A lane is stored in order: everything behind a record that waits, waits too.
            let lane = (todo.place.boot, todo.place.lane);
            if let Some(reason) = waiting.contains(&lane).then(|| self.letters_full(room.letters)) {
                todo.course = Course::Left(reason);
                continue;
            }
            let Some((letter, kind)) = todo.what.letter() else { continue };
            let after = room.with(prost_len(letter));
            if !known.contains(keys::letter_place(letter).as_str()) {
                if !after.is_within(self.settings.letters_max) {
                    waiting.insert(lane);
                    todo.course = Course::Left(self.letters_full(room.letters));
                    continue;
                }
                room = after;
            }
            match self.db.put_letter(letter, kind).await {
                Ok(put) => {
                    todo.decide_letter(&put, written);
                    if let Put::New(head) = put {
                        new.push((at, head));
                    }
                }
                Err(Fault::Throttled) => {
                    waiting.insert(lane);
                    todo.course = Course::Left(LeftReason::Throttled);
                }
                Err(fault) => return Err(fault),
            }
        }
        self.take_back_beyond_the_bound(todo, new, written).await
    }

    /// Other workers may have found the same room. Whoever finds too many takes back its own, the
    /// newest first; the ledger does not know of them yet.
    async fn take_back_beyond_the_bound(
        &self,
        todo: &mut [Todo<'_>],
        mut new: Vec<(usize, super::letters::Head)>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        if new.is_empty() {
            return Ok(());
        }
        let heads = self.db.heads().await?;
        let mut room = Room::of(heads.iter().filter(|head| head.kind.is_of_consumer()));
        while !room.is_within(self.settings.letters_max) {
            let Some((at, head)) = new.pop() else { break };
            if self.db.take_back(&head).await? {
                room = Room { letters: room.letters - 1, bytes: room.bytes.saturating_sub(head.bytes) };
                if todo[at].course == Course::Done {
                    written.fates.dead_letters -= 1;
                }
                // The lane waits from here on.
                let lane = (todo[at].place.boot, todo[at].place.lane);
                let reason = self.letters_full(room.letters);
                let behind = todo[at..].iter_mut().filter(|todo| (todo.place.boot, todo.place.lane) == lane);
                for todo in behind.filter(|todo| !matches!(todo.course, Course::Done)) {
                    todo.course = Course::Left(reason);
                }
                todo[at].course = Course::Left(reason);
            }
        }
        Ok(())
    }

    fn letters_full(&self, held: u64) -> LeftReason {
        LeftReason::LettersFull { held, max: self.settings.letters_max.letters }
    }

    /// Says in which hours there is something, before there is.
    async fn put_hours(&self, todo: &[Todo<'_>]) -> Result<(), Fault> {
        let begun = todo.iter().filter(|todo| todo.course == Course::Begun);
        let hours: HashSet<(String, u64)> = begun.filter_map(|todo| todo.what.hour()).collect();
        for (partition, hour) in hours {
            let kept_ms = self.settings.kept_ms(&partition);
            self.hours.ensure(&self.db, partition, hour, kept_ms).await?;
        }
        Ok(())
    }

    /// Finds out whose each sender's id is. Records with one id are asked in their order.
    async fn claim_identities(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let mut by_id: HashMap<Key, Vec<usize>> = HashMap::new();
        for (at, todo) in todo.iter().enumerate().filter(|(_, todo)| todo.course == Course::Begun) {
            if let What::Event(event) = todo.what
                && ids::is_from_sender(&event.id)
            {
                by_id.entry(keys::identity(&event.program, event.id)).or_default().push(at);
            }
        }
        let records = by_id.into_values().map(|ats| {
            let event = |at: usize| match todo[at].what {
                What::Event(event) => Some((at, event.clone(), todo[at].place)),
                _ => None,
            };
            ats.into_iter().filter_map(event).collect::<Vec<_>>()
        });
        let records: Vec<_> = records.collect();
        let ats: Vec<usize> = records.iter().flatten().map(|(at, ..)| *at).collect();
        let mut asked = HashSet::new();
        let claims = iter(records).map(|records| self.claim_in_order(records));
        let mut claims = claims.buffer_unordered(self.db.calls_max);
        while let Some(courses) = claims.next().await {
            for (at, course) in courses? {
                asked.insert(at);
                todo[at].course = course;
            }
        }
        for at in ats.into_iter().filter(|at| !asked.contains(at)) {
            todo[at].course = Course::Left(LeftReason::Throttled);
        }
        Ok(())
    }

    /// Asks for one id, for one record after the other, until one cannot be asked for.
    async fn claim_in_order(
        &self,
        records: Vec<(usize, Event, Place)>,
    ) -> Result<Vec<(usize, Course)>, Fault> {
        let mut courses = Vec::new();
        for (at, event, place) in records {
            let course = match self.db.claim(&event, place, self.settings.expiry_ms).await {
                Ok(true) => Course::Begun,
                Ok(false) => Course::Decided(Fate::Duplicate),
                Err(Fault::Throttled) => Course::Left(LeftReason::Throttled),
                Err(fault) => return Err(fault),
            };
            courses.push((at, course));
            // The next record of this id must not be faster than this one.
            if course == Course::Left(LeftReason::Throttled) {
                break;
            }
        }
        Ok(courses)
    }

    /// Writes events and refused hits.
    async fn put_items(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let mut items: Vec<Sized> = Vec::new();
        let mut of_key: HashMap<Key, usize> = HashMap::new();
        for (at, todo) in todo.iter_mut().enumerate().filter(|(_, todo)| todo.course == Course::Begun) {
            let Some((key, name, payload, expires_at)) = todo.item(&self.settings) else {
                todo.course = Course::Decided(Fate::Report);
                continue;
            };
            // One id of ours under two numbers; the same number is recognised by the ledger.
            if of_key.contains_key(&key) {
                todo.course = Course::Decided(Fate::Duplicate);
                continue;
            }
            let mut item = keyed(&key);
            item.insert(name.to_owned(), bytes(payload));
            item.insert(EXPIRES_AT.to_owned(), number(expires_at));
            items.push((item, payload.len()));
            of_key.insert(key, at);
        }
        let failed = self.db.put_all(items).await?;
        for (key, at) in of_key {
            let todo = &mut todo[at];
            todo.course = match (failed.get(&key), &todo.what) {
                (None, What::Rejected { .. }) => Course::Decided(Fate::Rejected),
                (None, _) => Course::Decided(Fate::Stored),
                (Some(NotPut::Throttled), _) => Course::Left(LeftReason::Throttled),
                (Some(NotPut::Refused(reason)), what) => {
                    let (kind, payload) = what.record();
                    todo.what = What::Dead(Cow::Owned(letter(todo.place, kind, payload, reason.clone())));
                    Course::Begun
                }
            };
        }
        Ok(())
    }

    /// Keeps what DynamoDB did not take, for whatever reason, so that it is in nobody's way.
    async fn put_refused(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let refused = |todo: &Todo<'_>| todo.course == Course::Begun && todo.what.letter().is_some();
        if !todo.iter().any(refused) {
            return Ok(());
        }
        // Those of before are decided, so only these are put.
        let mut again: Vec<Todo<'_>> = Vec::new();
        let mut ats = Vec::new();
        for (at, todo) in todo.iter_mut().enumerate().filter(|(_, todo)| refused(todo)) {
            if let What::Dead(letter) = &todo.what {
                let what = What::Dead(letter.clone());
                again.push(Todo { batch: todo.batch, place: todo.place, what, course: Course::Begun });
                ats.push(at);
            }
        }
        let mut none = Written::default();
        self.put_letters(&mut again, &mut none).await?;
        for (at, again) in ats.into_iter().zip(again) {
            todo[at].course = again.course;
        }
        Ok(())
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

/// Whether the batch is of a lane: one of foreign records alone is not.
fn has_lane(batch: &DecodedBatch) -> bool {
    batch.foreign.is_empty() || !batch.records.is_empty()
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

fn place(batch: &DecodedBatch, number: u64) -> Place {
    Place { boot: batch.boot, lane: batch.lane, number }
}

/// What is to be done with a record; one that no item can hold is poison.
fn what(decoded: &Decoded, place: Place) -> What<'_> {
    let too_large = |kind: RecordKind, payload: &[u8]| {
        let reason = format!(
            "it has {} bytes, and an item of DynamoDB holds {PAYLOAD_BYTES_MAX} of them",
            payload.len()
        );
        What::Dead(Cow::Owned(letter(place, kind, payload, reason)))
    };
    match decoded {
        Decoded::Event(event) if event.payload.len() > PAYLOAD_BYTES_MAX => {
            too_large(RecordKind::Event, &event.payload)
        }
        Decoded::Rejected { payload, .. } if payload.len() > PAYLOAD_BYTES_MAX => {
            too_large(RecordKind::Rejected, payload)
        }
        Decoded::Event(event) => What::Event(event),
        Decoded::Rejected { received_at_ms, payload } => {
            What::Rejected { received_at_ms: *received_at_ms, payload }
        }
        Decoded::Report(_) => What::Report,
        Decoded::Poison(letter) => What::Dead(Cow::Borrowed(letter)),
    }
}

fn letter(place: Place, kind: RecordKind, payload: &[u8], reason: String) -> DeadLetter {
    DeadLetter {
        stage: Stage::Consumer.into(),
        reason,
        failed_at_ms: now_ms(),
        boot: place.boot.as_bytes().to_vec(),
        lane: place.lane,
        number: place.number,
        record_kind: kind.code().into(),
        payload: payload.to_vec(),
        origin: None,
    }
}

fn prost_len(letter: &DeadLetter) -> u64 {
    proto::Message::encoded_len(letter) as u64
}

impl What<'_> {
    fn letter(&self) -> Option<(&DeadLetter, Kind)> {
        match self {
            Self::Dead(letter) => Some((letter, Kind::Lane)),
            Self::Foreign(letter) => Some((letter, Kind::Foreign)),
            Self::Event(_) | Self::Rejected { .. } | Self::Report => None,
        }
    }

    /// The partition of hours in which a reader must find its hour, and the hour.
    fn hour(&self) -> Option<(String, u64)> {
        match self {
            Self::Event(event) => {
                Some((keys::hours_partition(&event.program), event.received_at_ms / keys::HOUR_MS))
            }
            Self::Rejected { received_at_ms, .. } => Some((
                keys::REJECTED_HOURS.to_owned(),
                (*received_at_ms).min(ids::TIME_MS_MAX) / keys::HOUR_MS,
            )),
            Self::Report | Self::Dead(_) | Self::Foreign(_) => None,
        }
    }

    fn record(&self) -> (RecordKind, &[u8]) {
        match self {
            Self::Event(event) => (RecordKind::Event, &event.payload),
            Self::Rejected { payload, .. } => (RecordKind::Rejected, payload),
            Self::Report | Self::Dead(_) | Self::Foreign(_) => (RecordKind::Event, &[]),
        }
    }
}

impl<'a> Todo<'a> {
    /// The key of its item, the name of its payload, the payload, and when it expires.
    fn item(&self, settings: &Settings) -> Option<(Key, &'static str, &'a [u8], u64)> {
        match &self.what {
            What::Event(event) => Some((
                keys::event(&event.program, event.received_at_ms, event.id),
                EVENT,
                &event.payload,
                expires_at(event.received_at_ms, settings.expiry_ms),
            )),
            What::Rejected { received_at_ms, payload } => Some((
                keys::rejected(*received_at_ms, self.place),
                REJECTED,
                payload,
                expires_at((*received_at_ms).min(ids::TIME_MS_MAX), settings.rejected_expiry_ms),
            )),
            What::Report | What::Dead(_) | What::Foreign(_) => None,
        }
    }

    fn decide_letter(&mut self, put: &Put, written: &mut Written) {
        self.course = match (&self.what, put) {
            // In no ledger, so it is done.
            (What::Foreign(_), Put::New(_)) => {
                written.fates.dead_letters += 1;
                Course::Done
            }
            (What::Foreign(_), Put::Known | Put::Gone) => {
                written.replayed += 1;
                Course::Done
            }
            // Gone, and yet not in the block that was loaded: that was an old one, and entering
            // does not change what a newer one says.
            (_, Put::New(_) | Put::Known | Put::Gone) => Course::Decided(Fate::Dead),
        };
    }
}

/// What each batch still waits for.
fn left(work: &WriteBatch, todo: &[Todo<'_>]) -> Vec<Left> {
    let mut waiting: HashMap<LaneId, LeftReason> = HashMap::new();
    let mut left = Vec::new();
    for (index, batch) in work.batches.iter().enumerate() {
        let lane = (batch.boot, batch.lane);
        let first = todo.iter().filter(|todo| todo.batch == index).find_map(|todo| match todo.course {
            Course::Left(reason) => Some((todo.place.number, reason)),
            _ => None,
        });
        // A lane is stored in order: a batch behind one that is left is not complete either.
        let first = match waiting.get(&lane) {
            Some(reason) => Some((batch.first_number(), *reason)),
            None => first,
        };
        if let Some((first, reason)) = first {
            waiting.entry(lane).or_insert(reason);
            left.push(Left { batch: index, first, reason });
        }
    }
    left
}
