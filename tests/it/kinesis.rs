//! A Kinesis: kinesis-local, what is in its streams, and what Amazon's own consumers make of it.
//!
//! kinesis-local never throttles and takes what is too large; faults come from
//! [`crate::aws_proxy`].

pub mod consumers;
pub mod deaggregate;
mod harness;
pub mod server;
pub mod stream;

/// A KPL aggregate of (partition key, data).
pub fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
    harness::aggregate(records, &[])
}
