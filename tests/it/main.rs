//! End to end: the real binary, real sockets, real files, real signals.
//!
//! Each test has a world of its own: a directory that is removed at its end, and
//! ports that were free when it began.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod activemq;
mod admin_clients;
mod aws_json;
#[allow(dead_code, reason = "the shipper's tests use the rest")]
mod aws_proxy;
mod bad_input;
mod bad_lines;
mod browser;
mod crash;
mod cursors;
mod disk_full;
mod documents;
mod drain;
mod drain_states;
mod fault_proxy;
mod files;
mod greedy;
mod http;
#[allow(dead_code, reason = "the shipper's tests use the rest")]
mod kinesis;
#[path = "../../consumers/tests/it/ministack.rs"]
#[allow(dead_code, reason = "the consumer's own tests use the rest")]
mod ministack;
mod mistakes;
mod newcomer;
mod operators;
mod overload;
mod program_bridge;
mod redis;
mod shipper;
mod syscalls;
mod usage;
#[path = "../../tracker/tests/it/wire.rs"]
#[allow(dead_code, reason = "the tracker's own tests use the rest")]
mod wire;
mod worker;
mod world;
