//! RFC 9110 and RFC 9112, row by row: the bytes sent, the expected answers, counters and log.
//!
//! A row is refused by the HTTP layer, or it is answered and its connection stays open or ends.
//! Behind a row whose connection ends stands one more hit, the canary: it must not be served,
//! because it may be a part of what was refused. Behind a row whose connection stays open a
//! health check is sent, which shows that both sides agree where the next request begins.

use std::collections::{BTreeMap, HashMap};

use stream::Level;
use tracker::{Config, Levels};

use crate::wire::{Answer, Client, End, shown};
use crate::world::{World, config};

mod bodies;
mod build;
mod chunked;
mod compliance;
mod malformed;
mod normalisation;
mod smuggling;

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");
/// Stands for the number of the row, see [`build`].
const ROW: &str = "ROW";
const CANARY: &str = "GET /event/212312?row=ROW&canary=1 HTTP/1.1\r\nHost: t\r\n\r\n";
const PROBE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
/// Beyond it a server may reset a connection instead of reading what it refused.
const LINGER_BYTES: usize = 512 * 1_024;

/// One case.
struct Row {
    name: &'static str,
    /// Where it is said, such as `9112 2.2`.
    section: &'static str,
    sent: Vec<u8>,
    answers: Vec<Said>,
    ends: Ends,
}

/// An answer that is expected.
struct Said {
    status: u16,
    /// Whether it answers a HEAD.
    to_head: bool,
    /// Whether it acknowledges an event.
    event: bool,
}

/// How a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It waits for the next request.
    Open,
    /// As `Open`, and the answer says so to an HTTP/1.0 client.
    KeptAlive,
    /// The last answer ends it.
    Closed,
    /// One more answer refuses what follows, under this name, and ends it.
    Refused(&'static str),
    /// Both would be right.
    Either,
}

/// A case without its expectation: name, section, bytes.
type Case = (&'static str, &'static str, Vec<u8>);

/// Cases that are answered alike. `200* HEAD:200 204*`: a GET with an event, a HEAD, a beacon
/// with an event.
fn answered(answers: &str, ends: Ends, cases: Vec<Case>) -> Vec<Row> {
    let said = |word: &str| {
        let (to_head, word) = word.strip_prefix("HEAD:").map_or((false, word), |word| (true, word));
        let (event, word) = word.strip_suffix('*').map_or((false, word), |word| (true, word));
        Said { status: word.parse().unwrap(), to_head, event }
    };
    let row = |(name, section, sent)| {
        let answers = answers.split_whitespace().map(said).collect();
        Row { name, section, sent, answers, ends }
    };
    cases.into_iter().map(row).collect()
}

/// Cases that the HTTP layer refuses under one name.
fn refused(error: &'static str, cases: Vec<Case>) -> Vec<Row> {
    answered("", Ends::Refused(error), cases)
}

fn status_of(error: &str) -> u16 {
    match error {
        "malformed_request" | "bad_target" | "bad_host" | "bad_framing" | "bad_chunk" => 400,
        "line_too_long" => 414,
        "unsupported_expectation" => 417,
        "headers_too_large" => 431,
        "unsupported_method" | "unsupported_transfer_coding" => 501,
        "unsupported_version" => 505,
        other => panic!("{other} is no name of a refusal"),
    }
}

impl Row {
    fn sent(&self, number: usize) -> Vec<u8> {
        let canary = match self.ends {
            Ends::Closed | Ends::Refused(_) => CANARY,
            Ends::Open | Ends::KeptAlive | Ends::Either => "",
        };
        let mut sent = [&self.sent, canary.as_bytes()].concat();
        let number = format!("{number:03}");
        for at in 0..sent.len().saturating_sub(ROW.len() - 1) {
            if sent[at..].starts_with(ROW.as_bytes()) {
                sent[at..at + ROW.len()].copy_from_slice(number.as_bytes());
            }
        }
        sent
    }

    fn is_old(&self) -> bool {
        self.sent.windows(11).any(|bytes| bytes == b" HTTP/1.0\r\n")
    }

    fn events(&self) -> usize {
        self.answers.iter().filter(|said| said.event).count()
    }

    /// Everything that is not as it should be.
    fn run(&self, world: &World, number: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let before = counted(world);
        let mut client = Client::connect(world.address);
        // A refusal may come before all of it is sent.
        let _ = client.send(&self.sent(number));
        let mut last = None;
        for (nth, said) in self.answers.iter().enumerate() {
            match client.answer(said.to_head) {
                Ok(answer) => {
                    wrong.extend(said.differs(&answer).map(|what| format!("answer {nth}: {what}")));
                    last = Some(answer);
                }
                Err(end) => return vec![format!("instead of answer {nth}, {}: {end:?}", said.status)],
            }
        }
        wrong.extend(self.goes_on(&mut client, last.as_ref()));
        if wrong.is_empty() {
            wrong.extend(self.is_miscounted(world, &before));
        }
        wrong
    }

