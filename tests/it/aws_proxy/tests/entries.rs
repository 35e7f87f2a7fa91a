//! Entries of PutRecords that fail.

use super::{World, codes};
use crate::aws_json::AwsJson;
use crate::aws_proxy::put_records::{INTERNAL, THROTTLED};
use crate::aws_proxy::{AnswerFate, AwsProxy, EntryFate, FailEntries, Fault, Rule};
use crate::kinesis::server::KinesisServer;
use crate::kinesis::stream::hash;

#[test]
fn entries_that_fail_are_not_in_the_stream_and_all_others_are() {
    let Some(world) = World::new(2) else { return };
    let throttled = world.proxy.add(Rule::share(0.3, Fault::FailEntries(FailEntries::throttled())));
    let keys: Vec<_> = (0..400).map(|nth| format!("{nth:03}")).collect();
    let mut expected = Vec::new();
    for chunk in keys.chunks(100) {
        let chunk: Vec<_> = chunk.iter().map(String::as_str).collect();
        let answer = world.put(&chunk).unwrap().json();
        let codes = codes(&answer);
        assert_eq!(codes.len(), chunk.len());
        assert!(codes.iter().all(|code| ["", THROTTLED].contains(code)), "{codes:?}");
        expected.extend(
            chunk.iter().zip(codes).filter(|(_, code)| code.is_empty()).map(|(key, _)| key.to_string()),
        );
    }
    assert_eq!(world.stored(), expected);
    let failed = 400 - expected.len();
    assert!((80..160).contains(&failed), "{failed} of 400 at 30 %");
    assert_eq!(world.proxy.count(throttled), failed as u64);
    assert_eq!(world.proxy.counts()["fail entries"], failed as u64);
}

#[test]
fn the_next_entries_fail_as_often_as_was_said_and_with_that_code() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(2, Fault::FailEntries(FailEntries::with(INTERNAL))));
    world.proxy.add(Rule::next(1, Fault::FailEntries(FailEntries::with("SomethingNew"))));
    assert_eq!(
        codes(&world.put(&["a", "b", "c", "d"]).unwrap().json()),
        [INTERNAL, INTERNAL, "SomethingNew", ""]
    );
    assert_eq!(codes(&world.put(&["e"]).unwrap().json()), [""]);
    assert_eq!(world.stored(), ["d", "e"]);
}

#[test]
fn a_request_all_of_whose_entries_fail_never_reaches_the_server() {
    let Some(world) = World::new(1) else { return };
    let rule = world.proxy.add(Rule::always(Fault::FailEntries(FailEntries::throttled())));
    let answer = world.put(&["a", "b"]).unwrap();
    assert_eq!((answer.status, codes(&answer.json())), (200, vec![THROTTLED; 2]));
    assert!(!world.proxy.trace().exchanges[0].is_forwarded);
    world.proxy.remove(rule);
    assert_eq!(codes(&world.put(&["a"]).unwrap().json()), [""]);
    assert_eq!((world.stored(), world.proxy.count(rule)), (vec!["a".to_owned()], 2));
}

#[test]
fn one_shard_throttles_and_no_other() {
    let Some(world) = World::new(3) else { return };
    let shard = &world.stream.shards()[1];
    world.proxy.add(Rule::always(Fault::FailEntries(FailEntries::throttled().of(shard))));
    let keys: Vec<_> = (0..60).map(|nth| nth.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let answer = world.put(&keys).unwrap().json();
    let is_throttled: Vec<_> = codes(&answer).iter().map(|code| *code == THROTTLED).collect();
    let is_in_it: Vec<_> = keys.iter().map(|key| shard.hashes.contains(&hash(key))).collect();
    assert_eq!(is_throttled, is_in_it);
    assert!(is_in_it.contains(&true) && is_in_it.contains(&false));
    let throttled = is_in_it.iter().position(|is| *is).unwrap();
    let message = answer["Records"][throttled]["ErrorMessage"].as_str().unwrap();
    assert_eq!(
        message,
        format!(
            "Rate exceeded for shard {} in stream {} under account 000000000000.",
            shard.id,
            world.stream.name()
        )
    );
    assert!(world.stream.records().iter().all(|record| record.shard != shard.id));

    // The explicit hash key decides, not the partition key.
    let mut request = world.request(&[keys[throttled]]);
    request["Records"][0]["ExplicitHashKey"] = "0".into();
    assert_eq!(codes(&world.client.call("PutRecords", &request).unwrap().json()), [""]);
}

#[test]
fn a_request_with_a_large_entry_is_refused_as_a_whole() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::always(Fault::RefuseLarge {
        entry_bytes_max: 3,
        status: 400,
        error_type: "ValidationException".to_owned(),
    }));
    let refused = world.put(&["a", "abc"]).unwrap();
    assert_eq!((refused.status, &*refused.error_type()), (400, "ValidationException"));
    assert_eq!(codes(&world.put(&["a", "ab"]).unwrap().json()), ["", ""]);
    assert_eq!(world.stored(), ["a", "ab"]);
}

