//! The outbox: its bounds, and what goes again when.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proto::BootId;

use super::*;
use crate::shipper::entry::{Run, random_key};
use crate::shipper::progress::PieceId;

const QUICK: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(3);

fn config() -> ShipperConfig {
    ShipperConfig {
        request_records_max: 4,
        request_bytes_max: 1_000,
        requests_max: 2,
        in_flight_bytes_max: 10_000,
        held_back_bytes_max: 500,
        ..ShipperConfig::default()
    }
}

fn entry(key: Key, sequence: u64, bytes: usize) -> Entry {
    let partition_key = match key {
        Key::Bucket(bucket) => format!("bucket-{bucket:02}"),
        _ => random_key(),
    };
    let runs = vec![Run { piece: PieceId { lane: (BootId::nil(), 0), sequence }, records: 1 }];
    let data = Bytes::from(vec![b'x'; bytes - partition_key.len()]);
    Entry { target: Target::Events, key, partition_key, data, runs, backoff: None, is_suspect: false }
}

fn with(entries: impl IntoIterator<Item = Entry>) -> (Outbox, Instant) {
    let now = Instant::now();
    let mut outbox = Outbox::new(config(), now);
    entries.into_iter().for_each(|entry| outbox.push(entry));
    (outbox, now)
}

fn sequences(request: &Request) -> Vec<u64> {
    request.entries.iter().map(|entry| entry.runs[0].piece.sequence).collect()
}

#[test]
fn a_request_has_its_bounds_in_records_and_bytes_and_the_window_in_requests() {
    let small = (0..6).map(|at| entry(Key::Random, at, 100));
    let large = (6..12).map(|at| entry(Key::Random, at, 600));
    let (mut outbox, now) = with(small.chain(large));
    let first = outbox.next_request(now).unwrap();
    assert_eq!(sequences(&first), [0, 1, 2, 3], "four records");
    let second = outbox.next_request(now).unwrap();
    assert_eq!(sequences(&second), [4, 5, 6], "the next one would make it more than 1,000 bytes");
    assert!(outbox.next_request(now).is_none(), "two are under way");
    outbox.answered(Target::Events, QUICK);
    first.entries.iter().for_each(|entry| outbox.done(entry));
    assert_eq!(sequences(&outbox.next_request(now).unwrap()), [7]);
}

#[test]
fn one_that_is_larger_than_a_request_goes_alone() {
    let (mut outbox, now) = with([entry(Key::Random, 0, 5_000), entry(Key::Random, 1, 100)]);
    assert_eq!(sequences(&outbox.next_request(now).unwrap()), [0]);
    assert_eq!(sequences(&outbox.next_request(now).unwrap()), [1]);
}

#[test]
fn there_is_room_until_the_bytes_in_flight_and_again_once_they_are_acknowledged() {
    let (mut outbox, now) = with((0..10).map(|at| entry(Key::Random, at, 1_000)));
    assert!(!outbox.has_room(0));
    let request = outbox.next_request(now).unwrap();
    assert!(!outbox.has_room(0), "what is under way counts");
    outbox.answered(Target::Events, QUICK);
    request.entries.iter().for_each(|entry| outbox.done(entry));
    assert!(outbox.has_room(0) && !outbox.has_room(1_000));
}

#[test]
fn what_was_throttled_goes_again_after_a_pause_with_another_key() {
    let (mut outbox, now) = with([entry(Key::Random, 0, 100)]);
    let mut request = outbox.next_request(now).unwrap();
    let before = request.entries[0].partition_key.clone();
    outbox.answered(Target::Events, QUICK);
    for _ in 0..2 {
        outbox.throttled(request.entries.remove(0), now);
        let due = outbox.wakes_at(now).unwrap();
        assert!(due > now && due < now + LATER);
        assert!(outbox.next_request(due - Duration::from_nanos(1)).is_none(), "not before its pause is over");
        request = outbox.next_request(due).unwrap();
        outbox.answered(Target::Events, QUICK);
    }
    assert_ne!(request.entries[0].partition_key, before);
    outbox.done(&request.entries[0]);
    assert!(outbox.is_empty() && outbox.wakes_at(now).is_none());
}

