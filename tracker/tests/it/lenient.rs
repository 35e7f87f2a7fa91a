//! Input as it occurs in practice: unexpanded macros, Latin-1, half an emoji, a slash too many. None
//! of it loses a hit.

use proto::{Message, Parameter, TrackingEvent};

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

/// What is sent as a query, and the parameters that it means.
type Sent = (&'static [u8], &'static [(&'static str, &'static str)]);

fn parameters(event: &TrackingEvent) -> Vec<(&str, &str)> {
    event.parameters.iter().map(|Parameter { name, value }| (name.as_str(), value.as_str())).collect()
}

#[test]
fn a_query_is_decoded_as_browsers_encode_it_on_every_route() {
    let sent: [Sent; 8] = [
        (b"u=%%CACHEBUSTER%%&x=%", &[("u", "%\u{fffd}CHEBUSTER%%"), ("x", "%")]),
        (b"u=${CLICK_ID}&x={macro}|[a]", &[("u", "${CLICK_ID}"), ("x", "{macro}|[a]")]),
        (b"u=\"<>\\^`'", &[("u", "\"<>\\^`'")]),
        (b"u=%FC&x=%C3%BC", &[("u", "\u{fffd}"), ("x", "ü")]),
        (b"u=\xfc&y=\xc3\xbc", &[("u", "\u{fffd}"), ("y", "ü")]),
        (b"u=%ED%A0%BD", &[("u", "\u{fffd}\u{fffd}\u{fffd}")]),
        (b"u=a%00b%0d%0a", &[("u", "a\0b\r\n")]),
        (b"u=1#fragment?x=2", &[("u", "1")]),
    ];
    let world = World::start(config(), SAMPLES);
    let routes = ["/event/212312", "/i/212312.gif", "/c/212312", "/v/212312"];
    for (query, _) in &sent {
        for route in routes {
            let request = [
                b"GET ",
                route.as_bytes(),
                b"?",
                query,
                b" HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            ];
            let answer = world.raw(&request.concat());
            let status = if route.starts_with("/c") { "302" } else { "200" };
            let shown = String::from_utf8_lossy(&answer).into_owned();
            assert!(shown.starts_with(&format!("HTTP/1.1 {status}")), "{query:?} {route}: {shown}");
        }
    }
    let mut events = world.stop().events;
    events.sort_by_key(|event| (event.received_at_ms, event.message_id.clone()));
    assert_eq!(events.len(), sent.len() * routes.len());
    for (_, expected) in &sent {
        let found = events.iter().filter(|event| parameters(event) == *expected).count();
        assert_eq!(found, routes.len(), "{expected:?}");
    }
    assert!(events.iter().all(|event| event.parameters_left_out == 0));
}

#[test]
fn a_parameter_beyond_a_limit_is_left_out_and_the_event_says_so() {
    let world = World::start(config(), SAMPLES);
    let long = "x".repeat(1_025);
    for target in
        [format!("/c/212312?a=1&b={long}&c=2"), format!("/c/212312?{}=1&a=1&c=2&t=soon", "n".repeat(65))]
    {
        assert!(world.get(&target).starts_with("HTTP/1.1 302"), "{target:.80}");
    }
    let entry = format!(
        r#"{{"program": "212312", "type": "click", "time_ms": "soon", "params": {{"a": 1, "b": "{long}", "c": 2}}}}"#
    );
    assert!(world.post("/b", entry.as_bytes()).starts_with("HTTP/1.1 204"));
    assert_eq!(world.counters()["clickgate_parameters_left_out_total{}"], 1 + 2 + 2);
    let events = world.stop().events;
    assert!(events.iter().all(|event| parameters(event) == [("a", "1"), ("c", "2")]));
    let mut left_out: Vec<_> = events.iter().map(|event| event.parameters_left_out).collect();
    left_out.sort_unstable();
    assert_eq!(left_out, [1, 2, 2]);
}

#[test]
fn a_slash_behind_a_program_means_nothing() {
    let world = World::start(config(), SAMPLES);
    for (target, status) in [
        ("/c/212312/", "302"),
        ("/c/212312/?a=1", "302"),
        ("/i/212312/", "200"),
        ("/event/212312/", "200"),
        ("/v/212312/", "200"),
    ] {
        assert!(world.get(target).starts_with(&format!("HTTP/1.1 {status}")), "{target}");
    }
    assert!(world.get("/c/212312//").starts_with("HTTP/1.1 404"));
    let logged = world.stop();
    assert_eq!(logged.events.len(), 5);
    assert!(logged.events.iter().all(|event| event.programid == "212312"));
}

#[test]
fn a_beacon_is_read_whatever_its_texts_say() {
    let world = World::start(config(), SAMPLES);
    let half =
        br#"{"program": "212312", "type": "click", "visitor": "\ud83d", "params": {"a\udca9": "\ud83d!"}}"#;
    let marked =
        [&b"\xef\xbb\xbf"[..], br#"{"program": "212312", "type": "click", "params": {"a": 1}}"#].concat();
    let latin_1 = b"{\"program\": \"212312\", \"type\": \"click\", \"params\": {\"a\": \"\xfc\"}}";
    for body in [&half[..], &marked, latin_1] {
        let answer = world.post("/b", body);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        let encoded: String = body.iter().map(|byte| format!("%{byte:02X}")).collect();
        assert!(world.get(&format!("/b?d={encoded}")).starts_with("HTTP/1.1 200"), "as a pixel");
    }
    let events = world.stop().events;
    for expected in
        [vec![("v", "\u{fffd}"), ("a\u{fffd}", "\u{fffd}!")], vec![("a", "1")], vec![("a", "\u{fffd}")]]
    {
        assert_eq!(events.iter().filter(|event| parameters(event) == expected).count(), 2, "{expected:?}");
    }
    assert!(events.iter().all(|event| TrackingEvent::decode(event.encode_to_vec().as_slice()).is_ok()));
}

#[test]
fn a_beacon_in_a_coding_is_refused_with_its_name() {
    let world = World::start(config(), SAMPLES);
    let entry = br#"{"program": "212312", "type": "click"}"#;
    for coding in ["gzip", "br", "deflate", "zstd"] {
        let answer = world.post_with("/b", &[&format!("Content-Encoding: {coding}")], entry);
        assert!(
            answer.starts_with("HTTP/1.1 415") && answer.contains("accept-encoding: identity"),
            "{answer}"
        );
        assert!(answer.contains(&format!("content-encoding: {coding} is not supported")), "{answer}");
    }
    let odd = world.post_with("/b", &["Content-Encoding: <script>"], entry);
    assert!(odd.starts_with("HTTP/1.1 415") && !odd.contains("script"), "{odd}");
    assert!(world.post_with("/b", &["Content-Encoding: Identity"], entry).starts_with("HTTP/1.1 204"));
    assert_eq!(world.counters()["clickgate_requests_total{route=beacon,outcome=malformed}"], 5);
    assert_eq!(world.stop().events.len(), 1);
}

#[test]
fn what_a_browser_asks_ahead_is_never_counted_and_never_kept() {
    let world = World::start(config(), SAMPLES);
    let purposes = [
        "Sec-Purpose: prefetch",
        "Sec-Purpose: prefetch;prerender",
        "Purpose: prefetch",
        "X-Purpose: preview",
        "X-Moz: prefetch",
    ];
    let entry = br#"{"program": "212312", "type": "click"}"#;
    for purpose in purposes {
        for target in
            ["/c/212312", "/c/none", "/event/212312", "/v/212312?id=1", "/v/212312.gif", "/b?d=%7B%7D"]
        {
            let answer = world.request("GET", target, &[purpose]);
            let head = answer.split("\r\n\r\n").next().unwrap();
            assert!(
                head.starts_with("HTTP/1.1 503") && !head.contains("location"),
                "{purpose} {target}: {answer}"
            );
            assert!(
                head.contains("no-store") && head.contains("retry-after"),
                "{purpose} {target}: {answer}"
            );
            assert_eq!(head.contains("image/gif"), target.ends_with(".gif"), "{target}");
        }
        assert!(world.post_with("/b", &[purpose], entry).starts_with("HTTP/1.1 503"), "{purpose}");
        let image = world.request("GET", "/i/212312.gif", &[purpose]);
        assert!(image.starts_with("HTTP/1.1 200") && image.contains("image/gif"), "{purpose}: {image}");
        assert!(world.request("GET", "/health/live", &[purpose]).starts_with("HTTP/1.1 200"));
    }
    let counters = world.counters();
    let of =
        |route: &str| counters[&format!("clickgate_requests_total{{route={route},outcome=not_counted}}")];
    let each = purposes.len() as u64;
    assert_eq!(
        [of("click"), of("event"), of("conversion"), of("beacon"), of("impression")],
        [2 * each, each, 2 * each, 2 * each, each]
    );
    let logged = world.stop();
    assert!(logged.events.is_empty() && logged.rejected.is_empty());
}
