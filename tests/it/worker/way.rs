//! The whole way of a hit through a region.

use std::collections::BTreeSet;

use super::region::{Region, load};
use crate::http;
use crate::redis::region::{all_know, program};
use crate::redis::server::RedisServer;
use crate::world::eventually;

#[test]
fn a_program_put_elsewhere_is_published_hit_shipped_and_stored() {
    let (Some(region), Some(redis)) = (Region::new(2), RedisServer::start()) else { return };
    let with_registry = |world: crate::world::World| {
        world.with("registry.kind", "redis").with("registry.redis.urls", &redis.url())
    };
    let operator = with_registry(region.edge());
    crate::redis::region::import(&operator, &program("before", 1));
    let edge = with_registry(region.edge());
    let tracker = edge.start("tracker");
    let store = with_registry(region.worker());
    let worker = store.start("consumer");

    // Put while the tracker runs: it is told by a publish.
    crate::redis::region::put(&operator, "spring", 2);
    all_know(&[&tracker], "spring", 2);
    let answer = http::get(tracker.tracker, "/event/spring?utm_campaign=way");
    let id = answer.message_id().unwrap_or_else(|| panic!("{answer:?}"));
    let click = http::get(tracker.tracker, "/v/spring?id=order-1");
    assert_eq!(click.status, 200, "{click:?}");
    let again = http::get(tracker.tracker, "/v/spring?id=order-1");
    assert_eq!(again.status, 200, "{again:?}");

    // Whoever waited for the publish has hit it too.
    let conversions = || {
        let ids = region.table.event_ids();
        ids.iter().filter(|id| id.as_bytes()[14] == b'8').count()
    };
    eventually("the event is stored", || region.table.event_ids().contains(&id));
    eventually("the second conversion is a duplicate", || region.reconciled()["totals"]["duplicates"] == 1);
    assert_eq!(conversions(), 1);
    assert!(tracker.stop().success(), "everything is shipped");
    let stored: BTreeSet<String> = region.table.event_ids().into_iter().collect();
    region.assert_stored(&stored);

    let reader = region.reader();
    let event = reader.json(&["events", "get", &id, "--program", "spring"]);
    assert_eq!(event["messageId"], id, "{event}");
    let found = reader.ok(&["--json", "events", "query", "--program", "spring"]);
    assert_eq!(found.lines().count(), stored.len(), "{found}");
    let counted = reader.ok(&["events", "count", "--program", "spring"]);
    assert_eq!(counted.lines().last(), Some(stored.len().to_string().as_str()));
    assert!(worker.stop().success());
}

#[test]
fn two_workers_share_a_stream_and_one_takes_over_at_once_when_the_other_stops() {
    let Some(region) = Region::new(4) else { return };
    let edge = region.edge();
    let up = edge.start("up");
    let load = load(&up);
    let (first, second) = (region.worker(), region.worker());
    let a = first.start("consumer");
    eventually("the first holds all shards", || super::region::shards_held(&a) == 4);
    let b = second.start("consumer");
    eventually("they share the shards", || {
        (super::region::shards_held(&a), super::region::shards_held(&b)) == (2, 2)
    });
    assert!(a.stop().success());
    eventually("the second holds all of them", || super::region::shards_held(&b) == 4);
    let told: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(told.len() > 100, "{}", told.len());
    assert!(up.stop().success(), "everything is shipped");
    region.assert_stored(&told);
    assert!(b.stop().success());
    let leases = region.table.leases();
    assert_eq!(super::region::owners(&leases), Vec::<String>::new(), "all were released: {leases:?}");
}
