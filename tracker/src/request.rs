//! Parses requests: the head, the route, the hit or the entries of a beacon.
//!
//! ```text
//! head ─► routes ─► hit ◄── query, client, client_time
//!             └───► beacon ─► hit (one per entry)
//! ```
//!
//! Parsing never fails a hit, and borrows from the request wherever it can.

pub mod beacon;
pub mod client;
pub mod client_time;
pub mod error;
pub mod head;
pub mod hit;
pub mod names;
pub mod query;
pub mod routes;
