//! What is stored is found, by its time and by its order.

use consumers::{Cursor, Listing, Query, Start, Table, TableError};
use proto::TrackingEvent;

use super::Place;
use crate::world::{DAY, batch, boot, event, event_of_sender, events, id, now, record, rejected, write};

fn query(program: &str, from_ms: u64, to_ms: u64) -> Query {
    Query { program: program.into(), from_ms, to_ms, after: None, limit: 1_000 }
}

/// The message ids of all pages.
async fn found<T: Table>(table: &T, mut query: Query) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = table.query(query.clone()).await.unwrap();
        assert!(page.items.len() <= query.limit);
        found.extend(page.items.into_iter().map(|(_, event)| event.message_id));
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

pub async fn a_query_gives_a_programs_events_of_a_time_range_page_by_page<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let neighbours = ["o", "pp", "p\0", "q"].map(|program| record(0, &event(program, 5)));
    let lanes = neighbours.into_iter().zip(1..).map(|(item, lane)| batch(boot(9), lane, vec![item]));
    write(&table, &lanes.collect::<Vec<_>>()).await;
    write(&table, &[events(0..10)]).await;

    let asked = Query { limit: 3, ..query("p", now() + 2, now() + 9) };
    let expected: Vec<_> = (2..9).map(|n| id(n).to_string()).collect();
    assert_eq!(found(&table, asked).await, expected, "from is included, to is not");
    assert_eq!(found(&table, query("p", 0, u64::MAX)).await.len(), 10);
}

pub async fn events_are_in_the_order_of_being_received_whatever_clock_their_sender_has<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let clocks = [0, 1, now() - 400 * DAY, now() + 400 * DAY, (1 << 48) - 1];
    let mut sent = Vec::new();
    for (n, client_time_ms) in (0u64..).zip(clocks) {
        sent.push(TrackingEvent { client_time_ms, ..event_of_sender("p", &format!("order-{n}"), 2 * n) });
        sent.push(TrackingEvent { client_time_ms, ..event("p", 2 * n + 1) });
    }
    let expected: Vec<_> = sent.iter().map(|event| event.message_id.clone()).collect();
    // Stored in another order than received, as lanes are read one after the other.
    let records = |keep: fn(usize) -> bool| {
        let kept = sent.iter().enumerate().filter(move |(at, _)| keep(*at));
        kept.map(|(at, event)| record(at as u64, event)).collect::<Vec<_>>()
    };
    write(&table, &[batch(boot(1), 1, records(|at| at % 3 == 0))]).await;
    write(&table, &[batch(boot(1), 0, records(|at| at % 3 != 0))]).await;

    assert_eq!(found(&table, Query { limit: 2, ..query("p", 0, u64::MAX) }).await, expected);
    let this_hour = query("p", now(), now() + 3_600_000);
    assert_eq!(found(&table, this_hour).await, expected, "a query of this hour misses none");
    assert_eq!(found(&table, query("p", 0, now())).await, Vec::<String>::new());
    assert_eq!(found(&table, query("p", now() + 4, now() + 6)).await, expected[4..6]);
}

pub async fn a_range_of_no_time_and_one_beyond_all_times_are_empty<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(0..10)]).await;
    for (from_ms, to_ms) in [(now(), now()), (7, 3), (u64::MAX - 1, u64::MAX), (1 << 48, u64::MAX), (0, 0)] {
        let page = table.query(query("p", from_ms, to_ms)).await.unwrap();
        assert_eq!(page, Listing { items: vec![], next: None }, "{from_ms}..{to_ms}");
    }
    assert_eq!(found(&table, query(&"p".repeat(300), 0, u64::MAX)).await.len(), 0);
    let last = table.query(Query { limit: 9, ..query("p", 0, u64::MAX) }).await.unwrap().next;
    let behind_the_end = Query { after: last, ..query("p", now(), now() + 5) };
    assert_eq!(found(&table, behind_the_end).await, Vec::<String>::new());
}

