//! What a hit leaves in the log.

use std::io::{Read, Write};

use proto::{ConsentDecision, EventType};
use stream::Level;
use tracker::{Config, ExplainRequest, Levels};

use crate::world::{World, block_on, config, log_config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

#[test]
fn an_event_holds_what_the_request_said_and_nothing_else_of_it() {
    let world = World::start(config(), SAMPLES);
    let headers = [
        "User-Agent: curl/8",
        "Referer: https://news.example/a?b",
        "Cookie: secret=1",
        "Authorization: Basic c2VjcmV0",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    let answer = world.request("GET", "/c/212312?utm_source=a%20b&v=me&x=1&x=2", &headers);
    let logged = world.stop();
    let event = &logged.events[0];
    assert_eq!(
        (event.programid.as_str(), event.checksum.as_str(), event.customer_id),
        ("212312", "123", 9123)
    );
    assert_eq!((event.program_name.as_str(), event.customer_name.as_str()), ("program1", "Customer1"));
    assert!(event.is_valid && !event.unverified);
    assert_eq!((event.r#type(), event.consent()), (EventType::Click, ConsentDecision::Full));
    assert_eq!((event.user_agent.as_str(), event.referrer.as_str()), ("curl/8", "https://news.example/a?b"));
    assert_eq!((event.visitor_id.as_str(), event.ip.as_str()), ("me", "127.0.0.0"));
    assert_eq!(event.origin.as_ref().unwrap().route, "/c");
    assert_eq!(event.traceparent.len(), 55);
    let parameters: Vec<_> = event.parameters.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!(parameters, [("utm_source", "a b"), ("v", "me"), ("x", "1"), ("x", "2")]);
    let id: proto::Uuid = event.message_id.parse().unwrap();
    assert_eq!((id.get_version_num(), proto::ids::time_ms(&id)), (7, event.received_at_ms));
    assert!(answer.contains(&format!("click={}&src=a%20b", event.message_id)), "{answer}");
    assert!(!format!("{event:?}").contains("secret"));
}

#[test]
fn gpc_leaves_no_visitor_and_no_address_anywhere() {
    let world = World::start(config(), SAMPLES);
    world.request("GET", "/i/212312?v=visitor-1&a=1", &["Sec-GPC: 1"]);
    world.request("GET", "/i/none?v=visitor-1", &["Sec-GPC: 1"]);
    let logged = world.stop();
    let event = &logged.events[0];
    assert_eq!(
        (event.consent(), event.ip.as_str(), event.visitor_id.as_str()),
        (ConsentDecision::Gpc, "", "")
    );
    assert_eq!(event.parameters.len(), 1);
    assert_eq!(logged.rejected[0].request, "/i/none");
    assert!(!format!("{event:?} {:?}", logged.rejected).contains("visitor-1"));
}

#[test]
fn forwarded_for_is_trusted_from_our_proxies_only() {
    let forged = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.7, 10.0.0.2"];
    for (trusted, ip) in
        [(&["127.0.0.0/8", "10.0.0.0/8"][..], "198.51.100.0"), (&["10.0.0.0/8"], "127.0.0.0")]
    {
        let trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let world = World::start(Config { trusted_proxies, ..config() }, SAMPLES);
        world.request("GET", "/i/212312", &forged);
        assert_eq!(world.stop().events[0].ip, ip, "{trusted:?}");
    }
}

#[test]
fn a_refused_hit_is_kept_with_its_reason_and_counted() {
    let world = World::start(config(), SAMPLES);
    for target in ["/event/1?a=b", "/i/1.gif", "/c/%zz", "/event/off?a=%zz"] {
        world.request("GET", target, &["X-Forwarded-For: 198.51.100.7"]);
    }
    world.request("HEAD", "/event/1", &[]);
    world.request("GET", "/event/1", &["Purpose: prefetch"]);
    let counters = world.counters();
    let logged = world.stop();
    let mut kept: Vec<_> = logged
        .rejected
        .iter()
        .map(|r| (r.reason.as_str(), r.route.as_str(), r.programid.as_str(), r.request.as_str()))
        .collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            ("malformed_program_id", "/c", "%zz", "/c/%zz"),
            ("unknown_program", "/event", "1", "/event/1?a=b"),
            ("unknown_program", "/event", "off", "/event/off?a=%zz"),
            ("unknown_program", "/i", "1", "/i/1.gif"),
        ]
    );
    assert!(logged.rejected.iter().all(|r| !format!("{r:?}").contains("198.51")));
    let mut reported = std::collections::HashMap::new();
    for count in logged.reports.values().flat_map(|report| &report.refused) {
        *reported.entry(count.name.as_str()).or_insert(0) += count.count;
    }
    for (reason, count) in [("unknown_program", 3), ("malformed_program_id", 1)] {
        assert_eq!(reported.get(reason), Some(&count), "{reason} in the lane reports");
        assert_eq!(counters[&format!("clickgate_refused_total{{reason={reason}}}")], count, "{reason}");
    }
}

#[test]
fn a_flood_of_refused_hits_is_counted_but_not_kept_beyond_its_rate() {
    let world = World::start(Config { rejected_per_second_max: 4, workers: 1, ..config() }, SAMPLES);
    let began = std::time::Instant::now();
    let mut stream = std::net::TcpStream::connect(world.address).unwrap();
    for _ in 0..500 {
        stream.write_all(b"GET /event/1 HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\"ProgramId not found\"") {
            let mut some = [0; 1_000];
            let bytes = stream.read(&mut some).unwrap();
            assert!(bytes > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&some[..bytes]);
        }
    }
    let seconds = began.elapsed().as_secs() + 2;
    let counters = world.counters();
    let logged = world.stop();
    assert!(logged.rejected.len() as u64 <= 4 * seconds, "{} in {seconds} s", logged.rejected.len());
    assert!(logged.rejected.len() >= 4);
    assert_eq!(counters["clickgate_refused_total{reason=unknown_program}"], 500);
    let not_kept = counters["clickgate_rejected_not_kept_total{}"];
    assert_eq!(not_kept + logged.rejected.len() as u64, 500);
}

#[test]
fn a_full_log_sheds_by_class_and_still_redirects() {
    let mut log_config = log_config();
    log_config.segment_bytes = 64 << 10;
    log_config.lane_bytes_max = 16 << 10;
    log_config.log_bytes_max = 8 * log_config.segment_bytes;
    let world = World::start_with(Config { workers: 1, ..config() }, log_config, SAMPLES);
    world.eventually("ready", |world| world.get("/health/ready").starts_with("HTTP/1.1 200"));
    let filled_by = |path: &str, percent| {
        let filler = format!("{path}?{}", "a=x&".repeat(90));
        world.eventually("filled", |world| {
            world.get(&filler);
            world.log.fill_percent() >= percent
        });
    };
    filled_by("/i/212312", 80);
    let pixel = world.get("/i/212312");
    assert!(
        pixel.starts_with("HTTP/1.1 503") && pixel.contains("image/gif") && pixel.contains("GIF89a"),
        "{pixel}"
    );
    // Beacons are shed later; but one may have to wait for the next segment.
    world.eventually("taken", |world| world.get("/event/212312").starts_with("HTTP/1.1 200"));
    filled_by("/event/212312", 90);
    let event = world.get("/event/212312");
    assert!(event.contains("retry-after: 1") && event.ends_with("{\"error\":\"overloaded\"}"), "{event}");
    let click = world.get("/c/212312");
    assert!(click.starts_with("HTTP/1.1 302"), "{click}");
    let counters = world.counters();
    assert!(counters["clickgate_shed_total{class=impression}"] >= 1);
    assert!(counters["clickgate_shed_total{class=beacon}"] >= 1);
    let answered = counters["clickgate_requests_total{route=impression,outcome=accepted}"]
        + counters["clickgate_requests_total{route=event,outcome=accepted}"]
        + counters.get("clickgate_requests_total{route=click,outcome=accepted}").unwrap_or(&0);
    let logged = world.stop();
    assert_eq!(logged.events.len() as u64, answered, "what was acknowledged, and nothing more");
}

#[test]
fn each_level_of_each_route_ends_in_the_log() {
    for level in [Level::Memory, Level::Written, Level::Synced, Level::Stream] {
        let levels =
            Levels { event: level, impression: level, click: level, conversion: level, beacon: level };
        let world = World::start(Config { levels, ..config() }, SAMPLES);
        for (target, status) in
            [("/event/212312", "200"), ("/i/212312", "200"), ("/c/212312", "302"), ("/v/212312", "200")]
        {
            assert!(world.get(target).starts_with(&format!("HTTP/1.1 {status}")), "{level:?} {target}");
        }
        let answer = world.post("/b", br#"{"program": "212312", "type": "click"}"#);
        assert!(answer.starts_with("HTTP/1.1 204"), "{level:?} {answer}");
        assert_eq!(world.stop().events.len(), 5, "{level:?}");
    }
}

#[test]
fn the_next_hit_obeys_a_changed_program() {
    let world = World::start(config(), SAMPLES);
    assert!(world.get("/event/new").starts_with("HTTP/1.1 404"));
    let json = |revision, valid| {
        format!(
            r#"{{"programId": "new", "programName": "n", "checksum": "", "customerId": 1, "customerName": "c",
                "valid": {valid}, "revision": {revision}}}"#
        )
    };
    world.put(&json(1, true));
    world.eventually("known", |world| world.get("/event/new").starts_with("HTTP/1.1 200"));
    world.put(&json(2, false));
    world.eventually("inactive", |world| world.get("/event/new").starts_with("HTTP/1.1 403"));
    block_on(programs::Registry::remove(&*world.registry, &"new".parse().unwrap(), 3)).unwrap();
    world.eventually("gone", |world| world.get("/event/new").starts_with("HTTP/1.1 404"));
    world.stop();
}

#[test]
fn the_explanation_says_what_the_hit_gets() {
    let rules = r#"{"programId": "r", "programName": "r", "checksum": "7", "customerId": 1, "customerName": "c",
        "valid": true, "strict": true, "requireChecksum": true, "conflicts": [["a", "b"]],
        "parameters": {"size": {"required": true, "type": "integer", "min": 1, "max": 3}, "a": {}, "b": {}}}"#;
    let world = World::start(config(), rules);
    let mut random = fastrand::Rng::with_seed(4711);
    let mut accepted = 0;
    let mut refused = std::collections::BTreeSet::new();
    for _ in 0..800 {
        let id = random.choice(["r", "r", "r", "r", "%72", "x", "a.b"]).unwrap();
        let parts = [
            "size=2",
            "size=9",
            "sum=7",
            "sum=8",
            "a=1",
            "b=2",
            "other=1",
            "utm_x=%C3%BC",
            "bad=%",
            "size=2&sum=7",
        ];
        let query: Vec<_> = (0..random.usize(0..6)).map(|_| random.choice(parts).unwrap()).collect();
        let url = format!("/event/{id}?{}", query.join("&"));
        let request = ExplainRequest { method: "GET".into(), url: url.clone(), headers: vec![], at_ms: None };
        let explained = serde_json::to_value(block_on(world.admin.explain(&request)).unwrap()).unwrap();
        let answer = world.get(&url);
        if explained["decision"] == "accepted" {
            assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {explained} {answer}");
            accepted += 1;
        } else {
            let reason = explained["reason"].as_str().unwrap().to_owned();
            let says = if reason == "unknown_program" { "ProgramId not found" } else { &reason };
            assert!(answer.contains(says), "{url}: {explained} {answer}");
            refused.insert(reason);
        }
    }
    assert!(accepted > 20 && refused.len() >= 7, "{accepted} accepted, {refused:?}");
    assert_eq!(world.stop().events.len(), accepted, "explaining leaves no event");
}
