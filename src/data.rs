//! The data directory: what is where, who owns it, and how its owner is reached.
//!
//! ```text
//! <data>/lock               flock of the owner, for as long as it lives
//! <data>/run.json           how commands reach a running owner
//! <data>/log/events/        the log                        (crate stream)
//! <data>/log/programs/      core data on its way to the registry
//! <data>/registry.redb      programs                       (crate programs)
//! <data>/programs.snapshot  programs of a registry elsewhere, as last seen (crate programs)
//! <data>/table.redb         events and the ledger          (crate consumers)
//! ```
//!
//! Every file is for its owner only (0600), whatever the umask and the directory allow.
//!
//! The lock alone decides. A `run.json` that a killed process left is replaced by the
//! next owner, and ignored by whoever holds the lock.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Settings;

/// How long a claim waits for an owner that is a short-lived command, or was just killed.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a command waits for an owner that is starting to say where it is reached.
const STARTING: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ends the name of a file that is not whole yet.
const UNFINISHED: &str = ".new";

/// A data directory, owned or not.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Ownership, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// How a running owner is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    pub pid: u32,
    /// The subcommand that it is.
    pub role: String,
    /// Its admin address, as it is reached from this machine.
    pub admin: SocketAddr,
    /// Bearer token for the admin address.
    pub token: String,
    pub version: String,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another role owns it.
    #[error(
        "{} belongs to `clickgate {role}` (pid {pid}). Run all roles in one process with `clickgate up`, \
         give this one a directory of its own with --data, or stop the other one first (kill {pid})",
        dir.display()
    )]
    Owned { dir: PathBuf, role: String, pid: u32 },
    /// Somebody has the lock and does not say who it is.
    #[error(
        "{} is in use by another clickgate that does not say how it is reached; it may be starting. \
         Try again, or find it with `fuser {}`", dir.display(), dir.join("lock").display()
    )]
    Busy { dir: PathBuf },
    /// There is nothing to look at.
    #[error(
        "there is no data directory {}. Start one with `clickgate up --data {}`, or name another with --data",
        dir.display(), dir.display()
    )]
    Absent { dir: PathBuf },
    /// The owner writes it atomically, so something else damaged it.
    #[error(
        "{} is damaged, so the clickgate that owns {} cannot be reached: {reason}. Stop that one (`fuser {}` \
         finds it) and start it again, which writes the file anew", path.display(), dir.display(),
        dir.join("lock").display()
    )]
    RunFile { path: PathBuf, dir: PathBuf, reason: serde_json::Error },
    /// The operating system reports an error.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Who may work on a directory.
pub enum Access {
    /// We, here.
    Ours(Claim),
    /// A running process; ask it.
    Theirs(RunFile),
}

impl DataDir {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the named logs are.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub fn registry(&self, settings: &Settings) -> PathBuf {
        settings.registry.path.clone().unwrap_or_else(|| self.0.join("registry.redb"))
    }

    /// Of a registry that may be away.
    pub fn programs_snapshot(&self) -> PathBuf {
        self.0.join("programs.snapshot")
    }

    pub fn table(&self, settings: &Settings) -> PathBuf {
        settings.table.path.clone().unwrap_or_else(|| self.0.join("table.redb"))
    }

    /// What the ActiveMQ bridges remember of messages over which they died.
    pub fn activemq(&self) -> PathBuf {
        self.0.join("activemq")
    }

    fn run_file(&self) -> PathBuf {
        self.0.join("run.json")
    }

    fn io(path: PathBuf) -> impl FnOnce(io::Error) -> DataError {
        move |source| DataError::Io { path, source }
    }

