//! What stands in the way of a stream and does not pass by itself, with the way out. Pure.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use supervise::causes;

/// A difference of clocks that AWS no longer tolerates in a signature (AWS General Reference,
/// "Signature Version 4", five minutes).
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// What a person must change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such stream.
    #[error(
        "there is no Kinesis stream {stream:?} in this region and account. Create it with `aws kinesis \
         create-stream --stream-name {stream} --shard-count 2`, or set shipper.stream, aws.region or the \
         credentials to where it is"
    )]
    NoStream {
        /// Its name.
        stream: String,
    },
    /// It is being made or removed.
    #[error("the Kinesis stream {stream:?} is {status}; {way_out}")]
    NotActive {
        /// Its name.
        stream: String,
        /// CREATING or DELETING.
        status: String,
        /// What to do.
        way_out: &'static str,
    },
    /// The credentials do not allow it.
    #[error(
        "not allowed: {action} on the stream {stream:?}. Allow this role or user the action; AWS said: {message}"
    )]
    NotAllowed {
        /// As IAM names it.
        action: &'static str,
        /// The stream.
        stream: String,
        /// What AWS said.
        message: String,
    },
    /// There are no credentials, or none that are valid.
    #[error(
        "the AWS credentials cannot be used: {reason}. The SDK's default chain looks for AWS_ACCESS_KEY_ID, \
         a profile, a web identity, and the role of the container or instance"
    )]
    Credentials {
        /// What is wrong with them.
        reason: String,
    },
    /// No region was set anywhere.
    #[error("the AWS region is not set: set aws.region, or AWS_REGION")]
    NoRegion,
    /// The stream is elsewhere.
    #[error(
        "the stream {stream:?} is in the region {found}, and aws.region is {expected}; make them the same"
    )]
    OtherRegion {
        /// The stream.
        stream: String,
        /// Where it is.
        found: String,
        /// Where it was looked for.
        expected: String,
    },
    /// The clocks differ by more than a signature may.
    #[error(
        "this machine's clock is {} {} that of AWS, which refuses signatures that are 5 minutes off: set it \
         right, with NTP or chrony", seconds(*by), if *is_behind { "behind" } else { "ahead of" }
    )]
    ClockSkew {
        /// The difference.
        by: Duration,
        /// Whether ours is the earlier one.
        is_behind: bool,
    },
    /// Keys would decide nothing.
    #[error(
        "the stream {stream:?} has the record distribution AUTO, with which Kinesis ignores partition keys: \
         consumers of the KCL would drop aggregates, and partition_by would do nothing. Set it to \
         USER_PARTITION_KEY (`aws kinesis update-stream-record-distribution-strategy`), or shipper.aggregate \
         to \"none\" and shipper.partition_by to \"none\""
    )]
    AutoDistribution {
        /// The stream.
        stream: String,
    },
    /// The key with which the stream is encrypted cannot be used.
    #[error("the KMS key of the stream {stream:?} cannot be used ({code}): {message}")]
    Kms {
        /// The stream.
        stream: String,
        /// What AWS calls it.
        code: String,
        /// What AWS said.
        message: String,
    },
}

impl Trouble {
    /// What is behind an error of a call that needs `action` on `stream`; `None` if it may pass.
    pub(crate) fn of<E>(error: &SdkError<E>, action: &'static str, stream: &str) -> Option<Self>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let stream = stream.to_owned();
        let message = error.message().unwrap_or_default().to_owned();
        let code = error.code().unwrap_or_default();
        match code {
            "ResourceNotFoundException" => Some(Self::NoStream { stream }),
            "AccessDeniedException" | "AccessDenied" => Some(Self::NotAllowed { action, stream, message }),
            // A clock that is wrong makes these too.
            "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "RequestExpired"
            | "RequestTimeTooSkewed" => {
                let date = error.raw_response().and_then(|response| response.headers().get("date"));
                let skew = date.and_then(|date| skew(date, SystemTime::now()));
                Some(skew.unwrap_or_else(|| Self::Credentials { reason: text(code, &message) }))
            }
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "OptInRequired"
            | "SubscriptionRequiredException" => Some(Self::Credentials { reason: text(code, &message) }),
            "KMSThrottlingException" => None,
            _ if code.starts_with("KMS") => Some(Self::Kms { stream, code: code.to_owned(), message }),
            // Nothing was sent for want of credentials.
            "" if matches!(error, SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)) => {
                let reason = chain(error);
                let is_credentials = reason.contains("credentials") || reason.contains("identity");
                is_credentials.then_some(Self::Credentials { reason })
            }
            _ => None,
        }
    }
}

/// The difference between our clock and that of an answer, if it is too much.
fn skew(date: &str, now: SystemTime) -> Option<Trouble> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let (by, is_behind) = match theirs.duration_since(now) {
        Ok(behind) => (behind, true),
        Err(ahead) => (ahead.duration(), false),
    };
    (by >= SKEW_MAX).then_some(Trouble::ClockSkew { by, is_behind })
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// A code and what was said with it.
pub(crate) fn text(code: &str, message: &str) -> String {
    match (code, message) {
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

/// What AWS said, or, where it said nothing, why not.
pub(crate) fn said<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match text(error.code().unwrap_or_default(), error.message().unwrap_or_default()) {
        nothing if nothing.is_empty() => chain(error),
        said => said,
    }
}

/// The causes of an error, without the SDK's own word for its kind.
pub(crate) fn chain<E: Error + 'static>(error: &SdkError<E>) -> String {
    let text = error.source().map_or_else(|| error.to_string(), causes);
    // Some of the SDK's sentences end, and more is said behind them.
    text.trim_end_matches('.').to_owned()
}

pub(crate) fn is_timeout<E>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    }
}

/// Whether a request failed before the peer could see it: nobody listens there.
pub(crate) fn was_not_sent<E>(error: &SdkError<E>) -> bool {
    let SdkError::DispatchFailure(failure) = error else { return false };
    let mut next = failure.as_connector_error().and_then(|error| error.source());
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_five_minutes_is_said_with_its_direction() {
        let theirs = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = httpdate::parse_http_date(theirs).unwrap();
        let off = |ours: SystemTime| skew(theirs, ours).map(|trouble| trouble.to_string());
        assert_eq!(off(at + Duration::from_secs(299)), None);
        let ahead = off(at + Duration::from_secs(420)).unwrap();
        assert!(ahead.starts_with("this machine's clock is 7 min ahead of that of AWS"), "{ahead}");
        let behind = off(at - Duration::from_secs(3_600)).unwrap();
        assert!(behind.starts_with("this machine's clock is 60 min behind that of AWS"), "{behind}");
        assert_eq!(skew("no date", at), None);
    }
}
