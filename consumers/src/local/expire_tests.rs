//! Events, identity entries and rejected hits leave when they are old enough, and are counted.

use proto::{Message, Rejected, TrackingEvent, Uuid, ids};
use stream::{Batch, Item, Record, RecordKind};

use super::expire::Swept;
use super::store::Store;
use super::{LocalTable, Table};
use crate::config::Config;
use crate::decode::WriteBatch;
use crate::table::{Count, Start};

const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1_000;

struct World {
    config: Config,
    _directory: tempfile::TempDir,
}

fn world(change: impl FnOnce(&mut Config)) -> (World, Store) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config { table: directory.path().join("table.redb"), ..Config::default() };
    change(&mut config);
    let store = Store::open(&config).unwrap();
    (World { config, _directory: directory }, store)
}

fn event_at(received_at_ms: u64) -> TrackingEvent {
    TrackingEvent {
        programid: "p".into(),
        message_id: ids::MessageIds::new().next(received_at_ms).to_string(),
        received_at_ms,
        ..TrackingEvent::default()
    }
}

fn event_of_sender_at(received_at_ms: u64) -> TrackingEvent {
    let id = ids::from_sender(&["p", "conversion", "order-1"]);
    TrackingEvent { message_id: id.to_string(), ..event_at(received_at_ms) }
}

/// Writes records as a lane of their own; how many were stored.
fn write(store: &Store, lane: u32, records: Vec<(RecordKind, Vec<u8>)>) -> u64 {
    let item = |(number, (kind, payload)): (u64, (RecordKind, Vec<u8>))| {
        Item::Record(Record { number, kind, payload: payload.into() })
    };
    let items = (0..).zip(records).map(item).collect();
    let work = WriteBatch::of(&[Batch::of_lane(Uuid::from_u128(1), lane, items)], NOW);
    store.write(&work).unwrap().fates.stored
}

fn events(events: &[TrackingEvent]) -> Vec<(RecordKind, Vec<u8>)> {
    events.iter().map(|event| (RecordKind::Event, event.encode_to_vec())).collect()
}

fn hits(count: u64) -> Vec<TrackingEvent> {
    (0..count).map(|n| event_at(NOW + n)).collect()
}

fn swept(events: u64, rejected: u64, more: bool) -> Swept {
    Swept { events, rejected, more }
}

fn ids_of(store: &Store) -> Vec<String> {
    let listing = store.tail(None, &Start::Oldest, 1_000).unwrap();
    listing.items.into_iter().map(|(_, event)| event.message_id).collect()
}

#[test]
fn an_event_stays_30_days_and_a_rejected_hit_7() {
    let (_world, store) = world(|_| ());
    let three = hits(3);
    write(&store, 0, events(&three));
    let rejected = Rejected { reason: "expired".into(), received_at_ms: NOW, ..Rejected::default() };
    write(&store, 1, vec![(RecordKind::Rejected, rejected.encode_to_vec())]);
    assert_eq!(store.sweep(NOW + 7 * DAY).unwrap(), swept(0, 0, false));
    assert_eq!(store.sweep(NOW + 7 * DAY + 1).unwrap(), swept(0, 1, false));
    assert!(store.rejected(&Start::Oldest, 10, None).unwrap().items.is_empty());

    assert_eq!(store.sweep(NOW + 30 * DAY + 2).unwrap(), swept(2, 0, false));
    assert_eq!(ids_of(&store), [three[2].message_id.clone()]);
    assert_eq!(store.count(None).unwrap(), Count { items: 1, expired: 2 });
    assert_eq!(store.count(Some("p")).unwrap(), Count { items: 1, expired: 2 });
    assert_eq!(store.count_by_scan(None).unwrap(), 1);
}

