//! Clients that take without giving: they never read, never finish, or never stop. Each costs the
//! real process a bounded amount of memory, next to no time, and its descriptor for a while only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::usage::{Usage, cpu_while_silent};
use crate::wire::{Client, is_timeout};
use crate::world::{Process, World, eventually};

const MEMORY_GROWTH_MAX: usize = 32 << 20;
/// Of one core, while nobody asks for anything.
const SILENT_CPU_MAX: f64 = 0.05;
/// For a pixel beside a greedy client, on a machine that is busy with other tests.
const VICTIM_P99_MAX: Duration = Duration::from_millis(250);
/// Far more than the buffers of both kernels and of the tracker hold.
const ENDLESS_BYTES: usize = 32 << 20;
const LOG_BYTES_MAX: usize = 64 << 10;
const PIXEL: &str = "GET /i/212312 HTTP/1.1\r\nHost: t\r\n\r\n";
const TAG: &str = "GET /clickgate.js HTTP/1.1\r\nHost: t\r\n\r\n";

/// A tracker that knows its programs, with short deadlines.
fn tracker(world: &World) -> Process {
    world.start("up").stop();
    world.start("tracker")
}

fn impatient(head_ms: &str) -> World {
    World::new()
        .with("tracker.workers", "1")
        .with("tracker.client_request_timeout_ms", head_ms)
        .with("tracker.client_body_timeout_ms", "2500")
        .with("tracker.client_disconnect_timeout_ms", "500")
        .with("tracker.keep_alive_seconds", "3")
}

