//! Formats that two processes agree on. No I/O.
//!
//! ```text
//! tracker   ── TrackingEvent ──► log ──► consumer ──► table
//!           ── Rejected ───────► log ──► consumer ──► table
//! each lane ── LaneReport ─────► log ──► consumer ──► ledger
//! ```
//!
//! Between log and consumer a stream (Kinesis) may carry the same: an event as it is, and
//! everything else in an [`Envelope`], which says its kind.
//!
//! The messages are in `tracking.proto`, with the compatibility rule at its head.
//! Nothing here queues: an encoded event is as large as its fields, which the
//! tracker bounds (100 parameters of 64 + 1,024 bytes, 20 KiB of request line).
//!
//! [`core_data`] is the form of programs on their way to the registry.
//! [`ids`] makes the message ids, [`kpl`] the aggregates in which a stream carries records.

pub mod core_data;
pub mod ids;
pub mod kpl;
mod wire;

#[cfg(test)]
mod golden;

/// The generated messages; their documentation is in `tracking.proto`.
#[allow(missing_docs, reason = "generated; documented in tracking.proto")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/clickgate.rs"));
}

/// The AWS sample's own message, to prove that its consumers read our bytes.
#[allow(missing_docs, reason = "generated; documented in tests/sample.proto")]
pub mod sample {
    include!(concat!(env!("OUT_DIR"), "/sample.rs"));
}

pub use generated::*;
pub use prost::{DecodeError, Message};
pub use uuid::Uuid;

/// Names one start of one process: a UUIDv7.
pub type BootId = Uuid;

impl EventType {
    /// The name used in JSON and by the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Event => "event",
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Custom => "custom",
            Self::Legacy => "legacy",
        }
    }
}

impl Stage {
    /// The name used in JSON and by the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Consumer => "consumer",
            Self::Shipper => "shipper",
            Self::BridgePrograms => "bridge-programs",
            Self::BridgeActivemq => "bridge-activemq",
        }
    }
}

impl ConsentDecision {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Full => "full",
            Self::Gpc => "gpc",
        }
    }
}
