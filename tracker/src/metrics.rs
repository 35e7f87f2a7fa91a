//! The tracker's counters and latencies, per route and never per program.

pub mod counters;
pub mod latency;
