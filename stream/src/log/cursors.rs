//! The cursors of a log: those that are declared, and those that are only on disk.
//!
//! A cursor that is no longer declared has no reader. What it has not passed may be
//! wanted all the same: somebody may have started the wrong role, or with the wrong
//! configuration. So it goes on holding segments back, which the log says at its opening
//! and in its status, until a person removes it ([`crate::Log::remove_cursor`]).

use std::collections::BTreeMap;
use std::path::Path;

use crate::cursor::{self, LaneKey, Position, Positions};
use crate::disk::Disk;
use crate::log::error::{OpenError, at};

/// Why a cursor was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveCursorError {
    /// It has a reader.
    #[error("the cursor {0:?} is declared: it belongs to a role or a sink of this configuration")]
    Declared(String),
    /// There is none of this name.
    #[error("the log has no cursor {0:?}")]
    Unknown(String),
    /// Removing it gives up records that only it holds back.
    #[error("the cursor {name:?} has not passed {lag} records; without it they may be removed unread")]
    HoldsBack {
        /// Its name.
        name: String,
        /// Records that it has not passed.
        lag: u64,
    },
    /// The operating system refused.
    #[error("cannot remove the cursor: {0}")]
    Io(#[from] std::io::Error),
}

/// Durable positions of every cursor, by name.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// Those of the configuration.
    pub declared: BTreeMap<String, Positions>,
    /// Those that have a file all the same.
    pub undeclared: BTreeMap<String, Positions>,
}

impl Cursors {
    /// Reads the files in `dir`. A declared cursor without one is at the beginning.
    pub fn load(disk: &dyn Disk, dir: &Path, declared: &[String]) -> Result<Self, OpenError> {
        let mut cursors = Self::default();
        for name in declared {
            let path = dir.join(cursor::file_name(name));
            let positions = cursor::load(disk, dir, name).map_err(at(&path))?;
            cursors.declared.insert(name.clone(), positions);
        }
        for name in cursor::names(disk, dir).map_err(at(dir))? {
            if !cursors.declared.contains_key(&name) {
                // Nobody reads with it, so a file that cannot be read keeps no log from
                // starting; but where it stood is unknown, so it holds everything back.
                let positions = cursor::load(disk, dir, &name).unwrap_or_else(|error| {
                    tracing::warn!(cursor = name, %error, "cannot read a cursor that is not declared");
                    Positions::new()
                });
                cursors.undeclared.insert(name, positions);
            }
        }
        Ok(cursors)
    }

    /// What all cursors have passed in a lane. Without a declared cursor that is nothing:
    /// whoever will read the log is not known yet.
    pub fn passed(&self, lane: &LaneKey) -> Position {
        if self.declared.is_empty() {
            return Position::default();
        }
        let cursors = self.declared.values().chain(self.undeclared.values());
        let positions = cursors.map(|positions| positions.get(lane).copied().unwrap_or_default());
        let slowest = |one: Position, other: Position| Position {
            next: one.next.min(other.next),
            ended: one.ended && other.ended,
        };
        positions.reduce(slowest).unwrap_or_default()
    }
}
