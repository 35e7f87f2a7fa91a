//! The program bridge on a real log and a real registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod death;
mod order;
mod poison;
mod world;
