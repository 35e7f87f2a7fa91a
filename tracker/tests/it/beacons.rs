//! Beacons: what a browser posts, once or again, well or badly.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    net::TcpStream,
};

use proto::{ConsentDecision, EventType, Uuid, ids};
use tracker::{Config, ExplainRequest, Limits};

use crate::world::{Logged, World, block_on, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn report(answer: &str) -> serde_json::Value {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body_of(answer)).unwrap()
}

/// What a table makes of a log: one item for each program and message id.
fn items(logged: &Logged) -> HashSet<(String, String)> {
    logged.events.iter().map(|event| (event.programid.clone(), event.message_id.clone())).collect()
}

#[test]
fn an_entry_becomes_an_event_with_what_the_request_said() {
    let world = World::start(config(), SAMPLES);
    let body = br#"{"program": "212312", "type": "video.50", "visitor": "me", "time_ms": 1789999999000,
        "params": {"position": 17, "muted": false, "title": "a&b=c"}}"#;
    let headers = ["User-Agent: curl/8", "Referer: https://news.example/", "Content-Type: image/png"];
    assert!(world.post_with("/b", &headers, body).starts_with("HTTP/1.1 204"));
    let logged = world.stop();
    let event = &logged.events[0];
    assert_eq!((event.r#type(), event.custom_name.as_str()), (EventType::Custom, "video.50"));
    assert_eq!((event.visitor_id.as_str(), event.client_time_ms), ("me", 1_789_999_999_000));
    assert_eq!((event.user_agent.as_str(), event.referrer.as_str()), ("curl/8", "https://news.example/"));
    assert_eq!((event.program_name.as_str(), event.ip.as_str()), ("program1", "127.0.0.0"));
    assert_eq!(event.origin.as_ref().unwrap().route, "/b");
    let parameters: Vec<_> = event.parameters.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!(parameters, [("v", "me"), ("position", "17"), ("muted", "false"), ("title", "a&b=c")]);
    assert_eq!(event.message_id.parse::<Uuid>().unwrap().get_version_num(), 7);
}

#[test]
fn gpc_leaves_no_visitor_in_the_event_nor_in_the_refusal() {
    let world = World::start(config(), SAMPLES);
    let body =
        br#"[{"program": "212312", "type": "click", "visitor": "visitor-1", "params": {"v": "visitor-1"}},
        {"program": "none", "type": "click", "visitor": "visitor-1"}]"#;
    assert!(world.post_with("/b", &["Sec-GPC: 1"], body).starts_with("HTTP/1.1 204"));
    let logged = world.stop();
    let event = &logged.events[0];
    assert_eq!((event.consent(), event.ip.as_str()), (ConsentDecision::Gpc, ""));
    assert_eq!(logged.rejected[0].request, "/b");
    assert!(!format!("{event:?} {:?}", logged.rejected).contains("visitor-1"));
}

#[test]
fn a_retry_with_the_same_id_is_the_same_item_however_it_is_sent() {
    let world = World::start(config(), SAMPLES);
    let timed = br#"{"program": "212312", "type": "conversion", "id": "order-1", "time_ms": 1789999999000}"#;
    let untimed = br#"{"program": "212312", "type": "conversion", "id": "order-2"}"#;
    // A clock, however wrong, is no part of what the event is.
    let ahead = br#"{"program": "212312", "type": "click", "id": "order-3", "time_ms": 281474976710655}"#;
    let elsewhere = br#"{"program": "212313", "type": "conversion", "id": "order-2"}"#;
    for body in [&timed[..], untimed, ahead, elsewhere, timed, untimed, ahead, timed] {
        assert!(world.post("/b", body).starts_with("HTTP/1.1 204"));
    }
    let as_a_pixel =
        "/b?d=%7B%22id%22:%22order-2%22,%22program%22:%22212312%22,%22type%22:%22conversion%22%7D";
    assert!(world.get(as_a_pixel).starts_with("HTTP/1.1 200"));
    assert!(world.get("/v/212312?id=order-1&t=1789999999000").starts_with("HTTP/1.1 200"));
    let logged = world.stop();
    assert_eq!(logged.events.len(), 10);
    let expected = [
        ("212312", ids::from_sender(&["212312", "conversion", "order-1"])),
        ("212312", ids::from_sender(&["212312", "conversion", "order-2"])),
        ("212312", ids::from_sender(&["212312", "click", "order-3"])),
        ("212313", ids::from_sender(&["212313", "conversion", "order-2"])),
    ];
    let expected: HashSet<_> =
        expected.iter().map(|(program, id)| ((*program).to_owned(), id.to_string())).collect();
    assert_eq!(items(&logged), expected);
}

