//! Start, readiness, stop.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use programs::decision::Decision;
use stream::Level;
use tracker::{BindError, Config, Decider, ExplainRequest, Levels, Tracker};

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

#[test]
fn a_hit_is_in_the_log_once_it_was_answered() {
    let world = World::start(config(), SAMPLES);
    let answer = world.get("/event/212313");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let logged = world.stop();
    assert_eq!(logged.events.len(), 1);
    assert_eq!(logged.events[0].program_name, "program2");
}

#[test]
fn stopping_lets_hits_in_flight_finish_and_does_not_wait_for_idle_connections() {
    let synced = Levels { event: Level::Synced, ..Levels::default() };
    let world = World::start(Config { levels: synced, ..config() }, SAMPLES);
    let mut idle = TcpStream::connect(world.address).unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();

    let address = world.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut acknowledged = 0;
                // Ends when the tracker refuses the connection or closes it unanswered.
                while let Ok(mut stream) = TcpStream::connect(address) {
                    let _ = stream
                        .write_all(b"GET /event/212312 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    if !answer.starts_with(b"HTTP/1.1 200") {
                        break;
                    }
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    world.eventually("busy", |world| {
        world
            .counters()
            .get("clickgate_requests_total{route=event,outcome=accepted}")
            .is_some_and(|hits| *hits > 50)
    });
    let began = Instant::now();
    let logged = world.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    let acknowledged: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(logged.events.len() >= acknowledged, "{} events of {acknowledged}", logged.events.len());
    assert!(logged.reports.values().all(|report| report.closing), "every lane said that it ended");
}

#[test]
fn a_tracker_is_not_ready_before_the_programs_were_loaded_and_while_it_drains() {
    let world = World::start(config(), SAMPLES);
    assert!(world.admin.health().ready);
    world.handle.drain();
    assert!(!world.admin.health().ready);
    assert!(world.get("/health/ready").starts_with("HTTP/1.1 503"));
    assert!(world.get("/event/212312").starts_with("HTTP/1.1 200"));
    world.stop();
}

#[test]
fn a_slow_client_is_told_so() {
    let world = World::start(Config { client_request_timeout_ms: 100, ..config() }, SAMPLES);
    let answer = world.raw(b"GET /event/212312 HT");
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    world.stop();
}

#[test]
fn a_lane_that_cannot_be_opened_ends_the_tracker_with_the_reason() {
    let world = World::start(config(), SAMPLES);
    let log = world.log.clone();
    let registry = world.registry.clone();
    let events = world.dir().join("events");
    let away = world.dir().join("away");
    std::fs::rename(&events, &away).unwrap();
    let tracker = Tracker::bind(config(), log, registry).unwrap();
    let error = actix_rt::System::new().block_on(tracker.run()).unwrap_err();
    let text = supervise::causes(&error);
    assert!(text.starts_with("a worker could not open its lane of the log: "), "{text}");
    std::fs::rename(&away, &events).unwrap();
    world.stop();
}

#[test]
fn an_address_that_is_taken_and_settings_that_are_wrong_are_named() {
    let world = World::start(config(), SAMPLES);
    let taken = Config { listen: world.address, ..config() };
    let error = Tracker::bind(taken, world.log.clone(), world.registry.clone()).err().unwrap();
    let text = supervise::causes(&error);
    assert!(text.starts_with(&format!("cannot listen on {}: ", world.address)), "{text}");

    let wrong = Config { workers: 600, fallback_url: Some("javascript:alert(1)".into()), ..config() };
    let error = Tracker::bind(wrong, world.log.clone(), world.registry.clone()).err().unwrap();
    assert!(matches!(&error, BindError::Config(errors) if errors.len() == 2), "{error}");
    world.stop();
}

#[test]
fn the_admin_can_purge_and_fill() {
    let world = World::start(config(), SAMPLES);
    let statistics = crate::world::block_on(world.admin.catalog());
    assert_eq!((statistics.entries, statistics.loaded), (3, true));
    crate::world::block_on(world.admin.purge(None));
    assert_eq!(crate::world::block_on(world.admin.catalog()).entries, 0);
    assert!(world.get("/event/212312").starts_with("HTTP/1.1 200"), "read from the registry");
    assert_eq!(crate::world::block_on(world.admin.catalog()).entries, 1);
    assert_eq!(crate::world::block_on(world.admin.fill()).unwrap(), 3);
    assert_eq!(crate::world::block_on(world.admin.catalog()).entries, 3);
    world.stop();
}

#[test]
fn an_unwanted_body_does_not_delay_the_answer() {
    let world = World::start(config(), SAMPLES);
    let began = Instant::now();
    for framing in ["Content-Length: 1000000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\nff\r\nabc"] {
        let mut stream = TcpStream::connect(world.address).unwrap();
        write!(stream, "GET /event/212312 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{framing}").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200", "{framing}");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    assert_eq!(world.stop().events.len(), 2);
}

#[test]
fn a_decision_can_be_asked_for_without_a_tracker_that_serves() {
    let world = World::start(config(), SAMPLES);
    let decider = Decider::standalone(config(), world.registry.clone()).unwrap();
    let explain = |url: &str| {
        let request = ExplainRequest { method: "GET".into(), url: url.into(), headers: vec![], at_ms: None };
        crate::world::block_on(decider.explain(&request))
    };
    assert_eq!(explain("/c/212312").unwrap().decision, Decision::Accepted);
    assert_eq!(explain("https://t.example/c/212312?x=%").unwrap().decision, Decision::Accepted);
    assert!(
        explain("/health/live")
            .unwrap_err()
            .to_string()
            .contains("is not a path of /event, /i, /c, /v or /b")
    );
    assert!(explain("no url at all").is_err());
    world.stop();
}