    /// Creates the directory, for its owner only, if it is not there.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn create(&self) -> Result<(), DataError> {
        supervise::files::create_private_dir(&self.0).map_err(Self::io(self.0.clone()))
    }

    /// Takes ownership for a role. Waits a moment if the owner is a short command.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn claim(&self) -> Result<Claim, DataError> {
        let begin = Instant::now();
        loop {
            if let Some(claim) = self.try_claim()? {
                return Ok(claim);
            }
            let owner = self.read_run_file()?;
            match owner.filter(|owner| is_alive(owner.pid)) {
                Some(RunFile { pid, role, .. }) => {
                    return Err(DataError::Owned { dir: self.0.clone(), role, pid });
                }
                None if begin.elapsed() > PATIENCE => return Err(DataError::Busy { dir: self.0.clone() }),
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Takes ownership for a command, or finds the owner. Waits for an owner that is starting.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn access(&self) -> Result<Access, DataError> {
        if !self.0.is_dir() {
            return Err(DataError::Absent { dir: self.0.clone() });
        }
        let begin = Instant::now();
        loop {
            if let Some(claim) = self.try_claim()? {
                return Ok(Access::Ours(claim));
            }
            match self.read_run_file()?.filter(|owner| is_alive(owner.pid)) {
                Some(owner) => return Ok(Access::Theirs(owner)),
                None if begin.elapsed() > STARTING => return Err(DataError::Busy { dir: self.0.clone() }),
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// The claim, and no `run.json` of an earlier owner; `None` if somebody else has it.
    fn try_claim(&self) -> Result<Option<Claim>, DataError> {
        match stream::lock(&self.0.join("lock")) {
            Ok(lock) => {
                self.remove_run_file();
                Ok(Some(Claim { _lock: lock }))
            }
            Err(stream::OpenError::InUse(_)) => Ok(None),
            Err(stream::OpenError::Io { path, source }) => Err(DataError::Io { path, source }),
            Err(other) => Err(DataError::Io { path: self.0.clone(), source: io::Error::other(other) }),
        }
    }

    /// Says how we are reached; for the owner only. Readers see all of it or none.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write_run_file(&self, run: &RunFile) -> Result<(), DataError> {
        let path = self.run_file();
        // A name that nobody can have prepared: the file holds the token.
        let unfinished = self.0.join(format!("run.json.{}{UNFINISHED}", Uuid::new_v4().simple()));
        let write = || {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&unfinished)?;
            let json = serde_json::to_vec_pretty(run).expect("plain fields are always JSON");
            file.write_all(&json)?;
            // So that a power loss does not leave a name without content.
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)
        };
        self.remove_unfinished_run_files();
        write().map_err(Self::io(path.clone()))
    }

    /// What owners left that were killed between the two names.
    fn remove_unfinished_run_files(&self) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("run.json.") && name.ends_with(UNFINISHED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// For the owner only. One that stays is harmless.
    pub fn remove_run_file(&self) {
        let _ = std::fs::remove_file(self.run_file());
    }

    /// The owner's run file; `None` if there is none yet.
    fn read_run_file(&self) -> Result<Option<RunFile>, DataError> {
        match std::fs::read(self.run_file()) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|reason| DataError::RunFile {
                path: self.run_file(),
                dir: self.0.clone(),
                reason,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Io { path: self.run_file(), source }),
        }
    }
}

/// Whether there is such a process, also one of another user.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pid: u32) -> RunFile {
        RunFile {
            pid,
            role: "up".to_owned(),
            admin: ([127, 0, 0, 1], 9090).into(),
            token: "secret".to_owned(),
            version: "0".to_owned(),
        }
    }

    #[test]
    fn a_second_role_is_refused_with_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let _claim = dir.claim().unwrap();
        dir.write_run_file(&run(std::process::id())).unwrap();

        let error = dir.claim().unwrap_err().to_string();
        for part in [&format!("pid {}", std::process::id()), "`clickgate up`", "--data", "kill "] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        let Access::Theirs(owner) = dir.access().unwrap() else { panic!("the lock is held") };
        assert_eq!(owner, run(std::process::id()));
    }

    #[test]
    fn a_run_file_that_a_killed_process_left_is_harmless() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        dir.write_run_file(&run(std::process::id())).unwrap();
        assert!(matches!(dir.access().unwrap(), Access::Ours(_)));
        assert_eq!(dir.read_run_file().unwrap(), None, "the new owner removed it");
    }

    #[test]
    fn a_run_file_that_is_no_json_is_an_error_at_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let _claim = dir.claim().unwrap();
        for text in ["", "{\"pid\": 1", "{\"pid\": 1}", "null"] {
            std::fs::write(dir.run_file(), text).unwrap();
            let begin = Instant::now();
            for error in [dir.claim().err(), dir.access().err()] {
                let said = error.unwrap().to_string();
                for part in ["run.json is damaged", "fuser ", "start it again"] {
                    assert!(said.contains(part), "{text:?}: {part:?} is not in {said}");
                }
            }
            assert!(begin.elapsed() < PATIENCE, "{text:?} was waited for");
        }
    }

    #[test]
    fn only_the_owner_of_the_machine_account_reads_the_token() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(&root.path().join("data"));
        dir.create().unwrap();
        dir.write_run_file(&run(1)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&dir.run_file())), (0o700, 0o600));
    }

    #[test]
    fn a_run_file_is_written_beside_what_others_prepared_and_through_no_link() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let victim = root.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        for name in ["run.json", "run.json.new", "run.json.0.new"] {
            std::os::unix::fs::symlink(&victim, root.path().join(name)).unwrap();
        }
        dir.write_run_file(&run(7)).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
        assert!(!dir.run_file().is_symlink());
        assert_eq!(dir.read_run_file().unwrap(), Some(run(7)));
        assert!(!root.path().join("run.json.0.new").is_symlink(), "what a killed process left is removed");
    }

    #[test]
    fn a_command_on_no_directory_is_told_how_to_get_one() {
        let dir = DataDir::new(Path::new("/nowhere/clickgate"));
        let error = dir.access().err().unwrap().to_string();
        assert!(error.contains("clickgate up --data /nowhere/clickgate"), "{error}");
    }
}
