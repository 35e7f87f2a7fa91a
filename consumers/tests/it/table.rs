//! What is stored is found, counted, listed and refused as documented.

use consumers::{Count, Fates, LocalTable, OpenError, Query, Start, Store, Table, Work};
use proto::{Message, Uuid};
use redb::ReadableDatabase;

use crate::world::{NOW, World, all_items, batch, boot, event, events, id, record, rejected, write};

fn query(program: &str, from_ms: u64, to_ms: u64) -> Query {
    Query { program: program.into(), from_ms, to_ms, after: None, limit: 1_000 }
}

#[test]
fn a_stored_event_is_there_after_opening_again() {
    let world = World::new();
    write(&world.open(), &[events(0..3)]);
    let store = world.open();
    assert_eq!(store.get("p", id(1)).unwrap(), Some(event("p", 1)));
    assert_eq!(store.get("q", id(1)).unwrap(), None, "the same id of another program is another event");
    assert_eq!(store.get("", id(1)).unwrap(), None);
    assert_eq!(store.get(&"p".repeat(300), id(1)).unwrap(), None);
}

#[test]
fn the_same_event_from_another_number_is_a_duplicate_and_the_first_one_stays() {
    let world = World::new();
    let store = world.open();
    let retry = proto::TrackingEvent { referrer: "again".into(), ..event("p", 0) };
    let written = write(&store, &[events(0..1), batch(boot(2), 0, vec![record(0, &retry)])]);
    assert_eq!(written.fates, Fates { stored: 1, duplicates: 1, ..Fates::default() });
    assert_eq!(store.get("p", id(0)).unwrap(), Some(event("p", 0)));
    assert_eq!(store.count(None).unwrap().items, 1);
}

#[test]
fn a_batch_that_comes_again_counts_nothing() {
    let world = World::new();
    let store = world.open();
    let batches =
        [batch(boot(1), 0, vec![record(0, &event("p", 0)), rejected(1, "expired"), crate::world::poison(2)])];
    write(&store, &batches);
    let ledger = store.ledger().unwrap();
    let again = write(&store, &batches);
    assert_eq!((again.fates, again.replayed), (Fates::default(), 3));
    assert_eq!(store.ledger().unwrap(), ledger);
    assert_eq!(store.rejected(Start::At(0), 10, None).unwrap().items.len(), 1);
    assert_eq!(store.dead_letters_count().unwrap(), 1);
}

#[test]
fn a_batch_that_was_half_processed_is_processed_to_its_end() {
    let world = World::new();
    let store = world.open();
    write(&store, &[events(2..5)]);
    let written = write(&store, &[events(0..8)]);
    assert_eq!((written.fates.stored, written.replayed), (5, 3));
    let row = store.ledger().unwrap().remove(0);
    assert_eq!(row.ledger.seen().as_slice(), [(0, 8)]);
}

