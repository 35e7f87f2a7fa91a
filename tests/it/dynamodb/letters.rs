//! Dead letters: large ones, many of them, several workers at the bound, and crashes between the steps.

use consumers::{Fates, LeftReason, Replayed, Start, Table};
use proto::{Message, TrackingEvent};
use stream::{Batch, Item, Record, RecordKind};

use super::harness::{Region, boot, conversion, fates, hit, items, now, poison, record, write};
use crate::aws_proxy::{Fault, Rule};

#[tokio::test]
async fn an_event_that_no_item_can_hold_is_a_letter_and_takes_no_id() {
    let Some(region) = Region::new().await else { return };
    let table = region.open();
    let large = TrackingEvent { referrer: "x".repeat(1_000_000), ..conversion("order", 0) };
    let small = conversion("order", 1);
    let records = vec![record(0, &large), record(1, &small), record(2, &hit(2))];
    let written = write(&table, &[Batch::of_lane(boot(1), 0, records)]).await.unwrap();
    assert_eq!(written.fates, Fates { stored: 2, dead_letters: 1, ..Fates::default() });
    let letters = table.dead_letters(Start::Oldest, 10).await.unwrap().items;
    let (id, letter) = &letters[0];
    assert!(letter.reason.contains("item of DynamoDB"), "{}", letter.reason);
    assert_eq!(letter.payload, large.encode_to_vec(), "in three pieces, and whole");
    assert_eq!(table.dead_letter(id).await.unwrap().as_ref(), Some(letter));
    assert!(matches!(table.replay_dead_letter(id, now()).await.unwrap(), Replayed::StillDead(_)));
    assert_eq!(
        table.dead_letter(id).await.unwrap().map(|letter| letter.payload),
        Some(large.encode_to_vec())
    );
    assert!(table.drop_dead_letter(id).await.unwrap());
    assert_eq!(table.dead_letter(id).await.unwrap(), None);
    let found = region.raw().call(
        "Scan",
        &serde_json::json!({
            "TableName": region.dynamo.name,
            "FilterExpression": "begins_with(pk, :letter)",
            "ExpressionAttributeValues": { ":letter": { "S": "letter#" } },
        }),
    );
    assert_eq!(found.unwrap().json()["Count"], 0, "no piece stays");
}

#[tokio::test]
async fn several_workers_keep_to_the_bound_of_letters_together() {
    let Some(region) = Region::with(|config, _| config.dead_letters_max = 7).await else { return };
    let batches: Vec<[Batch; 1]> = (0..4)
        .map(|lane| [Batch::of_lane(boot(1), lane, (0..4).map(|number| poison(number, 10)).collect())])
        .collect();
    let workers = [region.open(), region.open(), region.open(), region.open()];
    for _ in 0..3 {
        let (one, two, three, four) = tokio::join!(
            write(&workers[0], &batches[0]),
            write(&workers[1], &batches[1]),
            write(&workers[2], &batches[2]),
            write(&workers[3], &batches[3]),
        );
        for written in [one, two, three, four] {
            for left in written.unwrap().left {
                assert!(matches!(left.reason, LeftReason::LettersFull { max: 7, .. }), "{:?}", left.reason);
            }
        }
        let held = region.direct().dead_letters_held().await.unwrap();
        assert!(held.of_consumer <= 7, "{held:?}");
        assert_eq!(fates(&region.direct()).await.dead_letters, held.of_consumer, "the ledger knows each");
    }
    // One after the other they fill it, and as soon as there is room, the rest has a place.
    for at in 0..4 {
        write(&workers[at], &batches[at]).await.unwrap();
    }
    let table = region.direct();
    assert_eq!(table.dead_letters_held().await.unwrap().of_consumer, 7);
    for _ in 0..9 {
        let id = table.dead_letters(Start::Oldest, 1).await.unwrap().items.remove(0).0;
        assert!(table.drop_dead_letter(&id).await.unwrap());
        for at in 0..4 {
            write(&workers[at], &batches[at]).await.unwrap();
        }
    }
    let expected = Fates { dead_letters: 7, dropped: 9, ..Fates::default() };
    assert_eq!(fates(&table).await, expected, "sixteen in all, none twice");
}

#[tokio::test]
async fn a_letter_that_was_dropped_does_not_come_back_by_a_worker_that_is_late() {
    let Some(region) = Region::new().await else { return };
    let late = region.open();
    // It has looked at the ledger, and knows of no number.
    write(&late, &[Batch::of_lane(boot(1), 0, vec![record(1, &hit(1))])]).await.unwrap();
    let batch = [Batch::of_lane(boot(1), 0, vec![poison(0, 10)])];
    let table = region.open();
    write(&table, &batch).await.unwrap();
    let id = table.dead_letters(Start::Oldest, 1).await.unwrap().items.remove(0).0;
    assert!(table.drop_dead_letter(&id).await.unwrap());
    let written = write(&late, &batch).await.unwrap();
    assert_eq!((written.fates, written.replayed), (Fates::default(), 1));
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 0);
    assert_eq!(fates(&table).await, Fates { stored: 1, dropped: 1, ..Fates::default() });
}

