//! The life of a connection: pipelines, partial heads, timeouts, closing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use tracker::Config;

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

/// One connection on which requests are sent one after the other.
struct Client(TcpStream);

impl Client {
    fn connect(world: &World) -> Self {
        let socket = TcpStream::connect(world.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(socket)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Head and body of one answer.
    fn answer(&mut self) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.0.read(&mut byte).unwrap();
            assert_eq!(read, 1, "closed after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

#[test]
fn a_connection_takes_every_kind_of_request_and_no_byte_is_lost() {
    let world = World::start(config(), SAMPLES);
    let hit = "GET /event/212312 HTTP/1.1\r\nHost: t\r\n\r\n";
    for cut in 1..hit.len() {
        let mut client = Client::connect(&world);
        client.send(hit.as_bytes());
        assert!(client.answer().0.starts_with("HTTP/1.1 200"));
        // A whole hit and a part of the next one, and the rest after its answer.
        client.send(format!("{hit}{}", &hit[..cut]).as_bytes());
        assert!(client.answer().0.starts_with("HTTP/1.1 200"));
        client.send(
            format!("{}POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", &hit[cut..]).as_bytes(),
        );
        assert!(client.answer().0.starts_with("HTTP/1.1 200"), "{cut}");
        assert!(client.answer().0.starts_with("HTTP/1.1 4"), "{cut}: an empty beacon");
    }
    assert_eq!(world.stop().events.len(), 3 * (hit.len() - 1));
}

#[test]
fn a_head_may_come_byte_by_byte_and_be_as_large_as_we_allow() {
    let world = World::start(config(), SAMPLES);
    let mut client = Client::connect(&world);
    for byte in "GET /event/212312 HTTP/1.1\r\nHost: t\r\n\r\n".bytes() {
        client.send(&[byte]);
    }
    assert!(client.answer().0.starts_with("HTTP/1.1 200"));
    // Around the size of a buffer, beyond which a head claims memory of its own.
    for bytes in (8_180..8_204).chain([30_000]) {
        let mut client = Client::connect(&world);
        let request = "GET /event/212312 HTTP/1.1\r\nHost: t\r\nCookie: \r\n\r\n";
        let cookie = "c".repeat(bytes - request.len());
        client.send(request.replace("Cookie: ", &format!("Cookie: {cookie}")).as_bytes());
        assert!(client.answer().0.starts_with("HTTP/1.1 200"), "{bytes}");
        client.send(b"GET /event/212312 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert!(client.answer().0.starts_with("HTTP/1.1 200"), "{bytes}");
        assert!(client.is_closed());
    }
    assert_eq!(world.stop().events.len(), 1 + 2 * 25);
}

#[test]
fn pipelined_hits_are_answered_in_order_and_the_last_one_ends_the_connection() {
    let world = World::start(config(), SAMPLES);
    let mut client = Client::connect(&world);
    let ids = ["212312", "212313", "212314", "none", "212312"];
    let all: String = ids.map(|id| format!("GET /event/{id}?n=1 HTTP/1.1\r\nHost: t\r\n\r\n")).concat();
    let last = "GET /i/212312 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /i/212312 HTTP/1.1\r\n";
    client.send(format!("{all}{last}").as_bytes());
    for id in ids {
        let (_, body) = client.answer();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(&format!("\"programId\":\"{id}\"")) || id == "none", "{id}: {body}");
    }
    assert!(client.answer().0.contains("\r\nconnection: close\r\n"));
    assert!(client.is_closed());
    assert_eq!(world.stop().events.len(), 5);
}

#[test]
fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let world = World::start(Config { keep_alive_seconds: 1, ..config() }, SAMPLES);
    let mut client = Client::connect(&world);
    for _ in 0..2 {
        client.send(b"GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n");
        client.answer();
    }
    let began = Instant::now();
    assert!(client.is_closed());
    assert!(began.elapsed() > Duration::from_millis(900), "after {:?}", began.elapsed());
    world.stop();
}

#[test]
fn a_client_that_connects_and_says_nothing_is_told_so() {
    let world = World::start(Config { client_request_timeout_ms: 100, ..config() }, SAMPLES);
    let mut client = Client::connect(&world);
    let (head, _) = client.answer();
    assert!(
        head.starts_with("HTTP/1.1 408 Request Timeout\r\ncontent-length: 21\r\nconnection: close\r\n"),
        "{head}"
    );
    assert!(client.is_closed());
    world.stop();
}

#[test]
fn a_client_that_takes_no_answers_is_dropped_and_costs_a_bounded_amount() {
    let world = World::start(Config { client_request_timeout_ms: 200, ..config() }, SAMPLES);
    let mut client = Client::connect(&world);
    client.0.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let hits = b"GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100);
    // Both kernels' buffers fill up with unread answers, then with requests.
    let refused = (0..100_000).find_map(|_| client.0.write_all(&hits).err());
    let refused = refused.expect("an endless pipeline is not served");
    assert!(
        matches!(refused.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
        "{refused}"
    );
    world.stop();
}

#[test]
fn pipelines_of_hits_that_wait_for_nothing_let_others_have_their_turn() {
    let world = World::start(Config { workers: 1, ..config() }, SAMPLES);
    let address = world.address;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let done = std::sync::Arc::clone(&done);
            std::thread::spawn(move || {
                let mut sending = TcpStream::connect(address).unwrap();
                let mut reading = sending.try_clone().unwrap();
                let hits = b"GET /i/212312 HTTP/1.1\r\nHost: t\r\nPurpose: prefetch\r\n\r\n".repeat(2_000);
                let writer = std::thread::spawn(move || while sending.write_all(&hits).is_ok() {});
                let mut answers = vec![0; 1 << 20];
                while !done.load(std::sync::atomic::Ordering::Relaxed)
                    && reading.read(&mut answers).unwrap() > 0
                {}
                reading.shutdown(std::net::Shutdown::Both).unwrap();
                writer.join().unwrap();
            })
        })
        .collect();
    let pipelined = |world: &World| {
        world.counters().contains_key("clickgate_requests_total{route=impression,outcome=not_counted}")
    };
    world.eventually("busy", pipelined);
    let mut victim = Client::connect(&world);
    let until = Instant::now() + Duration::from_secs(2);
    let mut answers = 0;
    while Instant::now() < until {
        victim.send(b"GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n");
        victim.answer();
        answers += 1;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    println!("{answers} answers beside four pipelines");
    // Some 700; without yielding some 30.
    assert!(answers >= 100, "{answers} answers in 2 s");
    world.stop();
}

#[test]
fn line_breaks_between_requests_mean_nothing() {
    let world = World::start(Config { client_request_timeout_ms: 300, ..config() }, SAMPLES);
    let mut client = Client::connect(&world);
    client.send(b"\r\nGET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n\r\n");
    assert!(client.answer().0.starts_with("HTTP/1.1 200"));
    // Longer than a head may take: the line break did not begin one.
    client.0.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let nothing = client.0.read(&mut [0]).unwrap_err();
    assert!(matches!(nothing.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
    client.send(b"\r\n\nGET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(client.answer().0.starts_with("HTTP/1.1 200"));
    assert_eq!(world.stop().events.len(), 2);
}

#[test]
fn a_silent_client_does_not_delay_the_shutdown() {
    let world = World::start(config(), SAMPLES);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&world)).collect();
    for client in &mut clients[..10] {
        client.send(b"GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n");
        client.answer();
    }
    let began = Instant::now();
    world.stop();
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    assert!(clients[..10].iter_mut().all(Client::is_closed));
}
