//! What every benchmark shares: the programs, the requests, the open-loop generator, a null Kinesis and a
//! client of ActiveMQ.

pub mod null_kinesis;
pub mod open_loop;
pub mod programs;
pub mod requests;
pub mod stomp;
