//! A connection cannot stay in any state for ever, whatever the client does.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracker::Config;

use crate::wire::{Answer, Client, is_timeout, parse_all};
use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

const HEAD_MS: u64 = 400;
const BODY_MS: u64 = 1_200;
const IDLE_MS: u64 = 1_000;
/// All limits together and what a busy machine needs besides.
const OVER_AFTER: Duration = Duration::from_secs(6);
/// Between two pieces of a client that is slow on purpose.
const PACE: Duration = Duration::from_millis(30);

const HIT: &str = "GET /i/212312 HTTP/1.1\r\nHost: t\r\n";
const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
const BEACON: &str = "POST /b HTTP/1.1\r\nHost: t\r\n";

/// How a client keeps a connection where it is.
struct State {
    name: &'static str,
    first: String,
    /// Sent again and again, if it is not empty.
    drip: &'static str,
    /// What it is answered, in order; `None` for whatever ends it.
    statuses: Option<&'static [u16]>,
    /// The name in the last answer, if that says nothing more.
    error: &'static str,
    /// It is not over before.
    least_ms: u64,
}

fn state(name: &'static str, first: impl Into<String>, drip: &'static str) -> State {
    State { name, first: first.into(), drip, statuses: None, error: "", least_ms: 0 }
}

impl State {
    fn answered(self, statuses: &'static [u16], error: &'static str, least_ms: u64) -> Self {
        Self { statuses: Some(statuses), error, least_ms, ..self }
    }
}

fn heads() -> Vec<State> {
    let half = "GET /i/212312 HTTP/1.1\r\nX: ";
    let slow = |state: State| state.answered(&[408], "slow_head", HEAD_MS);
    let slow_later = |state: State| state.answered(&[200, 408], "slow_head", HEAD_MS);
    vec![
        slow(state("nothing at all", "", "")),
        slow(state("half a request line", "GET /i/21", "")),
        slow(state("half a head", half, "")),
        slow(state("half a head, dripped", half, "x")),
        slow(state("headers without end", HIT, "X: 1\r\n")),
        slow(state("all but the last byte", format!("{HIT}\r"), "")),
        slow_later(state("half a head after an answer", format!("{LIVE}{half}"), "")),
        slow_later(state("half a head after an answer, dripped", format!("{LIVE}{half}"), "x")),
        slow_later(state("half a head after a hit", format!("{HIT}\r\n{half}"), "")),
        slow_later(state("half a head after a hit, dripped", format!("{HIT}\r\n{half}"), "x")),
    ]
}

fn bodies() -> Vec<State> {
    let sized = format!("{BEACON}Content-Length: 100000\r\n\r\n");
    let chunked = format!("{BEACON}Transfer-Encoding: chunked\r\n\r\n");
    let stuck = |state: State| state.answered(&[408], "slow_body", HEAD_MS);
    let slow = |state: State| state.answered(&[408], "slow_body", BODY_MS);
    let let_in = format!("{BEACON}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    vec![
        stuck(state("no body", &*sized, "")),
        stuck(state("half a body", format!("{sized}[1, 2"), "")),
        slow(state("half a body, dripped", &*sized, " ")),
        stuck(state("no chunk", &*chunked, "")),
        stuck(state("half a chunk", format!("{chunked}ff\r\n[1, 2"), "")),
        stuck(state("half a size", format!("{chunked}f"), "")),
        slow(state("chunks without end", &*chunked, "1\r\n \r\n")),
        slow(state("a size without end", &*chunked, "0")),
        slow(state("trailers without end", format!("{chunked}0\r\nX: "), "x")),
        state("let in and nothing comes", let_in, "").answered(&[100, 408], "slow_body", HEAD_MS),
        state("half a body after an answer", format!("{LIVE}{sized}["), "").answered(
            &[200, 408],
            "slow_body",
            HEAD_MS,
        ),
    ]
}

