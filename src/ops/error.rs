//! Why an operation was not done, the same here and through the admin API.

use consumers::TableError;
use programs::RegistryError;
use serde_json::{Value as Json, json};
use supervise::causes;

use crate::owner::OwnerError;

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The question cannot be understood; with the details, if there are several.
    #[error("{0}")]
    Invalid(String, Vec<Json>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// What is stored stands against it.
    #[error("{0}")]
    Conflict(String),
    /// It may be done later, or by another role.
    #[error("{0}")]
    Unavailable(String),
    /// The guard of the admin address refused it.
    #[error("{1}")]
    Refused(u16, String),
    /// It failed; operator action required.
    #[error("{0}")]
    Failed(String),
}

impl OpError {
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into(), Vec::new())
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid(..) => 400,
            Self::NotFound(_) => 404,
            Self::Conflict(_) => 409,
            Self::Unavailable(_) => 503,
            Self::Refused(status, _) => *status,
            Self::Failed(_) => 500,
        }
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Invalid(reason, details) if !details.is_empty() => {
                json!({ "error": reason, "details": details })
            }
            other => json!({ "error": other.to_string() }),
        }
    }

    /// The error that an answer stands for.
    pub fn of_answer(status: u16, body: &Json) -> Self {
        let reason = body["error"].as_str().map_or_else(|| format!("status {status}"), str::to_owned);
        let details = body["details"].as_array().cloned().unwrap_or_default();
        match status {
            400 => Self::Invalid(reason, details),
            404 => Self::NotFound(reason),
            409 => Self::Conflict(reason),
            503 => Self::Unavailable(reason),
            500 => Self::Failed(reason),
            other => Self::Refused(other, reason),
        }
    }
}

impl From<OwnerError> for OpError {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::NoTable(_) | OwnerError::NoDirectory(_) => Self::Conflict(error.to_string()),
            error => Self::Failed(causes(&error)),
        }
    }
}

impl From<TableError> for OpError {
    fn from(error: TableError) -> Self {
        let text = causes(&error);
        match error {
            TableError::UnknownCursor(_) | TableError::NotOffered(_) => Self::invalid(text),
            error if error.is_retryable() => Self::Unavailable(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<RegistryError> for OpError {
    fn from(error: RegistryError) -> Self {
        let text = causes(&error);
        match error {
            RegistryError::Unavailable(_) | RegistryError::InUse { .. } => Self::Unavailable(text),
            RegistryError::NoRevision { .. } => Self::Invalid(text, Vec::new()),
            RegistryError::Denied(_) | RegistryError::Damaged(_) | RegistryError::Newer { .. } => {
                Self::Failed(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_on_the_other_side_of_the_admin_api() {
        let errors = [
            OpError::Invalid("wrong".into(), vec![json!({ "line": 1 })]),
            OpError::invalid("wrong"),
            OpError::NotFound("none".into()),
            OpError::Conflict("older".into()),
            OpError::Unavailable("later".into()),
            OpError::Refused(421, "not my name".into()),
            OpError::Failed("broken".into()),
        ];
        for error in errors {
            assert_eq!(OpError::of_answer(error.status(), &error.to_json()), error);
        }
    }
}
