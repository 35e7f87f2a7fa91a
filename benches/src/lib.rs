//! What every benchmark shares: the programs, the requests, and the open-loop generator.

pub mod open_loop;
pub mod programs;
pub mod requests;