#[test]
fn a_query_gives_a_programs_events_of_a_time_range_page_by_page() {
    let world = World::new();
    let store = world.open();
    let neighbours = ["o", "pp", "p\0", "q"].map(|program| record(0, &event(program, 5)));
    let lanes = neighbours.into_iter().zip(1..).map(|(item, lane)| batch(boot(9), lane, vec![item]));
    write(&store, &lanes.collect::<Vec<_>>());
    write(&store, &[events(0..10)]);

    let mut found = Vec::new();
    let mut asked = Query { limit: 3, ..query("p", NOW + 2, NOW + 9) };
    loop {
        let page = store.query(&asked).unwrap();
        assert!(page.items.len() <= 3);
        found.extend(page.items.iter().map(|(id, _)| *id));
        asked.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(found, (2..9).map(id).collect::<Vec<_>>(), "from is included, to is not");
    assert_eq!(store.query(&query("p", 0, u64::MAX)).unwrap().items.len(), 10);
    assert!(store.query(&query("p", NOW, NOW)).unwrap().items.is_empty());
    assert!(store.query(&query("p", u64::MAX - 1, u64::MAX)).unwrap().items.is_empty());
    assert!(store.query(&query("p", 7, 3)).unwrap().items.is_empty());
    let behind_the_end = Query { after: Some(Uuid::max()), ..query("p", NOW, NOW + 5) };
    assert!(store.query(&behind_the_end).unwrap().items.is_empty());
}

#[test]
fn an_id_without_a_time_is_found_from_zero() {
    let world = World::new();
    let store = world.open();
    let timeless = proto::ids::from_sender(0, &["shop", "order-1"]);
    let event = proto::TrackingEvent { message_id: timeless.to_string(), ..event("p", 0) };
    write(&store, &[batch(boot(1), 0, vec![record(0, &event)])]);
    assert_eq!(store.query(&query("p", 0, 1)).unwrap().items, [(timeless, event)]);
}

#[test]
fn counts_are_per_program_and_for_all() {
    let world = World::new();
    let store = world.open();
    write(&store, &[events(0..3), batch(boot(1), 1, vec![record(0, &event("q", 0))])]);
    assert_eq!(store.count(Some("p")).unwrap(), Count { items: 3, expired: 0 });
    assert_eq!(store.count(Some("q")).unwrap(), Count { items: 1, expired: 0 });
    assert_eq!(store.count(Some("nobody")).unwrap(), Count::default());
    assert_eq!(store.count(None).unwrap().items, all_items(&store).len() as u64);
}

#[test]
fn a_tail_follows_what_is_stored_later() {
    let world = World::new();
    let store = world.open();
    write(&store, &[events(0..5)]);
    let ids = |listing: &consumers::Listing<proto::TrackingEvent>| -> Vec<String> {
        listing.items.iter().map(|(_, event)| event.message_id.clone()).collect()
    };
    let newest = store.tail(Start::Newest, 2).unwrap();
    assert_eq!(ids(&newest), [id(3).to_string(), id(4).to_string()]);
    let nothing = store.tail(Start::At(newest.next), 10).unwrap();
    assert!(nothing.items.is_empty());

    write(&store, &[events(5..8)]);
    let two = store.tail(Start::At(nothing.next), 2).unwrap();
    assert_eq!(ids(&two), [id(5).to_string(), id(6).to_string()]);
    assert_eq!(ids(&store.tail(Start::At(two.next), 2).unwrap()), [id(7).to_string()]);
}

#[test]
fn rejected_hits_are_listed_by_reason() {
    let world = World::new();
    let store = world.open();
    let items = (0..6).map(|n| rejected(n, if n == 2 { "expired" } else { "unknown_program" })).collect();
    write(&store, &[batch(boot(1), 0, items)]);
    let expired = store.rejected(Start::At(0), 10, Some("expired")).unwrap();
    assert_eq!(expired.items.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [2]);
    assert_eq!(expired.next, 6);
    let newest = store.rejected(Start::Newest, 2, None).unwrap();
    assert_eq!(newest.items.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_table_of_a_newer_version_is_refused_and_left_alone() {
    let world = World::new();
    drop(world.open());
    let path = &world.config.table;
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let database = redb::Database::open(path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(meta).unwrap().insert("format", 2).unwrap();
    tx.delete_table(redb::TableDefinition::<u64, &[u8]>::new("arrivals")).unwrap();
    tx.commit().unwrap();
    drop(database);

    let error = Store::open(&world.config).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    let expected =
        format!("{}: written by version 2 of the table format, this program knows 1", path.display());
    assert_eq!(error.to_string(), expected);

    let database = redb::Database::open(path).unwrap();
    let tx = database.begin_read().unwrap();
    assert_eq!(tx.open_table(meta).unwrap().get("format").unwrap().unwrap().value(), 2);
    assert_eq!(tx.list_tables().unwrap().count(), 6, "nothing was created that version 2 does not have");
}

#[test]
fn a_table_in_use_and_a_file_of_something_else_are_named() {
    let world = World::new();
    let path = world.config.table.display().to_string();
    let store = world.open();
    let error = Store::open(&world.config).unwrap_err();
    assert_eq!(error.to_string(), format!("{path}: another process has this table open"));
    drop(store);

    std::fs::write(&world.config.table, "no table, but a letter to a friend\n".repeat(100)).unwrap();
    let error = Store::open(&world.config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{path} is damaged, or no table of events: ")), "{error}");

    let nowhere = consumers::Config { table: "/nonexistent/table.redb".into(), ..world.config.clone() };
    let error = Store::open(&nowhere).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("/nonexistent/table.redb: "), "{error}");
}

#[test]
fn a_table_whose_creation_was_cut_off_is_created_anew() {
    let world = World::new();
    let unfinished = world.config.table.with_file_name("table.redb.new");
    std::fs::write(&unfinished, vec![0; 5_000]).unwrap();
    write(&world.open(), &[events(0..1)]);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn the_async_table_gives_the_answers_of_its_store() {
    let world = World::new();
    let table = LocalTable::new(world.open());
    let work = Work::of(&[events(0..4)], NOW);
    let written = table.write(work.into()).await.unwrap();
    assert_eq!((written.fates.stored, written.newest_received_at_ms), (4, NOW + 3));
    assert_eq!(table.get("p", id(3)).await.unwrap().unwrap().encode_to_vec(), event("p", 3).encode_to_vec());
    assert_eq!(table.query(query("p", NOW, NOW + 2)).await.unwrap().items.len(), 2);
    assert_eq!(table.ledger().await.unwrap(), table.store().ledger().unwrap());
}

#[tokio::test]
async fn more_callers_than_places_all_get_their_answer() {
    let world = World::new();
    let table = LocalTable::new(world.open());
    write(table.store(), &[events(0..1)]);
    let asked: Vec<_> = (0..consumers::CALLS_MAX * 4)
        .map(|_| {
            let table = table.clone();
            tokio::spawn(async move { table.get("p", id(0)).await.unwrap().is_some() })
        })
        .collect();
    for answer in asked {
        assert!(answer.await.unwrap());
    }
}
