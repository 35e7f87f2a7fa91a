//! As many programs as a region has, and as many hits at once on one that is not in memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::region::{all_know, edge, import, program, programs, put, revision};
use super::server::RedisServer;
use crate::documents::{scrape, value};
use crate::world::{Process, World, eventually};

const PROGRAMS: usize = 100_000;
const MISSES: usize = 10_000;

/// Makes the tracker forget a program.
fn forget(world: &World, tracker: &Process, id: &str) {
    let run = std::fs::read(world.data().join("run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
    let (token, body) = (run["token"].as_str().unwrap(), format!("{{\"program\":\"{id}\"}}"));
    let head = format!(
        "POST /cache/purge HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        tracker.admin,
        body.len()
    );
    let answer = crate::http::Client::open(tracker.admin).unwrap().send(&head).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_hundred_thousand_programs_are_loaded_and_ten_thousand_misses_of_one_are_one_read() {
    let Some(server) = RedisServer::start() else { return };
    let patient = |world: World| {
        world
            .with("registry.redis.response_timeout_ms", "60000")
            .with("tracker.catalog.registry_timeout_ms", "60000")
    };
    let (writer, first, second) = (edge(&server.url()), patient(edge(&server.url())), edge(&server.url()));
    let began = Instant::now();
    import(&writer, &programs(PROGRAMS, 1));
    let imported = began.elapsed();
    let began = Instant::now();
    let a = first.start("tracker");
    let started = began.elapsed();
    let b = second.start("tracker");
    for tracker in [&a, &b] {
        assert_eq!(value(&scrape(tracker), "clickgate_catalog_entries"), PROGRAMS as f64);
        assert_eq!(revision(tracker.tracker, "99999"), Some(1));
    }
    assert_eq!(value(&scrape(&a), "clickgate_catalog_misses_total"), 0.0);
    put(&writer, "99999", 2);
    all_know(&[&a, &b], "99999", 2);

    // Nobody gets an answer from Redis while the hits come, so all of them wait at once.
    forget(&first, &a, "7");
    let reads = Reads::watch(&server);
    server.pause();
    let request = format!("GET /event/7 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", a.tracker);
    let mut waiting = Vec::new();
    for _ in 0..connections() {
        let mut stream = TcpStream::connect(a.tracker).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        waiting.push(stream);
        // No more than the kernel keeps for a tracker that has to wait for its turn.
        if waiting.len().is_multiple_of(500) {
            eventually("all of them wait", || open_connections(&a) >= waiting.len());
        }
    }
    eventually("all of them wait", || open_connections(&a) >= waiting.len());
    assert_eq!(value(&scrape(&a), "clickgate_catalog_loads"), 1.0);
    server.resume();
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("rev 1"), "{answer}");
    }
    let scraped = scrape(&a);
    assert_eq!(value(&scraped, "clickgate_catalog_misses_total"), 1.0, "one read");
    assert_eq!(reads.of(&server, "7"), 1, "as Redis sees it");
    assert_eq!(value(&scraped, "clickgate_catalog_unverified_total"), 0.0);
    writer.ok(&["programs", "put", &program("7", 2)]);
    all_know(&[&a, &b], "7", 2);
    eprintln!("{PROGRAMS} programs: imported in {imported:?}, a tracker ready in {started:?}");
}

/// What Redis is asked for, as it says itself.
struct Reads(BufReader<TcpStream>);

impl Reads {
    fn watch(server: &RedisServer) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "+OK\r\n");
        Self(lines)
    }

    /// Readings of one program so far.
    fn of(mut self, server: &RedisServer, id: &str) -> usize {
        let (end, id) = ("\"ECHO\" \"that is all\"", format!("\"{id}\""));
        server.command(&["ECHO", "that is all"]);
        let (mut reads, mut line) = (0, String::new());
        while !line.contains(end) {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "Redis hung up");
            reads += usize::from(line.contains(" lua]") && line.contains("HGET") && line.contains(&id));
        }
        reads
    }
}

/// 10,000, or as many as this process may have.
fn connections() -> usize {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let room = limits.current.map_or(MISSES, |most| usize::try_from(most).unwrap_or(usize::MAX) - 500);
    if room < MISSES {
        eprintln!("only {room} concurrent misses: raise the limit of open files for {MISSES}");
    }
    room.min(MISSES)
}

/// Files and sockets of the tracker.
fn open_connections(tracker: &Process) -> usize {
    value(&scrape(tracker), "process_open_fds") as usize
}
