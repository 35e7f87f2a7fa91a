//! What a call to DynamoDB can end with, by what can be done about it.
//!
//! A code that is not known here may pass: what is given up for an unknown reason is lost.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use supervise::causes;

use super::item::Item;
use crate::table::TableError;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Over the capacity for now.
    Throttled,
    /// It may pass.
    Unavailable(String),
    /// It does not pass by itself.
    Refused(Trouble),
    /// What was read makes no sense.
    Damaged(String),
    /// What was to be created is there.
    Exists,
    /// A condition did not hold; the item that stood against it.
    Condition(Option<Item>),
}

/// What a person must change, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "there is no DynamoDB table {table:?} in this region and account. Create it with `clickgate table \
         create`, or set table.name, aws.region or the credentials to where it is"
    )]
    NoTable { table: String },
    #[error(
        "not allowed: {action} on the table {table:?}. Allow this role or user the action; AWS said: {message}"
    )]
    NotAllowed { action: &'static str, table: String, message: String },
    #[error(
        "the AWS credentials cannot be used: {0}. The SDK's default chain looks for AWS_ACCESS_KEY_ID, a \
         profile, a web identity, and the role of the container or instance; a clock that is 5 minutes off \
         makes every signature invalid"
    )]
    Credentials(String),
    #[error("the KMS key of the table {table:?} cannot be used: {message}")]
    Kms { table: String, message: String },
    #[error(
        "DynamoDB refuses {action} on the table {table:?}: {message}. `clickgate table check` says whether the \
         table has the keys that it must have"
    )]
    Invalid { action: &'static str, table: String, message: String },
}

impl Fault {
    /// Of an error of a call that needs `action` on `table`.
    pub fn of<E>(error: SdkError<E>, action: &'static str, table: &str) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        aws_sdk_dynamodb::Error: From<SdkError<E>>,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let message = error.message().unwrap_or_default().to_owned();
        let table = table.to_owned();
        match code.as_str() {
            "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "Throttling"
            | "KMSThrottlingException" => Self::Throttled,
            "ConditionalCheckFailedException" => match error.into() {
                aws_sdk_dynamodb::Error::ConditionalCheckFailedException(failed) => {
                    Self::Condition(failed.item)
                }
                _ => Self::Condition(None),
            },
            "ResourceInUseException" => Self::Exists,
            "ResourceNotFoundException" | "TableNotFoundException" => {
                Self::Refused(Trouble::NoTable { table })
            }
            "AccessDeniedException" | "AccessDenied" => {
                Self::Refused(Trouble::NotAllowed { action, table, message })
            }
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "RequestExpired"
            | "RequestTimeTooSkewed" => Self::Refused(Trouble::Credentials(format!("{code}: {message}"))),
            "ValidationException" | "SerializationException" => {
                Self::Refused(Trouble::Invalid { action, table, message })
            }
            _ if code.starts_with("KMS") => {
                Self::Refused(Trouble::Kms { table, message: format!("{code}: {message}") })
            }
            // Nothing was sent for want of credentials.
            "" if matches!(error, SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)) => {
                let reason = causes(&error);
                match reason.contains("credentials") || reason.contains("identity") {
                    true => Self::Refused(Trouble::Credentials(reason)),
                    false => Self::Unavailable(reason),
                }
            }
            "" => Self::Unavailable(causes(&error)),
            _ => Self::Unavailable(format!("{action}: {code}: {message}")),
        }
    }

    /// Whether the same call may succeed in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable(_))
    }

    /// Whether DynamoDB does not take what was sent, whoever sends it.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused(Trouble::Invalid { .. }))
    }
}

impl From<Fault> for TableError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Throttled => Self::Throttled,
            Fault::Unavailable(reason) => Self::Unavailable(reason.into()),
            Fault::Refused(trouble) => Self::Refused(trouble.to_string()),
            Fault::Damaged(reason) => Self::Damaged(reason),
            // Each condition is looked at where it is set; one that reaches this place changed meanwhile.
            Fault::Condition(_) => Self::Unavailable("others write the same item".into()),
            Fault::Exists => Self::Unavailable("the table is being changed".into()),
        }
    }
}
