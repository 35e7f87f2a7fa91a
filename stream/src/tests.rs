//! The log under test: format, crashes against a model, faults, recovery, levels, cursors.

mod crash;
mod fault;
mod format;
mod lane;
mod prepare;
mod recovery;
mod sync;
