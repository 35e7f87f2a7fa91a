//! The tracker answers pixels, clicks, conversions and beacons, and puts one event per hit into
//! the log.
//!
//! # The path of one hit
//!
//! ```text
//! http ── request ──────── catalog ─── decision ── edge ──────────────────┐ one write(2) for all
//!         route, hit       L1          pure        event, lane.append     │ hits of this turn
//!         pure, borrows     │ miss                 numbers it             ▼
//! answer ◄──────────────────┼───────────────────────────── lane.reached(level, number)
//!                           ▼
//!                        registry ──► refresher ──► catalog
//! ```
//!
//! Catalog, decision and refresher are those of the crate `programs`, since bridges judge by
//! the same. The rooms here: `http/` reads and writes connections, `request/` takes a request
//! apart, `edge/` makes the event and the answer, `metrics/` counts.
//!
//! All of it runs on the worker thread that accepted the connection; nothing is sent to
//! another thread per hit. A refused hit takes the same way to the decision, is counted by
//! reason, and within bounds leaves a record.
//!
//! # Every queue, and what happens when it is full
//!
//! | queue | capacity | when full |
//! |---|---|---|
//! | connections waiting in the kernel | 1,024 | the kernel refuses |
//! | a connection | one request at a time: one head, one body, one answer; see `http.rs` | it is not read |
//! | connections per worker | `connections_per_worker_max` 25,000 | wait in the kernel |
//! | a worker's lane | the log's `lane_bytes_max` and `log_bytes_max` | shed by class |
//! | registry reads | `catalog.loads_max` 1,024, one per id | a miss is unverified at once, nothing is read in the background |
//! | the refresher's mailbox | 16 full loads that were asked for | the next one waits |
//! | the registry's subscription | its own, 1,024 changes | a hole: the change log is read |
//! | changes that the last-good snapshot lacks | 100,000 | all programs are loaded, and written anew |
//! | bodies of beacons, and heads beyond 8 KiB | `limits.bodies_bytes_max` 64 MiB per worker | shed; 503 |
//! | rejected records | `rejected_per_second_max` 100 per reason, 5 % of the log | only counted |
//!
//! What an answer acknowledges, and at which level, is said at [`Levels`].
//!
//! The catalog is filled from the side: the refresher, an actor on a
//! thread of its own, follows the registry and is the only one that changes a program.
//!
//! # A retry is harmless
//!
//! A beacon's entry and a conversion may carry the sender's own id. Their message id is then
//! computed from program, type and that id ([`proto::ids::from_sender`]), and a table takes the
//! same message id once. No clock, ours or the sender's, is a part of it. The same id under
//! another type, or another custom event's name, is another event.

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
pub use edge::answer::{Answer, Reply};
pub use edge::decider::Decider;
pub use edge::explain::{ExplainError, ExplainRequest, Explanation};
pub use edge::{Edge, Health, Site};
pub use http::server::{BindError, RunError, Tracker, TrackerHandle};
pub use metrics::latency::Histogram;
pub use request::head::{Head, Headers, Method};
pub use request::routes::HitRoute;
