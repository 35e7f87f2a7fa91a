//! The write transaction: items, rejected hits, dead letters, and the ledger that counts them.

use std::collections::{HashMap, HashSet};

use proto::{BootId, DeadLetter, Message, ids};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::given;
use super::schema::{
    ARRIVALS, EVENTS, Fault, GIVEN, IDENTITIES, Identity, KEPT, LEDGER, LETTERS, META, PLACES, PROGRAMS,
    Place, REJECTED, begin_write, event_key, identity_key, ledger_key, meta, number_of, timed,
};
use super::store::Store;
use crate::decode::{Decoded, DecodedBatch, Event, WriteBatch, is_foreign};
use crate::ledger::{Fate, LaneLedger};
use crate::table::{Left, LeftReason, TableError, Written};

impl Store {
    /// Writes `work` and its ledger in one transaction. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`]. Nothing was written then, or everything (if the disk failed in the last
    /// sync).
    pub fn write(&self, work: &WriteBatch) -> Result<Written, TableError> {
        self.with(|database| {
            let tx = begin_write(database)?;
            let mut writer = Writer::new(&tx, self)?;
            let mut stalled = HashSet::new();
            for (index, batch) in work.batches.iter().enumerate() {
                // A lane is stored in order: everything after a record that waits, waits too.
                let left = if stalled.contains(&(batch.boot, batch.lane)) {
                    Some((batch.first_number(), writer.letters_full()))
                } else {
                    writer.batch(batch)?
                };
                if let Some((first, reason)) = left {
                    stalled.insert((batch.boot, batch.lane));
                    writer.written.left.push(Left { batch: index, first, reason });
                }
            }
            let written = writer.finish()?;
            tx.commit()?;
            Ok(written)
        })
    }
}

