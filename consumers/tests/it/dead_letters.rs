//! Letters that an older version left, and that this one can read.

use consumers::{Cursor, Fates, Replayed, Start, Table};
use proto::{DeadLetter, Message};
use redb::ReadableTable;
use stream::RecordKind;

use crate::world::{World, batch, boot, event, event_of_sender, id, items, now, of_kind, rejected, write};

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

#[tokio::test]
async fn a_replayed_letter_that_is_understood_now_moves_from_dead_to_what_it_became_once() {
    let world = World::new();
    let kinds = (0..5).map(|number| of_kind(number, RecordKind::Other(99), vec![])).collect();
    write(&world.open(), &[batch(boot(1), 0, kinds)]).await;
    heal(&world, 0, RecordKind::Event, event_of_sender("p", "1", 1).encode_to_vec());
    heal(&world, 1, RecordKind::Event, event_of_sender("p", "1", 2).encode_to_vec());
    let stream::Item::Record(hit) = rejected(2, "expired") else { panic!("it is a record") };
    heal(&world, 2, RecordKind::Rejected, hit.payload.to_vec());
    heal(&world, 3, RecordKind::Event, event("p", 3).encode_to_vec());

    let table = world.open();
    let replay = async |sequence: u64| {
        table.replay_dead_letter(&Cursor::new(sequence.to_string()), now()).await.unwrap()
    };
    assert_eq!(replay(0).await, Replayed::Stored);
    assert_eq!(replay(0).await, Replayed::NoSuchLetter);
    assert_eq!(replay(1).await, Replayed::Duplicate);
    assert_eq!(replay(2).await, Replayed::Kept);
    assert_eq!(replay(3).await, Replayed::Stored);
    assert_eq!(table.get("p", id(3)).await.unwrap(), Some(event("p", 3)));
    let row = table.ledger().await.unwrap().remove(0);
    let expected = Fates { stored: 2, duplicates: 1, rejected: 1, dead_letters: 1, ..Fates::default() };
    assert_eq!(row.ledger.fates(), expected);
    assert_eq!(row.ledger.seen().count(), row.ledger.fates().sum(), "each number has one fate");
    assert_eq!((items(&table).await, table.tail(None, Start::Oldest, 10).await.unwrap().items.len()), (2, 2));
}
