//! A worker that dies at any step of a write, and the same records again: at once, from two workers,
//! cut otherwise. Each event once, each number once.

use consumers::{Fates, Table, reconcile};
use serde_json::json;
use stream::{Batch, Item};

use super::harness::{Region, boot, conversion, fates, hit, hits, items, now, poison, record, write};
use crate::aws_proxy::{Fault, Rule};

/// Hits, senders' ids, one of them twice, poison, and what the lane says of itself.
fn lane() -> Vec<Item> {
    let mut lane: Vec<Item> = (0..10).map(|n| record(n, &hit(n))).collect();
    lane.extend((10..15).map(|n| record(n, &conversion(&n.to_string(), n))));
    lane.push(record(15, &conversion("10", 15)));
    lane.push(poison(16, 2));
    // In another block.
    lane.extend((300..310).map(|n| record(n, &hit(n))));
    lane.push(Item::Abandoned { first: 17, count: 283 });
    lane.push(Item::End { issued: 310, clean: true });
    lane
}

const EXPECTED: Fates =
    Fates { stored: 25, duplicates: 1, dead_letters: 1, dropped: 0, rejected: 0, reports: 0 };

async fn is_whole(region: &Region, what: &str) {
    let table = region.direct();
    assert_eq!(fates(&table).await, EXPECTED, "{what}");
    assert_eq!(items(&table).await, 25, "{what}");
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 1, "{what}");
    let whole = reconcile(&table.ledger().await.unwrap(), &[]);
    assert_eq!((whole.totals.issued, whole.totals.missing, whole.totals.abandoned), (310, 0, 283), "{what}");
}

#[tokio::test]
async fn a_worker_that_dies_at_any_step_leaves_what_two_others_finish_at_once() {
    for (fault, is_done_first) in [(Fault::ResetBefore, false), (Fault::HideAnswer, true)] {
        for step in 0..200 {
            let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 1).await else { return };
            let rule = region.proxy.add(Rule::after(step, fault.clone()));
            let batches = [Batch::of_lane(boot(1), 0, lane())];
            let dead = write(&region.open(), &batches).await;
            let has_died = region.proxy.count(rule) > 0;
            assert_eq!(has_died, dead.is_err(), "{fault:?} after {step}: {dead:?}");
            let (first, second) = (region.direct(), region.direct());
            let again = [Batch::of_lane(boot(1), 0, lane())];
            let (one, two) = tokio::join!(
                region.write_until_done(&first, &again),
                region.write_until_done(&second, &again)
            );
            let ((), ()) = (one, two);
            is_whole(&region, &format!("{fault:?} after {step} requests")).await;
            if !has_died {
                assert!(step > 8, "a write has more steps than {step}");
                assert!(is_done_first || step > 8);
                break;
            }
            assert!(step < 199, "there is an end");
        }
    }
}

#[tokio::test]
async fn two_writers_of_one_lane_at_once_count_each_number_once() {
    let Some(region) = Region::new().await else { return };
    let (first, second) = (region.open(), region.open());
    let mut sum = 0;
    for turn in 0..8u64 {
        let whole = [hits(boot(1), turn * 64..turn * 64 + 64)];
        let (one, two) = tokio::join!(write(&first, &whole), write(&second, &whole));
        sum += one.unwrap().fates.stored + two.unwrap().fates.stored;
    }
    assert_eq!(sum, 512, "each number is new to one of them");
    assert_eq!((items(&first).await, fates(&second).await.stored), (512, 512));
}

#[tokio::test]
async fn the_same_numbers_in_other_cuts_and_three_times_are_counted_once() {
    let Some(region) = Region::new().await else { return };
    let (first, second) = (region.open(), region.open());
    let cuts: [&[(u64, u64)]; 3] =
        [&[(0, 200), (200, 400)], &[(100, 300), (250, 600)], &[(0, 50), (30, 700), (699, 700)]];
    for cut in cuts {
        let batches: Vec<_> = cut.iter().map(|(first, end)| hits(boot(1), *first..*end)).collect();
        let (one, two) = tokio::join!(write(&first, &batches), write(&second, &batches));
        one.unwrap();
        two.unwrap();
    }
    assert_eq!((items(&first).await, fates(&second).await.stored), (700, 700));
    let rows = first.ledger().await.unwrap();
    assert_eq!(rows[0].ledger.seen().as_slice(), [(0, 700)]);
}

