//! What is counted, with every handle resolved once.
//!
//! Each request is in exactly one [`Outcome`] of one route, so the sum over
//! `clickgate_requests_total` is the number of requests; those that were refused before a route
//! saw them are in `clickgate_http_malformed_total`. A connection that never sends a whole head
//! made no request: it gets 408 and is in `clickgate_http_timeouts_total`. A beacon is one
//! request; its entries are in `clickgate_beacon_entries_total`. No program label: there are
//! 100,000 of them.

use metrics::{Counter, counter};
use programs::decision::Refusal;
use stream::Class;

use crate::{http::malformed::Malformed, request::routes::HitRoute};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// An event was put into the log, and reached the level of its route.
    Accepted,
    /// A rule refused it.
    Refused,
    /// The log had no room for its class, or the lane is poisoned.
    Shed,
    /// It was put into the log and did not reach its level.
    NotDurable,
    /// HEAD, a speculative request or a preflight: answered, no event.
    NotCounted,
    /// A method that the path does not have.
    WrongMethod,
    /// A beacon whose body is none, is too large, or did not arrive whole.
    Malformed,
    /// A beacon whose body took too long.
    Slow,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Refused,
        Self::Shed,
        Self::NotDurable,
        Self::NotCounted,
        Self::WrongMethod,
        Self::Malformed,
        Self::Slow,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Shed => "shed",
            Self::NotDurable => "not_durable",
            Self::NotCounted => "not_counted",
            Self::WrongMethod => "wrong_method",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
        }
    }
}

/// The state of a connection in which a client took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timeout {
    /// It did not send a whole head.
    Head,
    /// It did not send a whole body.
    Body,
    /// It did not take its answer.
    Answer,
}

impl Timeout {
    const ALL: [Self; 3] = [Self::Head, Self::Body, Self::Answer];

    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Answer => "answer",
        }
    }
}

/// The tracker's counters; shared by its workers.
pub struct Counters {
    hits: [[Counter; Outcome::ALL.len()]; HitRoute::ALL.len()],
    entries: [Counter; Outcome::ALL.len()],
    refused: [Counter; Refusal::ALL.len()],
    shed: [Counter; Class::ALL.len()],
    /// Health, robots and gpc.
    pub other: Counter,
    /// Paths that are none of ours.
    pub unknown_path: Counter,
    /// Paths outside the hit routes, asked with a method they do not have.
    pub wrong_method: Counter,
    malformed: [Counter; Malformed::ALL.len()],
    timeouts: [Counter; Timeout::ALL.len()],
    /// Refused hits that were only counted, not kept.
    pub rejected_not_kept: Counter,
    /// Parameters of recorded events that were beyond a limit.
    pub parameters_left_out: Counter,
}

impl Counters {
    /// Resolves the handles at the recorder of the calling thread.
    pub fn new() -> Self {
        let request =
            |route, outcome| counter!("clickgate_requests_total", "route" => route, "outcome" => outcome);
        Self {
            hits: HitRoute::ALL
                .map(|route| Outcome::ALL.map(|outcome| request(route.name(), outcome.name()))),
            entries: Outcome::ALL
                .map(|outcome| counter!("clickgate_beacon_entries_total", "outcome" => outcome.name())),
            refused: Refusal::ALL
                .map(|reason| counter!("clickgate_refused_total", "reason" => reason.name())),
            shed: Class::ALL.map(|class| counter!("clickgate_shed_total", "class" => class.name())),
            other: request("other", "served"),
            unknown_path: request("unknown", "not_found"),
            wrong_method: request("other", "wrong_method"),
            malformed: Malformed::ALL
                .map(|kind| counter!("clickgate_http_malformed_total", "reason" => kind.name())),
            timeouts: Timeout::ALL
                .map(|state| counter!("clickgate_http_timeouts_total", "state" => state.name())),
            rejected_not_kept: counter!("clickgate_rejected_not_kept_total"),
            parameters_left_out: counter!("clickgate_parameters_left_out_total"),
        }
    }

    /// Counts one request to a tracking route.
    pub fn hit(&self, route: HitRoute, outcome: Outcome) {
        self.hits[route as usize][outcome as usize].increment(1);
    }

    /// Counts one entry of a beacon, besides the request that brought it.
    pub fn entry(&self, outcome: Outcome) {
        self.entries[outcome as usize].increment(1);
    }

    /// Counts a reason, besides the hit's [`Outcome::Refused`].
    pub fn refused(&self, reason: Refusal) {
        self.refused[reason as usize].increment(1);
    }

    /// Counts a request that was refused before a route saw it.
    pub fn malformed(&self, kind: Malformed) {
        self.malformed[kind as usize].increment(1);
    }

    /// Counts a client that took too long.
    pub fn timeout(&self, state: Timeout) {
        self.timeouts[state as usize].increment(1);
    }

    /// Counts a class, besides the hit's [`Outcome::Shed`].
    pub fn shed(&self, class: Class) {
        self.shed[class as usize].increment(1);
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
