//! How the command ends, as a code for programs and a sentence for people.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use supervise::causes;

use crate::client::ClientError;
use crate::config::LoadError;
use crate::data::DataError;
use crate::ops::OpError;
use crate::visible::escaped_lines;

/// Why a command does not end with 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be done: 1.
    #[error("{0}")]
    Failed(String),
    /// What was given cannot be used, and nothing was changed: 2.
    #[error("{0}")]
    BadInput(String),
    /// The process stopped, and some records wait in the log for the next start: 3.
    #[error(
        "stopped with {0} records still in the log; they are safe there, and the next `clickgate up` \
         takes them up, as `clickgate consumer` does with events and `clickgate bridge programs` with \
         core data"
    )]
    Remaining(u64),
    /// The same, and the log's disk ends with this machine, so they were copied: 3.
    #[error(
        "stopped with {0} records not stored; they were copied to {dir}, and `clickgate log ship {dir}` \
         on another machine stores them",
        dir = .1.display()
    )]
    Rescued(u64, PathBuf),
    /// Nobody reads our output any more: 0, quietly.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

/// An error that ends the process, with its causes.
pub fn failed<E: std::error::Error>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Failed(format!("{what}: {}", causes(&error)))
}

/// What `--help` says of it.
pub const CODES: &str = "\
Exit codes:
  0    done
  1    failed; for `reconcile`: records are missing
  2    the command line, the configuration or the input cannot be used; nothing was changed
  3    stopped with records still in the log
  130  stopped at once by a second signal";

/// Says why on stderr.
pub fn code(ended: Result<(), Failure>) -> ExitCode {
    let Err(failure) = ended else {
        return ExitCode::SUCCESS;
    };
    let code = match &failure {
        Failure::ReaderGone => return ExitCode::SUCCESS,
        Failure::Failed(_) => 1,
        Failure::BadInput(_) => 2,
        Failure::Remaining(_) | Failure::Rescued(..) => 3,
    };
    eprintln!("clickgate: {}", escaped_lines(&failure.to_string()));
    ExitCode::from(code)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::BadInput(match error {
            LoadError::Wrong { .. } => format!("the configuration cannot be used:\n{error}"),
            LoadError::Unreadable { .. } => error.to_string(),
        })
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Invalid(..) => Self::BadInput(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Op(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}
