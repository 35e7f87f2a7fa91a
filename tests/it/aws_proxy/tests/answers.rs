//! What happens to answers of requests that the server has done.

use std::time::{Duration, Instant};

use super::{World, codes};
use crate::aws_proxy::trace::{Entry, Recorder};
use crate::aws_proxy::{AnswerFate, EntryFate, Exchange, FailEntries, Fault, Rule};
use crate::world::eventually;

#[test]
fn what_was_stored_and_hidden_is_in_the_stream_and_known_as_lost() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(2, Fault::HideAnswer).on("PutRecords"));
    world.proxy.add(Rule::next(1, Fault::FailEntries(FailEntries::throttled())));
    assert!(world.put(&["failed", "a"]).is_err());
    world.describe().unwrap();
    assert!(world.put(&["b"]).is_err());
    assert_eq!(codes(&world.put(&["c"]).unwrap().json()), [""]);
    assert_eq!(world.stored(), ["a", "b", "c"]);
    let records = world.stream.records();
    let expected: Vec<_> = records[..2].iter().map(|record| record.sequence_number.clone()).collect();
    assert_eq!(world.proxy.trace().lost_sequence_numbers(), expected);
}

#[test]
fn an_answer_that_is_cut_or_is_no_json_or_comes_slowly_is_seen_so() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(1, Fault::CutAnswer));
    assert!(world.put(&["cut"]).is_err());
    world.proxy.add(Rule::next(1, Fault::NotJson));
    let answer = world.put(&["html"]).unwrap();
    assert_eq!((answer.status, &answer.body[..6]), (200, &b"<html>"[..]));

    world.proxy.add(Rule::next(2, Fault::SlowAnswer { bytes: 40, pause: Duration::from_millis(20) }));
    let began = Instant::now();
    assert_eq!(codes(&world.put(&["slow"]).unwrap().json()), [""]);
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    let client = world.client.clone().with_timeout(Duration::from_millis(60));
    assert!(client.call("PutRecords", &world.request(&["too slow"])).is_err());

    assert_eq!(world.stored(), ["cut", "html", "slow", "too slow"]);
    eventually("the last one is known as lost", || world.proxy.trace().lost.len() == 3);
    let lost: Vec<_> = world.proxy.trace().lost.iter().map(|it| it.entries[0].key.clone()).collect();
    assert_eq!(lost, ["cut", "html", "too slow"]);
}

#[test]
fn any_answer_can_be_edited_and_so_can_its_headers() {
    let Some(world) = World::new(1) else { return };
    let rule = world.proxy.add(
        Rule::always(Fault::edit_answer(|json| {
            json["StreamDescriptionSummary"]["StreamStatus"] = "UPDATING".into()
        }))
        .on("DescribeStreamSummary"),
    );
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    world.proxy.add(Rule::always(Fault::AnswerHeader { name: "date".to_owned(), value: date.to_owned() }));
    let answer = world.describe().unwrap();
    assert_eq!(answer.json()["StreamDescriptionSummary"]["StreamStatus"], "UPDATING");
    assert_eq!(answer.json()["StreamDescriptionSummary"]["StreamName"], world.stream.name());
    assert_eq!(answer.header("Date"), Some(date));
    world.proxy.remove(rule);
    assert_eq!(world.describe().unwrap().json()["StreamDescriptionSummary"]["StreamStatus"], "ACTIVE");
    world.proxy.remove_all();
    assert_ne!(world.describe().unwrap().header("Date"), Some(date));
}

#[test]
fn a_trace_forgets_the_oldest_requests_but_not_which_answers_were_lost() {
    let recorder = Recorder::new(10);
    let exchange = |key: &str, entries: usize| {
        let fate = EntryFate::Stored { sequence_number: key.to_owned() };
        let now = Instant::now();
        Exchange {
            number: 0,
            operation: "PutRecords".to_owned(),
            began: now,
            answered: now,
            status: None,
            faults: Vec::new(),
            is_forwarded: true,
            entries: vec![Entry { key: key.to_owned(), bytes: 1, fate }; entries],
            answer: AnswerFate::Underway,
        }
    };
    let give = |key: &str, entries, fate| {
        let exchange = recorder.answer_is_ready(exchange(key, entries));
        recorder.answer_is(&exchange, fate);
    };
    give("lost", 4, AnswerFate::Lost);
    let slow = recorder.answer_is_ready(exchange("slow", 4));
    for key in ["a", "b", "c"] {
        give(key, 4, AnswerFate::Reached);
    }
    recorder.answer_is(&slow, AnswerFate::Unreadable);
    recorder.answer_is(&slow, AnswerFate::Lost);
    let trace = recorder.trace();
    let keys = |exchanges: &[std::sync::Arc<Exchange>]| -> Vec<String> {
        exchanges.iter().map(|it| it.entries[0].key.clone()).collect()
    };
    assert_eq!((keys(&trace.exchanges), trace.forgotten), (vec!["b".to_owned(), "c".to_owned()], 3));
    assert_eq!((keys(&trace.lost), trace.lost_forgotten), (vec!["lost".to_owned(), "slow".to_owned()], 0));
    give("one too many", 4, AnswerFate::Lost);
    let trace = recorder.trace();
    assert_eq!(
        (keys(&trace.lost), trace.lost_forgotten),
        (vec!["slow".to_owned(), "one too many".to_owned()], 1)
    );
}
