//! What every benchmark shares: the programs, the requests, the open-loop generator and a null Kinesis.

pub mod null_kinesis;
pub mod open_loop;
pub mod programs;
pub mod requests;
