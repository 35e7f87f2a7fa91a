//! The AWS SDK's client, as the shipper uses it: one attempt a request, since the shipper alone
//! decides what goes again and when.

use std::future::Future;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use super::answer::{self, Answer};
use super::config::ShipperConfig;
use super::entry::{Entry, Target};
use super::outbox::Request;
use crate::aws::{AwsConfig, sdk_config};

/// Kinesis, with the names of the streams.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub kinesis: aws_sdk_kinesis::Client,
    pub events: String,
    pub control: String,
    /// What the SDK settled on.
    pub region: Option<String>,
}

impl Client {
    /// Connects to nothing yet. `stream` is the name of the stream of the events.
    pub async fn new(config: &ShipperConfig, aws: &AwsConfig, stream: &str) -> Self {
        let sdk = sdk_config(aws, config.connect_timeout, config.request_timeout).await;
        let mut kinesis = aws_sdk_kinesis::config::Builder::from(&sdk);
        kinesis.set_endpoint_url(aws.kinesis_endpoint.clone());
        Self {
            region: sdk.region().map(|region| region.as_ref().to_owned()),
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            events: stream.to_owned(),
            control: config.control_stream.clone().unwrap_or_else(|| stream.to_owned()),
        }
    }

    pub fn stream(&self, target: Target) -> &str {
        match target {
            Target::Events => &self.events,
            Target::Control => &self.control,
        }
    }

    /// Sends a request and gives it back with its answer.
    pub fn put(&self, request: Request) -> impl Future<Output = (Request, Answer)> + Send + 'static {
        let stream = self.stream(request.target).to_owned();
        let records = request.entries.iter().map(sdk_entry).collect();
        let put = self.kinesis.put_records().stream_name(&stream).set_records(Some(records));
        async move {
            let answer = answer::read(put.send().await, request.entries.len(), &stream);
            (request, answer)
        }
    }
}

fn sdk_entry(entry: &Entry) -> PutRecordsRequestEntry {
    let data = Blob::new(&entry.data[..]);
    let entry = PutRecordsRequestEntry::builder().data(data).partition_key(&entry.partition_key);
    entry.build().expect("data and key are set")
}
