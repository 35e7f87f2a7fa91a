//! Ten thousand mutated requests, sent to ours and to hyper: each disagreement must have a reason
//! that is documented here.
//!
//! Compared is how many requests of a connection were served before one was refused. Behind each
//! changed request stands a plain one: if two servers see its end in different places, they
//! disagree about that one. The reasons are predicates on the bytes; what none of them explains
//! fails, and is shown. `CLICKGATE_DIFFERENTIAL_REQUESTS` sets how many there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tracker::Config;

use crate::wire::{Answer, Client, shown};
use crate::world::{World, config};

mod mutate;
mod reasons;
mod reference;

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");
const REQUESTS: u64 = 12_000;
const THREADS: u64 = 4;
const NEXT: &[u8] = b"GET /i/212312 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

/// What a server made of one connection.
#[derive(Debug)]
pub struct Heard {
    /// Answers to requests that were understood.
    pub served: Vec<Answer>,
    /// The answer to one that was not.
    pub refused: Option<Answer>,
}

/// A request with what both made of it.
pub struct Case {
    pub bytes: Vec<u8>,
    pub ours: Heard,
    pub theirs: Heard,
}

impl Case {
    /// Whether both served as many, and ours refused what hyper refused.
    fn agrees(&self) -> bool {
        let as_many = self.ours.served.len() == self.theirs.served.len();
        // Hyper also refuses in silence, by closing.
        as_many && (self.ours.refused.is_some() || self.theirs.refused.is_none())
    }
}

/// Sends `bytes`, says that this was all, and reads what is answered until the end.
fn ask(address: SocketAddr, bytes: &[u8], is_served: impl Fn(&Answer) -> bool) -> Heard {
    let mut client = Client::connect(address);
    let _ = client.send(bytes);
    client.finish();
    let (mut rest, _) = client.rest();
    let mut heard = Heard { served: Vec::new(), refused: None };
    while !rest.is_empty() {
        let (answer, length) = next_answer(&rest).unwrap_or_else(|| {
            panic!("{} got what is no answer: {}", shown(bytes), shown(&rest));
        });
        rest.drain(..length);
        match answer.status {
            100..200 => {}
            _ if is_served(&answer) => heard.served.push(answer),
            _ => heard.refused = Some(answer),
        }
    }
    heard
}

/// It is unknown here which answer is to a HEAD, but no body begins like an answer.
fn next_answer(bytes: &[u8]) -> Option<(Answer, usize)> {
    let without_body = Answer::parse(bytes, true).ok()??;
    let rest = &bytes[without_body.1..];
    if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
        return Some(without_body);
    }
    Answer::parse(bytes, false).ok()?
}

/// The names by which ours refuses what it cannot read.
const REFUSALS: [&str; 11] = [
    "malformed_request",
    "bad_target",
    "bad_host",
    "bad_framing",
    "bad_chunk",
    "unsupported_transfer_coding",
    "unsupported_version",
    "unsupported_method",
    "unsupported_expectation",
    "line_too_long",
    "headers_too_large",
];

fn is_served_by_ours(answer: &Answer) -> bool {
    !answer.error().is_some_and(|error| REFUSALS.contains(&error))
}

fn is_served_by_hyper(answer: &Answer) -> bool {
    answer.header(reference::SERVED).is_some()
}

fn requests() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let requests = std::env::var("CLICKGATE_DIFFERENTIAL_REQUESTS");
    requests
        .map_or(REQUESTS, |requests| requests.parse().expect("CLICKGATE_DIFFERENTIAL_REQUESTS is a number"))
}

fn compare(ours: SocketAddr, theirs: SocketAddr, request: Vec<u8>) -> Case {
    let bytes = [&request, NEXT].concat();
    Case {
        ours: ask(ours, &bytes, is_served_by_ours),
        theirs: ask(theirs, &bytes, is_served_by_hyper),
        bytes,
    }
}

fn described(case: &Case) -> String {
    let heard = |heard: &Heard| {
        let served: Vec<_> = heard.served.iter().map(|answer| answer.status).collect();
        let refused = heard.refused.as_ref().map(|answer| (answer.status, answer.text()));
        format!("served {served:?}, refused {refused:?}")
    };
    format!("{}\n    ours  {}\n    hyper {}", shown(&case.bytes), heard(&case.ours), heard(&case.theirs))
}

#[test]
fn both_agree_on_requests_with_nothing_wrong() {
    let world = World::start(config(), SAMPLES);
    let theirs = reference::start();
    for request in mutate::corpus() {
        let case = compare(world.address, theirs, request);
        assert!(case.agrees() && case.ours.served.len() == 2, "{}", described(&case));
    }
    world.stop();
}

#[test]
fn ours_and_hyper_differ_only_for_reasons_that_are_written_down() {
    let world = World::start(Config { workers: 2, ..config() }, SAMPLES);
    let ours = world.address;
    let theirs = reference::start();
    let corpus = mutate::corpus();
    let requests = requests();
    let found: Vec<(BTreeMap<&str, u64>, Vec<String>)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|seed| {
                let corpus = &corpus;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let mut explained = BTreeMap::new();
                    let mut unexplained = Vec::new();
                    for _ in 0..requests / THREADS {
                        let case = compare(ours, theirs, mutate::request(&mut random, corpus));
                        if case.agrees() {
                            *explained.entry("no difference").or_default() += 1;
                        } else if let Some(reason) = reasons::of(&case) {
                            *explained.entry(reason).or_default() += 1;
                        } else {
                            unexplained.push(described(&case));
                        }
                    }
                    (explained, unexplained)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut explained: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in found.iter().flat_map(|(explained, _)| explained) {
        *explained.entry(reason).or_default() += count;
    }
    println!("{explained:#?}");
    let unexplained: Vec<_> = found.iter().flat_map(|(_, unexplained)| unexplained).collect();
    assert!(
        unexplained.is_empty(),
        "{} of {requests} differ without a reason, such as\n  {}",
        unexplained.len(),
        unexplained.iter().take(25).map(|case| case.as_str()).collect::<Vec<_>>().join("\n  ")
    );
    assert!(explained["no difference"] > requests / 2, "most of them are no matter of opinion");
    let idle: Vec<_> = reasons::all().filter(|reason| !explained.contains_key(reason)).collect();
    // The rarest of them comes once in some 10,000.
    let is_long = requests >= 30 * REQUESTS;
    assert!(!is_long || idle.is_empty(), "nothing differs for these reasons any more: {idle:?}");
    world.stop();
}
