//! Events on their way to Kinesis: a real process, a real kinesis-local, and between them a proxy
//! that does what a region does on a bad day.

mod checks;
mod crash;
mod faults;
mod formats;
mod letters;
mod level;
pub mod load;
mod outage;
pub mod region;
mod shards;
