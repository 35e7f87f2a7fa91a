//! End to end: the real binary, real sockets, real files, real signals.
//!
//! Each test has a world of its own: a directory that is removed at its end, and
//! ports that were free when it began.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod admin_clients;
mod bad_input;
mod bad_lines;
mod browser;
mod crash;
mod disk_full;
mod documents;
mod drain;
mod fault_proxy;
mod files;
mod http;
mod mistakes;
mod newcomer;
mod operators;
mod overload;
mod program_bridge;
mod redis;
mod syscalls;
mod world;
