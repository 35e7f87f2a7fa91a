//! Poison is kept with its reason, never blocks, and can be replayed or dropped.

use consumers::{Fates, Replayed, Start, Store};
use proto::{DeadLetter, Message};
use redb::ReadableTable;
use stream::RecordKind;

use crate::world::{NOW, World, batch, boot, event, id, of_kind, poison, record, rejected, write};

fn fates(store: &Store) -> Fates {
    let row = store.ledger().unwrap().remove(0);
    assert_eq!(row.ledger.seen().count(), row.ledger.fates().sum(), "each number has one fate");
    row.ledger.fates()
}

/// A letter as an older version left it: the record is fine for this one.
fn heal(world: &World, sequence: u64, kind: RecordKind, payload: Vec<u8>) {
    let letters = redb::TableDefinition::<u64, &[u8]>::new("dead_letters");
    let database = redb::Database::open(&world.config.table).unwrap();
    let tx = database.begin_write().unwrap();
    {
        let mut letters = tx.open_table(letters).unwrap();
        let bytes = letters.get(sequence).unwrap().unwrap().value().to_vec();
        let letter = DeadLetter::decode(bytes.as_slice()).unwrap();
        let letter = DeadLetter { record_kind: kind.code().into(), payload, ..letter };
        letters.insert(sequence, letter.encode_to_vec().as_slice()).unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn poison_does_not_block_what_comes_behind_it() {
    let world = World::new();
    let store = world.open();
    let items =
        vec![poison(0), record(1, &event("p", 1)), of_kind(2, RecordKind::Other(99), b"new".to_vec())];
    write(&store, &[batch(boot(1), 3, items)]);
    assert_eq!(fates(&store), Fates { stored: 1, dead_letters: 2, ..Fates::default() });

    let letters = store.dead_letters(Start::At(0), 10).unwrap();
    let letter = &letters.items[0].1;
    assert!(letter.reason.starts_with("not a TrackingEvent"), "{}", letter.reason);
    assert_eq!((letter.stage.as_str(), letter.failed_at_ms), ("consumer", NOW));
    assert_eq!((letter.boot.as_slice(), letter.lane, letter.number), (boot(1).as_bytes().as_slice(), 3, 0));
    assert_eq!(letter.payload, b"\xff\xff");
    assert_eq!(store.dead_letter(1).unwrap().unwrap().record_kind, 99);
    assert_eq!(store.dead_letter(2).unwrap(), None);
}

#[test]
fn a_replayed_letter_that_is_still_poison_stays() {
    let world = World::new();
    let store = world.open();
    write(&store, &[batch(boot(1), 0, vec![poison(0)])]);
    let ledger = fates(&store);
    let Replayed::StillDead(reason) = store.replay_dead_letter(0, NOW + 1).unwrap() else {
        panic!("it is poison")
    };
    assert!(reason.starts_with("not a TrackingEvent"), "{reason}");
    assert_eq!(store.replay_dead_letter(7, NOW).unwrap(), Replayed::NoSuchLetter);
    assert_eq!((store.dead_letters_count().unwrap(), fates(&store)), (1, ledger));
}

#[test]
fn a_replayed_letter_that_is_understood_now_moves_from_dead_to_stored_once() {
    let world = World::new();
    let kinds = (0..4).map(|number| of_kind(number, RecordKind::Other(99), vec![])).collect();
    write(&world.open(), &[batch(boot(1), 0, kinds)]);
    heal(&world, 0, RecordKind::Event, event("p", 1).encode_to_vec());
    heal(&world, 1, RecordKind::Event, event("p", 1).encode_to_vec());
    let stream::Item::Record(hit) = rejected(2, "expired") else { panic!("it is a record") };
    heal(&world, 2, RecordKind::Rejected, hit.payload.to_vec());

    let store = world.open();
    assert_eq!(store.replay_dead_letter(0, NOW).unwrap(), Replayed::Stored);
    assert_eq!(store.replay_dead_letter(0, NOW).unwrap(), Replayed::NoSuchLetter);
    assert_eq!(store.replay_dead_letter(1, NOW).unwrap(), Replayed::Duplicate);
    assert_eq!(store.replay_dead_letter(2, NOW).unwrap(), Replayed::Kept);
    assert_eq!(store.get("p", id(1)).unwrap(), Some(event("p", 1)));
    let expected = Fates { stored: 1, duplicates: 1, rejected: 1, dead_letters: 1, ..Fates::default() };
    assert_eq!(fates(&store), expected);
    assert_eq!(store.count(None).unwrap().items, 1);
    assert_eq!(store.tail(Start::At(0), 10).unwrap().items.len(), 1);
}

#[test]
fn a_dropped_letter_is_accounted_as_dropped() {
    let world = World::new();
    let store = world.open();
    write(&store, &[batch(boot(1), 0, vec![poison(0), poison(1)])]);
    assert!(store.drop_dead_letter(0).unwrap());
    assert!(!store.drop_dead_letter(0).unwrap());
    assert_eq!(fates(&store), Fates { dead_letters: 1, dropped: 1, ..Fates::default() });
    let left = store.dead_letters(Start::At(0), 10).unwrap().items;
    assert_eq!(left.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_dropped_letter_that_comes_again_stays_dropped() {
    let world = World::new();
    let store = world.open();
    let again = [batch(boot(1), 0, vec![poison(0)])];
    write(&store, &again);
    store.drop_dead_letter(0).unwrap();
    assert_eq!(write(&store, &again).replayed, 1);
    assert_eq!(store.dead_letters_count().unwrap(), 0);
}
