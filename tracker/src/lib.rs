//! The tracker answers pixels, clicks, conversions and beacons, and puts one event per hit into
//! the log.
//!
//! # The path of one hit
//!
//! ```text
//! http ─────── routes ─ hit ─ catalog ── decide ── event ── lane.append ─┐ one write(2) for all
//!              pure   borrows  L1        pure      bytes    numbers it   │ hits of this turn
//!                               │ miss                                   ▼
//! answer ◄──────────────────────┼───────────────────────── lane.reached(level, number)
//!                               ▼
//!                            registry ──► refresher ──► catalog
//! ```
//!
//! All of it runs on the worker thread that accepted the connection; nothing is sent to
//! another thread per hit. A refused hit takes the same way to `decide`, is counted by
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
//! | registry reads on a miss | `catalog.loads_max` 1,024, one per id | the hit is unverified at once |
//! | the refresher's mailbox | `catalog.refresh_queue_max` 1,024 | dropped, counted, asked again |
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
//! A beacon's entry and a conversion may carry the sender's own id. Their message id is
//! then computed from it ([`proto::ids::from_sender`]) with the sender's time, and a table
//! takes the same message id once. Nothing of ours, such as the time of arrival, is a part
//! of it.

mod admin;
mod answer;
mod beacon;

mod catalog;
mod client;
mod client_time;
mod clock;

mod config;

mod counters;
mod decide;
mod edge;
mod etag;
mod event;
mod explain;
#[doc(hidden)]
pub mod fuzz;
mod head;
mod hit;
mod http;
mod latency;
mod lifeline;
mod query;
mod refresher;
mod refusal;
mod reject;
mod routes;

mod snapshot;
mod tag;
#[cfg(test)]
mod testing;

pub use admin::{FillError, TrackerAdmin};
pub use answer::{Answer, Reply};
pub use catalog::{Catalog, CatalogStatistics, CatalogWriter, Verdict};
pub use config::{CatalogConfig, Config, ConfigError, Levels, Limits, Prefixes, Unverified};
pub use edge::{Edge, Health, Site};
pub use explain::{Decision, ExplainError, ExplainRequest, Explanation, Step};
pub use head::{Head, Headers, Method};
pub use http::server::{BindError, RunError, Tracker, TrackerHandle};
pub use latency::Histogram;
pub use refresher::FollowError;
pub use refusal::Refusal;
pub use routes::HitRoute;