/// Pixels one after the other on one connection: the p99 of the time to an answer.
fn victim_p99(address: SocketAddr, pixels: usize) -> Duration {
    let mut client = Client::connect(address);
    let mut times: Vec<_> = (0..pixels)
        .map(|_| {
            let began = Instant::now();
            client.send(PIXEL.as_bytes()).unwrap();
            assert_eq!(client.answer(false).map(|answer| answer.status), Ok(200));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[pixels * 99 / 100]
}

/// Sends until nobody takes any more of it for 200 ms; what was sent.
fn send_until_blocked(mut socket: &TcpStream, requests: &str) -> usize {
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut sent = 0;
    while sent < ENDLESS_BYTES {
        match socket.write(&requests.as_bytes()[sent % requests.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if is_timeout(&error) => break,
            Err(_) => break,
        }
    }
    sent
}

fn expect_little(name: &str, process: &Process, before: &Usage) {
    let grown = Usage::of(process).memory_bytes.saturating_sub(before.memory_bytes);
    assert!(grown < MEMORY_GROWTH_MAX, "{name}: {} MiB more", grown >> 20);
}

/// The sockets of clients are closed after the deadlines, although they still hold their ends.
fn expect_given_back(name: &str, process: &Process, before: &Usage) {
    eventually(&format!("{name}: the sockets are closed"), || Usage::of(process).sockets <= before.sockets);
}

/// Pipelines and never reads, then is silent.
fn never_reads(name: &str, requests_of: impl Fn(SocketAddr) -> String) {
    let world = impatient("4000");
    let process = tracker(&world);
    let requests = requests_of(process.tracker).repeat(200);
    let before = Usage::at_rest(&process);
    let socket = TcpStream::connect(process.tracker).unwrap();
    let sent = send_until_blocked(&socket, &requests);
    expect_little(name, &process, &before);
    assert!(sent < ENDLESS_BYTES, "{name}: {sent} bytes of requests were read, and no answer was taken");
    let cpu = cpu_while_silent(&process, Duration::from_secs(2));
    assert!(cpu < SILENT_CPU_MAX, "{name}: {:.0} % of a core for a silent client", cpu * 100.0);
    let p99 = victim_p99(process.tracker, 200);
    assert!(p99 < VICTIM_P99_MAX, "{name}: others wait {p99:?}");
    expect_given_back(name, &process, &before);
}

#[test]
fn whoever_never_reads_preflights_costs_little() {
    never_reads("preflights", |_| "OPTIONS /b HTTP/1.1\r\nHost: t\r\n\r\n".into());
}

#[test]
fn whoever_never_reads_that_the_tag_is_not_modified_costs_little() {
    never_reads("304", |tracker| {
        let mut client = Client::connect(tracker);
        client.send(TAG.as_bytes()).unwrap();
        let answer = client.answer(false).unwrap();
        let etag = answer.header("etag").unwrap();
        format!("GET /clickgate.js HTTP/1.1\r\nHost: t\r\nIf-None-Match: {etag}\r\n\r\n")
    });
}

#[test]
fn whoever_never_reads_the_tag_costs_little() {
    // The health check once moved a connection to another implementation.
    never_reads("the tag", |_| format!("GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n{}", TAG.repeat(20)));
}

#[test]
fn those_who_begin_and_do_not_go_on_cost_little_and_are_let_go() {
    let world = impatient("2000");
    let process = tracker(&world);
    let before = Usage::at_rest(&process);
    let beacon = "POST /b HTTP/1.1\r\nHost: t\r\n";
    let after = |rest: &str| format!("GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n{rest}");
    let kinds: [(usize, String); 10] = [
        (500, PIXEL.into()),
        (500, after("")),
        (50, String::new()),
        (50, "GET /i/212312 HTTP/1.1\r\nX: ".into()),
        (50, after("GET /i/212312 HTTP/1.1\r\nX: ")),
        (50, format!("{beacon}Content-Length: 1000000\r\n\r\n[")),
        (50, after(&format!("{beacon}Content-Length: 1000000\r\n\r\n["))),
        (50, format!("{beacon}Transfer-Encoding: chunked\r\n\r\nfffff\r\n[")),
        (50, "POST /i/212312 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".into()),
        (50, after("\r\n\r\n")),
    ];
    let begun: Vec<TcpStream> = kinds
        .iter()
        .flat_map(|(count, first)| std::iter::repeat_n(first, *count))
        .map(|first| {
            let mut socket = TcpStream::connect(process.tracker).unwrap();
            socket.write_all(first.as_bytes()).unwrap();
            socket
        })
        .collect();
    // One that goes on, so that what stands before it in the queue has been accepted.
    victim_p99(process.tracker, 1);
    let cpu = cpu_while_silent(&process, Duration::from_secs(1));
    assert!(cpu < SILENT_CPU_MAX, "{:.0} % of a core for {} silent clients", cpu * 100.0, begun.len());
    expect_little("all together", &process, &before);
    // They still hold their ends.
    expect_given_back("all together", &process, &before);
    let p99 = victim_p99(process.tracker, 200);
    assert!(p99 < VICTIM_P99_MAX, "others wait {p99:?}");
    drop(begun);
}

#[test]
fn those_who_drip_are_let_go_as_well() {
    let world = impatient("1000");
    let process = tracker(&world);
    let before = Usage::at_rest(&process);
    let beacon = "POST /b HTTP/1.1\r\nHost: t\r\n";
    let live = "GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
    let drips = [
        ("", "\r\n"),
        (live, "\r\n"),
        ("GET /i/212312 HTTP/1.1\r\nX: ", "x"),
        (&format!("{live}GET /i/212312 HTTP/1.1\r\nX: "), "x"),
        (&format!("{beacon}Content-Length: 1000000\r\n\r\n"), " "),
        (&format!("{beacon}Transfer-Encoding: chunked\r\n\r\n"), "1\r\n \r\n"),
        ("POST /i/212312 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
    ]
    .map(|(first, drip)| {
        let mut socket = TcpStream::connect(process.tracker).unwrap();
        socket.write_all(first.as_bytes()).unwrap();
        (socket, drip)
    });
    let until = Instant::now() + Duration::from_secs(10);
    while Usage::of(&process).sockets > before.sockets {
        assert!(Instant::now() < until, "some are still open");
        for (mut socket, drip) in drips.iter().map(|(socket, drip)| (socket, drip)) {
            let _ = socket.write_all(drip.as_bytes());
        }
        // The pace of the drip.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn whoever_reads_one_byte_a_second_is_let_go() {
    let world = impatient("2000");
    let process = tracker(&world);
    let before = Usage::at_rest(&process);
    let mut socket = TcpStream::connect(process.tracker).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    send_until_blocked(&socket, &TAG.repeat(200));
    let until = Instant::now() + Duration::from_secs(10);
    while Usage::of(&process).sockets > before.sockets {
        assert!(Instant::now() < until, "it is still open");
        let _ = socket.read(&mut [0]);
        // The pace of the client.
        std::thread::sleep(Duration::from_secs(1));
    }
    expect_little("one byte a second", &process, &before);
}

/// Lets threads end also when the test fails.
struct SetWhenDropped<'f>(&'f AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whoever_pipelines_for_ever_leaves_room_for_others() {
    let world = impatient("2000");
    let process = tracker(&world);
    let before = Usage::at_rest(&process);
    let done = AtomicBool::new(false);
    let requests = format!("{PIXEL}{TAG}OPTIONS /b HTTP/1.1\r\nHost: t\r\n\r\n").repeat(500);
    std::thread::scope(|scope| {
        let _ends = SetWhenDropped(&done);
        for _ in 0..4 {
            let mut sending = TcpStream::connect(process.tracker).unwrap();
            let mut reading = sending.try_clone().unwrap();
            let (requests, done) = (&requests, &done);
            scope.spawn(move || while sending.write_all(requests.as_bytes()).is_ok() {});
            scope.spawn(move || {
                let mut answers = vec![0; 1 << 20];
                while !done.load(Ordering::Relaxed) && reading.read(&mut answers).unwrap() > 0 {}
                reading.shutdown(std::net::Shutdown::Both).unwrap();
            });
        }
        let p99 = victim_p99(process.tracker, 500);
        expect_little("four pipelines", &process, &before);
        assert!(p99 < VICTIM_P99_MAX, "others wait {p99:?}");
    });
    expect_given_back("four pipelines", &process, &before);
}

#[test]
fn a_name_of_any_length_is_refused_and_nothing_panics() {
    let world = impatient("2000");
    // Looks for panics when it is dropped.
    let process = tracker(&world);
    for bytes in [65_534, 65_535, 65_536, 65_537, 99_999, 1 << 20] {
        let mut client = Client::connect(process.tracker);
        let name = "n".repeat(bytes);
        let _ = client.send(format!("GET /event/212312 HTTP/1.1\r\nHost: t\r\n{name}: 1\r\n\r\n").as_bytes());
        let answer = client.answer(false);
        assert_eq!(answer.map(|answer| answer.status), Ok(431), "{bytes} bytes");
    }
    victim_p99(process.tracker, 1);
}

#[test]
fn twenty_thousand_requests_that_are_none_leave_a_short_log() {
    const REQUESTS: usize = 20_000;
    let world = impatient("2000");
    let process = tracker(&world);
    let (said_before, address) = (process.output().len(), process.tracker);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..REQUESTS / 4 {
                    let mut client = Client::connect(address);
                    client.send(b"\x16\x03\x01\x00\xa5 is no HTTP\r\n\r\n").unwrap();
                    assert_eq!(client.answer(false).map(|answer| answer.status), Ok(400));
                }
            });
        }
    });
    let said = process.output().len() - said_before;
    assert!(said < LOG_BYTES_MAX, "{said} bytes of log");
}
