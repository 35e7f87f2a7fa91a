//! What is left in the log of a machine whose disk dies with it, copied to one that lives.
//!
//! ```text
//! <drain.rescue>/<boot>/events/…        as in the data directory: segments, lanes, cursors
//! <drain.rescue>/<boot>/manifest.json   what was copied, and why
//! ```
//!
//! Everything is written below `<boot>.unfinished`, synced, and then renamed: a directory
//! without that ending is whole. `clickgate log ship` stores what is in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stream::Log;
use supervise::now_ms;

use crate::cli::VERSION;
use crate::data::DataDir;
use crate::owner::EVENTS;

/// What `manifest.json` says.
#[derive(Serialize)]
struct Manifest {
    /// Of this file.
    format: u32,
    /// The process start that was drained.
    boot: String,
    version: &'static str,
    rescued_at_ms: u64,
    /// Records that the slowest cursor had not passed.
    left_records: u64,
    files: Vec<Copied>,
}

#[derive(Serialize)]
struct Copied {
    /// Below `events`.
    name: String,
    bytes: u64,
}

/// Why nothing was rescued; what there is of a copy ends with `.unfinished`.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct RescueError {
    path: PathBuf,
    source: io::Error,
}

/// Copies the log, which must be closed, below `to`. Durable on return; where it is.
///
/// # Errors
/// [`RescueError`].
pub fn rescue(data: &DataDir, log: &Log, left_records: u64, to: &Path) -> Result<PathBuf, RescueError> {
    let boot = log.boot().to_string();
    let whole = to.join(&boot);
    let unfinished = to.join(format!("{boot}.unfinished"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RescueError { path, source }
    };
    let from = data.log().join(EVENTS);
    let mut copying = Copying { from: &from, to: unfinished.join(EVENTS), files: Vec::new() };
    copying.directory("").map_err(failed(&unfinished))?;
    copying.directory("cursors").map_err(failed(&unfinished))?;
    let manifest = Manifest {
        format: 1,
        boot,
        version: VERSION,
        rescued_at_ms: now_ms(),
        left_records,
        files: copying.files,
    };
    let finish = || {
        let file = supervise::files::create_private_file(&unfinished.join("manifest.json"))?;
        serde_json::to_writer_pretty(&file, &manifest)?;
        file.sync_all()?;
        sync_dir(&unfinished)?;
        std::fs::rename(&unfinished, &whole)?;
        sync_dir(to)
    };
    finish().map_err(failed(&whole))?;
    Ok(whole)
}

struct Copying<'a> {
    from: &'a Path,
    to: PathBuf,
    files: Vec<Copied>,
}

impl Copying<'_> {
    /// Copies the files of one directory, not those below it.
    fn directory(&mut self, name: &str) -> io::Result<()> {
        let from = self.from.join(name);
        let to = self.to.join(name);
        supervise::files::create_private_dir(&to)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            let name = entry.file_name();
            let passing = name == "lock" || name.to_string_lossy().ends_with(".tmp");
            if entry.file_type()?.is_file() && !passing {
                names.push(name);
            }
        }
        names.sort();
        for file in names {
            let mut target = supervise::files::create_private_file(&to.join(&file))?;
            let bytes = io::copy(&mut File::open(from.join(&file))?, &mut target)?;
            target.sync_all()?;
            let name = Path::new(name).join(file).display().to_string();
            self.files.push(Copied { name, bytes });
        }
        sync_dir(&to)
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
