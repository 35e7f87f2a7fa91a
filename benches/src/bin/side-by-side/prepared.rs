//! A log that a tracker filled under load and that was put aside, to be read again and again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Bench;
use crate::contestant::{Clickgate, clear};
use crate::full_speed::{Contestant, check};
use crate::load::Events;

/// Its events, at least.
const EVENTS_MIN: u64 = 300_000;
const CONNECTIONS: u64 = 64;
const LOAD: Duration = Duration::from_secs(3);

/// A log that was put aside.
pub struct Prepared {
    dir: PathBuf,
    pub events: u64,
}

impl Prepared {
    /// That of this run; the first who asks has it made.
    pub fn of(bench: &Bench) -> io::Result<&Self> {
        if let Some(prepared) = bench.prepared.get() {
            return Ok(prepared);
        }
        let prepared = Self::by_a_tracker(bench)?;
        Ok(bench.prepared.get_or_init(|| prepared))
    }

    fn by_a_tracker(bench: &Bench) -> io::Result<Self> {
        bench.say("preparing a log");
        let server = Contestant::Written.start(bench)?;
        let mut events = Events::default();
        while events.acknowledged < EVENTS_MIN {
            events += bench.pixels.run(server.address, CONNECTIONS, LOAD)?.events;
        }
        server.stop()?;
        let events = check(bench, events)?;
        let dir = bench.dir.path().join("prepared");
        fs::rename(Clickgate::log_dir(bench), &dir)?;
        clear(bench)?;
        Ok(Self { dir, events })
    }

    /// A copy of it, in place of whatever is there.
    pub fn copy_to(&self, to: &Path) -> io::Result<()> {
        match fs::remove_dir_all(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => copy(&self.dir, to),
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    supervise::files::create_private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
