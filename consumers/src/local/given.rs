//! Dead letters of bridges and of the shipper: those have no table, and operators have one list
//! to look at.
//!
//! They are not in the ledger, as their records come from another log or go to another table. A
//! letter that is given again, after a crash before the giver's cursor moved, is recognised by the
//! record's place. They are bounded. A source of core data can send any amount of invalid data, so
//! of a bridge's the oldest are discarded, and counted; the shipper's were acknowledged as events,
//! so none is discarded and the newest is not taken. The two share neither bound nor room.

use proto::{DeadLetter, Message};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::schema::{Fault, GIVEN, KEPT, LETTERS, META, PLACES, begin_write, meta, number_of};
use super::store::Store;
use crate::table::{Given, GivenLimits, TableError, WhenFull};

impl Store {
    /// Keeps letters whose records are not in the ledger. Durable on return, except for those that
    /// are refused.
    ///
    /// # Errors
    /// See [`TableError`]; the same letters may be given again.
    pub fn give_dead_letters(
        &self,
        letters: &[DeadLetter],
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, TableError> {
        self.with(|database| {
            let tx = begin_write(database)?;
            let mut held = GivenLetters::open(&tx, when_full)?;
            let mut given = Given::default();
            for letter in letters {
                if held.knows(letter)? {
                    given.known += 1;
                    continue;
                }
                let sequence = held.put(letter)?;
                match when_full {
                    WhenFull::Refuse if held.is_over(limits)? => {
                        held.take(sequence)?;
                        given.refused += 1;
                    }
                    _ => given.new += 1,
                }
            }
            while held.is_over(limits)? && held.discard_oldest(when_full)? {
                given.discarded += 1;
            }
            held.close()?;
            tx.commit()?;
            Ok(given)
        })
    }
}

/// Removes a given letter; false if the letter of this sequence was not given.
pub(super) fn take(tx: &WriteTransaction, sequence: u64) -> Result<bool, Fault> {
    for when_full in [WhenFull::DiscardOldest, WhenFull::Refuse] {
        let mut held = GivenLetters::open(tx, when_full)?;
        let taken = held.take(sequence)?;
        held.close()?;
        if taken {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tables of given letters.
struct GivenLetters<'tx> {
    letters: Table<'tx, u64, &'static [u8]>,
    given: Table<'tx, u64, &'static [u8]>,
    places: Table<'tx, &'static [u8], u64>,
    meta: Table<'tx, &'static str, u64>,
    /// Name in `meta` of the sum of `bytes`.
    bytes_name: &'static str,
    bytes: u64,
    next_letter: u64,
}

impl<'tx> GivenLetters<'tx> {
    fn open(tx: &'tx WriteTransaction, when_full: WhenFull) -> Result<Self, Fault> {
        let (given, bytes_name) = match when_full {
            WhenFull::DiscardOldest => (GIVEN, meta::GIVEN_BYTES),
            WhenFull::Refuse => (KEPT, meta::KEPT_BYTES),
        };
        let meta = tx.open_table(META)?;
        Ok(Self {
            letters: tx.open_table(LETTERS)?,
            given: tx.open_table(given)?,
            places: tx.open_table(PLACES)?,
            bytes: number_of(&meta, bytes_name)?,
            bytes_name,
            next_letter: number_of(&meta, meta::NEXT_LETTER)?,
            meta,
        })
    }

    /// Whether the record of a letter has one already.
    fn knows(&self, letter: &DeadLetter) -> Result<bool, Fault> {
        Ok(self.places.get(place(letter).as_slice())?.is_some())
    }

    /// Adds a letter; its sequence.
    fn put(&mut self, letter: &DeadLetter) -> Result<u64, Fault> {
        let place = place(letter);
        let sequence = self.next_letter;
        let bytes = letter.encode_to_vec();
        self.next_letter += 1;
        self.bytes += bytes.len() as u64;
        self.letters.insert(sequence, bytes.as_slice())?;
        self.given.insert(sequence, place.as_slice())?;
        self.places.insert(place.as_slice(), sequence)?;
        Ok(sequence)
    }

    fn is_over(&self, limits: GivenLimits) -> Result<bool, Fault> {
        Ok(self.given.len()? > limits.letters_max || self.bytes > limits.bytes_max)
    }

    fn discard_oldest(&mut self, when_full: WhenFull) -> Result<bool, Fault> {
        if when_full == WhenFull::Refuse {
            return Ok(false);
        }
        let oldest = self.given.first()?.map(|(sequence, _)| sequence.value());
        oldest.map_or(Ok(false), |sequence| self.take(sequence))
    }

    /// Removes a letter; false if there is none.
    fn take(&mut self, sequence: u64) -> Result<bool, Fault> {
        let Some(place) = self.given.remove(sequence)?.map(|place| place.value().to_vec()) else {
            return Ok(false);
        };
        self.places.remove(place.as_slice())?;
        let bytes = self.letters.remove(sequence)?.map_or(0, |letter| letter.value().len() as u64);
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(true)
    }

    fn close(mut self) -> Result<(), Fault> {
        self.meta.insert(self.bytes_name, self.bytes)?;
        self.meta.insert(meta::NEXT_LETTER, self.next_letter)?;
        Ok(())
    }
}

/// Stage, boot, lane and number: the record that died.
pub(super) fn place(letter: &DeadLetter) -> Vec<u8> {
    let parts = [
        &letter.stage.to_be_bytes()[..],
        &letter.boot,
        &letter.lane.to_be_bytes(),
        &letter.number.to_be_bytes(),
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use proto::Stage;

    use super::*;
    use crate::config::Config;
    use crate::table::{Cursor, Start};

    const NO_LIMITS: GivenLimits = GivenLimits { letters_max: u64::MAX, bytes_max: u64::MAX };

    fn world() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { table: directory.path().join("table.redb"), ..Config::default() };
        let store = Store::open(&config).unwrap();
        (directory, store)
    }

    fn letter(number: u64) -> DeadLetter {
        DeadLetter {
            stage: Stage::BridgePrograms.into(),
            boot: vec![7; 16],
            number,
            payload: vec![b'x'; 100],
            ..DeadLetter::default()
        }
    }

    fn numbers(store: &Store) -> Vec<(u64, u64)> {
        let listing = store.dead_letters(&Start::Oldest, 1_000).unwrap();
        listing.items.iter().map(|(id, letter)| (id.as_str().parse().unwrap(), letter.number)).collect()
    }

    #[test]
    fn a_letter_that_is_given_again_is_known() {
        let (_directory, store) = world();
        let given =
            store.give_dead_letters(&[letter(1), letter(2)], NO_LIMITS, WhenFull::DiscardOldest).unwrap();
        assert_eq!(given, Given { new: 2, ..Given::default() });
        let given =
            store.give_dead_letters(&[letter(2), letter(3)], NO_LIMITS, WhenFull::DiscardOldest).unwrap();
        assert_eq!(given, Given { new: 1, known: 1, ..Given::default() });
        let other_stage = DeadLetter { stage: Stage::BridgeActivemq.into(), ..letter(3) };
        assert_eq!(
            store.give_dead_letters(&[other_stage], NO_LIMITS, WhenFull::DiscardOldest).unwrap().new,
            1
        );
        assert_eq!(numbers(&store), [(0, 1), (1, 2), (2, 3), (3, 3)]);
    }

    #[test]
    fn the_place_of_a_letter_is_these_bytes_for_ever() {
        let letter = DeadLetter {
            stage: Stage::BridgePrograms.into(),
            boot: vec![0xab; 2],
            lane: 1,
            number: 258,
            ..letter(0)
        };
        assert_eq!(place(&letter), b"\0\0\0\x03\xab\xab\0\0\0\x01\0\0\0\0\0\0\x01\x02");
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let (_directory, store) = world();
        let letters: Vec<_> = (0..5).map(letter).collect();
        let few = GivenLimits { letters_max: 3, ..NO_LIMITS };
        assert_eq!(store.give_dead_letters(&letters, few, WhenFull::DiscardOldest).unwrap().discarded, 2);
        assert_eq!(numbers(&store), [(2, 2), (3, 3), (4, 4)]);

        let bytes = letter(5).encoded_len() as u64;
        let small = GivenLimits { bytes_max: 2 * bytes + 1, ..NO_LIMITS };
        assert_eq!(
            store.give_dead_letters(&[letter(5)], small, WhenFull::DiscardOldest).unwrap().discarded,
            2
        );
        assert_eq!(numbers(&store), [(4, 4), (5, 5)]);
        let none = GivenLimits { letters_max: 0, ..NO_LIMITS };
        assert_eq!(
            store.give_dead_letters(&[letter(6)], none, WhenFull::DiscardOldest).unwrap().discarded,
            3
        );
        assert_eq!(numbers(&store), []);
    }

    #[test]
    fn a_dropped_letter_makes_room_and_is_in_no_ledger() {
        let (_directory, store) = world();
        let one = GivenLimits { letters_max: 1, ..NO_LIMITS };
        store.give_dead_letters(&[letter(0)], one, WhenFull::DiscardOldest).unwrap();
        assert!(store.drop_dead_letter(&Cursor::new("0")).unwrap());
        assert!(!store.drop_dead_letter(&Cursor::new("0")).unwrap());
        assert!(store.ledger().unwrap().is_empty());
        assert_eq!(
            store.give_dead_letters(&[letter(0)], one, WhenFull::DiscardOldest).unwrap(),
            Given { new: 1, ..Given::default() }
        );
        assert_eq!(numbers(&store), [(1, 0)], "a sequence is never used again");
    }

    #[test]
    fn letters_that_may_not_be_discarded_are_refused_beyond_their_own_bound() {
        let (_directory, store) = world();
        let shipped = |number| DeadLetter { stage: Stage::Shipper.into(), ..letter(number) };
        let two = GivenLimits { letters_max: 2, ..NO_LIMITS };
        let keep = |letters: &[DeadLetter]| store.give_dead_letters(letters, two, WhenFull::Refuse).unwrap();
        store.give_dead_letters(&[letter(0), letter(1)], two, WhenFull::DiscardOldest).unwrap();
        assert_eq!(
            keep(&[shipped(0), shipped(1), shipped(2)]),
            Given { new: 2, refused: 1, ..Given::default() }
        );
        assert_eq!(keep(&[shipped(1), shipped(2)]), Given { known: 1, refused: 1, ..Given::default() });
        let none = GivenLimits { letters_max: 0, ..NO_LIMITS };
        let discarded =
            store.give_dead_letters(&[letter(9)], none, WhenFull::DiscardOldest).unwrap().discarded;
        assert_eq!(discarded, 3, "those of the bridge alone");
        let held: Vec<u64> = numbers(&store).into_iter().map(|(_, number)| number).collect();
        assert_eq!(held, [0, 1]);
        let id = Cursor::new(numbers(&store)[0].0.to_string());
        assert!(matches!(store.replay_dead_letter(&id, 0).unwrap(), crate::table::Replayed::StillDead(_)));
        assert!(store.drop_dead_letter(&id).unwrap());
        assert_eq!(keep(&[shipped(2)]).new, 1, "a letter that was dropped makes room");
        let small = GivenLimits { bytes_max: 10, ..NO_LIMITS };
        assert_eq!(store.give_dead_letters(&[shipped(7)], small, WhenFull::Refuse).unwrap().refused, 1);
    }
}
