//! Consumers from the outside: a real table in a directory of its own, a source written here.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod contract;
mod dead_letters;
mod dynamo;
mod log;
mod ministack;
mod pull;
mod table;
mod world;
