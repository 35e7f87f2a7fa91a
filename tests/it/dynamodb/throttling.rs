//! A table that has no capacity, or does not answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumers::{Fates, LeftReason, Table, TableError};
use serde_json::{Value, json};
use stream::Batch;

use super::harness::{Region, boot, conversion, fates, hit, hits, items, record, write};
use crate::aws_proxy::{AwsProxy, Fault, Outage, Rule};

const STORED: Fates =
    Fates { stored: 0, duplicates: 0, dead_letters: 0, dropped: 0, rejected: 0, reports: 0 };

/// Of so many requests, all but the first `kept` items are left unprocessed: the server does not see them.
fn leave_unprocessed(proxy: &AwsProxy, requests: u64, kept: usize) {
    let left: Arc<Mutex<VecDeque<Value>>> = Arc::default();
    let cut = Arc::clone(&left);
    let cut = move |request: &mut Value| {
        let mut of_tables = json!({});
        for (table, writes) in request["RequestItems"].as_object_mut().unwrap() {
            let writes = writes.as_array_mut().unwrap();
            let rest = writes.split_off(kept.min(writes.len()));
            if !rest.is_empty() {
                of_tables[table] = Value::Array(rest);
            }
        }
        cut.lock().unwrap().push_back(of_tables);
    };
    let say = move |answer: &mut Value| {
        answer["UnprocessedItems"] = left.lock().unwrap().pop_front().unwrap_or_else(|| json!({}));
    };
    proxy.add(Rule::next(requests, Fault::edit_request(cut)).on("BatchWriteItem"));
    proxy.add(Rule::next(requests, Fault::edit_answer(say)).on("BatchWriteItem"));
}

#[tokio::test]
async fn items_that_are_left_unprocessed_go_again_until_they_are_stored() {
    let Some(region) = Region::with(|_, dynamo| dynamo.requests_max = 1).await else { return };
    leave_unprocessed(&region.proxy, 5, 3);
    let table = region.open();
    let written = write(&table, &[hits(boot(1), 0..40)]).await.unwrap();
    assert_eq!((written.fates.stored, written.left), (40, vec![]));
    assert_eq!((items(&table).await, fates(&table).await), (40, Fates { stored: 40, ..STORED }));
    assert!(table.cost().throttled >= 80, "{:?}", table.cost());
}

#[tokio::test]
async fn what_stays_unprocessed_is_left_and_what_is_stored_is_kept() {
    let Some(region) = Region::with(|_, dynamo| dynamo.requests_max = 1).await else { return };
    // More often than there are attempts: of 25 items, 1 is stored each time.
    leave_unprocessed(&region.proxy, u64::from(region.dynamo.attempts_max), 1);
    let table = region.open();
    let batches = [hits(boot(1), 0..25)];
    let written = write(&table, &batches).await.unwrap();
    let stored = u64::from(region.dynamo.attempts_max);
    assert_eq!((written.fates.stored, written.left.len()), (stored, 1));
    assert_eq!(written.left[0].reason, LeftReason::Throttled);
    assert_eq!((items(&table).await, fates(&table).await), (stored, Fates { stored, ..STORED }));

    let written = write(&region.open(), &batches).await.unwrap();
    assert_eq!((written.fates.stored, written.replayed, written.left), (25 - stored, stored, vec![]));
    assert_eq!((items(&table).await, fates(&table).await), (25, Fates { stored: 25, ..STORED }));
}

#[tokio::test]
async fn a_lane_stops_at_what_is_throttled_and_another_lane_does_not() {
    let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 2).await else { return };
    let table = region.open();
    // The identity of one event is throttled, for longer than there are attempts.
    region.proxy.add(Rule::next(0, Fault::ResetBefore));
    write(&table, &[hits(boot(3), 900..901)]).await.unwrap();
    let throttle =
        Fault::refuse(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException");
    let rule = region.proxy.add(Rule::next(2, throttle).on("PutItem"));
    let batches = [
        Batch::of_lane(
            boot(3),
            0,
            vec![record(0, &hit(0)), record(1, &conversion("1", 1)), record(2, &hit(2))],
        ),
        Batch::of_lane(boot(3), 1, vec![record(0, &hit(7))]),
    ];
    let written = write(&table, &batches).await.unwrap();
    assert_eq!(region.proxy.count(rule), 2);
    let left: Vec<_> = written.left.iter().map(|left| (left.batch, left.first, left.reason)).collect();
    assert_eq!(left, [(0, 1, LeftReason::Throttled)]);
    assert_eq!(written.fates.stored, 3);
    let written = write(&table, &batches).await.unwrap();
    assert_eq!((written.fates.stored, written.replayed, written.left), (1, 3, vec![]));
    assert_eq!(items(&table).await, 5);
}

