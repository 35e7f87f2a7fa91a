//! What became of each request and of each entry, as the proxy saw it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Entries of which a trace knows at most; the oldest are forgotten first.
pub const ENTRIES_MAX: usize = 500_000;

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// From 0, in the order in which answers were ready.
    pub number: u64,
    /// `PutRecords`.
    pub operation: String,
    pub began: Instant,
    /// Just before the first byte of the answer was sent, or the connection was reset.
    pub answered: Instant,
    /// Of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// What happened to it, by [`super::Fault::name`].
    pub faults: Vec<&'static str>,
    /// Whether the server got it, or a part of it.
    pub is_forwarded: bool,
    /// Of an operation that has entries, in their order.
    pub entries: Vec<Entry>,
    pub answer: AnswerFate,
}

/// An entry of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition key.
    pub key: String,
    /// Data and keys.
    pub bytes: usize,
    pub fate: EntryFate,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryFate {
    /// The server has it. A record of Kinesis is known by its sequence number.
    Stored { sequence_number: String },
    /// It failed with this code: by a rule, or at the server.
    Failed { code: String },
    /// The server never saw it, as the whole request was kept from it.
    NotForwarded,
    /// The whole request failed at the server.
    Refused,
    /// The server was asked and did not answer.
    Unknown,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFate {
    /// On its way.
    Underway,
    /// All of it was sent and the client was there.
    Reached,
    /// The same, but it does not say what became of the entries.
    Unreadable,
    /// The client does not have it: it was hidden, cut, or the client had hung up.
    Lost,
}

impl Exchange {
    /// The entries that the server has.
    pub fn stored(&self) -> impl Iterator<Item = (&Entry, &str)> {
        self.entries.iter().filter_map(|entry| match &entry.fate {
            EntryFate::Stored { sequence_number } => Some((entry, sequence_number.as_str())),
            _ => None,
        })
    }

    /// Whether the client cannot know that the server has done what it asked.
    pub fn is_lost_after_commit(&self) -> bool {
        let may_be_stored =
            |entry: &Entry| matches!(entry.fate, EntryFate::Stored { .. } | EntryFate::Unknown);
        let is_lost = matches!(self.answer, AnswerFate::Lost | AnswerFate::Unreadable);
        is_lost && self.is_forwarded && self.entries.iter().any(may_be_stored)
    }
}

/// A copy of what is known at a moment.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The last ones, oldest first.
    pub exchanges: Vec<Arc<Exchange>>,
    /// How many older ones were forgotten.
    pub forgotten: u64,
    /// Those with [`Exchange::is_lost_after_commit`], also when forgotten above.
    pub lost: Vec<Arc<Exchange>>,
    /// How many older ones of those were forgotten.
    pub lost_forgotten: u64,
}

impl Trace {
    /// The sequence numbers of records whose answers were lost: only these may come again.
    pub fn lost_sequence_numbers(&self) -> Vec<String> {
        self.lost.iter().flat_map(|exchange| exchange.stored().map(|(_, number)| number.to_owned())).collect()
    }

    /// The request in which each record was stored, by the record's sequence number.
    pub fn by_sequence_number(&self) -> HashMap<&str, &Exchange> {
        let mut found = HashMap::new();
        for exchange in &self.exchanges {
            found.extend(exchange.stored().map(|(_, number)| (number, &**exchange)));
        }
        found
    }

    /// Those of one operation.
    pub fn of(&self, operation: &str) -> Vec<&Exchange> {
        self.exchanges.iter().map(Arc::as_ref).filter(|exchange| exchange.operation == operation).collect()
    }
}

/// Writes the trace.
pub struct Recorder {
    known: Mutex<Known>,
    entries_max: usize,
}

#[derive(Default)]
struct Known {
    exchanges: VecDeque<Arc<Exchange>>,
    lost: VecDeque<Arc<Exchange>>,
    next: u64,
    entries: usize,
    lost_entries: usize,
    lost_forgotten: u64,
}

impl Recorder {
    /// One that knows of so many entries at most; a request without entries counts as one.
    pub fn new(entries_max: usize) -> Self {
        Self { known: Mutex::default(), entries_max }
    }

    pub fn trace(&self) -> Trace {
        let known = self.known.lock().unwrap();
        let exchanges: Vec<_> = known.exchanges.iter().cloned().collect();
        let forgotten = known.next - exchanges.len() as u64;
        let lost = known.lost.iter().cloned().collect();
        Trace { exchanges, forgotten, lost, lost_forgotten: known.lost_forgotten }
    }

    /// An answer is ready; what becomes of it is told later. It is known before the client has it.
    pub fn answer_is_ready(&self, mut exchange: Exchange) -> Arc<Exchange> {
        let mut known = self.known.lock().unwrap();
        exchange.number = known.next;
        known.next += 1;
        let exchange = Arc::new(exchange);
        let known = &mut *known;
        push(&mut known.exchanges, &mut known.entries, Arc::clone(&exchange), self.entries_max);
        exchange
    }

    /// What became of an answer; may be told again.
    pub fn answer_is(&self, exchange: &Exchange, fate: AnswerFate) -> Arc<Exchange> {
        let exchange = Arc::new(Exchange { answer: fate, ..exchange.clone() });
        let mut known = self.known.lock().unwrap();
        let first = known.next - known.exchanges.len() as u64;
        // It may be forgotten by now.
        if let Some(at) = exchange.number.checked_sub(first) {
            known.exchanges[at as usize] = Arc::clone(&exchange);
        }
        let is_known = |known: &Known| known.lost.iter().any(|lost| lost.number == exchange.number);
        if exchange.is_lost_after_commit() && !is_known(&known) {
            let known = &mut *known;
            let (lost, entries) = (&mut known.lost, &mut known.lost_entries);
            known.lost_forgotten += push(lost, entries, Arc::clone(&exchange), self.entries_max);
        }
        exchange
    }
}

/// Adds one and forgets the oldest ones beyond `entries_max`; returns how many those were.
fn push(
    to: &mut VecDeque<Arc<Exchange>>,
    entries: &mut usize,
    exchange: Arc<Exchange>,
    entries_max: usize,
) -> u64 {
    *entries += weight(&exchange);
    to.push_back(exchange);
    let mut forgotten = 0;
    while *entries > entries_max {
        let oldest = to.pop_front().expect("it has entries");
        *entries -= weight(&oldest);
        forgotten += 1;
    }
    forgotten
}

fn weight(exchange: &Exchange) -> usize {
    exchange.entries.len().max(1)
}
