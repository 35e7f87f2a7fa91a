//! Dead letters: what could not become an item, until a person replays or drops it.
//!
//! A letter stays in the ledger as `dead_letters`. Replaying moves it to what it
//! became, dropping moves it to `dropped`; so the lane's sum stays whole.

use proto::{DeadLetter, Message};
use redb::WriteTransaction;
use serde::Serialize;

use super::given;
use super::read::{Listing, Start, listing};
use super::schema::{Fault, LETTERS, begin_read, begin_write, meta};
use super::store::Store;
use super::write::Writer;
use crate::decode::{What, batch_of, decode};
use crate::ledger::Fate;
use crate::table::TableError;

/// What became of a dead letter that was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replayed {
    /// There is no letter of this sequence.
    NoSuchLetter,
    /// It is an item now, and no letter any more.
    Stored,
    /// The table had the event already; it is no letter any more.
    Duplicate,
    /// It was a rejected hit or a lane report, and is kept as such.
    Kept,
    /// It is as poisonous as before, for this reason, and stays a letter.
    StillDead(String),
}

impl Store {
    /// Dead letters in the order of their deaths; at most `limit` and
    /// [`PAGE_MAX`](crate::PAGE_MAX).
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letters(&self, start: Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        self.with(|database| {
            listing(&begin_read(database)?, LETTERS, meta::NEXT_LETTER, start, limit, |bytes| {
                letter_of(bytes).map(Some)
            })
        })
    }

    /// One dead letter.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letter(&self, sequence: u64) -> Result<Option<DeadLetter>, TableError> {
        self.with(|database| {
            let letter = begin_read(database)?.open_table(LETTERS)?.get(sequence)?;
            letter.map(|bytes| letter_of(bytes.value())).transpose()
        })
    }

    /// Processes a dead letter again, as the record that it was. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn replay_dead_letter(&self, sequence: u64, now_ms: u64) -> Result<Replayed, TableError> {
        self.with(|database| {
            let tx = begin_write(database)?;
            let replayed = replay(&tx, sequence, now_ms)?;
            tx.commit()?;
            Ok(replayed)
        })
    }

    /// Drops a dead letter; false if there is none of this sequence. Durable on return.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn drop_dead_letter(&self, sequence: u64) -> Result<bool, TableError> {
        self.with(|database| {
            let tx = begin_write(database)?;
            if given::take(&tx, sequence)? {
                tx.commit()?;
                return Ok(true);
            }
            let mut writer = Writer::new(&tx)?;
            let dropped = match take_letter(&mut writer, sequence)? {
                None => false,
                Some(letter) => {
                    // A letter that names no place is in no ledger.
                    if let Ok(batch) = batch_of(&letter) {
                        let mut lane = writer.take_lane(batch.boot, batch.lane)?;
                        lane.revive(Fate::Dropped);
                        writer.put_lane(batch.boot, batch.lane, lane);
                    }
                    true
                }
            };
            writer.finish()?;
            tx.commit()?;
            Ok(dropped)
        })
    }
}

fn replay(tx: &WriteTransaction, sequence: u64, now_ms: u64) -> Result<Replayed, Fault> {
    let mut writer = Writer::new(tx)?;
    let Some(letter) = take_letter(&mut writer, sequence)? else {
        return Ok(Replayed::NoSuchLetter);
    };
    let batch = match batch_of(&letter) {
        Ok(batch) => batch,
        Err(reason) => return keep(&mut writer, sequence, letter, reason),
    };
    let what = decode(&batch, now_ms).entries.remove(0).what;
    if let What::Dead(again) = what {
        return keep(&mut writer, sequence, letter, again.reason);
    }
    let fate = writer.apply(&what)?;
    let mut lane = writer.take_lane(batch.boot, batch.lane)?;
    lane.revive(fate);
    if let What::Report(report) = what {
        lane.reported(report);
    }
    writer.put_lane(batch.boot, batch.lane, lane);
    writer.finish()?;
    Ok(match fate {
        Fate::Stored => Replayed::Stored,
        Fate::Duplicate => Replayed::Duplicate,
        Fate::Rejected | Fate::Report | Fate::Dead | Fate::Dropped => Replayed::Kept,
    })
}

fn keep(
    writer: &mut Writer<'_>,
    sequence: u64,
    letter: DeadLetter,
    reason: String,
) -> Result<Replayed, Fault> {
    let letter = DeadLetter { reason: reason.clone(), ..letter };
    writer.letters.insert(sequence, letter.encode_to_vec().as_slice())?;
    Ok(Replayed::StillDead(reason))
}

fn take_letter(writer: &mut Writer<'_>, sequence: u64) -> Result<Option<DeadLetter>, Fault> {
    let letter = writer.letters.remove(sequence)?;
    letter.map(|bytes| letter_of(bytes.value())).transpose()
}

fn letter_of(bytes: &[u8]) -> Result<DeadLetter, Fault> {
    DeadLetter::decode(bytes).map_err(|error| Fault::damaged("dead_letters", error))
}