pub async fn a_tail_follows_what_is_stored_later<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(0..5)]).await;
    let ids = |listing: &Listing<TrackingEvent>| -> Vec<String> {
        listing.items.iter().map(|(_, event)| event.message_id.clone()).collect()
    };
    let newest = table.tail(Some("p"), Start::Newest, 2).await.unwrap();
    assert_eq!(ids(&newest), [id(3).to_string(), id(4).to_string()]);
    let nothing = table.tail(Some("p"), Start::At(newest.next.unwrap()), 10).await.unwrap();
    assert!(nothing.items.is_empty());

    write(&table, &[events(5..8)]).await;
    let two = table.tail(Some("p"), Start::At(nothing.next.unwrap()), 2).await.unwrap();
    assert_eq!(ids(&two), [id(5).to_string(), id(6).to_string()]);
    let rest = table.tail(Some("p"), Start::At(two.next.unwrap()), 2).await.unwrap();
    assert_eq!(ids(&rest), [id(7).to_string()]);
    let all = table.tail(Some("p"), Start::Oldest, 100).await.unwrap();
    assert_eq!(ids(&all), (0..8).map(|n| id(n).to_string()).collect::<Vec<_>>());
}

pub async fn a_tail_of_one_program_shows_no_other<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(0..2), batch(boot(2), 0, vec![record(0, &event("q", 7))]), events(2..3)]).await;
    let of = async |program: &str, start| {
        let listing = table.tail(Some(program), start, 10).await.unwrap();
        listing.items.into_iter().map(|(_, event)| event).collect::<Vec<_>>()
    };
    assert_eq!(of("q", Start::Oldest).await, [event("q", 7)]);
    assert_eq!(of("q", Start::Newest).await, [event("q", 7)]);
    assert_eq!(of("p", Start::Newest).await, [0, 1, 2].map(|n| event("p", n)));
    assert_eq!(of("nobody", Start::Oldest).await, []);
    assert!(table.has_had("q").await.unwrap() && !table.has_had("nobody").await.unwrap());
    match table.tail(None, Start::Oldest, 10).await {
        Ok(all) => assert_eq!(all.items.len(), 4),
        Err(TableError::NotOffered(way_out)) => assert!(way_out.contains("--program"), "{way_out}"),
        Err(error) => panic!("{error}"),
    }
}

pub async fn rejected_hits_are_listed_by_reason<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let reason = |n| if n == 2 { "expired" } else { "unknown_program" };
    write(&table, &[batch(boot(1), 0, (0..6).map(|n| rejected(n, reason(n))).collect())]).await;
    let expired = table.rejected(Start::Oldest, 10, Some("expired")).await.unwrap();
    assert_eq!(expired.items.len(), 1);
    let more = table.rejected(Start::At(expired.next.unwrap()), 10, None).await.unwrap();
    assert!(more.items.is_empty());
    let newest = table.rejected(Start::Newest, 2, None).await.unwrap();
    assert_eq!(newest.items.len(), 2);
    let from_the_first_of_them =
        table.rejected(Start::At(newest.items[0].0.clone()), 10, None).await.unwrap();
    assert_eq!(from_the_first_of_them.items, newest.items);
}

pub async fn a_cursor_that_no_table_made_is_an_error<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(0..1)]).await;
    for text in ["", "-1", "soon", "0x1", "1 ", "ffffffffffff-", "\u{1f980}"] {
        let made_up = Cursor::new(text);
        let at = || Start::At(made_up.clone());
        let query = Query { after: Some(made_up.clone()), ..query("p", 0, u64::MAX) };
        let errors = [
            table.query(query).await.err(),
            table.tail(Some("p"), at(), 1).await.err(),
            table.rejected(at(), 1, None).await.err(),
            table.dead_letters(at(), 1).await.err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{text:?} was taken"));
            assert!(matches!(&error, TableError::UnknownCursor(said) if said == text), "{error}");
            assert!(!error.is_retryable());
        }
        assert_eq!(table.dead_letter(&made_up).await.unwrap(), None);
        assert!(!table.drop_dead_letter(&made_up).await.unwrap());
    }
}
