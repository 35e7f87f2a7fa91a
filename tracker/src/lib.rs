//! The tracker answers pixels, clicks, conversions and beacons, and appends one event per hit to
//! the log.
//!
//! # The path of one hit
//!
//! ```text
//! http ──► request ──► catalog ──► decision::decide ──► edge: event ──► lane.append
//!          parsed      in memory     │ refused by a rule       shed by class │ │ in this turn
//!                       │ miss       ▼                          if it is full ▼ ▼
//! answer ◄──────────────┼────────── refusal ◄──────────────────────── 503 ◄──┘ one write(2) for
//!                       ▼                                                      all ready hits
//!                    registry            answer ◄── lane.reached(level) ◄──────┘
//! ```
//!
//! So two gates stand in a hit's way: the rules of its program, and room in the log.
//!
//! Catalog, decision and refresher live in the crate `programs`, as bridges for legacy messages
//! (planned) judge by them too. Here,
//! `http/` reads and writes connections, `request/` parses requests, `edge/` builds events and
//! answers, `metrics/` counts.
//!
//! All of it runs on the worker thread that accepted the connection; nothing is sent to another
//! thread per hit. A refused hit takes the same path to the decision, is counted by reason, and
//! leaves a record, within limits.
//!
//! # Every queue, and what happens when it is full
//!
//! | queue | capacity | when full |
//! |---|---|---|
//! | connections waiting in the kernel | 1,024 | the kernel refuses |
//! | a connection | one request at a time: one head, one body, one answer; see `http.rs` | reading stops |
//! | connections per worker | `connections_per_worker_max` 25,000 | they wait in the kernel |
//! | a worker's lane | the log's `lane_bytes_max` and `log_bytes_max` | shed by class |
//! | registry reads | `catalog.loads_max` 1,024, one per id | a miss is unverified at once, and nothing is refreshed in the background |
//! | the refresher's mailbox | 16 requests for a full load | the next one waits |
//! | the registry's subscription | 1,024 changes | changes are lost, and read from the change log |
//! | changes not yet in the last-good snapshot | 100,000 | all programs are loaded and rewritten |
//! | bodies of beacons, and heads beyond 8 KiB | `limits.bodies_bytes_max` 64 MiB per worker | shed; 503 |
//! | rejected records | `rejected_per_second_max` 100 per reason, 5 % of the log | only counted |
//!
//! [`Levels`] documents what an answer acknowledges, and at which level.
//!
//! The catalog is filled in the background: the refresher, an actor on a thread of its own, follows
//! the registry and alone applies its changes; besides it, a miss reads the one program it needs.
//!
//! # A retry is harmless
//!
//! A beacon entry and a conversion may carry the sender's own id. Their message id is then derived
//! from program, type and that id ([`proto::ids::from_sender`]), and a table stores a message id
//! once. No clock, ours or the sender's, goes into it. The same id under another type, or under the
//! name of another custom event, is another event.

mod admin;
mod config;
mod edge;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod metrics;
mod request;
#[cfg(test)]
mod testing;

pub use admin::TrackerAdmin;
pub use config::{Config, ConfigError, Levels, Limits, Prefixes, bounds};
pub use edge::Edge;
pub use edge::answer::{Answer, Reply};
pub use edge::decider::Decider;
pub use edge::explain::{ExplainError, ExplainRequest, Explanation};
pub use edge::site::{Health, Site};
pub use http::server::{BindError, RunError, Tracker, TrackerHandle};
pub use metrics::latency::Histogram;
pub use request::head::{Head, Headers, Method};
pub use request::routes::HitRoute;