/// The tables of one write transaction, and values that are written once, at its end.
pub(super) struct Writer<'tx> {
    events: Table<'tx, &'static [u8], &'static [u8]>,
    identities: Table<'tx, &'static [u8], &'static [u8]>,
    arrivals: Table<'tx, u64, &'static [u8]>,
    rejected: Table<'tx, u64, &'static [u8]>,
    pub(super) letters: Table<'tx, u64, &'static [u8]>,
    places: Table<'tx, &'static [u8], u64>,
    programs: Table<'tx, &'static str, (u64, u64)>,
    ledger: Table<'tx, &'static [u8], &'static [u8]>,
    meta: Table<'tx, &'static str, u64>,
    lanes: HashMap<(BootId, u32), LaneLedger>,
    new_items: HashMap<String, u64>,
    expiry_ms: u64,
    next_arrival: u64,
    next_rejected: u64,
    next_letter: u64,
    /// The consumer's own dead letters, and their bounds.
    letters_held: u64,
    letters_max: u64,
    letter_bytes: u64,
    letter_bytes_max: u64,
    written: Written,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'tx> Writer<'tx> {
    pub(super) fn new(tx: &'tx WriteTransaction, store: &Store) -> Result<Self, Fault> {
        let meta = tx.open_table(META)?;
        let letters = tx.open_table(LETTERS)?;
        let given = tx.open_table(GIVEN)?.len()? + tx.open_table(KEPT)?.len()?;
        Ok(Self {
            events: tx.open_table(EVENTS)?,
            identities: tx.open_table(IDENTITIES)?,
            arrivals: tx.open_table(ARRIVALS)?,
            rejected: tx.open_table(REJECTED)?,
            places: tx.open_table(PLACES)?,
            programs: tx.open_table(PROGRAMS)?,
            ledger: tx.open_table(LEDGER)?,
            expiry_ms: store.expiry_ms,
            next_arrival: number_of(&meta, meta::NEXT_ARRIVAL)?,
            next_rejected: number_of(&meta, meta::NEXT_REJECTED)?,
            next_letter: number_of(&meta, meta::NEXT_LETTER)?,
            letters_held: letters.len()?.saturating_sub(given),
            letters_max: store.letters_max,
            letter_bytes: number_of(&meta, meta::LETTER_BYTES)?,
            letter_bytes_max: store.letter_bytes_max,
            letters,
            meta,
            lanes: HashMap::new(),
            new_items: HashMap::new(),
            written: Written::default(),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Writes a batch. If it runs out of room for dead letters, it returns the first number that is
    /// not written, and why.
    pub(super) fn batch(&mut self, batch: &DecodedBatch) -> Result<Option<(u64, LeftReason)>, Fault> {
        let mut lane = self.take_lane(batch.boot, batch.lane)?;
        let mut left = None;
        for record in &batch.records {
            // Redelivered after a crash or a lost answer.
            if lane.seen().contains(record.number) {
                self.written.replayed += 1;
                continue;
            }
            // Neither stored nor skipped: the lane stalls here until letters are replayed or dropped.
            if let Decoded::Poison(letter) = &record.decoded
                && !self.has_room_for(letter)
            {
                left = Some((record.number, self.letters_full()));
                break;
            }
            let place = Place { boot: batch.boot, lane: batch.lane, number: record.number };
            let fate = self.apply(&record.decoded, place)?;
            lane.record(record.number, fate);
            self.written.fates.add(fate);
            if let Decoded::Report(report) = &record.decoded {
                lane.record_report(report.clone());
            }
        }
        for letter in &batch.foreign {
            left = left.or(self.foreign(letter)?);
        }
        // Abandoned ranges and the end follow the records, so they wait if a record is left.
        if left.is_none() {
            for &(first, end) in &batch.abandoned {
                lane.abandon(first, end);
            }
            if let Some(end) = batch.end {
                lane.record_end(end);
            }
        }
        // A batch of foreign records has no lane.
        if lane != LaneLedger::default() {
            self.put_lane(batch.boot, batch.lane, lane);
        }
        Ok(left)
    }

    /// Keeps a record that no lane wrote, once; the number and the reason if there is no room.
    fn foreign(&mut self, letter: &DeadLetter) -> Result<Option<(u64, LeftReason)>, Fault> {
        let place = given::place(letter);
        if self.places.get(place.as_slice())?.is_some() {
            self.written.replayed += 1;
            return Ok(None);
        }
        if !self.has_room_for(letter) {
            return Ok(Some((letter.number, self.letters_full())));
        }
        self.places.insert(place.as_slice(), self.next_letter)?;
        let fate = self.dead(letter)?;
        self.written.fates.add(fate);
        Ok(None)
    }

    fn has_room_for(&self, letter: &DeadLetter) -> bool {
        self.letters_held < self.letters_max
            && self.letter_bytes + letter.encoded_len() as u64 <= self.letter_bytes_max
    }

    fn letters_full(&self) -> LeftReason {
        LeftReason::LettersFull { held: self.letters_held, max: self.letters_max }
    }

    /// Takes the ledger of a lane, to be returned by [`put_lane`](Self::put_lane).
    pub(super) fn take_lane(&mut self, boot: BootId, lane: u32) -> Result<LaneLedger, Fault> {
        if let Some(known) = self.lanes.remove(&(boot, lane)) {
            return Ok(known);
        }
        match self.ledger.get(ledger_key(boot, lane).as_slice())? {
            Some(json) => serde_json::from_slice(json.value())
                .map_err(|error| Fault::damaged("ledger", format!("lane {lane} of boot {boot}: {error}"))),
            None => Ok(LaneLedger::default()),
        }
    }

    pub(super) fn put_lane(&mut self, boot: BootId, lane: u32, ledger: LaneLedger) {
        self.lanes.insert((boot, lane), ledger);
    }

    /// Writes the decoded record at `place` in the log.
    pub(super) fn apply(&mut self, decoded: &Decoded, place: Place) -> Result<Fate, Fault> {
        match decoded {
            Decoded::Event(event) => self.event(event, place),
            Decoded::Rejected { received_at_ms, payload } => {
                timed(*received_at_ms, payload, &mut self.value);
                self.rejected.insert(self.next_rejected, self.value.as_slice())?;
                self.next_rejected += 1;
                Ok(Fate::Rejected)
            }
            Decoded::Report(_) => Ok(Fate::Report),
            Decoded::Poison(letter) => self.dead(letter),
        }
    }

    fn event(&mut self, event: &Event, place: Place) -> Result<Fate, Fault> {
        if ids::is_from_sender(&event.id) && !self.take_identity(event, place)? {
            return Ok(Fate::Duplicate);
        }
        let has_key = event_key(&event.program, event.received_at_ms, event.id, &mut self.key);
        debug_assert!(has_key, "decoding refuses program ids that have no key");
        match self.events.entry(self.key.as_slice())? {
            // From another number: the same number is recognised by the ledger.
            redb::Entry::Occupied(_) => return Ok(Fate::Duplicate),
            redb::Entry::Vacant(free) => drop(free.insert(event.payload.as_ref())?),
        }
        timed(event.received_at_ms, &self.key, &mut self.value);
        self.arrivals.insert(self.next_arrival, self.value.as_slice())?;
        self.next_arrival += 1;
        match self.new_items.get_mut(&event.program) {
            Some(items) => *items += 1,
            None => drop(self.new_items.insert(event.program.clone(), 1)),
        }
        let newest = &mut self.written.newest_received_at_ms;
        *newest = (*newest).max(event.received_at_ms);
        Ok(Fate::Stored)
    }

    /// Claims the sender's id for this record; false if another record has it. An entry of this very
    /// record, from an earlier attempt, counts as claimed; an entry that had expired when this event
    /// was received is replaced.
    fn take_identity(&mut self, event: &Event, place: Place) -> Result<bool, Fault> {
        identity_key(&event.program, event.id, &mut self.key);
        if let Some(entry) = self.identities.get(self.key.as_slice())? {
            let held = Identity::decode(entry.value())?;
            let expires_at_ms = held.received_at_ms.saturating_add(self.expiry_ms);
            if held.place != place && expires_at_ms >= event.received_at_ms {
                return Ok(false);
            }
        }
        let identity = Identity { received_at_ms: event.received_at_ms, place };
        self.identities.insert(self.key.as_slice(), identity.encode().as_slice())?;
        Ok(true)
    }

    fn dead(&mut self, letter: &DeadLetter) -> Result<Fate, Fault> {
        let bytes = letter.encode_to_vec();
        self.letters.insert(self.next_letter, bytes.as_slice())?;
        self.next_letter += 1;
        self.letters_held += 1;
        self.letter_bytes += bytes.len() as u64;
        Ok(Fate::Dead)
    }

    /// Removes a letter of the consumer; `None` if there is none of this sequence.
    pub(super) fn take_letter(&mut self, sequence: u64) -> Result<Option<DeadLetter>, Fault> {
        let Some(bytes) = self.letters.remove(sequence)? else { return Ok(None) };
        self.letter_bytes = self.letter_bytes.saturating_sub(bytes.value().len() as u64);
        let letter = DeadLetter::decode(bytes.value());
        let letter = letter.map_err(|error| Fault::damaged("dead_letters", error))?;
        if is_foreign(&letter) {
            self.places.remove(given::place(&letter).as_slice())?;
        }
        Ok(Some(letter))
    }

    /// Puts a removed letter back under its sequence.
    pub(super) fn put_letter_back(&mut self, sequence: u64, letter: &DeadLetter) -> Result<(), Fault> {
        let bytes = letter.encode_to_vec();
        self.letter_bytes += bytes.len() as u64;
        self.letters.insert(sequence, bytes.as_slice())?;
        if is_foreign(letter) {
            self.places.insert(given::place(letter).as_slice(), sequence)?;
        }
        Ok(())
    }

    /// Writes ledgers, counts and sequences, once per transaction.
    pub(super) fn finish(mut self) -> Result<Written, Fault> {
        for ((boot, lane), ledger) in &self.lanes {
            let json = serde_json::to_vec(ledger).expect("numbers and strings are JSON");
            self.ledger.insert(ledger_key(*boot, *lane).as_slice(), json.as_slice())?;
        }
        let mut all_new = 0;
        for (program, new) in &self.new_items {
            let (items, expired) = self.programs.get(program.as_str())?.map_or((0, 0), |row| row.value());
            self.programs.insert(program.as_str(), (items + new, expired))?;
            all_new += new;
        }
        let items = number_of(&self.meta, meta::ITEMS)? + all_new;
        self.meta.insert(meta::ITEMS, items)?;
        self.meta.insert(meta::NEXT_ARRIVAL, self.next_arrival)?;
        self.meta.insert(meta::NEXT_REJECTED, self.next_rejected)?;
        self.meta.insert(meta::NEXT_LETTER, self.next_letter)?;
        self.meta.insert(meta::LETTER_BYTES, self.letter_bytes)?;
        Ok(self.written)
    }
}
