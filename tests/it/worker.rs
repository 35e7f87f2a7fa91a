//! From a stream into the table: workers, real servers, and faults between them.
//!
//! Whatever happens, every acknowledged event is in the table once, and the ledger counts as many.
//! What is in the table is read by a scan of its items, not by the program that is tested.

mod core_data;
mod death;
mod faults;
mod poison;
mod region;
mod shards;
mod way;