#[test]
fn one_id_under_several_types_is_several_events() {
    let world = World::start(config(), SAMPLES);
    let kinds = ["impression", "click", "conversion", "signup", "sign-up"];
    for kind in kinds.into_iter().chain(kinds) {
        let body = format!(r#"{{"program": "212312", "type": "{kind}", "id": "1"}}"#);
        assert!(world.post("/b", body.as_bytes()).starts_with("HTTP/1.1 204"));
    }
    let expected =
        kinds.map(|kind| ("212312".to_owned(), ids::from_sender(&["212312", kind, "1"]).to_string()));
    assert_eq!(items(&world.stop()), HashSet::from(expected));
}

#[test]
fn without_an_id_each_beacon_is_an_item_of_its_own() {
    let world = World::start(config(), SAMPLES);
    for body in [
        r#"{"program": "212312", "type": "click"}"#,
        r#"{"program": "212312", "type": "click"}"#,
        r#"{"program": "212312", "type": "click", "id": ""}"#,
        r#"{"program": "212312", "type": "click", "id": ""}"#,
    ] {
        assert!(world.post("/b", body.as_bytes()).starts_with("HTTP/1.1 204"));
    }
    assert_eq!(items(&world.stop()).len(), 4);
}

#[test]
fn the_report_says_what_became_of_each_entry() {
    let world = World::start(config(), SAMPLES);
    let long = "v".repeat(1_025);
    let body = format!(
        r#"[{{"program": "212312", "type": "click", "id": "a"}}, {{"program": "none", "type": "click"}},
            {{"program": "no id!", "type": "x"}}, {{"program": "212312", "type": "click", "params": {{"a": "{long}"}}}},
            {{"program": 212313, "type": "impression"}}]"#
    );
    let lines = report(&world.post("/b?report=1", body.as_bytes()));
    let said: Vec<_> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (line["index"].as_u64().unwrap(), line["outcome"].as_str().unwrap(), line["reason"].as_str())
        })
        .collect();
    assert_eq!(
        said,
        [
            (0, "accepted", None),
            (1, "refused", Some("unknown_program")),
            (2, "refused", Some("malformed_program_id")),
            (3, "accepted", None),
            (4, "accepted", None),
        ]
    );
    assert_eq!(lines[0]["messageId"], ids::from_sender(&["212312", "click", "a"]).to_string());
    assert!(lines[1]["messageId"].is_null());
    let counters = world.counters();
    assert_eq!(counters["clickgate_beacon_entries_total{outcome=accepted}"], 3);
    assert_eq!(counters["clickgate_beacon_entries_total{outcome=refused}"], 2);
    assert_eq!(counters["clickgate_parameters_left_out_total{}"], 1);
    assert_eq!(counters["clickgate_requests_total{route=beacon,outcome=accepted}"], 1);
    let logged = world.stop();
    let stored: HashSet<_> = logged.events.iter().map(|event| event.message_id.as_str()).collect();
    assert!(stored.contains(lines[0]["messageId"].as_str().unwrap()));
    assert!(stored.contains(lines[4]["messageId"].as_str().unwrap()));
    let unknown = logged.rejected.iter().find(|rejected| rejected.reason == "unknown_program").unwrap();
    assert_eq!(unknown.programid, "none");
    assert_eq!(unknown.request, r#"/b {"program": "none", "type": "click"}"#);
}

