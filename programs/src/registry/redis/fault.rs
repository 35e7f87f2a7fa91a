//! What a failure of Redis means for a caller, and for the connection it happened on.

use std::{fmt, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::registry::RegistryError;

/// A call that did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Of the connection or the server.
    Redis(RedisError),
    /// No answer in time.
    Silence(Duration),
    /// No attempt was made: the last ones failed, the next one is due later.
    Pausing {
        /// What the last one said.
        last: String,
        /// Whether the last one was [denied](Fault::is_denied).
        denied: bool,
    },
}

/// Where a denial has no code of its own: so Redis 7.0 refuses what a script does, and so the
/// crate retells what the nodes of a cluster said when it connected.
const DENIALS: [&str; 4] = ["The user executing the script", "AuthenticationFailed", "NOAUTH", "WRONGPASS"];

impl Fault {
    /// Whether the connection is of no more use: it is broken, silent, or leads to a server
    /// that is not the one to ask any more.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            Self::Silence(_) => true,
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

    /// Whether the server does not know us, or does not let us do this.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            Self::Silence(_) => false,
            Self::Pausing { denied, .. } => *denied,
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

    /// Where a cluster says that the slot is.
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
            Self::Silence(after) => write!(f, "redis did not answer within {} ms", after.as_millis()),
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

/// What is stored is not what we store.
pub(super) fn damaged(reason: impl Into<String>) -> RegistryError {
    RegistryError::Damaged(reason.into())
}

/// Redis does not let us.
pub(super) fn denied(reason: impl Into<String>) -> RegistryError {
    RegistryError::Denied(reason.into())
}

/// It may be different in a moment.
pub(super) fn unavailable(reason: &str) -> RegistryError {
    RegistryError::Unavailable(reason.into())
}
