//! What a failure of Redis means for a caller, and for the connection it happened on.

use std::{fmt, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::registry::RegistryError;

/// A call that did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// An error of the connection or the server.
    Redis(RedisError),
    /// No answer in time.
    TimedOut(Duration),
    /// No attempt was made: the last ones failed, and the pause is not over.
    Pausing {
        /// The error of the last attempt.
        last: String,
        /// Whether that error was a [denial](Fault::is_denied).
        denied: bool,
    },
}

/// Texts of denials that come without an error code: Redis 7.0's refusal inside a script, and the
/// crate's summary of what the nodes of a cluster answered.
const DENIALS: [&str; 4] = ["The user executing the script", "AuthenticationFailed", "NOAUTH", "WRONGPASS"];

impl Fault {
    /// Whether the connection must be replaced: it is broken or silent, or its server is no longer
    /// the right one.
    pub(super) fn breaks_connection(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            // No connection was used.
            Self::Pausing { .. } => false,
            Self::Redis(error) => {
                error.is_unrecoverable_error()
                    || error.is_io_error()
                    || error.is_timeout()
                    || error.is_cluster_error()
                    || error.code() == Some("NOAUTH")
                    || matches!(
                        error.kind(),
                        ErrorKind::AuthenticationFailed
                            | ErrorKind::ClusterConnectionNotFound
                            | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
                    )
            }
        }
    }

    /// Whether authentication or authorisation failed.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            Self::TimedOut(_) => false,
            Self::Pausing { denied, .. } => *denied,
            // Redis and the crate report it in three ways: a kind, a code, or only a text.
            Self::Redis(error) => {
                let text = error.to_string();
                error.kind() == ErrorKind::AuthenticationFailed
                    || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"))
                    || DENIALS.iter().any(|denial| text.contains(denial))
            }
        }
    }

    pub(super) fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }

    /// The node that now has the slot, if a cluster redirects to it.
    pub(super) fn moved_to(&self) -> Option<(String, u16)> {
        match self {
            Self::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                let (address, _slot) = error.redirect_node()?;
                let (host, port) = address.rsplit_once(':')?;
                Some((host.to_owned(), port.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => fmt::Display::fmt(error, f),
            Self::TimedOut(after) => write!(f, "redis did not answer within {} ms", after.as_millis()),
            Self::Pausing { last, .. } => write!(f, "redis could not be reached a moment ago: {last}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Fault> for RegistryError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Redis(error) if error.code() == Some("WRONGTYPE") => Self::Damaged(error.to_string()),
            fault if fault.is_denied() => denied(fault.to_string()),
            _ => Self::Unavailable(Box::new(fault)),
        }
    }
}

/// The store holds data that we did not write.
pub(super) fn damaged(reason: impl Into<String>) -> RegistryError {
    RegistryError::Damaged(reason.into())
}

/// Access is denied.
pub(super) fn denied(reason: impl Into<String>) -> RegistryError {
    RegistryError::Denied(reason.into())
}

/// A retry may succeed.
pub(super) fn unavailable(reason: &str) -> RegistryError {
    RegistryError::Unavailable(reason.into())
}
