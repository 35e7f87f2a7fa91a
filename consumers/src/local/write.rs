//! One transaction: items, rejected hits, dead letters, and the ledger that counts them.

use std::collections::HashMap;

use proto::{BootId, DeadLetter, Message};
use redb::{ReadableTable, Table, WriteTransaction};

use super::schema::{
    ARRIVALS, EVENTS, Fault, LEDGER, LETTERS, META, PROGRAMS, REJECTED, begin_write, event_key, ledger_key,
    meta, number_of, timed,
};
use super::store::Store;
use crate::decode::{Event, Piece, What, Work};
use crate::ledger::{Fate, LaneLedger};
use crate::table::{TableError, Written};

impl Store {
    /// Writes `work` and its ledger in one transaction. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`]. Nothing was written then, or (if the disk failed in the last sync) all.
    pub fn write(&self, work: &Work) -> Result<Written, TableError> {
        self.with(|database| {
            let tx = begin_write(database)?;
            let mut writer = Writer::new(&tx)?;
            for piece in &work.pieces {
                writer.piece(piece)?;
            }
            let written = writer.finish()?;
            tx.commit()?;
            Ok(written)
        })
    }
}

/// The tables of one write transaction, and what it writes only once, at its end.
pub(super) struct Writer<'tx> {
    events: Table<'tx, &'static [u8], &'static [u8]>,
    arrivals: Table<'tx, u64, &'static [u8]>,
    rejected: Table<'tx, u64, &'static [u8]>,
    pub(super) letters: Table<'tx, u64, &'static [u8]>,
    programs: Table<'tx, &'static str, (u64, u64)>,
    ledger: Table<'tx, &'static [u8], &'static [u8]>,
    meta: Table<'tx, &'static str, u64>,
    lanes: HashMap<(BootId, u32), LaneLedger>,
    new_items: HashMap<String, u64>,
    next_arrival: u64,
    next_rejected: u64,
    next_letter: u64,
    written: Written,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'tx> Writer<'tx> {
    pub(super) fn new(tx: &'tx WriteTransaction) -> Result<Self, Fault> {
        let meta = tx.open_table(META)?;
        Ok(Self {
            events: tx.open_table(EVENTS)?,
            arrivals: tx.open_table(ARRIVALS)?,
            rejected: tx.open_table(REJECTED)?,
            letters: tx.open_table(LETTERS)?,
            programs: tx.open_table(PROGRAMS)?,
            ledger: tx.open_table(LEDGER)?,
            next_arrival: number_of(&meta, meta::NEXT_ARRIVAL)?,
            next_rejected: number_of(&meta, meta::NEXT_REJECTED)?,
            next_letter: number_of(&meta, meta::NEXT_LETTER)?,
            meta,
            lanes: HashMap::new(),
            new_items: HashMap::new(),
            written: Written::default(),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), Fault> {
        let mut lane = self.take_lane(piece.boot, piece.lane)?;
        for entry in &piece.entries {
            if lane.seen().contains(entry.number) {
                self.written.replayed += 1;
                continue;
            }
            let fate = self.apply(&entry.what)?;
            lane.record(entry.number, fate);
            self.written.fates.add(fate);
            if let What::Report(report) = &entry.what {
                lane.reported(report.clone());
            }
        }
        for &(first, end) in &piece.abandoned {
            lane.abandon(first, end);
        }
        if let Some(end) = piece.end {
            lane.ended(end);
        }
        self.lanes.insert((piece.boot, piece.lane), lane);
        Ok(())
    }

    /// Takes the ledger of a lane out, to be put back into `lanes`.
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

    /// Writes one decoded record.
    pub(super) fn apply(&mut self, what: &What) -> Result<Fate, Fault> {
        match what {
            What::Event(event) => self.event(event),
            What::Rejected { received_at_ms, payload } => {
                timed(*received_at_ms, payload, &mut self.value);
                self.rejected.insert(self.next_rejected, self.value.as_slice())?;
                self.next_rejected += 1;
                Ok(Fate::Rejected)
            }
            What::Report(_) => Ok(Fate::Report),
            What::Dead(letter) => self.dead(letter),
        }
    }

    fn event(&mut self, event: &Event) -> Result<Fate, Fault> {
        let has_key = event_key(&event.program, event.id, &mut self.key);
        debug_assert!(has_key, "decoding refuses program ids that have no key");
        match self.events.entry(self.key.as_slice())? {
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

    fn dead(&mut self, letter: &DeadLetter) -> Result<Fate, Fault> {
        self.letters.insert(self.next_letter, letter.encode_to_vec().as_slice())?;
        self.next_letter += 1;
        Ok(Fate::Dead)
    }

    /// Writes what changes once a transaction.
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
        Ok(self.written)
    }
}
