//! What is looked at before anything is read: whether the streams are there.
//!
//! No answer is no verdict: the far side may come later, and the stream keeps what it has.

use aws_sdk_kinesis::types::StreamStatus;

use super::Worker;
use crate::trouble::{Trouble, chain};

/// What the check found.
#[derive(Debug)]
pub enum WorkerChecked {
    /// All streams can be read.
    Fit,
    /// Nothing was heard of a stream; the reason.
    NoAnswer(String),
    /// Nothing would be read.
    Unfit(Trouble),
}

impl Worker {
    /// Looks whether the streams are there, within the limit for one request each.
    pub async fn check(&self) -> WorkerChecked {
        if self.region.is_none() {
            return WorkerChecked::Unfit(Trouble::NoRegion);
        }
        for stream in &self.config.streams {
            match self.check_stream(stream).await {
                WorkerChecked::Fit => {}
                other => return other,
            }
        }
        WorkerChecked::Fit
    }

    async fn check_stream(&self, stream: &str) -> WorkerChecked {
        let asked = self.kinesis.describe_stream_summary().stream_name(stream).send().await;
        let summary = match asked {
            Ok(answer) => answer.stream_description_summary,
            Err(error) => {
                return match Trouble::of(&error, "kinesis:DescribeStreamSummary", stream) {
                    Some(trouble) => WorkerChecked::Unfit(trouble),
                    None => WorkerChecked::NoAnswer(chain(&error)),
                };
            }
        };
        match summary.map(|summary| summary.stream_status) {
            None => WorkerChecked::NoAnswer(format!("the answer says nothing of the stream {stream:?}")),
            Some(StreamStatus::Deleting) => WorkerChecked::Unfit(Trouble::NotActive {
                stream: stream.to_owned(),
                status: "DELETING".to_owned(),
                way_out: "create it again once it is gone, or name another in shipper.stream",
            }),
            // One that is being created is waited for.
            Some(_) => WorkerChecked::Fit,
        }
    }
}
