//! What is looked at before anything is shipped: whether the streams are there, and fit.
//!
//! No answer is no verdict: the far side may come later, and the log keeps what it is to get.

use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamStatus};

use super::answer::Failed;
use super::client::Client;
use super::config::{Aggregation, PartitionBy, ShipperConfig};
use super::entry::Target;
use crate::trouble::{Trouble, chain};

const ACTION: &str = "kinesis:DescribeStreamSummary";

/// What the check found.
#[derive(Debug)]
pub enum Checked {
    /// Both streams take what is sent.
    Fit,
    /// Nothing was heard of a stream; the reason.
    NoAnswer(String),
    /// Nothing would be taken, or not rightly.
    Unfit(Trouble),
}

impl Client {
    /// Looks at the streams.
    pub async fn check(&self, config: &ShipperConfig) -> Checked {
        if self.region.is_none() {
            return Checked::Unfit(Trouble::NoRegion);
        }
        let mut checked = self.check_stream(Target::Events, config).await;
        if matches!(checked, Checked::Fit) && self.control != self.events {
            checked = self.check_stream(Target::Control, config).await;
        }
        checked
    }

    async fn check_stream(&self, target: Target, config: &ShipperConfig) -> Checked {
        let name = self.stream(target);
        let summary = match self.kinesis.describe_stream_summary().stream_name(name).send().await {
            Ok(answer) => answer.stream_description_summary,
            Err(error) => {
                return match Trouble::of(&error, ACTION, name) {
                    Some(trouble) => Checked::Unfit(trouble),
                    None => Checked::NoAnswer(chain(&error)),
                };
            }
        };
        let Some(summary) = summary else {
            return Checked::NoAnswer(format!("the answer says nothing of the stream {name:?}"));
        };
        if let Some(trouble) = not_active(name, &summary.stream_status) {
            return Checked::Unfit(trouble);
        }
        let expected = self.region.as_deref().unwrap_or_default();
        if let Some(found) = region_of(&summary.stream_arn).filter(|found| *found != expected) {
            let (stream, found, expected) = (name.to_owned(), found.to_owned(), expected.to_owned());
            return Checked::Unfit(Trouble::OtherRegion { stream, found, expected });
        }
        let needs_keys = config.aggregate == Aggregation::Kpl || config.partition_by != PartitionBy::None;
        let is_auto = summary.record_distribution_strategy == Some(RecordDistributionStrategy::Auto);
        if target == Target::Events && needs_keys && is_auto {
            return Checked::Unfit(Trouble::AutoDistribution { stream: name.to_owned() });
        }
        Checked::Fit
    }
}

fn not_active(stream: &str, status: &StreamStatus) -> Option<Trouble> {
    let way_out = match status {
        StreamStatus::Creating => "start again in a minute, when it is ACTIVE",
        StreamStatus::Deleting => "create it again once it is gone, or name another in shipper.stream",
        // UPDATING, as while it is resharded, takes records.
        _ => return None,
    };
    Some(Trouble::NotActive { stream: stream.to_owned(), status: status.as_str().to_owned(), way_out })
}

/// Of `arn:aws:kinesis:eu-central-1:123456789012:stream/name`.
fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

impl Failed {
    /// For the log and the status.
    pub fn describe(&self, stream: &str) -> String {
        format!("the stream {stream:?} takes nothing: {}", self.reason)
    }
}
