//! SIGTERM with 500 connections, each in another state: none holds the end up, and no answer is
//! torn.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::documents::{scrape, value};
use crate::wire::{Client, End, is_timeout, parse_all, shown};
use crate::world::{World, eventually};

const EVENT: &str = "GET /event/212312 HTTP/1.1\r\nHost: t\r\n\r\n";
const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
const TAG: &str = "GET /clickgate.js HTTP/1.1\r\nHost: t\r\n\r\n";
/// A pipeline whose answers fit into the buffers of the sockets.
const FEW: usize = 5;
/// One whose answers do not, while its requests do.
const MANY: usize = 20_000;
/// All deadlines of a connection together, and what a busy machine needs besides. Less than
/// `shutdown_timeout_seconds`, so that it is the deadlines that end it.
const OVER_WITHIN: Duration = Duration::from_secs(12);

/// Connections that have been sent `first`.
fn begun(address: SocketAddr, count: usize, first: &str) -> Vec<Client> {
    let begin = |_| {
        let mut client = Client::connect(address);
        client.send(first.as_bytes()).unwrap();
        client
    };
    (0..count).map(begin).collect()
}

/// A connection whose answers nobody takes, so that the tracker has one in its hands.
fn full(address: SocketAddr) -> Client {
    let client = Client::connect(address);
    client.socket().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let requests = TAG.repeat(MANY);
    let mut sent = 0;
    while sent < requests.len() {
        match client.socket().write(&requests.as_bytes()[sent..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if is_timeout(&error) => break,
            Err(error) => panic!("{error}"),
        }
    }
    client
}

/// Asks again as soon as it is answered, until it is told that this was the last answer.
fn busy(address: SocketAddr, told: &AtomicBool) -> Result<(), End> {
    let mut client = Client::connect(address);
    loop {
        let _ = client.send(EVENT.as_bytes());
        if client.answer(false)?.closes() {
            told.store(true, Ordering::Relaxed);
            return match client.end() {
                End::Closed => Ok(()),
                end => Err(end),
            };
        }
    }
}

/// Reads a connection to its end: only whole answers, `count` of them if that is known.
fn expect_whole(state: &str, mut client: Client, count: Option<usize>) {
    let (bytes, end) = client.rest();
    let (answers, torn) = parse_all(&bytes, |_| false);
    assert_eq!(torn, None, "{state}");
    assert_eq!(end, End::Closed, "{state}: after {}", shown(&bytes));
    assert!(count.is_none_or(|count| answers.len() == count), "{state}: {} answers", answers.len());
}

#[test]
fn sigterm_with_connections_in_every_state_ends_in_time_and_tears_no_answer() {
    let world = World::new()
        .with("tracker.workers", "2")
        .with("tracker.client_request_timeout_ms", "4000")
        .with("tracker.client_body_timeout_ms", "4000")
        .with("tracker.client_disconnect_timeout_ms", "1000")
        .with("tracker.shutdown_timeout_seconds", "20")
        .with("drain.linger_ms", "0");
    let up = world.start("up");
    let tracker = up.tracker;

    let answered = |scraped: &str| {
        value(scraped, "clickgate_requests_total{route=\"event\",outcome=\"accepted\"}") as usize
    };
    let few = begun(tracker, 100, &EVENT.repeat(FEW));
    eventually("the pipelines that fit are answered", || answered(&scrape(&up)) == 100 * FEW);

    let sized = "POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n[";
    let chunked = "POST /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n[";
    let half = "GET /event/212312 HTTP/1.1\r\nHo";
    let states = [
        ("half a head", begun(tracker, 50, half)),
        ("half a head after an answer", begun(tracker, 50, &format!("{LIVE}{half}"))),
        ("half a body", begun(tracker, 50, sized)),
        ("half a chunk", begun(tracker, 50, chunked)),
        ("silent from the start", begun(tracker, 30, "")),
        ("idle", begun(tracker, 50, EVENT)),
    ];
    let told = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..100)
        .map(|_| {
            let told = Arc::clone(&told);
            std::thread::spawn(move || busy(tracker, &told))
        })
        .collect();
    let filled: Vec<_> = (0..20).map(|_| std::thread::spawn(move || full(tracker))).collect();
    let mut filled: Vec<_> = filled.into_iter().map(|client| client.join().unwrap()).collect();
    let never_read = filled.split_off(10);

    let began = Instant::now();
    let stopping = std::thread::spawn(move || (up.stop(), began.elapsed()));
    eventually("the busy ones are told", || told.load(Ordering::Relaxed));
    let readers: Vec<_> = filled
        .into_iter()
        .map(|client| std::thread::spawn(move || expect_whole("too much for the buffers", client, None)))
        .collect();
    few.into_iter().for_each(|client| expect_whole("unread answers that fit", client, Some(FEW)));
    for (state, clients) in states {
        clients.into_iter().for_each(|client| expect_whole(state, client, None));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    for client in busy {
        assert_eq!(client.join().unwrap(), Ok(()), "a busy connection");
    }
    let (status, after) = stopping.join().unwrap();
    assert!(after < OVER_WITHIN, "ended after {after:?}");
    assert_eq!(status.code(), Some(0), "what was acknowledged is stored");
    assert!(TcpStream::connect(tracker).is_err());
    drop(never_read);
}