#[test]
fn an_answer_may_have_entries_more_or_less_than_the_request() {
    let Some(world) = World::new(1) else { return };
    for (by, expected) in [(-1, 1), (1, 3), (-5, 0)] {
        world.proxy.add(Rule::next(1, Fault::MoreEntries(by)));
        let answer = world.put(&["a", "b"]).unwrap().json();
        assert_eq!(answer["Records"].as_array().unwrap().len(), expected, "{by}");
    }
    assert_eq!(world.stored().len(), 6);
    assert_eq!(world.proxy.trace().lost_sequence_numbers().len(), 6, "nobody knows what became of them");
}

#[test]
fn the_trace_says_what_became_of_each_entry() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(1, Fault::FailEntries(FailEntries::throttled())));
    world.put(&["a", "b"]).unwrap();
    world.proxy.add(Rule::next(1, Fault::refuse(500, INTERNAL)));
    world.put(&["c"]).unwrap();
    // The server itself refuses this one.
    let mut other = world.request(&["d"]);
    other["StreamName"] = "no-such-stream".into();
    world.client.call("PutRecords", &other).unwrap();

    let trace = world.proxy.trace();
    let record = &world.stream.records()[0];
    let fates: Vec<_> =
        trace.of("PutRecords").iter().flat_map(|it| it.entries.clone()).map(|it| (it.key, it.fate)).collect();
    let expected = [
        ("a", EntryFate::Failed { code: THROTTLED.to_owned() }),
        ("b", EntryFate::Stored { sequence_number: record.sequence_number.clone() }),
        ("c", EntryFate::NotForwarded),
        ("d", EntryFate::Refused),
    ];
    assert_eq!(fates, expected.map(|(key, fate)| (key.to_owned(), fate)));
    let statuses: Vec<_> =
        trace.exchanges.iter().map(|it| (it.status, it.faults.clone(), it.is_forwarded)).collect();
    assert_eq!(
        statuses,
        [
            (Some(200), vec!["fail entries"], true),
            (Some(500), vec!["answer"], false),
            (Some(400), vec![], true)
        ]
    );
    let exchange = trace.by_sequence_number()[&*record.sequence_number];
    assert!(exchange.began < exchange.answered);
    assert_eq!((exchange.number, exchange.entries[1].bytes), (0, 2));
    assert!(trace.exchanges.iter().all(|it| it.answer != AnswerFate::Lost) && trace.lost.is_empty());
}

#[test]
fn the_same_seed_has_the_same_faults_whatever_else_is_asked_meanwhile() {
    let Some(server) = KinesisServer::shared() else { return };
    let run = |seed, asks_more: bool| {
        let proxy = AwsProxy::with_seed(server.port(), seed);
        let client = AwsJson::new(proxy.port(), "Kinesis_20131202");
        let world = World { stream: server.new_stream(1), proxy, client };
        world.proxy.add(Rule::share(0.5, Fault::FailEntries(FailEntries::throttled())));
        world.proxy.add(Rule::share(0.5, Fault::refuse(500, INTERNAL)).on("PutRecords"));
        let one = |_| {
            if asks_more {
                world.describe().unwrap();
            }
            let answer = world.put(&["a", "b", "c", "d", "e", "f"]).unwrap();
            if answer.status == 500 {
                Vec::new()
            } else {
                codes(&answer.json()).iter().map(|it| it.len()).collect()
            }
        };
        (0..8).map(one).collect::<Vec<_>>()
    };
    let first = run(7, false);
    assert_eq!(run(7, true), first);
    assert_ne!(run(8, false), first);
}
