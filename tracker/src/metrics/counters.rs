//! The tracker's counters, with every handle resolved once.
//!
//! Each request has exactly one [`Outcome`] on one route, so `clickgate_requests_total` sums up to
//! the number of requests; those refused before routing are in `clickgate_http_malformed_total`. A
//! connection that never sends a complete head makes no request: it gets a 408 and is in
//! `clickgate_http_timeouts_total`. A beacon is one request; its entries are in
//! `clickgate_beacon_entries_total`. There is no program label, as there are 100,000 programs.

use metrics::{Counter, counter};
use programs::decision::Refusal;
use stream::Class;

use crate::request::error::RequestError;
use crate::request::routes::HitRoute;

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// Its event was appended to the log and reached the level of its route.
    Accepted,
    /// A rule refused it.
    Refused,
    /// The log had no room for its class, or the lane is poisoned.
    Shed,
    /// Its event was appended to the log but did not reach its level.
    NotDurable,
    /// HEAD, a speculative request or a preflight: answered, no event.
    NotCounted,
    /// A method that the path does not support.
    WrongMethod,
    /// A beacon whose body is invalid, too large, or incomplete.
    Malformed,
    /// A beacon whose body arrived too slowly.
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

/// The state of a connection in which a client was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timeout {
    /// It did not send a complete head.
    Head,
    /// It did not send a complete body.
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
    /// Health checks, the tag and the other fixed pages.
    pub other: Counter,
    /// Unknown paths.
    pub unknown_path: Counter,
    /// Requests to fixed pages with an unsupported method.
    pub wrong_method: Counter,
    malformed: [Counter; RequestError::ALL.len()],
    timeouts: [Counter; Timeout::ALL.len()],
    /// Refused hits that were only counted, not kept.
    pub rejected_not_kept: Counter,
    /// Parameters of recorded events that exceeded a limit.
    pub parameters_left_out: Counter,
}

impl Counters {
    /// Resolves the handles with the recorder of the calling thread.
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
            malformed: RequestError::ALL
                .map(|error| counter!("clickgate_http_malformed_total", "reason" => error.name())),
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

    /// Counts one entry of a beacon, in addition to its request.
    pub fn entry(&self, outcome: Outcome) {
        self.entries[outcome as usize].increment(1);
    }

    /// Counts a refusal by reason, in addition to the hit's [`Outcome::Refused`].
    pub fn refused(&self, reason: Refusal) {
        self.refused[reason as usize].increment(1);
    }

    /// Counts a request refused before routing.
    pub fn malformed(&self, error: RequestError) {
        self.malformed[error as usize].increment(1);
    }

    /// Counts a client that was too slow.
    pub fn timeout(&self, state: Timeout) {
        self.timeouts[state as usize].increment(1);
    }

    /// Counts a shed hit by class, in addition to its [`Outcome::Shed`].
    pub fn shed(&self, class: Class) {
        self.shed[class as usize].increment(1);
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
