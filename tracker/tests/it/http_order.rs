//! One request at a time: the next is read after the answer, and a body only if its route takes one.

use std::io::Write;
use std::time::{Duration, Instant};

use stream::Level;
use tracker::{Config, Levels};

use crate::wire::{Answer, Client, is_timeout};
use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");
const ENTRY: &str = r#"{"program": "212312", "type": "click"}"#;

/// Far more than the buffers of both kernels and of the tracker hold.
const ENDLESS_BYTES: usize = 48 << 20;

/// The tag's current ETag.
pub fn etag(world: &World) -> String {
    let mut client = Client::connect(world.address);
    client.send(b"GET /clickgate.js HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    client.answer(false).unwrap().header("etag").unwrap().to_owned()
}

#[test]
fn nothing_more_is_read_while_an_answer_is_not_taken_and_the_connection_ends() {
    let world = World::start(Config { client_request_timeout_ms: 1_000, ..config() }, SAMPLES);
    let not_modified =
        format!("GET /clickgate.js HTTP/1.1\r\nHost: t\r\nIf-None-Match: {}\r\n\r\n", etag(&world));
    let requests = [
        ("a preflight", "OPTIONS /b HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("a tag that is known", &not_modified),
        ("a tag", "GET /clickgate.js HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("a HEAD", "HEAD /example HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("a pixel", "GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n"),
    ];
    std::thread::scope(|scope| {
        for (name, request) in requests {
            let address = world.address;
            scope.spawn(move || send_and_never_read(name, &request.repeat(500), address));
        }
    });
    let timeouts = "clickgate_http_timeouts_total{state=answer}";
    world.eventually("counted", |world| world.counters().get(timeouts) == Some(&(requests.len() as u64)));
    world.stop();
}

fn send_and_never_read(name: &str, requests: &str, address: std::net::SocketAddr) {
    let client = Client::connect(address);
    client.socket().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    let mut blocked = false;
    let until = Instant::now() + Duration::from_secs(8);
    loop {
        assert!(Instant::now() < until, "{name}: kept open although its answers are not taken");
        match client.socket().write(&requests.as_bytes()[sent % requests.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if is_timeout(&error) => blocked = true,
            Err(_) => break,
        }
        assert!(sent < ENDLESS_BYTES, "{name}: {sent} bytes of requests were read, and no answer was taken");
    }
    assert!(blocked, "{name}: it was cut off before it had to wait");
}

/// A head that expects `100 Continue`.
fn expecting(version: &str, framing: &str) -> String {
    format!("POST /b HTTP/{version}\r\nHost: t\r\nExpect: 100-Continue\r\n{framing}\r\n\r\n")
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_its_body_is_read() {
    let written = Levels { beacon: Level::Written, ..Levels::default() };
    let world = World::start(Config { levels: written, ..config() }, SAMPLES);
    let length = format!("Content-Length: {}", ENTRY.len());
    let chunks = format!("{:x}\r\n{ENTRY}\r\n0\r\n\r\n", ENTRY.len());
    let bodies = [(length.as_str(), ENTRY), ("Transfer-Encoding: chunked", chunks.as_str())];
    for (framing, body) in bodies {
        let mut client = Client::connect(world.address);
        // Twice, as a connection remembers nothing of the first time.
        for _ in 0..2 {
            client.send(expecting("1.1", framing).as_bytes()).unwrap();
            let interim = client.answer(false).unwrap();
            assert_eq!((interim.status, interim.headers.len()), (100, 0), "{interim:?}");
            client.send(body.as_bytes()).unwrap();
            assert_eq!(client.answer(false).map(|answer| answer.status), Ok(204), "{framing}");
        }
    }
    // HTTP/1.0 knows no 100.
    let mut old = Client::connect(world.address);
    old.send(format!("{}{ENTRY}", expecting("1.0", &length)).as_bytes()).unwrap();
    assert_eq!(old.answer(false).map(|answer| answer.status), Ok(204));
    assert_eq!(world.stop().events.len(), 5);
}

#[test]
fn an_answer_comes_before_the_next_request_is_looked_at() {
    let world = World::start(config(), SAMPLES);
    let mut client = Client::connect(world.address);
    let hit = "GET /event/212312 HTTP/1.1\r\nHost: t\r\n\r\n";
    let beacon = format!("POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{ENTRY}", ENTRY.len());
    // The third is refused, and the first two are answered all the same.
    client.send(format!("{hit}{beacon}GET * HTTP/1.1\r\nHost: t\r\n\r\n{hit}").as_bytes()).unwrap();
    let answers: Vec<Answer> = (0..3).map(|_| client.answer(false).unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 204, 400]);
    assert_eq!(answers[2].error(), Some("bad_target"));
    assert_eq!(client.end(), crate::wire::End::Closed);
    assert_eq!(world.stop().events.len(), 2);
}