#[tokio::test]
async fn a_senders_retry_through_two_workers_that_die_at_any_step_is_one_event() {
    for step in 0..60 {
        let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 1).await else { return };
        // The same conversion, said twice: it came through two trackers.
        let one = [Batch::of_lane(boot(1), 0, vec![record(0, &conversion("order", 1))])];
        let two = [Batch::of_lane(boot(2), 0, vec![record(0, &conversion("order", 2))])];
        let rule = region.proxy.add(Rule::after(step, Fault::HideAnswer));
        let (first, second) = (region.open(), region.open());
        let (_, _) = tokio::join!(write(&first, &one), write(&second, &two));
        let has_died = region.proxy.count(rule) > 0;
        region.proxy.remove_all();
        let (first, second) = (region.open(), region.open());
        tokio::join!(region.write_until_done(&second, &two), region.write_until_done(&first, &one));
        let table = region.direct();
        let expected = Fates { stored: 1, duplicates: 1, ..Fates::default() };
        assert_eq!((items(&table).await, fates(&table).await), (1, expected), "after {step}");
        if !has_died {
            assert!(step > 6);
            return;
        }
    }
    panic!("there is an end");
}

#[tokio::test]
async fn what_has_expired_is_not_shown_while_it_is_still_there() {
    let Some(region) = Region::new().await else { return };
    let table = region.direct();
    let events = [hit(0), conversion("order", 1), hit(2)];
    let records = events.iter().zip(0..).map(|(event, number)| record(number, event)).collect();
    write(&table, &[Batch::of_lane(boot(1), 0, records)]).await.unwrap();
    let id = |event: &proto::TrackingEvent| event.message_id.parse::<proto::Uuid>().unwrap();
    // As DynamoDB has it in the days before it removes it: here for some seconds.
    let raw = region.raw();
    let all = raw.call("Scan", &json!({ "TableName": region.dynamo.name })).unwrap().json();
    let over = (now() / 1_000 - 10).to_string();
    for item in all["Items"].as_array().unwrap() {
        let is_first = item["sk"]["S"].as_str().unwrap().ends_with(&events[0].message_id);
        let is_order = item["pk"]["S"].as_str().unwrap().starts_with("id#");
        if is_first || is_order {
            let mut item = item.clone();
            item["expires_at"]["N"] = json!(over);
            let put = json!({ "TableName": region.dynamo.name, "Item": item });
            assert_eq!(raw.call("PutItem", &put).unwrap().status, 200);
        }
    }
    assert_eq!(table.get("p", id(&events[0])).await.unwrap(), None);
    assert_eq!(table.get("p", id(&events[1])).await.unwrap(), None, "its identity is over");
    assert_eq!(table.get("p", id(&events[2])).await.unwrap(), Some(events[2].clone()));
    assert_eq!(items(&table).await, 2);
    let shown = table.tail(Some("p"), consumers::Start::Oldest, 10).await.unwrap().items;
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn a_range_that_was_removed_by_hand_is_named() {
    let Some(region) = Region::new().await else { return };
    let table = region.direct();
    write(&table, &[hits(boot(1), 0..1_000)]).await.unwrap();
    let key = json!({
        "pk": { "S": format!("ledger#{}-00000000", boot(1).simple()) },
        "sk": { "S": "00000000000002" },
    });
    let raw = region.raw();
    raw.call("DeleteItem", &json!({ "TableName": region.dynamo.name, "Key": key })).unwrap();
    let found = reconcile(&table.ledger().await.unwrap(), &[]);
    assert_eq!((found.totals.missing, found.lanes[0].missing_ranges.as_slice()), (256, &[(512, 768)][..]));
}