#[test]
fn one_wrong_entry_changes_nothing_and_is_named() {
    let world = World::start(config(), SAMPLES);
    let body = br#"[{"program": "212312", "type": "click"}, {"program": "212312", "type": "click", "params": {"a": []}}]"#;
    let answer = world.post("/b", body);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.contains("malformed_beacon") && answer.contains("[1].params, parameter 1: is nested"),
        "{answer}"
    );
    let counters = world.counters();
    assert_eq!(counters["clickgate_requests_total{route=beacon,outcome=malformed}"], 1);
    assert_eq!(counters["clickgate_refused_total{reason=malformed_beacon}"], 1);
    let logged = world.stop();
    assert!(logged.events.is_empty());
    let kept = &logged.rejected[0];
    assert_eq!((kept.reason.as_str(), kept.request.as_str()), ("malformed_beacon", "/b"));
    assert!(kept.detail.starts_with("[1].params, parameter 1"), "{}", kept.detail);
}

#[test]
fn each_origin_is_allowed_by_name_and_never_all_of_them() {
    let world = World::start(config(), SAMPLES);
    let entry = br#"{"program": "212312", "type": "click"}"#;
    for origin in ["https://shop.example", "http://localhost:3000", "null"] {
        let header = format!("Origin: {origin}");
        let answers = [
            world.post_with("/b", &[&header], entry),
            world.post_with("/b?report=1", &[&header], entry),
            world.post_with("/b", &[&header], b"not JSON"),
            world.request("OPTIONS", "/b", &[&header, "Access-Control-Request-Method: POST"]),
            world.request("PUT", "/b", &[&header]),
        ];
        for answer in answers {
            assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
            assert!(answer.contains("access-control-allow-credentials: true\r\n"), "{answer}");
            assert!(answer.contains("vary: Origin\r\n") && !answer.contains('*'), "{answer}");
        }
    }
    let same_origin = world.post("/b", entry);
    assert!(
        same_origin.contains("vary: Origin\r\n") && !same_origin.contains("access-control"),
        "{same_origin}"
    );
    assert!(
        !world.request("GET", "/event/212312", &["Origin: https://a.example"]).contains("access-control")
    );
    world.stop();
}

#[test]
fn a_body_is_taken_to_its_last_byte_and_refused_beyond() {
    let limits = Limits { body_bytes_max: 2_048, bodies_bytes_max: 2_048, ..Limits::default() };
    let world = World::start(Config { limits, ..config() }, SAMPLES);
    let padded = |bytes: usize| {
        let entry = r#"{"program": "212312", "type": "click"}"#;
        format!("{entry}{}", " ".repeat(bytes - entry.len())).into_bytes()
    };
    assert!(world.post("/b", &padded(2_048)).starts_with("HTTP/1.1 204"));
    for answer in [world.post("/b", &padded(2_049)), world.post("/b", &padded(500_000)), chunked(&world, 40)]
    {
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
    }
    assert!(chunked(&world, 1).starts_with("HTTP/1.1 204"));
    assert_eq!(world.counters()["clickgate_refused_total{reason=too_large}"], 3);
    assert_eq!(world.stop().events.len(), 2);
}

