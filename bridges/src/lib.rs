//! Bridges from external sources into Clickgate.
//!
//! [`programs`] carries core data into the registry, [`activemq`] the messages of legacy queues into
//! the log of events.
//!
//! | what waits | bound | when it is full |
//! |---|---|---|
//! | callers that bring core data | [`programs::REQUESTS_MAX`], 16 | they wait |
//! | core data in the log | `log.log_bytes_max` | the caller gets an error, after 5 s |
//! | batches between log and registry | `batch_bytes_max` (1 MiB) and one batch | the bridge reads no more until the registry has them |
//! | an unavailable registry | – | the cursor waits; retries go on for ever, at most `retry_pause_ms_max` (2 s) apart |
//! | messages that cannot be read | `bridge.dead_letters_max` (10,000), `bridge.dead_letters_bytes_max` (256 MiB) | the oldest are discarded and counted |
//! | messages of a queue that wait for their level | `prefetch` (2,000), 8 batches of 2 MiB and a message, the log 90 % full | the broker keeps the others |
//! | messages that are to be put aside | 64 MiB and one | further ones are left at the broker |
//!
//! No hit depends on a bridge. A bridge that dies is restarted; meanwhile hits are checked against
//! the programs that the trackers hold.

pub mod activemq;
#[doc(hidden)]
pub mod fuzz;
pub mod programs;
