//! The registries from outside: one contract on both, and Redis in all its bad moods.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod contract;
mod redis;
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
