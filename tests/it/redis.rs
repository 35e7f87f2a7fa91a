//! A region: trackers that follow one Redis, and somebody else who changes the programs.
//!
//! Whatever happens to Redis, hits are answered as before ([`region::Hits`] asks all the time),
//! no older revision is seen after a newer one, and at most 5 s after Redis is back everybody
//! knows what it knows.

mod bridge;
mod cluster;
mod commands;
mod failover;
mod load;
mod outages;
mod publishes;
pub mod region;
mod rows;
#[path = "../../programs/tests/it/redis.rs"]
pub mod server;