fn others() -> Vec<State> {
    let unread = "POST /i/212312 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        state("idle after an answer", LIVE, "").answered(&[200], "", IDLE_MS),
        state("idle after a hit", format!("{HIT}\r\n"), "").answered(&[200], "", IDLE_MS),
        state("line breaks", "", "\r\n"),
        state("line breaks after an answer", LIVE, "\r\n"),
        state("line breaks after a hit", format!("{HIT}\r\n"), "\r\n"),
        state("unread chunks", unread, "1\r\n \r\n").answered(&[405], "method_not_allowed", 0),
        state("unread chunks, after an answer", format!("{LIVE}{unread}"), "1\r\n \r\n").answered(
            &[200, 405],
            "method_not_allowed",
            0,
        ),
        state("an unread body", format!("{HIT}Content-Length: 1000000\r\n\r\n"), "x").answered(&[200], "", 0),
        state("more after the last answer", format!("{HIT}Connection: close\r\n\r\n"), LIVE).answered(
            &[200],
            "",
            0,
        ),
        state("more after a refusal", "GET * HTTP/1.1\r\nHost: t\r\n\r\n", "x").answered(
            &[400],
            "bad_target",
            0,
        ),
        state("more after a body that is too large", format!("{BEACON}Content-Length: 2000000\r\n\r\n"), "x")
            .answered(&[413], "", 0),
    ]
}

impl State {
    /// What is wrong with how it ended.
    fn keep(&self, address: SocketAddr) -> Result<(), String> {
        let client = Client::connect(address);
        let mut socket = client.socket();
        socket.set_read_timeout(Some(PACE)).unwrap();
        let began = Instant::now();
        socket.write_all(self.first.as_bytes()).unwrap();
        let mut read = Vec::new();
        let mut bytes = [0; 4_096];
        loop {
            match socket.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => read.extend_from_slice(&bytes[..count]),
                Err(error) if is_timeout(&error) => {
                    // Whether it could be sent shows in what is read.
                    let _ = socket.write_all(self.drip.as_bytes());
                }
                Err(_) => break,
            }
            if began.elapsed() > OVER_AFTER {
                return Err(format!(
                    "still open after {OVER_AFTER:?}, having said {}",
                    crate::wire::shown(&read)
                ));
            }
        }
        let after = began.elapsed();
        let (answers, torn) = parse_all(&read, |_| false);
        if let Some(torn) = torn {
            return Err(format!("{torn:?}"));
        }
        // Timers may ring a little early, and the clocks are two.
        if after + Duration::from_millis(50) < Duration::from_millis(self.least_ms) {
            return Err(format!("over after {after:?} already, with {answers:?}"));
        }
        let Some(statuses) = self.statuses else { return Ok(()) };
        let said: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        let error = answers.last().and_then(Answer::error).unwrap_or_default();
        if said != statuses || error != self.error {
            return Err(format!("answered {said:?} {error:?} instead of {statuses:?} {:?}", self.error));
        }
        Ok(())
    }
}

#[test]
fn every_state_of_a_connection_has_an_end() {
    let world = World::start(
        Config {
            client_request_timeout_ms: HEAD_MS,
            client_body_timeout_ms: BODY_MS,
            client_disconnect_timeout_ms: 400,
            keep_alive_seconds: IDLE_MS / 1_000,
            ..config()
        },
        SAMPLES,
    );
    let states: Vec<State> = [heads(), bodies(), others()].into_iter().flatten().collect();
    let address = world.address;
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let kept: Vec<_> = states.iter().map(|state| scope.spawn(move || state.keep(address))).collect();
        let ends = kept.into_iter().map(|thread| thread.join().unwrap()).zip(&states);
        ends.filter_map(|(end, state)| Some(format!("{}: {}", state.name, end.err()?))).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n  {}", wrong.len(), states.len(), wrong.join("\n  "));

    let named = |error: &str| states.iter().filter(|state| state.error == error).count() as u64;
    for (state, count) in [("head", named("slow_head")), ("body", named("slow_body"))] {
        let name = format!("clickgate_http_timeouts_total{{state={state}}}");
        // Line breaks may be counted as a slow head or not: they are no part of one.
        world.eventually(&name, |world| {
            let counted = world.counters().get(&name).copied().unwrap_or(0);
            counted == count || (state == "head" && (count..=count + 3).contains(&counted))
        });
    }
    world.stop();
}
