//! What is written is there once, and is counted.

use consumers::{Count, Fates, Table};
use proto::{TrackingEvent, ids};

use super::Place;
use crate::world::{
    DAY, all_events, batch, boot, event, event_of_sender, events, id, items, poison, record, rejected, write,
};

fn stored(stored: u64) -> Fates {
    Fates { stored, ..Fates::default() }
}

pub async fn a_stored_event_is_there_after_opening_again<P: Place>() {
    let place = P::new(|_| ());
    write(&place.open().await, &[events(0..3)]).await;
    let table = place.open().await;
    assert_eq!(table.get("p", id(1)).await.unwrap(), Some(event("p", 1)));
    assert_eq!(table.get("q", id(1)).await.unwrap(), None, "of another program");
    assert_eq!(table.get("", id(1)).await.unwrap(), None);
    assert_eq!(table.get(&"p".repeat(300), id(1)).await.unwrap(), None);
    assert_eq!(table.get("p", ids::from_sender(&["p", "click", "1"])).await.unwrap(), None);
}

pub async fn a_senders_id_is_taken_once_whenever_it_comes_again<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let first = event_of_sender("p", "order-1", 0);
    // In the same write, by the same lane a moment later, and by another process a day later.
    let at_once = TrackingEvent { referrer: "again".into(), ..event_of_sender("p", "order-1", 0) };
    let soon = event_of_sender("p", "order-1", 500);
    let written = write(&table, &[batch(boot(1), 0, vec![record(0, &first), record(1, &at_once)])]).await;
    assert_eq!(written.fates, Fates { stored: 1, duplicates: 1, ..Fates::default() });
    let written = write(&table, &[batch(boot(1), 0, vec![record(2, &soon)])]).await;
    assert_eq!(written.fates.duplicates, 1);
    let tomorrow = event_of_sender("p", "order-1", DAY);
    let written = write(&table, &[batch(boot(2), 0, vec![record(0, &tomorrow)])]).await;
    assert_eq!(written.fates.duplicates, 1);

    let id = first.message_id.parse().unwrap();
    assert_eq!(table.get("p", id).await.unwrap(), Some(first.clone()), "the first one stays");
    assert_eq!((items(&table).await, all_events(&table, &["p"]).await), (1, vec![first]));
}

pub async fn one_id_of_several_programs_or_types_is_several_events<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let of = |program: &str, kind: &str, n| {
        let id = ids::from_sender(&[program, kind, "1"]);
        TrackingEvent { message_id: id.to_string(), ..event(program, n) }
    };
    let several = [of("p", "click", 0), of("p", "conversion", 1), of("q", "click", 2), of("p", "signup", 3)];
    let records = several.iter().zip(0..).map(|(event, number)| record(number, event)).collect();
    let written = write(&table, &[batch(boot(1), 0, records)]).await;
    assert_eq!((written.fates, items(&table).await), (stored(4), 4));
    for event in several {
        let id = event.message_id.parse().unwrap();
        assert_eq!(table.get(&event.programid, id).await.unwrap(), Some(event));
    }
}

pub async fn a_senders_id_is_free_again_when_its_event_had_expired<P: Place>() {
    let table = P::new(|config| config.expiry_days = 2).open().await;
    let [first, last_day, after] = [0, 2 * DAY, 2 * DAY + 1].map(|n| event_of_sender("p", "order-1", n));
    let written = write(&table, &[batch(boot(1), 0, vec![record(0, &first), record(1, &last_day)])]).await;
    assert_eq!(written.fates, Fates { stored: 1, duplicates: 1, ..Fates::default() });
    let written = write(&table, &[batch(boot(1), 0, vec![record(2, &after)])]).await;
    assert_eq!(written.fates, stored(1));
    let id = after.message_id.parse().unwrap();
    assert_eq!(table.get("p", id).await.unwrap(), Some(after), "the id leads to the younger one");
}

pub async fn a_record_that_comes_again_after_its_answer_was_lost_is_stored_once<P: Place>() {
    let place = P::new(|_| ());
    let ours = [batch(boot(1), 0, vec![record(0, &event("p", 0)), record(1, &event_of_sender("p", "1", 1))])];
    assert_eq!(write(&place.open().await, &ours).await.fates, stored(2));
    // The process died before it knew, and begins with the same batch, cut otherwise.
    let table = place.open().await;
    let again = [
        batch(boot(1), 0, vec![record(0, &event("p", 0))]),
        batch(boot(1), 0, vec![record(1, &event_of_sender("p", "1", 1)), record(2, &event("p", 2))]),
    ];
    let written = write(&table, &again).await;
    assert_eq!((written.fates, written.replayed, items(&table).await), (stored(1), 2, 3));
}

pub async fn a_batch_that_comes_again_counts_nothing<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let batches = [batch(boot(1), 0, vec![record(0, &event("p", 0)), rejected(1, "expired"), poison(2)])];
    write(&table, &batches).await;
    let ledger = table.ledger().await.unwrap();
    let again = write(&table, &batches).await;
    assert_eq!((again.fates, again.replayed), (Fates::default(), 3));
    assert_eq!(table.ledger().await.unwrap(), ledger);
    let rejected = table.rejected(consumers::Start::Oldest, 10, None).await.unwrap();
    assert_eq!(rejected.items.len(), 1);
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 1);
}

pub async fn a_batch_that_was_half_processed_is_processed_to_its_end<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(2..5)]).await;
    let written = write(&table, &[events(0..8)]).await;
    assert_eq!((written.fates.stored, written.replayed), (5, 3));
    let row = table.ledger().await.unwrap().remove(0);
    assert_eq!(row.ledger.seen().as_slice(), [(0, 8)]);
}

pub async fn counts_are_per_program_and_for_all<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[events(0..3), batch(boot(1), 1, vec![record(0, &event("q", 0))])]).await;
    let count = |items| Count { items, expired: 0 };
    assert_eq!(table.count(Some("p")).await.unwrap(), count(3));
    assert_eq!(table.count(Some("q")).await.unwrap(), count(1));
    assert_eq!(table.count(Some("nobody")).await.unwrap(), Count::default());
    assert_eq!(table.count_by_scan(Some("p")).await.unwrap(), 3);
    assert_eq!(table.count_by_scan(Some("nobody")).await.unwrap(), 0);
    assert_eq!(items(&table).await, 4);
}