#[tokio::test]
async fn what_dynamodb_does_not_take_is_a_letter_and_the_id_that_it_has_taken_is_named() {
    let Some(region) = Region::new().await else { return };
    let table = region.open();
    write(&table, &[Batch::of_lane(boot(1), 0, vec![record(0, &hit(0))])]).await.unwrap();
    region.proxy.add(Rule::next(1, Fault::refuse(400, "ValidationException")).on("BatchWriteItem"));
    let spoil = |request: &mut serde_json::Value| {
        let item = request["Item"].as_object_mut().unwrap();
        let is_order = item.get("sk").is_some_and(|sk| sk["S"].as_str().unwrap().contains("-8"));
        if item.contains_key("event") && is_order && !item["pk"]["S"].as_str().unwrap().starts_with("id#") {
            item.remove("sk");
        }
    };
    let order = conversion("order", 1);
    let id: proto::Uuid = order.message_id.parse().unwrap();
    region.proxy.add(Rule::next(2, Fault::edit_request(spoil)).on("PutItem"));
    let batch = [Batch::of_lane(boot(1), 0, vec![record(1, &order)])];
    let written = write(&table, &batch).await.unwrap();
    assert_eq!((written.fates, written.left), (Fates { dead_letters: 1, ..Fates::default() }, vec![]));
    let (letter_id, letter) = table.dead_letters(Start::Oldest, 1).await.unwrap().items.remove(0);
    assert!(letter.reason.contains("DynamoDB refuses"), "{}", letter.reason);
    let again = [Batch::of_lane(boot(2), 0, vec![record(0, &conversion("order", 2))])];
    assert_eq!(write(&table, &again).await.unwrap().fates.duplicates, 1);
    assert_eq!(table.orphaned_by(&letter).await.unwrap(), Some(id));
    assert_eq!(table.replay_dead_letter(&letter_id, now()).await.unwrap(), Replayed::Stored);
    assert_eq!(items(&table).await, 2);
}

/// A letter whose record a newer version understands, as an older one left it.
async fn old_letter(region: &Region) {
    let unknown =
        Record { number: 0, kind: RecordKind::Other(99), payload: conversion("1", 0).encode_to_vec().into() };
    write(&region.direct(), &[Batch::of_lane(boot(1), 0, vec![Item::Record(unknown)])]).await.unwrap();
    let raw = region.raw();
    let all = raw.call("Scan", &serde_json::json!({ "TableName": region.dynamo.name })).unwrap().json();
    let items = all["Items"].as_array().unwrap();
    let is_piece = |item: &&serde_json::Value| item["pk"]["S"].as_str().unwrap().starts_with("letter#");
    let mut item = items.iter().find(is_piece).unwrap().clone();
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = base64::Engine::decode(&engine, item["piece"]["B"].as_str().unwrap()).unwrap();
    let letter = proto::DeadLetter::decode(bytes.as_slice()).unwrap();
    let letter = proto::DeadLetter { record_kind: RecordKind::Event.code().into(), ..letter };
    item["piece"]["B"] = base64::Engine::encode(&engine, letter.encode_to_vec()).into();
    raw.call("PutItem", &serde_json::json!({ "TableName": region.dynamo.name, "Item": item })).unwrap();
}

#[tokio::test]
async fn replaying_that_dies_at_any_step_is_done_by_replaying_again() {
    for step in 0..60 {
        let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 1).await else { return };
        old_letter(&region).await;
        let table = region.direct();
        let id = table.dead_letters(Start::Oldest, 1).await.unwrap().items.remove(0).0;
        let rule = region.proxy.add(Rule::after(step, Fault::HideAnswer));
        let dying = region.open().replay_dead_letter(&id, now()).await;
        let has_died = region.proxy.count(rule) > 0;
        assert_eq!(has_died, dying.is_err(), "after {step}: {dying:?}");
        let again = table.replay_dead_letter(&id, now()).await.unwrap();
        assert!(matches!(again, Replayed::Stored | Replayed::NoSuchLetter), "after {step}: {again:?}");
        let stored = Fates { stored: 1, ..Fates::default() };
        assert_eq!((items(&table).await, fates(&table).await), (1, stored), "after {step}");
        assert_eq!(table.dead_letters_held().await.unwrap().letters, 0, "after {step}");
        if !has_died {
            assert!(step > 5);
            return;
        }
    }
    panic!("there is an end");
}

#[tokio::test]
async fn dropping_that_dies_at_any_step_is_done_by_dropping_again() {
    for step in 0..60 {
        let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 1).await else { return };
        let table = region.direct();
        write(&table, &[Batch::of_lane(boot(1), 0, vec![poison(0, 10)])]).await.unwrap();
        let id = table.dead_letters(Start::Oldest, 1).await.unwrap().items.remove(0).0;
        let rule = region.proxy.add(Rule::after(step, Fault::HideAnswer));
        let dying = region.open().drop_dead_letter(&id).await;
        let has_died = region.proxy.count(rule) > 0;
        assert_eq!(has_died, dying.is_err(), "after {step}");
        table.drop_dead_letter(&id).await.unwrap();
        assert_eq!(fates(&table).await, Fates { dropped: 1, ..Fates::default() }, "after {step}");
        assert_eq!(table.dead_letters_held().await.unwrap().letters, 0, "after {step}");
        if !has_died {
            assert!(step > 3);
            return;
        }
    }
    panic!("there is an end");
}
