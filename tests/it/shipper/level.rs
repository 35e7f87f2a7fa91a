//! Hits that are answered once the stream has them.

use std::time::{Duration, Instant};

use crate::aws_proxy::{Fault, Outage, Rule};
use crate::http;
use crate::kinesis::consumers::ids_by_record;
use crate::world::eventually;

use super::region::Region;

#[test]
fn a_hit_of_level_stream_is_answered_after_the_answer_that_covers_it() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("tracker.levels.conversion", "stream").with("shipper.linger_ms", "5");
    region.proxy.add(Rule::always(Fault::Delay(Duration::from_millis(100))).on("PutRecords"));
    let up = region.world.start("up");
    let mut answered = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = http::get(up.tracker, "/v/212312");
        assert_eq!(answer.status, 200);
        answered.push((answer.message_id().unwrap(), began, Instant::now()));
    }
    let trace = region.proxy.trace();
    let records = ids_by_record(&region.stream.records());
    for (id, began, answered) in answered {
        let (record, _) = records.iter().find(|(_, known)| *known == id).expect("it was answered");
        let exchange = trace.by_sequence_number()[record.as_str()];
        assert!(began < exchange.answered && exchange.answered < answered, "{id}");
        assert!(answered - began >= Duration::from_millis(100));
    }
}

#[test]
fn while_kinesis_is_away_such_a_hit_is_refused_in_time_and_is_shipped_all_the_same() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("tracker.levels.conversion", "stream").with("tracker.stream_timeout_ms", "500");
    let up = region.world.start("up");
    region.proxy.go_down(Outage::Silent);
    let began = Instant::now();
    let answer = http::get(up.tracker, "/v/212312?id=order-1");
    let took = began.elapsed();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!((500..3_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(http::get(up.tracker, "/event/212312").status, 200, "others do not wait");
    region.proxy.come_back();
    region.caught_up(&up);
    let again = http::get(up.tracker, "/v/212312?id=order-1");
    assert_eq!(again.status, 200);
    let id = again.message_id().unwrap();
    eventually("the refused one and its retry are there, under one id", || {
        ids_by_record(&region.stream.records()).iter().filter(|(_, known)| *known == id).count() == 2
    });
}
