//! Events and rejected hits leave when they are old enough, and are counted.

use consumers::{Config, Count, LocalTable, Start, Swept};
use proto::TrackingEvent;

use crate::world::{
    DAY, NOW, World, all_items, batch, boot, event, events, eventually, id, record, rejected, write,
};

fn swept(events: u64, rejected: u64, more: bool) -> Swept {
    Swept { events, rejected, more }
}

#[test]
fn an_event_stays_30_days_and_a_rejected_hit_7() {
    let world = World::new();
    let store = world.open();
    write(&store, &[events(0..3), batch(boot(1), 1, vec![rejected(0, "expired")])]);
    assert_eq!(store.sweep(NOW + 7 * DAY).unwrap(), swept(0, 0, false));
    assert_eq!(store.sweep(NOW + 7 * DAY + 1).unwrap(), swept(0, 1, false));
    assert!(store.rejected(Start::At(0), 10, None).unwrap().items.is_empty());

    assert_eq!(store.sweep(NOW + 30 * DAY + 2).unwrap(), swept(2, 0, false));
    assert_eq!(all_items(&store), [("p".to_owned(), id(2))]);
    assert_eq!(store.count(None).unwrap(), Count { items: 1, expired: 2 });
    assert_eq!(store.count(Some("p")).unwrap(), Count { items: 1, expired: 2 });
    assert_eq!(store.tail(Start::At(0), 10).unwrap().items.len(), 1);
}

#[test]
fn a_pass_of_the_sweep_is_bounded_and_says_that_there_is_more() {
    let mut world = World::new();
    world.config = Config { sweep_items_max: 4, ..world.config };
    let store = world.open();
    write(&store, &[events(0..10)]);
    let now = NOW + 31 * DAY;
    assert_eq!(store.sweep(now).unwrap(), swept(4, 0, true));
    assert_eq!(store.sweep(now).unwrap(), swept(4, 0, true));
    assert_eq!(store.sweep(now).unwrap(), swept(2, 0, false));
    assert_eq!(store.sweep(now).unwrap(), swept(0, 0, false));
}

#[test]
fn an_event_of_a_clock_that_was_years_ahead_does_not_hold_up_the_sweep() {
    let world = World::new();
    let store = world.open();
    let ahead = TrackingEvent { received_at_ms: NOW + 3_650 * DAY, ..event("p", 500) };
    write(&store, &[batch(boot(2), 0, vec![record(0, &ahead)]), events(0..3)]);
    assert_eq!(store.sweep(NOW + 31 * DAY).unwrap(), swept(3, 0, false));
    assert_eq!(store.get("p", id(500)).unwrap(), Some(ahead), "the item itself is not touched");
    assert_eq!(store.sweep(NOW + 61 * DAY).unwrap(), swept(0, 0, false));
    assert_eq!(store.sweep(NOW + 61 * DAY + 1).unwrap(), swept(1, 0, false), "30 days after it was noticed");
}

#[test]
fn sequences_go_on_after_everything_has_expired() {
    let world = World::new();
    let store = world.open();
    write(&store, &[events(0..3)]);
    let next = store.tail(Start::At(0), 10).unwrap().next;
    store.sweep(NOW + 31 * DAY).unwrap();
    drop(store);
    let store = world.open();
    write(&store, &[events(3..4)]);
    let tail = store.tail(Start::At(next), 10).unwrap();
    assert_eq!(tail.items, [(3, event("p", 3))]);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_runs_by_itself_until_it_is_stopped() {
    let mut world = World::new();
    world.config = Config { sweep_items_max: 2, ..world.config };
    let table = LocalTable::new(world.open());
    // Received in 2026 by a clock that the real one has not reached: old events need an old time.
    let old = (0..5).map(|n| record(n, &TrackingEvent { received_at_ms: 1_000 + n, ..event("p", n) }));
    write(table.store(), &[batch(boot(1), 0, old.collect())]);

    let (stop, stopped) = tokio::sync::watch::channel(None);
    let (swept_table, config) = (table.clone(), world.config.clone());
    let sweeping = tokio::spawn(async move { consumers::sweep(swept_table, &config, stopped).await });
    eventually("everything is swept", || table.store().count(None).unwrap().items == 0).await;
    stop.send(Some(tokio::time::Instant::now())).unwrap();
    sweeping.await.unwrap();
    assert_eq!(table.store().count(None).unwrap(), Count { items: 0, expired: 5 });
}
