//! The log under test: format, crashes against a model, faults, recovery, levels, cursors.

use crate::lane::core::LaneCore;
use crate::*;

mod crash;
mod cursor;
mod fault;
mod format;
mod lane;
mod lane_thread;
mod prepare;
mod recovery;
mod source;
mod stream_level;
mod sync;
mod wire;

/// A log whose segments hold two turns, so that a few records fill several.
fn small_segments(cursors: &[&str]) -> LogConfig {
    LogConfig {
        segment_bytes: 2_048,
        log_bytes_max: 1 << 20,
        lane_bytes_max: 1_024,
        room_retry: std::time::Duration::ZERO,
        cursors: cursors.iter().map(|name| (*name).to_owned()).collect(),
        ..LogConfig::default()
    }
}

/// Writes an event of `bytes` bytes, as a turn of its own.
fn put(core: &mut LaneCore, bytes: usize) {
    let taken =
        core.append(Class::Conversion, RecordKind::Event, |_, body| body.resize(body.len() + bytes, b'x'));
    taken.unwrap();
    assert!(core.flush());
}

/// Everything that a source has at the moment.
fn read_all(source: &mut LogSource) -> Vec<Batch> {
    std::iter::from_fn(|| source.read(1 << 20).unwrap()).collect()
}

/// Says that `batches` are persisted.
fn commit(source: &mut LogSource, batches: &[Batch]) {
    source.save(&Checkpoint::of(batches)).unwrap();
}
