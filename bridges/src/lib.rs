//! Brings to Clickgate what others publish.
//!
//! [`programs`] carries core data into the registry.
//!
//! | what waits | bound | when it is full |
//! |---|---|---|
//! | callers that bring core data | [`programs::REQUESTS_MAX`], 16 | they wait |
//! | core data in the log | `log.log_bytes_max` | the caller is told so, after 5 s |
//! | batches between log and registry | `batch_bytes_max` (1 MiB) and one batch | the bridge reads no more until the registry has them |
//! | a registry that is away | – | the cursor waits; attempts go on for ever, at most `retry_pause_ms_max` (2 s) apart |
//! | messages that cannot be read | 10,000, 256 MiB (the table's limits) | the oldest are discarded and counted |
//!
//! Nothing here is asked by a hit. A bridge that dies is started again, and meanwhile hits
//! obey the programs that the trackers know.

pub mod programs;
