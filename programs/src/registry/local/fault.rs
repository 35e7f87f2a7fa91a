//! Carries redb's many error types and ours through one `?`, so that redb is not a
//! part of the public error.

use std::io::ErrorKind;

use redb::Error;

use crate::registry::RegistryError;

#[derive(Debug)]
pub(super) struct Fault(pub(super) RegistryError);

/// The file holds data that we did not write.
pub(super) fn damaged(reason: String) -> Fault {
    Fault(RegistryError::Damaged(reason))
}

impl Fault {
    /// Whether opening the file again may help.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self.0, RegistryError::Unavailable(_))
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        let error = error.into();
        Self(match error {
            // The file is truncated or empty: a retry does not help.
            Error::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                RegistryError::Damaged(error.to_string())
            }
            Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed => {
                RegistryError::Unavailable(error.into())
            }
            _ => RegistryError::Damaged(error.to_string()),
        })
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Self(error)
    }
}

impl From<Fault> for RegistryError {
    fn from(fault: Fault) -> Self {
        fault.0
    }
}
