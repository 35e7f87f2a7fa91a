//! Dead letters: records that could not be stored, until an operator replays or drops them.
//!
//! A letter counts as `dead_letters` in the ledger. Replaying changes that to its new fate,
//! dropping to `dropped`; so the lane's sum stays the same.

use proto::{DeadLetter, Message};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::given;
use super::read::{listing, sequence_of};
use super::schema::{Fault, GIVEN, KEPT, LETTERS, Place, begin_read, begin_write, meta};
use super::store::Store;
use super::write::Writer;
use crate::decode::{Decoded, DecodedBatch, batch_of, decode, is_foreign};
use crate::ledger::{Fate, Fates};
use crate::table::{Cursor, LettersHeld, Listing, Replayed, Start, TableError};

impl Store {
    /// Dead letters in the order of their deaths; at most `limit` and
    /// [`PAGE_MAX`](crate::PAGE_MAX).
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letters(&self, start: &Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        let start = sequence_of(start)?;
        self.with(|database| {
            listing(&begin_read(database)?, LETTERS, meta::NEXT_LETTER, start, limit, |bytes| {
                letter_of(bytes).map(Some)
            })
        })
    }

    /// How many dead letters there are, and how many there may be.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letters_held(&self) -> Result<LettersHeld, TableError> {
        self.with(|database| {
            let tx = begin_read(database)?;
            let letters = tx.open_table(LETTERS)?.len()?;
            let given = tx.open_table(GIVEN)?.len()? + tx.open_table(KEPT)?.len()?;
            let of_consumer = letters.saturating_sub(given);
            Ok(LettersHeld { letters, of_consumer, of_consumer_max: self.letters_max })
        })
    }

    /// The dead letter of this id.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, TableError> {
        let Some(sequence) = sequence(id) else { return Ok(None) };
        self.with(|database| {
            let letter = begin_read(database)?.open_table(LETTERS)?.get(sequence)?;
            letter.map(|bytes| letter_of(bytes.value())).transpose()
        })
    }

    /// Processes the record of a dead letter again. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn replay_dead_letter(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, TableError> {
        let Some(sequence) = sequence(id) else { return Ok(Replayed::NoSuchLetter) };
        self.with(|database| {
            let tx = begin_write(database)?;
            let replayed = replay(&tx, self, sequence, now_ms)?;
            tx.commit()?;
            Ok(replayed)
        })
    }

    /// Drops a dead letter; false if there is none of this id. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn drop_dead_letter(&self, id: &Cursor) -> Result<bool, TableError> {
        let Some(sequence) = sequence(id) else { return Ok(false) };
        self.with(|database| {
            let tx = begin_write(database)?;
            if given::take(&tx, sequence)? {
                tx.commit()?;
                return Ok(true);
            }
            let mut writer = Writer::new(&tx, self)?;
            let letter = writer.take_letter(sequence)?;
            // Without a lane it was never counted in a ledger.
            let in_ledger = letter.as_ref().filter(|letter| !is_foreign(letter));
            if let Some(Ok(batch)) = in_ledger.map(batch_of) {
                let mut lane = writer.take_lane(batch.boot, batch.lane)?;
                lane.resolve_dead(Fate::Dropped);
                writer.put_lane(batch.boot, batch.lane, lane);
            }
            writer.finish()?;
            tx.commit()?;
            Ok(letter.is_some())
        })
    }
}

/// The sequence in a letter's id; `None` if it is not an id of ours.
fn sequence(id: &Cursor) -> Option<u64> {
    id.as_str().parse().ok()
}

fn replay(tx: &WriteTransaction, store: &Store, sequence: u64, now_ms: u64) -> Result<Replayed, Fault> {
    // A letter that was given is not in the ledger, and its record does not belong in this table.
    if tx.open_table(GIVEN)?.get(sequence)?.is_some() {
        return Ok(Replayed::StillDead("it is a bridge's, and goes back into the bridge's log".to_owned()));
    }
    if tx.open_table(KEPT)?.get(sequence)?.is_some() {
        return Ok(Replayed::StillDead(
            "the shipper or a bridge gave it, and its record does not belong in this table".to_owned(),
        ));
    }
    let mut writer = Writer::new(tx, store)?;
    let Some(letter) = writer.take_letter(sequence)? else {
        return Ok(Replayed::NoSuchLetter);
    };
    let batch = match batch_of(&letter) {
        Ok(batch) => batch,
        Err(reason) => return keep(writer, sequence, letter, reason),
    };
    let mut decoded = decode(&batch, now_ms);
    if is_foreign(&letter) {
        return replay_foreign(writer, sequence, letter, &decoded);
    }
    let record = decoded.records.remove(0);
    if let Decoded::Poison(again) = record.decoded {
        return keep(writer, sequence, letter, again.reason);
    }
    let place = Place { boot: batch.boot, lane: batch.lane, number: record.number };
    let fate = writer.apply(&record.decoded, place)?;
    let mut lane = writer.take_lane(batch.boot, batch.lane)?;
    lane.resolve_dead(fate);
    if let Decoded::Report(report) = record.decoded {
        lane.record_report(report);
    }
    writer.put_lane(batch.boot, batch.lane, lane);
    writer.finish()?;
    Ok(match fate {
        Fate::Stored => Replayed::Stored,
        Fate::Duplicate => Replayed::Duplicate,
        Fate::Rejected | Fate::Report | Fate::Dead | Fate::Dropped => Replayed::Kept,
    })
}

/// A foreign record that is understood now is processed as one of its lane, which had never seen it.
fn replay_foreign(
    mut writer: Writer<'_>,
    sequence: u64,
    letter: DeadLetter,
    decoded: &DecodedBatch,
) -> Result<Replayed, Fault> {
    if let Some(Decoded::Poison(again)) = decoded.records.first().map(|record| &record.decoded) {
        let reason = again.reason.clone();
        return keep(writer, sequence, letter, reason);
    }
    writer.batch(decoded)?;
    let written = writer.finish()?;
    Ok(match written.fates {
        Fates { stored: 1, .. } => Replayed::Stored,
        Fates { duplicates: 1, .. } => Replayed::Duplicate,
        _ if written.replayed == 1 => Replayed::Duplicate,
        _ => Replayed::Kept,
    })
}

fn keep(
    mut writer: Writer<'_>,
    sequence: u64,
    letter: DeadLetter,
    reason: String,
) -> Result<Replayed, Fault> {
    writer.put_letter_back(sequence, &DeadLetter { reason: reason.clone(), ..letter })?;
    writer.finish()?;
    Ok(Replayed::StillDead(reason))
}

fn letter_of(bytes: &[u8]) -> Result<DeadLetter, Fault> {
    DeadLetter::decode(bytes).map_err(|error| Fault::damaged("dead_letters", error))
}