/// A beacon in chunks, the last of which repeats spaces.
fn chunked(world: &World, spaces: usize) -> String {
    let mut request =
        b"POST /b HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut chunk = |text: &str| request.extend(format!("{:x}\r\n{text}\r\n", text.len()).bytes());
    chunk(r#"{"program": "212312","#);
    chunk(r#""type": "click"}"#);
    (0..spaces).for_each(|_| chunk(&" ".repeat(100)));
    request.extend(b"0\r\n\r\n");
    String::from_utf8_lossy(&world.raw(&request)).into_owned()
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_its_room_is_free_again() {
    let limits = Limits { body_bytes_max: 1_024, bodies_bytes_max: 1_024, ..Limits::default() };
    let config = Config { limits, client_body_timeout_ms: 2_000, workers: 1, ..config() };
    let world = World::start(config, SAMPLES);
    let entry = br#"{"program": "212312", "type": "click"}"#;
    let mut slow = TcpStream::connect(world.address).unwrap();
    slow.write_all(b"POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 1024\r\n\r\n").unwrap();
    slow.write_all(&[b' '; 1_000]).unwrap();
    world.eventually("shed for want of room", |world| {
        let answer = world.post("/b", entry);
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1")
    });
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("slow_body"), "{answer}");
    assert!(world.post("/b", entry).starts_with("HTTP/1.1 204"));
    let counters = world.counters();
    assert_eq!(counters["clickgate_requests_total{route=beacon,outcome=slow}"], 1);
    assert!(counters["clickgate_shed_total{class=beacon}"] >= 1);
    world.stop();
}

#[test]
fn the_explanation_says_what_the_entry_gets() {
    let rules = r#"{"programId": "r", "programName": "r", "checksum": "7", "customerId": 1, "customerName": "c",
        "valid": true, "strict": true, "requireChecksum": true, "conflicts": [["a", "b"]],
        "parameters": {"size": {"required": true, "type": "integer", "min": 1, "max": 3}, "a": {}, "b": {}}}"#;
    let world = World::start(config(), rules);
    let mut random = fastrand::Rng::with_seed(4711);
    let mut outcomes: HashMap<String, usize> = HashMap::new();
    for _ in 0..400 {
        let id = random.choice(["r", "r", "r", "r", "x", "a.b"]).unwrap();
        let parts = [
            r#""size": 2"#,
            r#""size": "9""#,
            r#""sum": 7"#,
            r#""sum": "8""#,
            r#""a": true"#,
            r#""b": 2"#,
            r#""other": 1"#,
            r#""utm_x": "\u00fc""#,
            r#""": 1"#,
            r#""size": 2, "sum": "7""#,
            r#""v": "me""#,
            r#""size": 2, "a": 1, "b": 2"#,
        ];
        let params: Vec<_> = (0..random.usize(0..5)).map(|_| *random.choice(&parts).unwrap()).collect();
        let entry = format!(r#"{{"program": "{id}", "type": "x", "params": {{{}}}}}"#, params.join(","));
        let encoded: String = entry.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // Typed as it is, or as it is sent; a `+` and a `%` must be escaped either way.
        let url = format!("/b?d={}", if random.bool() { &entry } else { &encoded });
        let request = ExplainRequest { method: "GET".into(), url, headers: vec![], at_ms: None };
        let explained = serde_json::to_value(block_on(world.admin.explain(&request)).unwrap()).unwrap();
        let line = report(&world.post("/b?report=1", entry.as_bytes())).as_array().unwrap()[0].clone();
        assert_eq!(explained["decision"], line["outcome"], "{entry}: {explained}");
        assert_eq!(explained["reason"], line["reason"], "{entry}: {explained}");
        assert_eq!(explained["detail"], line["detail"], "{entry}: {explained}");
        *outcomes.entry(line["reason"].as_str().unwrap_or("accepted").to_owned()).or_default() += 1;
    }
    assert!(outcomes["accepted"] > 10 && outcomes.len() >= 8, "{outcomes:?}");
    let two = ExplainRequest { method: "GET".into(), url: "/b?d=[1,2]".into(), headers: vec![], at_ms: None };
    assert!(block_on(world.admin.explain(&two)).unwrap_err().to_string().contains("[0]: is not an object"));
    assert_eq!(world.stop().events.len(), outcomes["accepted"], "explaining leaves no event");
}

#[test]
fn a_connection_carries_beacon_after_beacon_until_one_is_not_read_to_its_end() {
    let limits = Limits { body_bytes_max: 1_024, ..Limits::default() };
    let world = World::start(Config { limits, ..config() }, SAMPLES);
    let mut stream = TcpStream::connect(world.address).unwrap();
    let mut ask = |body: &[u8]| {
        write!(stream, "POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        // The tracker may have closed the connection before it has read everything.
        let _ = stream.write_all(body);
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        let mut head = status.to_vec();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    };
    for _ in 0..3 {
        let head = ask(br#"{"program": "212312", "type": "click"}"#);
        assert!(head.starts_with("HTTP/1.1 204") && !head.contains("connection: close"), "{head}");
    }
    let head = ask(&[b' '; 1_025]);
    assert!(head.starts_with("HTTP/1.1 413") && head.contains("connection: close"), "{head}");
    assert_eq!(world.stop().events.len(), 3);
}
