//! Persists what the log hands out, once, and accounts for every number.
//!
//! # The path of a record
//!
//! ```text
//! source.next ──► decode ──► table.write: one transaction ──► source.commit
//! the log         pure       events      new items            the lane's cursor moves
//!                 poison ──► dead letters                     and the log may trim
//!                            identities  which record has a sender's id
//!                            rejected    kept 7 days
//!                            ledger      what became of each number
//! ```
//!
//! The cursor moves after the table's commit, so a crash at any point redelivers batches and never
//! skips one; the ledger recognises them, and nothing is counted twice ([`process`],
//! [`run`]). A second table is one more implementation of [`Table`], which must pass the contract
//! suite in `consumers/tests/it/contract/`; `table::AnyTable` of the command says which is used.
//!
//! # What is bounded, and what happens when it is full
//!
//! | what waits | at most | then |
//! |---|---|---|
//! | batches between source and table | `batch_bytes_max` (4 MiB) and one batch | the loop reads no more until they are durable; the rest is in the log, which sheds by class |
//! | dead letters of the consumer | `dead_letters_max` (10,000), `dead_letters_bytes_max` (256 MiB) | the loop stalls until an operator replays or drops some |
//! | dead letters of bridges | [`GivenLimits`] | the oldest are discarded and counted |
//! | dead letters of the shipper | [`GivenLimits`] | none is taken; the shipper stalls at that record |
//! | requests to DynamoDB ([`DynamoTable`]) | `requests_max` | callers wait; the rest of its bounds is in `dynamo.rs` |
//! | calls of the local table ([`LocalTable`]) | [`CALLS_MAX`] on blocking threads | callers wait |
//! | one page of any listing | [`PAGE_MAX`] items | `next` says where the next page starts |
//! | one transaction of the sweep | `sweep_items_max` items | it repeats; other writers get their turn in between |
//!
//! There is no other queue: a live tail polls the table ([`Table::tail`]). Events are removed after
//! `expiry_days`, together with their identity entries, and rejected hits after `rejected_days`.
//! The ledger stays: one row a lane, a few hundred bytes, as ranges that touch are merged. What
//! storing costs is in `benches/RESULTS.md`.
//!
//! [`reconcile()`] compares the ledger with the log and finds missing numbers.

mod config;
mod decode;
mod dynamo;
mod ledger;
mod local;
mod process;
mod pull;
mod ranges;
mod reconcile;
mod status;
mod table;

pub use config::Config;
pub use decode::{Decoded, DecodedBatch, DecodedRecord, Event, PROGRAM_BYTES_MAX, WriteBatch};
pub use dynamo::{Checked, Cost, DynamoConfig, DynamoTable};
pub use ledger::{Fate, Fates, LaneEnd, LaneLedger, LedgerRow, Report};
pub use local::{CALLS_MAX, LocalTable, OpenError};
pub use process::{Outcome, process};
pub use pull::{Ended, RunError, Stop, run};
pub use ranges::Ranges;
pub use reconcile::{LaneRow, LogLane, Places, Reconciliation, reconcile};
pub use status::{Status, StatusHandle};
pub use table::{
    Count, Cursor, Given, GivenLimits, Left, LeftReason, LettersHeld, Listing, PAGE_MAX, Query, Replayed,
    Start, Table, TableError, WhenFull, Written,
};
