//! The proxy itself, in front of a real server: each fault is seen by a plain client, what was not
//! forwarded is not in the stream, and what was hidden is.

mod answers;
mod entries;
mod outages;
mod requests;

use serde_json::{Value, json};

use super::AwsProxy;
use crate::aws_json::{Answer, AwsJson};
use crate::kinesis::server::KinesisServer;
use crate::kinesis::stream::Stream;

/// A stream, a proxy before its server, and a client of the proxy.
struct World {
    stream: Stream,
    proxy: AwsProxy,
    client: AwsJson,
}

impl World {
    fn new(shards: u32) -> Option<Self> {
        let server = KinesisServer::shared()?;
        let proxy = AwsProxy::to(server.port());
        let client = AwsJson::new(proxy.port(), "Kinesis_20131202");
        Some(Self { stream: server.new_stream(shards), proxy, client })
    }

    /// PutRecords through the proxy, an entry for each key.
    fn put(&self, keys: &[&str]) -> Result<Answer, ureq::Error> {
        self.client.call("PutRecords", &self.request(keys))
    }

    fn request(&self, keys: &[&str]) -> Value {
        let records: Vec<_> = keys.iter().map(|key| json!({ "PartitionKey": key, "Data": "eA==" })).collect();
        json!({ "StreamName": self.stream.name(), "Records": records })
    }

    fn describe(&self) -> Result<Answer, ureq::Error> {
        self.client.call("DescribeStreamSummary", &json!({ "StreamName": self.stream.name() }))
    }

    /// Partition keys in the stream, sorted.
    fn stored(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.stream.records().into_iter().map(|record| record.partition_key).collect();
        keys.sort_unstable();
        keys
    }
}

/// The error code of each entry of an answer; empty if it was stored.
fn codes(answer: &Value) -> Vec<&str> {
    let code = |entry: &Value| {
        assert_eq!(entry["ErrorCode"].is_null(), entry["SequenceNumber"].is_string(), "{entry}");
        assert_eq!(entry["ErrorCode"].is_null(), entry["ShardId"].is_string(), "{entry}");
    };
    let entries = answer["Records"].as_array().unwrap();
    entries.iter().for_each(code);
    let codes: Vec<_> = entries.iter().map(|entry| entry["ErrorCode"].as_str().unwrap_or("")).collect();
    assert_eq!(answer["FailedRecordCount"], codes.iter().filter(|code| !code.is_empty()).count());
    codes
}