#[test]
fn a_bucket_that_throttles_waits_alone_and_asks_with_one_record() {
    let entries = [(1, 0), (2, 1), (1, 2), (2, 3)];
    let (mut outbox, now) = with(entries.map(|(bucket, at)| entry(Key::Bucket(bucket), at, 100)));
    let request = outbox.next_request(now).unwrap();
    outbox.answered(Target::Events, QUICK);
    for entry in request.entries {
        match entry.key {
            Key::Bucket(1) => outbox.throttled(entry, now),
            _ => outbox.done(&entry),
        }
    }
    outbox.push(entry(Key::Bucket(1), 4, 100));
    outbox.push(entry(Key::Bucket(2), 5, 100));
    let others = outbox.next_request(now).unwrap();
    assert_eq!(sequences(&others), [5], "bucket 1 holds up no other");
    outbox.answered(Target::Events, QUICK);
    others.entries.iter().for_each(|entry| outbox.done(entry));
    assert_eq!(outbox.held_bytes(), 300);

    let mut due = outbox.wakes_at(now).unwrap();
    for _ in 0..2 {
        let mut probe = outbox.next_request(due).unwrap();
        assert_eq!(probe.entries.len(), 1, "one asks whether there is room");
        assert!(outbox.next_request(due + LATER).is_none(), "and no other meanwhile");
        outbox.answered(Target::Events, QUICK);
        outbox.throttled(probe.entries.remove(0), due);
        due = outbox.wakes_at(due).unwrap();
    }
    let probe = outbox.next_request(due).unwrap();
    outbox.answered(Target::Events, QUICK);
    outbox.done(&probe.entries[0]);
    let rest = outbox.next_request(due).unwrap();
    assert_eq!(rest.entries.len(), 2, "once it was taken, all go on");
    assert_eq!(outbox.held_bytes(), 0);
}

#[test]
fn held_back_bytes_are_bounded_by_reading_no_more() {
    let (mut outbox, now) = with((0..5).map(|at| entry(Key::Bucket(1), at, 100)));
    let request = outbox.next_request(now).unwrap();
    outbox.answered(Target::Events, QUICK);
    request.entries.into_iter().for_each(|entry| outbox.throttled(entry, now));
    assert!(outbox.has_room(0), "400 bytes are held back");
    assert!(outbox.next_request(now).is_none(), "the fifth waits with them");
    assert!(!outbox.has_room(0), "500 is the bound");
}

#[test]
fn a_stream_that_fails_is_asked_again_with_one_request() {
    let (mut outbox, now) = with((0..12).map(|at| entry(Key::Random, at, 100)));
    let (first, second) = (outbox.next_request(now).unwrap(), outbox.next_request(now).unwrap());
    assert!(outbox.put_back(first, true, now), "that is news");
    assert!(!outbox.put_back(second, true, now), "that is the same outage");
    let due = outbox.wakes_at(now).unwrap();
    assert!(due == now || outbox.next_request(due - Duration::from_nanos(1)).is_none());
    let probe = outbox.next_request(due).unwrap();
    assert!(outbox.next_request(due + LATER).is_none(), "one until it is answered");
    outbox.answered(Target::Events, QUICK);
    probe.entries.iter().for_each(|entry| outbox.done(entry));
    assert!(outbox.next_request(due).is_some() && outbox.next_request(due).is_some());
}

#[test]
fn the_probe_of_a_bucket_that_is_lost_with_its_request_closes_the_bucket_again() {
    let (mut outbox, now) = with([entry(Key::Bucket(1), 0, 100)]);
    let mut request = outbox.next_request(now).unwrap();
    outbox.answered(Target::Events, QUICK);
    outbox.throttled(request.entries.remove(0), now);
    let due = outbox.wakes_at(now).unwrap();
    let probe = outbox.next_request(due).unwrap();
    outbox.put_back(probe, true, due);
    let again = (0..10).find_map(|_| outbox.next_request(outbox.wakes_at(due)? + LATER));
    assert_eq!(sequences(&again.expect("it is not forgotten")), [0]);
}

#[test]
fn parts_of_what_was_refused_go_alone_and_before_the_rest() {
    let (mut outbox, now) = with((0..8).map(|at| entry(Key::Random, at, 100)));
    let mut request = outbox.next_request(now).unwrap();
    outbox.answered(Target::Events, QUICK);
    let second = request.entries.split_off(2);
    outbox.isolate(Target::Events, request.entries);
    outbox.isolate(Target::Events, second);
    assert_eq!(sequences(&outbox.next_request(now).unwrap()), [0, 1]);
    assert_eq!(sequences(&outbox.next_request(now).unwrap()), [2, 3]);
}

#[test]
fn a_request_that_is_not_answered_in_time_is_halved_and_grows_again_with_answers() {
    let config = ShipperConfig { requests_max: 1, request_bytes_max: 1 << 20, ..ShipperConfig::default() };
    let now = Instant::now();
    let mut outbox = Outbox::new(config, now);
    (0..200).for_each(|at| outbox.push(entry(Key::Random, at, 50_000)));
    let bytes = |request: &Request| request.entries.iter().map(Entry::bytes).sum::<usize>();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let request = outbox.next_request(now + LATER).unwrap();
        sizes.push(bytes(&request));
        outbox.put_back(request, false, now);
    }
    assert!(sizes.windows(2).all(|pair| pair[1] < pair[0] || pair[1] <= REQUEST_BYTES_MIN), "{sizes:?}");
    assert!((50_000..=REQUEST_BYTES_MIN).contains(&sizes[5]), "{sizes:?}");
    let mut last = 0;
    for _ in 0..10 {
        let request = outbox.next_request(now + LATER).unwrap();
        last = bytes(&request);
        outbox.answered(Target::Events, QUICK);
        request.entries.iter().for_each(|entry| outbox.done(entry));
    }
    assert!(last > 900_000, "{last}");
}

