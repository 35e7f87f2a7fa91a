//! The registries from outside: one contract on both, and Redis in all its bad moods.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cluster;
mod connection;
mod contract;
mod following;
mod model;
mod redis;
mod rights;
mod rows;
mod sample;
mod store;
mod suite;

use programs::{RedisConfig, RedisRegistry};

/// For this server, with waits that suit a busy machine.
fn config(server: &redis::RedisServer) -> RedisConfig {
    RedisConfig {
        urls: vec![server.url()],
        connect_timeout_ms: 5_000,
        response_timeout_ms: 5_000,
        ..RedisConfig::default()
    }
}

fn registry(server: &redis::RedisServer) -> RedisRegistry {
    RedisRegistry::connect(&config(server)).unwrap()
}

/// Waits until `holds`, at most 20 s.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds().await {
        assert!(std::time::Instant::now() < end, "never {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
