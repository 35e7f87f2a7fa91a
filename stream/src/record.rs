//! What the log holds: records, each of a kind, counted by a class, at a level.

use bytes::Bytes;
use serde::Serialize;

/// Place of a record in its (boot, lane): from 0, without holes.
pub type Number = u64;

/// What a record's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A `proto::TrackingEvent`.
    Event,
    /// A `proto::Rejected`.
    Rejected,
    /// A `proto::LaneReport`.
    LaneReport,
    /// Core data as JSON, in the log `programs`; its form is in `proto::core_data`.
    CoreData,
    /// A kind that a newer version wrote; kept and passed on, not understood.
    Other(u8),
}

impl RecordKind {
    /// The byte in the file.
    pub fn code(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Rejected => 2,
            Self::LaneReport => 3,
            Self::CoreData => 4,
            Self::Other(code) => code,
        }
    }

    /// The kind of a byte in the file.
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Event,
            2 => Self::Rejected,
            3 => Self::LaneReport,
            4 => Self::CoreData,
            other => Self::Other(other),
        }
    }
}

/// Decides who is shed first when the log fills up (DESIGN: "Fullness").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Shed at 80 % of `log_bytes_max`.
    Impression,
    /// Shed at 90 %.
    Beacon,
    /// Shed at 95 %; the redirect is still served.
    Click,
    /// Shed at 100 %.
    Conversion,
}

impl Class {
    /// All classes, first shed first.
    pub const ALL: [Self; 4] = [Self::Impression, Self::Beacon, Self::Click, Self::Conversion];

    /// The name in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Impression => "impression",
            Self::Beacon => "beacon",
            Self::Click => "click",
            Self::Conversion => "conversion",
        }
    }

    /// Per cent of `log_bytes_max` from which on this class is shed.
    pub fn shed_from_percent(self) -> u64 {
        match self {
            Self::Impression => 80,
            Self::Beacon => 90,
            Self::Click => 95,
            Self::Conversion => 100,
        }
    }
}

/// How safe an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Answered before the write: lost if the process dies within that turn.
    Memory,
    /// write(2) returned: survives the process.
    Written,
    /// fdatasync returned: survives the machine.
    Synced,
    /// The stream (Kinesis) has it, as its shipper says; without a shipper the same as `Synced`.
    Stream,
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// The log, the lane's segment or its pending buffer has no room for this class.
    #[error("the log has no room for a record of class {}", .0.name())]
    Full(Class),
    /// A write or a sync of this lane failed; it takes nothing more.
    #[error("the lane failed to write or to sync and takes nothing more")]
    Poisoned,
    /// The record alone is larger than a record may be.
    #[error("the record has {bytes} bytes, at most {max} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit, [`RECORD_BYTES_MAX`].
        max: usize,
    },
    /// The lane was closed.
    #[error("the lane is closed")]
    Closed,
}

/// Largest payload of one record: 1 MiB less room for a partition key and framing,
/// so that it can become a Kinesis record.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024 - 4096;

/// One record as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in (boot, lane).
    pub number: Number,
    /// What the payload is.
    pub kind: RecordKind,
    /// The payload, as it was appended.
    pub payload: Bytes,
}
