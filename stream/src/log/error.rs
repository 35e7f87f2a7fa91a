//! Why a log could not be opened, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::WrittenByNewer;
use crate::record::Number;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused; the same call may succeed later.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A newer program wrote it.
    #[error("{}: {version}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which version.
        version: WrittenByNewer,
    },
    /// Data that was synced is damaged.
    #[error(
        "{}: damaged at byte {offset}: numbers {first} to {last} of lane {lane} were on disk and cannot be read. \
         Nothing was changed. `clickgate log check` shows the damage; `clickgate log salvage` goes on without \
         them and keeps the damaged part beside the segment", path.display()
    )]
    Rot {
        /// The segment.
        path: PathBuf,
        /// Where it begins to be unreadable.
        offset: usize,
        /// Its lane.
        lane: u32,
        /// The first number lost.
        first: Number,
        /// The last number lost.
        last: Number,
    },
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| match source.get_ref().and_then(|inner| inner.downcast_ref::<WrittenByNewer>()) {
        Some(version) => OpenError::Newer { path: path.to_owned(), version: *version },
        None => OpenError::Io { path: path.to_owned(), source },
    }
}
