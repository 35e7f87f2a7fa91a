//! The log under test: format, crashes against a model, faults, recovery, levels, cursors.

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

/// Everything that a source has at the moment.
fn read_all(source: &mut LogSource) -> Vec<Batch> {
    std::iter::from_fn(|| source.read(1 << 20).unwrap()).collect()
}

/// Says that `batches` are persisted.
fn commit(source: &mut LogSource, batches: &[Batch]) {
    source.save(&Checkpoint::of(batches)).unwrap();
}
