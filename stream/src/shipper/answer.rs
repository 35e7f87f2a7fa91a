//! What the answer to a request says of each of its entries, or of all of them. Pure.
//!
//! PutRecords answers 200 with any number of entries failed (API reference, "PutRecords"); the
//! entries of the answer stand in the order of those of the request. A code that is not known here
//! is tried again: what is dropped for an unknown reason is lost.

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::types::PutRecordsResultEntry;

use crate::trouble::{self, Trouble};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Of its entries, in their order.
    Each(Vec<EntryAnswer>),
    /// Of all of them.
    Failed(Failed),
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryAnswer {
    /// It is in the stream.
    Stored,
    /// Its shard has no room at the moment; the shard's id, if the answer says it.
    Throttled { shard: Option<String> },
    /// It is not in the stream, for a reason that may pass.
    Failed { code: String },
    /// The stream will never take it.
    Refused { reason: String },
}

/// Why a request failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub why: Why,
    /// The code, or a word for what is no answer of the stream.
    pub cause: String,
    /// For people, with what to do if that is known.
    pub reason: String,
    /// Whether its entries may be in the stream all the same.
    pub outcome_unknown: bool,
    /// Whether the time for it was over.
    pub timed_out: bool,
}

/// What to do about a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Too much at the moment: send it again.
    Throttled,
    /// Something in it will never be taken: find out what.
    Refused,
    /// Nothing will be taken until somebody changes something: send it again all the same.
    Misconfigured,
    /// Send it again.
    Unavailable,
}

/// The answer to a request of `entries` to `stream`.
pub(crate) fn read(
    result: Result<PutRecordsOutput, SdkError<PutRecordsError>>,
    entries: usize,
    stream: &str,
) -> Answer {
    match result {
        Ok(output) if output.records.len() == entries => {
            Answer::Each(output.records.into_iter().map(entry).collect())
        }
        // Which of them failed is not to be known.
        Ok(output) => Answer::Failed(Failed {
            why: Why::Unavailable,
            cause: "wrong_length".to_owned(),
            reason: format!("the answer to {entries} records speaks of {}", output.records.len()),
            outcome_unknown: true,
            timed_out: false,
        }),
        Err(error) => Answer::Failed(failed(&error, stream)),
    }
}

fn entry(entry: PutRecordsResultEntry) -> EntryAnswer {
    let Some(code) = entry.error_code else { return EntryAnswer::Stored };
    let message = entry.error_message.unwrap_or_default();
    match code.as_str() {
        "ProvisionedThroughputExceededException" => EntryAnswer::Throttled { shard: shard(&message) },
        _ if is_refusal(&code) => EntryAnswer::Refused { reason: format!("{code}: {message}") },
        _ => EntryAnswer::Failed { code },
    }
}

/// Such as `Rate exceeded for shard shardId-000000000001 in stream clickgate under account 1234`.
fn shard(message: &str) -> Option<String> {
    let mut words = message.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-'));
    words.find(|word| word.starts_with("shardId-")).map(str::to_owned)
}

fn is_refusal(code: &str) -> bool {
    matches!(code, "ValidationException" | "InvalidArgumentException" | "SerializationException")
}

fn failed(error: &SdkError<PutRecordsError>, stream: &str) -> Failed {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default();
    let told = Failed {
        why: Why::Unavailable,
        cause: code.to_owned(),
        reason: trouble::text(code, error.message().unwrap_or_default()),
        outcome_unknown: false,
        timed_out: false,
    };
    if matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
    ) {
        return Failed { why: Why::Throttled, ..told };
    }
    if let Some(trouble) = Trouble::of(error, "kinesis:PutRecords", stream) {
        return Failed { why: Why::Misconfigured, reason: trouble.to_string(), ..told };
    }
    // 413 comes from what stands before the service and has no code.
    if is_refusal(code) || status == Some(413) {
        return Failed { why: Why::Refused, ..told };
    }
    match error {
        SdkError::ServiceError(_) if !code.is_empty() => {
            Failed { outcome_unknown: status.is_none_or(|status| status >= 500), ..told }
        }
        SdkError::ConstructionFailure(_) => {
            Failed { cause: "not_sent".to_owned(), reason: trouble::chain(error), ..told }
        }
        _ if trouble::was_not_sent(error) => {
            Failed { cause: "no_connection".to_owned(), reason: trouble::chain(error), ..told }
        }
        // The request may have arrived.
        _ => {
            let timed_out = trouble::is_timeout(error);
            let cause = if timed_out { "timeout" } else { "no_answer" }.to_owned();
            Failed { cause, reason: trouble::chain(error), outcome_unknown: true, timed_out, ..told }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(code: Option<&str>, message: &str) -> PutRecordsResultEntry {
        let message = code.is_some().then(|| message.to_owned());
        let entry = PutRecordsResultEntry::builder().set_error_code(code.map(str::to_owned));
        entry.set_error_message(message).build()
    }

    #[test]
    fn each_entry_is_judged_by_its_own_code() {
        let throttled = "ProvisionedThroughputExceededException";
        let message = "Rate exceeded for shard shardId-000000000007 in stream s under account 1.";
        let refused = "Refused to be named";
        for (code, message, expected) in [
            (None, "", EntryAnswer::Stored),
            (Some(throttled), message, EntryAnswer::Throttled { shard: Some("shardId-000000000007".into()) }),
            (Some(throttled), "slow down", EntryAnswer::Throttled { shard: None }),
            (Some("InternalFailure"), "x", EntryAnswer::Failed { code: "InternalFailure".into() }),
            (Some("NeverSeenBefore"), "x", EntryAnswer::Failed { code: "NeverSeenBefore".into() }),
            (
                Some("InvalidArgumentException"),
                refused,
                EntryAnswer::Refused { reason: "InvalidArgumentException: Refused to be named".into() },
            ),
        ] {
            assert_eq!(entry(result(code, message)), expected);
        }
    }

    #[test]
    fn an_answer_of_another_length_says_nothing_of_any_entry() {
        let output = PutRecordsOutput::builder().records(result(None, "")).build().unwrap();
        let Answer::Failed(failed) = read(Ok(output), 2, "s") else { panic!("one answer for two") };
        assert_eq!((failed.why, failed.outcome_unknown), (Why::Unavailable, true));
    }
}
