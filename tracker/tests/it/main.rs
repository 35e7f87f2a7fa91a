//! The tracker as its clients see it: real sockets, a real log, a real registry.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(missing_docs, reason = "tests are their names")]

mod answers;
mod beacon_flood;
mod beacons;
mod connections;
mod conversions;
mod cuts;
mod differential;
mod flood;
mod hits;
mod http_cases;
mod http_deadlines;
mod http_order;
mod lenient;
mod life;
mod redirects;
mod shedding;
mod wire;
mod world;