#[test]
fn a_senders_id_leaves_together_with_its_event() {
    let (_world, store) = world(|_| ());
    let first = event_of_sender_at(NOW);
    let id = first.message_id.parse().unwrap();
    assert_eq!(write(&store, 0, events(std::slice::from_ref(&first))), 1);
    assert_eq!(store.sweep(NOW + 30 * DAY + 1).unwrap(), swept(1, 0, false));
    assert_eq!(store.get("p", id).unwrap(), None);
    // It is free: also for an event that was received earlier, and was shipped late.
    let earlier = event_of_sender_at(NOW - 1);
    assert_eq!(write(&store, 1, events(std::slice::from_ref(&earlier))), 1);
    assert_eq!(store.get("p", id).unwrap(), Some(earlier));
}

#[test]
fn a_senders_id_that_a_younger_event_has_stays_when_the_old_one_leaves() {
    let (_world, store) = world(|_| ());
    let [old, young] = [NOW, NOW + 30 * DAY + 1].map(event_of_sender_at);
    assert_eq!(write(&store, 0, events(&[old, young.clone()])), 2);
    assert_eq!(store.sweep(NOW + 30 * DAY + 2).unwrap(), swept(1, 0, false));
    assert_eq!(store.get("p", young.message_id.parse().unwrap()).unwrap(), Some(young));
}

#[test]
fn a_pass_of_the_sweep_is_bounded_and_says_that_there_is_more() {
    let (_world, store) = world(|config| config.sweep_items_max = 4);
    write(&store, 0, events(&hits(10)));
    let now = NOW + 31 * DAY;
    assert_eq!(store.sweep(now).unwrap(), swept(4, 0, true));
    assert_eq!(store.sweep(now).unwrap(), swept(4, 0, true));
    assert_eq!(store.sweep(now).unwrap(), swept(2, 0, false));
    assert_eq!(store.sweep(now).unwrap(), swept(0, 0, false));
}

#[test]
fn an_event_of_a_clock_that_was_years_ahead_does_not_hold_up_the_sweep() {
    let (_world, store) = world(|_| ());
    let ahead = event_at(NOW + 3_650 * DAY);
    write(&store, 1, events(std::slice::from_ref(&ahead)));
    write(&store, 0, events(&hits(3)));
    assert_eq!(store.sweep(NOW + 31 * DAY).unwrap(), swept(3, 0, false));
    let found = store.get("p", ahead.message_id.parse().unwrap()).unwrap();
    assert_eq!(found, Some(ahead), "the item itself is not touched");
    assert_eq!(store.sweep(NOW + 61 * DAY).unwrap(), swept(0, 0, false));
    assert_eq!(store.sweep(NOW + 61 * DAY + 1).unwrap(), swept(1, 0, false), "30 days after it was noticed");
}

#[test]
fn sequences_go_on_after_everything_has_expired() {
    let (world, store) = world(|_| ());
    write(&store, 0, events(&hits(3)));
    let next = store.tail(None, &Start::Oldest, 10).unwrap().next.unwrap();
    store.sweep(NOW + 31 * DAY).unwrap();
    drop(store);
    let store = Store::open(&world.config).unwrap();
    write(&store, 1, events(&[event_at(NOW + 3)]));
    let tail = store.tail(None, &Start::At(next.clone()), 10).unwrap();
    assert_eq!((tail.items.len(), &tail.items[0].0), (1, &next));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_runs_by_itself_until_it_is_stopped() {
    let (world, store) = world(|config| config.sweep_items_max = 2);
    let old: Vec<_> = (0..5).map(|n| event_at(1_000 + n)).collect();
    write(&store, 0, events(&old));
    drop(store);
    let table = LocalTable::open(&world.config).unwrap();

    let (stop, stopped) = tokio::sync::watch::channel(None);
    let maintained = table.clone();
    let sweeping = tokio::spawn(async move { maintained.maintain(stopped).await });
    while table.count(None).await.unwrap().items > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stop.send(Some(tokio::time::Instant::now())).unwrap();
    sweeping.await.unwrap();
    assert_eq!(table.count(None).await.unwrap(), Count { items: 0, expired: 5 });
}
