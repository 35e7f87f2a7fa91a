//! A request, read but not judged: the head, the route, the hit or the entries of a beacon.
//!
//! ```text
//! head ─► routes ─► hit ◄── query, client, client_time
//!             └───► beacon ─► hit (one per entry)
//! ```
//!
//! Reading never fails a hit, and what can be borrowed from the request is.

pub mod beacon;
pub mod client;
pub mod client_time;
pub mod head;
pub mod hit;
pub mod names;
pub mod query;
pub mod routes;
