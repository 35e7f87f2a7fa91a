//! The order of shedding when the log fills up, and the limits of a connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use stream::Level;
use tracker::{Config, Levels};

use crate::world::{World, config, log_config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");
const PIXEL: &str = "/i/212312";
const CLICK: &str = "/c/212312";
const CONVERSION: &str = "/v/212312";

fn beacon(kind: &str) -> String {
    let big: Vec<_> = (0..8).map(|at| format!("\"p{at}\": \"{}\"", "x".repeat(1_000))).collect();
    format!(r#"{{"program": "212312", "type": "{kind}", "params": {{{}}}}}"#, big.join(","))
}

fn small(kind: &str) -> String {
    format!(r#"{{"program": "212312", "type": "{kind}"}}"#)
}

/// Whether an event of this sort is shed now; a click's redirect tells by a header.
fn is_shed(answer: &str) -> bool {
    assert!(["200", "204", "302", "503"].contains(&&answer[9..12]), "{answer}");
    answer.starts_with("HTTP/1.1 503") || answer.contains("x-clickgate-recorded: no")
}

#[test]
fn impressions_go_first_then_beacons_then_clicks_and_conversions_last() {
    let mut log_config = log_config();
    log_config.segment_bytes = 64 << 10;
    log_config.lane_bytes_max = 16 << 10;
    log_config.log_bytes_max = 64 * log_config.segment_bytes;
    let levels = Levels { conversion: Level::Written, beacon: Level::Written, ..Levels::default() };
    let world = World::start_with(Config { workers: 1, levels, ..config() }, log_config, SAMPLES);
    world.eventually("ready", |world| world.get("/health/ready").starts_with("HTTP/1.1 200"));

    // Conversions fill the log: they are taken to the last.
    let fill_to = |percent| {
        world.eventually("filled", |world| {
            world.log.fill_percent() >= percent || {
                world.post("/b", beacon("conversion").as_bytes());
                false
            }
        });
    };
    // A lane may have to wait for its next segment: shed for a moment whatever the class.
    let taken = |what: &str, ask: &dyn Fn(&World) -> String| {
        world.eventually(&format!("{what} taken"), |world| !is_shed(&ask(world)));
    };
    let shed = |what: &str, ask: &dyn Fn(&World) -> String| {
        for _ in 0..3 {
            let answer = ask(&world);
            assert!(is_shed(&answer), "{what} at {} %: {answer}", world.log.fill_percent());
        }
    };
    let pixel = |world: &World| world.get(PIXEL);
    let click = |world: &World| world.get(CLICK);
    let conversion = |world: &World| world.get(CONVERSION);
    let own = |world: &World| world.post("/b", small("own").as_bytes());
    let sent_conversion =
        |world: &World| world.post("/b", format!("[{},{}]", small("own"), small("conversion")).as_bytes());

    taken("a pixel", &pixel);
    fill_to(80);
    shed("a pixel", &pixel);
    taken("a beacon", &own);
    fill_to(90);
    shed("a beacon", &own);
    taken("a beacon with a conversion", &sent_conversion);
    taken("a click", &click);
    fill_to(95);
    shed("a click", &click);
    assert!(world.get(CLICK).starts_with("HTTP/1.1 302"), "a user waits for the page");
    taken("a conversion", &conversion);
    fill_to(100);
    for answer in [world.get(CONVERSION), sent_conversion(&world)] {
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    }
    let report = world.post("/b?report=1", small("conversion").as_bytes());
    assert!(report.contains(r#"[{"index":0,"outcome":"shed","reason":"overloaded"}]"#), "{report}");

    let counters = world.counters();
    for class in ["impression", "beacon", "click", "conversion"] {
        assert!(counters[&format!("clickgate_shed_total{{class={class}}}")] >= 2, "{class}");
    }
    let count = |name: &str| counters.get(name).copied().unwrap_or(0);
    let acknowledged = ["impression", "click", "conversion"]
        .iter()
        .map(|route| count(&format!("clickgate_requests_total{{route={route},outcome=accepted}}")))
        .sum::<u64>()
        + count("clickgate_beacon_entries_total{outcome=accepted}");
    assert_eq!(world.stop().events.len() as u64, acknowledged, "what was acknowledged, and nothing more");
}

#[test]
fn a_worker_serves_so_many_connections_and_the_next_one_waits_for_its_turn() {
    let world = World::start(Config { workers: 1, connections_per_worker_max: 2, ..config() }, SAMPLES);
    let open = || {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        stream
    };
    let mut status = [0; 12];
    let (mut first, mut second) = (open(), open());
    for stream in [&mut first, &mut second] {
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    let mut third = open();
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = third.read_exact(&mut status).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    third.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop((second, third));
    world.stop();
}

#[test]
fn headers_are_taken_to_their_last_byte_and_refused_beyond() {
    let world = World::start(config(), SAMPLES);
    let asked = |bytes: usize| {
        // Host and Connection, with their values.
        let rest = bytes - "hostt.exampleconnectionclose".len() - "x-a".len();
        world.request("GET", "/event/212312", &[&format!("X-A: {}", "a".repeat(rest))])
    };
    assert!(asked(40_960).starts_with("HTTP/1.1 200"));
    let answer = asked(40_961);
    assert!(
        answer.starts_with("HTTP/1.1 431") && answer.ends_with("{\"error\":\"headers_too_large\"}"),
        "{answer}"
    );
    assert_eq!(world.counters()["clickgate_http_malformed_total{reason=headers_too_large}"], 1);
    assert_eq!(world.stop().events.len(), 1);
}

#[test]
fn an_idle_connection_outlives_the_load_balancers_patience() {
    assert!(Config::default().keep_alive_seconds > 60, "or the balancer sends into a closed connection");
    let world = World::start(Config { keep_alive_seconds: 1, ..config() }, SAMPLES);
    let mut stream = TcpStream::connect(world.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let ask = b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(ask).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"live\n") {
            let mut some = [0; 500];
            let bytes = stream.read(&mut some).unwrap();
            assert!(bytes > 0, "closed too early");
            answer.extend_from_slice(&some[..bytes]);
        }
    }
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "closed after its second of rest");
    world.stop();
}
