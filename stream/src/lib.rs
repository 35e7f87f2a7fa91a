//! The crash-safe log.

mod record;
mod source;

pub use record::{Class, Level, Number, RECORD_BYTES_MAX, Record, RecordKind, Shed};
pub use source::{Batch, Item, Source, SourceError};