    fn goes_on(&self, client: &mut Client, last: Option<&Answer>) -> Option<String> {
        let closes = last.is_some_and(Answer::closes);
        match self.ends {
            Ends::Either => return None,
            Ends::Open | Ends::KeptAlive => {
                if closes {
                    return Some("the answer says close".into());
                }
                let kept = last.and_then(|answer| answer.header("connection"));
                if self.ends == Ends::KeptAlive
                    && kept.is_none_or(|it| !it.eq_ignore_ascii_case("keep-alive"))
                {
                    return Some(format!("to HTTP/1.0 it says connection: {kept:?}"));
                }
                let _ = client.send(PROBE);
                return match client.answer(false) {
                    Ok(answer) if answer.body == b"live\n" => None,
                    other => Some(format!("the next request got {other:?}")),
                };
            }
            // To HTTP/1.0 it goes without saying.
            Ends::Closed if !closes && !self.is_old() => {
                return Some("the last answer does not say close".into());
            }
            Ends::Closed => {}
            Ends::Refused(error) => match client.answer(false) {
                Ok(answer) if answer.status != status_of(error) || answer.error() != Some(error) => {
                    return Some(format!("got {} {}", answer.status, answer.text()));
                }
                Ok(answer) if !answer.closes() => return Some("the refusal does not say close".into()),
                Ok(_) => {}
                Err(end) => return Some(format!("no answer: {end:?}")),
            },
        }
        match client.end() {
            End::Closed => None,
            End::Reset(rest) if rest.is_empty() && self.sent.len() > LINGER_BYTES => None,
            other => Some(format!("the end is {other:?}")),
        }
    }

    /// Waits until each answer is counted, once and under its name.
    fn is_miscounted(&self, world: &World, before: &Counts) -> Option<String> {
        let mut expected = Counts::default();
        let answers = self.answers.iter().filter(|said| said.status >= 200).count() as u64;
        expected.requests = answers + u64::from(matches!(self.ends, Ends::Open | Ends::KeptAlive));
        match self.ends {
            // The request is known by then: it is a beacon.
            Ends::Refused("bad_chunk") => expected.requests += 1,
            Ends::Refused(error) => {
                expected.malformed.insert(format!("{MALFORMED}{{reason={error}}}"), 1);
            }
            _ => {}
        }
        let mut found = Counts::default();
        for _ in 0..200 {
            found = counted(world).since(before);
            if found == expected {
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Some(format!("counted {found:?} instead of {expected:?}"))
    }
}

impl Said {
    fn differs(&self, answer: &Answer) -> Option<String> {
        if answer.status != self.status {
            return Some(format!("{} {} instead of {}", answer.status, answer.text(), self.status));
        }
        let allowed = answer.header("allow").is_some();
        (self.status == 405 && !allowed).then(|| "405 without Allow".into())
    }
}

const MALFORMED: &str = "clickgate_http_malformed_total";

/// What a row may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Over all routes and outcomes.
    requests: u64,
    malformed: BTreeMap<String, u64>,
}

impl Counts {
    fn since(mut self, before: &Self) -> Self {
        self.requests -= before.requests;
        for (name, count) in &mut self.malformed {
            *count -= before.malformed.get(name).unwrap_or(&0);
        }
        self.malformed.retain(|_, count| *count > 0);
        self
    }
}

fn counted(world: &World) -> Counts {
    let counters = world.counters();
    let named = |prefix: &'static str| counters.iter().filter(move |(name, _)| name.starts_with(prefix));
    Counts {
        requests: named("clickgate_requests_total").map(|(_, count)| count).sum(),
        malformed: named(MALFORMED).map(|(name, count)| (name.clone(), *count)).collect(),
    }
}

/// Runs the rows of a family, one connection each, and lists every row that is not as it should be.
fn hold(rows: Vec<Row>) {
    let written = Levels { conversion: Level::Written, beacon: Level::Written, ..Levels::default() };
    let world = World::start(Config { workers: 1, levels: written, ..config() }, SAMPLES);
    let mut wrong: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        let found = row.run(&world, number);
        if !found.is_empty() {
            wrong.entry(number).or_default().extend(found);
        }
    }
    let mut events: HashMap<usize, usize> = HashMap::new();
    for event in world.stop().events {
        let parameter = |name: &str| event.parameters.iter().find(|parameter| parameter.name == name);
        let Some(row) = parameter("row") else { continue };
        let number = row.value.parse().unwrap();
        *events.entry(number).or_default() += 1;
        if parameter("canary").is_some() {
            wrong.entry(number).or_default().push("what stands behind it was served".into());
        }
    }
    for (number, row) in rows.iter().enumerate() {
        let found = events.get(&number).copied().unwrap_or(0);
        if found != row.events() {
            wrong.entry(number).or_default().push(format!("{found} events instead of {}", row.events()));
        }
    }
    let described: Vec<_> = wrong
        .iter()
        .map(|(number, found)| {
            let Row { name, section, sent, .. } = &rows[*number];
            format!("{name} (RFC {section})\n    {}\n    sent {}", found.join("\n    "), shown(sent))
        })
        .collect();
    assert!(
        described.is_empty(),
        "{} of {} rows are wrong:\n  {}",
        described.len(),
        rows.len(),
        described.join("\n  ")
    );
}
