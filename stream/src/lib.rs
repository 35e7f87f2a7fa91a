//! The crash-safe log, the seam through which it is read, the shipper that takes it to Kinesis, and
//! the worker that reads what is there.
//!
//! # The path of one record
//!
//! ```text
//! worker thread                                  syncer thread           reader
//! append ─► pending ──── end of turn ─► segment ──► fdatasync ─► seal     next ─► commit
//!  numbered  lane_bytes_max  write(2)   segment_bytes   one in flight      │        │
//!                               │                          │              │   cursor file,
//!                        passed(Written)            passed(Synced)        │   then trim
//!                                                                          └── batches of one lane
//! ```
//!
//! | queue | capacity | when it is full |
//! |---|---|---|
//! | records of a turn | `lane_bytes_max` (4 MiB) a lane | [`Shed::Full`] |
//! | the log on disk | `log_bytes_max` (8 GiB) | shed by class: impressions at 80 %, beacons 90, clicks 95, conversions 100 |
//! | rejected records in it | 5 % of `log_bytes_max` | [`Shed::Full`] |
//! | sync requests | one waiting and one in flight a lane | they merge: one sync serves all that was written before it; a busy worker collects for 1 ms before it asks |
//! | prepared segments | one a lane, or one being filled | the syncer waits; without one a full segment sheds |
//! | segments rotated out | one a lane, since rotating needs a prepared one | – |
//! | requests to a lane on a thread of its own | `requests_max` of [`LaneThread::start`] | the caller waits |
//!
//! With a shipper the log is read by it, and goes to Kinesis: the module `shipper` shows the way,
//! with the capacity of each of its queues; the module `kinesis` how it is read from there.
//!
//! What is acknowledged at [`Level::Written`] survives a killed process, at [`Level::Synced`]
//! a power loss, and at [`Level::Stream`] the loss of the disk, if a shipper takes the log to
//! a stream. The module `format` specifies the file format, `log::recovery` what a start
//! repairs and refuses, `wire` the form in which a lane travels through a stream.
//! [`LaneStatus`] has the numbers that reconciling works with.

mod aws;
mod check;
mod config;
mod cursor;
pub mod disk;
mod format;
mod kinesis;
mod lane;
mod lane_thread;
mod log;
mod reader;
mod record;
mod shipper;
mod source;
mod status;
mod trouble;
mod wire;

#[cfg(test)]
mod tests;

pub use aws::{AwsConfig, sdk_config as aws_sdk_config};
pub use check::{SegmentReport, check};
pub use config::LogConfig;
pub use format::{FORMAT_VERSION, WrittenByNewer};
pub use kinesis::{
    Form, KinesisSource, ShardStatus, Worker, WorkerChecked, WorkerConfig, WorkerControl, WorkerStatus,
    WorkerStatusHandle,
};
pub use lane::file::LaneState;
pub use lane::{Lane, NotDurable};
pub use lane_thread::{AppendError, Encode, LaneThread, NewRecord, ROOM_WITHIN};
pub use log::{LaneError, Log, OpenError, RemoveCursorError, lock};
pub use reader::LogSource;
pub use record::{Class, Level, Number, RECORD_BYTES_MAX, Record, RecordKind, Shed};
pub use shipper::{
    Aggregation, Checked, Destination, Kept, LetterError, Letters, PartitionBy, RunningShipper, ShipError,
    ShipperConfig, ShipperStatus, ShipperStatusHandle,
};
pub use source::{Batch, Checkpoint, ForeignRecord, Item, Source, SourceError, gather};
pub use status::{CursorLane, CursorStatus, LaneStatus};
pub use trouble::Trouble;
pub use wire::{LaneItem, UNREAD_ENVELOPE, WireError};
