//! What the tracker counts and measures, per route and never per program.

pub mod counters;
pub mod latency;
