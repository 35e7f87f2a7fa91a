//! A stream: its shards, and every record that is in them.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::aws_json::AwsJson;
use crate::world::eventually;

/// Records that GetRecords returns at most.
const RECORDS_MAX: usize = 10_000;

/// A stream of a server on this machine; deleted when dropped, if the server is there still.
#[derive(Debug)]
pub struct Stream {
    client: AwsJson,
    name: String,
}

/// A shard, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: String,
    /// The hashes of partition keys that it takes, or took.
    pub hashes: RangeInclusive<u128>,
    /// The shard that was split, or the two that were merged.
    pub parents: Vec<String>,
    pub is_open: bool,
}

/// A record of a stream. The explicit hash key of whoever sent it is not kept by Kinesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub shard: String,
    /// The hashes of the shard in which it is.
    pub hashes: RangeInclusive<u128>,
    pub partition_key: String,
    pub sequence_number: String,
    pub data: Vec<u8>,
}

/// Where Kinesis puts a record with this partition key.
pub fn hash(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

impl Stream {
    pub(super) fn new(client: AwsJson, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A call that must succeed. The server bounds how fast such calls may come; then it waits.
    pub fn call(&self, operation: &str, body: Value) -> Value {
        let mut answered = Value::Null;
        eventually(&format!("{operation} {body}"), || {
            let answer = self.client.call(operation, &body).unwrap();
            if answer.error_type() == "LimitExceededException" {
                return false;
            }
            assert_eq!(answer.status, 200, "{operation} {body}: {}", String::from_utf8_lossy(&answer.body));
            answered = answer.json();
            true
        });
        answered
    }

    /// `ACTIVE`, `CREATING`, …
    pub fn status(&self) -> String {
        let answer = self.call("DescribeStreamSummary", json!({ "StreamName": self.name }));
        answer["StreamDescriptionSummary"]["StreamStatus"].as_str().unwrap().to_owned()
    }

    pub fn wait_until_active(&self) {
        eventually("the stream is active", || self.status() == "ACTIVE");
    }

    /// All of its shards, closed ones too, in the order in which they were made.
    pub fn shards(&self) -> Vec<Shard> {
        let mut shards = Vec::new();
        let mut ask = json!({ "StreamName": self.name });
        loop {
            let answer = self.call("ListShards", ask);
            shards.extend(answer["Shards"].as_array().unwrap().iter().map(shard));
            match &answer["NextToken"] {
                Value::String(token) => ask = json!({ "NextToken": token }),
                _ => return shards,
            }
        }
    }

    pub fn open_shards(&self) -> Vec<Shard> {
        self.shards().into_iter().filter(|shard| shard.is_open).collect()
    }

    /// Splits an open shard in the middle and returns when that has happened.
    pub fn split_shard(&self, shard: &Shard) {
        let middle = shard.hashes.start() + (shard.hashes.end() - shard.hashes.start()) / 2 + 1;
        let (name, middle) = (&self.name, middle.to_string());
        self.call(
            "SplitShard",
            json!({ "StreamName": name, "ShardToSplit": shard.id, "NewStartingHashKey": middle }),
        );
        self.wait_until_active();
    }

    /// Merges two open shards that are beside each other and returns when that has happened.
    pub fn merge_shards(&self, lower: &Shard, upper: &Shard) {
        let name = &self.name;
        self.call(
            "MergeShards",
            json!({ "StreamName": name, "ShardToMerge": lower.id, "AdjacentShardToMerge": upper.id }),
        );
        self.wait_until_active();
    }

    /// Puts one record.
    pub fn put(&self, partition_key: &str, data: &[u8]) {
        let (name, data) = (&self.name, BASE64.encode(data));
        self.call("PutRecord", json!({ "StreamName": name, "PartitionKey": partition_key, "Data": data }));
    }

    /// Every record of every shard, parents before children, a shard's in its order.
    pub fn records(&self) -> Vec<StoredRecord> {
        self.shards().iter().flat_map(|shard| self.records_of(shard, RECORDS_MAX)).collect()
    }

    /// Those of a shard, read with so many in an answer at most.
    pub(super) fn records_of(&self, shard: &Shard, records_max: usize) -> Vec<StoredRecord> {
        let (name, id) = (&self.name, &shard.id);
        let from = json!({ "StreamName": name, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = self.call("GetShardIterator", from)["ShardIterator"].clone();
        let mut records = Vec::new();
        // A closed shard says that it has ended, an open one that nothing is behind.
        while iterator.is_string() {
            let answer = self.call("GetRecords", json!({ "ShardIterator": iterator, "Limit": records_max }));
            let read = answer["Records"].as_array().unwrap();
            records.extend(read.iter().map(|record| stored(shard, record)));
            if shard.is_open && read.is_empty() && answer["MillisBehindLatest"] == 0 {
                break;
            }
            iterator = answer["NextShardIterator"].clone();
        }
        records
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.client.call("DeleteStream", &json!({ "StreamName": self.name }));
    }
}

fn shard(json: &Value) -> Shard {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let key = |which: &str| json["HashKeyRange"][which].as_str().unwrap().parse::<u128>().unwrap();
    let parents = [&json["ParentShardId"], &json["AdjacentParentShardId"]];
    Shard {
        id: text(&json["ShardId"]).unwrap(),
        hashes: key("StartingHashKey")..=key("EndingHashKey"),
        parents: parents.into_iter().filter_map(text).collect(),
        is_open: json["SequenceNumberRange"]["EndingSequenceNumber"].is_null(),
    }
}

fn stored(shard: &Shard, json: &Value) -> StoredRecord {
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    StoredRecord {
        shard: shard.id.clone(),
        hashes: shard.hashes.clone(),
        partition_key: text("PartitionKey"),
        sequence_number: text("SequenceNumber"),
        data: BASE64.decode(text("Data")).unwrap(),
    }
}
