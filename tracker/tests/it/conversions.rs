//! Conversions: an honest answer, and one item however often it is sent.

use std::collections::HashSet;

use programs::decision::Unverified;
use proto::{EventType, ids};
use tracker::{Config, Prefixes};

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

#[test]
fn a_conversion_says_its_message_id_and_a_retry_the_same() {
    let world = World::start(config(), SAMPLES);
    let expected = ids::from_sender(&["212312", "conversion", "order 1"]);
    for _ in 0..3 {
        let answer = world.get("/v/212312?id=order%201&t=1789999999000&value=9.5");
        assert!(answer.ends_with(&format!("{{\"messageId\":\"{expected}\"}}")), "{answer}");
    }
    assert!(world.get("/v/212312.gif?id=order+1&t=1789999999000").contains("GIF89a"));
    let other = world.get("/v/212312?id=order%201&t=1789999999001");
    assert!(other.contains(&expected.to_string()), "the sender's clock is no part of it: {other}");
    let logged = world.stop();
    let ids: HashSet<_> = logged.events.iter().map(|event| event.message_id.as_str()).collect();
    assert_eq!((logged.events.len(), ids.len()), (5, 1));
    let event = &logged.events[0];
    assert_eq!((event.r#type(), event.client_time_ms), (EventType::Conversion, 1_789_999_999_000));
    assert_eq!(event.origin.as_ref().unwrap().route, "/v");
    assert_eq!(event.parameters.len(), 3);
}

#[test]
fn an_empty_id_does_not_turn_many_conversions_into_one() {
    let world = World::start(config(), SAMPLES);
    for _ in 0..3 {
        assert!(world.get("/v/212312?id=").starts_with("HTTP/1.1 200"));
    }
    // On the other routes `id` is a parameter as any other: a static pixel has the same each time.
    assert!(world.get("/i/212312?id=banner").starts_with("HTTP/1.1 200"));
    assert!(world.get("/i/212312?id=banner").starts_with("HTTP/1.1 200"));
    let logged = world.stop();
    let ids: HashSet<_> = logged.events.iter().map(|event| event.message_id.as_str()).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn a_refused_conversion_is_told_so_counted_and_kept() {
    let world = World::start(config(), SAMPLES);
    let answer = world.get("/v/none?id=1");
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.ends_with("{\"error\":\"unknown_program\"}"),
        "{answer}"
    );
    let image = world.get("/v/none.gif?id=1");
    assert!(image.starts_with("HTTP/1.1 404") && image.contains("GIF89a"), "{image}");
    let counters = world.counters();
    assert_eq!(counters["clickgate_requests_total{route=conversion,outcome=refused}"], 2);
    let logged = world.stop();
    let mut kept: Vec<_> = logged.rejected.iter().map(|r| (r.route.as_str(), r.request.as_str())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [("/v", "/v/none.gif?id=1"), ("/v", "/v/none?id=1")]);
}

#[test]
fn renamed_paths_take_the_place_of_the_old_ones() {
    let prefixes = Prefixes {
        conversion: "/done".into(),
        beacon: "/x/send".into(),
        tag: "/x/t.js".into(),
        ..Prefixes::default()
    };
    let world = World::start(Config { prefixes, unverified: Unverified::Refuse, ..config() }, SAMPLES);
    assert!(world.get("/done/212312").starts_with("HTTP/1.1 200"));
    assert!(world.post("/x/send", br#"{"program": "212312", "type": "click"}"#).starts_with("HTTP/1.1 204"));
    assert!(world.get("/x/t.js").contains("\"/x/send\""));
    assert!(world.get("/example").contains("src=\"/x/t.js\""));
    for old in ["/v/212312", "/b", "/clickgate.js"] {
        assert!(world.get(old).starts_with("HTTP/1.1 404"), "{old}");
    }
    assert_eq!(world.stop().events.len(), 2);
}