#[test]
fn requests_shrink_before_their_time_is_over() {
    let (mut outbox, now) = with((0..4).map(|at| entry(Key::Random, at, 100)));
    outbox.config.request_bytes_max = 4 << 20;
    outbox.events.request_bytes = 1 << 20;
    let limit = outbox.config.request_timeout;
    let mut answer = |took: Duration| {
        outbox.requests += 1;
        outbox.answered(Target::Events, took);
        outbox.events.request_bytes
    };
    assert_eq!(answer(limit / 3), 1 << 20);
    assert_eq!(answer(limit * 2 / 3), 3 << 18);
    assert!((0..50).map(|_| answer(limit)).all(|bytes| bytes >= REQUEST_BYTES_MIN));
    assert_eq!((0..50).map(|_| answer(QUICK)).last(), Some(4 << 20));
    assert!(outbox.next_request(now).is_some());
}

#[test]
fn with_a_full_window_nothing_is_due_before_an_answer() {
    let (mut outbox, now) = with((0..12).map(|at| entry(Key::Random, at, 100)));
    outbox.push(Entry { target: Target::Control, ..entry(Key::Random, 12, 100) });
    outbox.control.gate.failed(now);
    let later = now + LATER;
    assert!(outbox.wakes_at(later).is_some_and(|at| at <= later), "the other stream may be asked");
    assert!(outbox.next_request(now).is_some() && outbox.next_request(now).is_some());
    assert_eq!(outbox.wakes_at(later), None, "but not now, and nobody asks again and again");
}

#[test]
fn the_two_streams_fail_apart() {
    let (mut outbox, now) = with([entry(Key::Random, 0, 100)]);
    let control = Entry { target: Target::Control, ..entry(Key::Random, 1, 100) };
    outbox.push(control);
    let events = outbox.next_request(now).unwrap();
    outbox.put_back(events, true, now);
    let control = (0..2).find_map(|_| outbox.next_request(now).filter(|it| it.target == Target::Control));
    assert_eq!(sequences(&control.expect("the other stream goes on")), [1]);
}

proptest! {
    /// Whatever the answers are, in whatever order: each entry is acknowledged once, none is lost,
    /// and the outbox is empty in the end.
    #[test]
    fn every_entry_is_acknowledged_once_whatever_the_answers(
        buckets in prop::collection::vec(prop::option::of(0_u8..3), 1..40),
        answers in prop::collection::vec(0_u8..6, 0..200),
    ) {
        let key = |bucket: Option<u8>| bucket.map_or(Key::Random, Key::Bucket);
        let entries = buckets.iter().enumerate().map(|(at, bucket)| entry(key(*bucket), at as u64, 100));
        let (mut outbox, mut now) = with(entries);
        let mut answers = answers.into_iter();
        let mut under_way = Vec::new();
        let mut acknowledged: BTreeMap<u64, u32> = BTreeMap::new();
        for _ in 0..10_000 {
            while let Some(request) = outbox.next_request(now) {
                prop_assert!(!request.entries.is_empty());
                under_way.push(request);
            }
            prop_assert!(under_way.len() <= 2);
            if under_way.is_empty() {
                let Some(wakes_at) = outbox.wakes_at(now) else { break };
                now = now.max(wakes_at);
                continue;
            }
            // The younger one is answered first, so that answers cross.
            let request = under_way.pop().unwrap();
            if answers.next() == Some(0) {
                outbox.put_back(request, answers.next() == Some(0), now);
                continue;
            }
            outbox.answered(request.target, QUICK);
            for entry in request.entries {
                match answers.next() {
                    Some(1) => outbox.throttled(entry, now),
                    Some(2) => outbox.failed(entry, now),
                    Some(3) => outbox.isolate(Target::Events, vec![entry]),
                    _ => {
                        outbox.done(&entry);
                        *acknowledged.entry(entry.runs[0].piece.sequence).or_default() += 1;
                    }
                }
            }
        }
        prop_assert!(outbox.is_empty() && outbox.held_bytes() == 0 && outbox.requests() == 0);
        prop_assert_eq!(acknowledged.len(), buckets.len());
        prop_assert!(acknowledged.values().all(|times| *times == 1));
    }
}