#[tokio::test]
async fn every_code_of_throttling_and_of_trouble_that_passes_is_tried_again() {
    let Some(region) = Region::new().await else { return };
    let table = region.open();
    let codes = [
        ("ProvisionedThroughputExceededException", 400),
        ("RequestLimitExceeded", 400),
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
        ("NeverSeenBefore", 400),
    ];
    for (at, (code, status)) in codes.into_iter().enumerate() {
        let fails_twice = || Rule::next(2, Fault::refuse(status, code));
        let rules =
            ["BatchGetItem", "PutItem", "BatchWriteItem"].map(|on| region.proxy.add(fails_twice().on(on)));
        let first = at as u64 * 300;
        let items = vec![record(first, &hit(first)), record(first + 1, &conversion(code, first + 1))];
        let written = write(&table, &[Batch::of_lane(boot(1), 0, items)]).await.unwrap();
        assert_eq!((written.fates.stored, written.left), (2, vec![]), "{code}");
        assert_eq!(rules.map(|rule| region.proxy.count(rule)), [2, 2, 2], "{code}");
        region.proxy.remove_all();
    }
    for (code, way_out) in [
        ("ResourceNotFoundException", "clickgate table create"),
        ("AccessDeniedException", "Allow this role or user the action"),
        ("UnrecognizedClientException", "credentials"),
        ("ValidationException", "clickgate table check"),
    ] {
        region.proxy.add(Rule::always(Fault::refuse(400, code)));
        let error = write(&table, &[hits(boot(1), 2_000..2_001)]).await.unwrap_err();
        assert!(matches!(error, TableError::Refused(_)) && !error.is_retryable(), "{code}: {error}");
        assert!(error.to_string().contains(way_out), "{code}: {error}");
        region.proxy.remove_all();
    }
}

#[tokio::test]
async fn lost_answers_and_resets_count_nothing_twice() {
    let Some(region) = Region::new().await else { return };
    let table = region.open();
    for (n, fault) in [Fault::HideAnswer, Fault::ResetBefore, Fault::CutAnswer].into_iter().enumerate() {
        let rules =
            ["PutItem", "BatchWriteItem"].map(|on| region.proxy.add(Rule::next(2, fault.clone()).on(on)));
        let first = 10 * n as u64;
        let events = [
            hit(first),
            conversion(&first.to_string(), first + 1),
            conversion(&first.to_string(), first + 2),
        ];
        let items = events.iter().zip(first..).map(|(event, number)| record(number, event)).collect();
        region.write_until_done(&table, &[Batch::of_lane(boot(1), 0, items)]).await;
        assert_eq!(rules.map(|rule| region.proxy.count(rule)), [2, 2], "{fault:?}");
    }
    assert_eq!(items(&table).await, 6);
    assert_eq!(fates(&table).await, Fates { stored: 6, duplicates: 3, ..STORED });
}

#[tokio::test]
async fn a_table_that_is_away_is_an_error_that_passes() {
    let Some(region) = Region::with(|_, dynamo| dynamo.attempts_max = 2).await else { return };
    let table = region.open();
    write(&table, &[hits(boot(1), 0..3)]).await.unwrap();
    region.proxy.go_down(Outage::Refusing);
    for _ in 0..2 {
        let error = write(&table, &[hits(boot(1), 0..6)]).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(table.get("p", hit(0).message_id.parse().unwrap()).await.unwrap_err().is_retryable());
    }
    region.proxy.come_back();
    let written = write(&table, &[hits(boot(1), 0..6)]).await.unwrap();
    assert_eq!((written.fates.stored, written.replayed), (3, 3));
    assert_eq!(items(&table).await, 6);
    region.proxy.add(Rule::next(1, Fault::Delay(Duration::from_millis(10))));
    assert_eq!(items(&table).await, 6);
}
