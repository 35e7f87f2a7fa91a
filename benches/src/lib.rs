//! What every benchmark shares: the programs, and the open-loop generator.

pub mod open_loop;
pub mod programs;
