//! The file of the local table: its format, and what else may stand at its path.

use consumers::{LocalTable, OpenError, Table};
use redb::{ReadableDatabase, TableHandle};

use crate::world::{World, events, id, items, write};

#[test]
fn a_table_of_a_newer_version_is_refused_and_left_alone() {
    let world = World::new();
    drop(world.open());
    let path = &world.config.table;
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let database = redb::Database::open(path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(meta).unwrap().insert("format", 2).unwrap();
    assert!(tx.delete_table(redb::TableDefinition::<u64, &[u8]>::new("arrivals")).unwrap());
    tx.commit().unwrap();
    let of_version_2 = names_of_tables(&database);
    drop(database);

    let error = LocalTable::open(&world.config).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    let expected =
        format!("{}: written by version 2 of the table format, this program knows 1", path.display());
    assert_eq!(error.to_string(), expected);

    let database = redb::Database::open(path).unwrap();
    let tx = database.begin_read().unwrap();
    assert_eq!(tx.open_table(meta).unwrap().get("format").unwrap().unwrap().value(), 2);
    assert_eq!(names_of_tables(&database), of_version_2, "nothing was created that version 2 does not have");
}

fn names_of_tables(database: &redb::Database) -> Vec<String> {
    let tx = database.begin_read().unwrap();
    let mut names: Vec<String> = tx.list_tables().unwrap().map(|table| table.name().to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_table_in_use_and_a_file_of_something_else_are_named() {
    let world = World::new();
    let path = world.config.table.display().to_string();
    let store = world.open();
    let error = LocalTable::open(&world.config).unwrap_err();
    assert_eq!(error.to_string(), format!("{path}: another process has this table open"));
    drop(store);

    std::fs::write(&world.config.table, "no table, but a letter to a friend\n".repeat(100)).unwrap();
    let error = LocalTable::open(&world.config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{path} is damaged, or no table of events: ")), "{error}");

    let nowhere = consumers::Config { table: "/nonexistent/table.redb".into(), ..world.config.clone() };
    let error = LocalTable::open(&nowhere).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("/nonexistent/table.redb: "), "{error}");
}

#[tokio::test]
async fn a_table_whose_creation_was_cut_off_is_created_anew() {
    let world = World::new();
    let unfinished = world.config.table.with_file_name("table.redb.new");
    std::fs::write(&unfinished, vec![0; 5_000]).unwrap();
    let table = world.open();
    write(&table, &[events(0..1)]).await;
    assert!(!unfinished.exists() && items(&table).await == 1);
}

#[tokio::test]
async fn more_callers_than_places_all_get_their_answer() {
    let world = World::new();
    let table = world.open();
    write(&table, &[events(0..1)]).await;
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
