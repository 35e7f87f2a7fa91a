//! The log under test: crashes against a model, faults, recovery, levels and cursors.

mod crash;
mod fault;
mod lane;
mod prepare;
mod recovery;
mod sync;
