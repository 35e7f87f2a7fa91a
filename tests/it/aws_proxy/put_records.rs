//! What the proxy knows of PutRecords: its entries, and how some of them fail.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::trace::{Entry, EntryFate};
use crate::kinesis::stream::{Shard, hash};

pub const OPERATION: &str = "PutRecords";
pub const THROTTLED: &str = "ProvisionedThroughputExceededException";
pub const INTERNAL: &str = "InternalFailure";

/// Entries that fail, as [`super::Fault::FailEntries`].
#[derive(Clone, Debug)]
pub struct FailEntries {
    error_code: String,
    /// Only those that hash into this.
    hashes: RangeInclusive<u128>,
    /// In the error's text.
    shard: String,
}

/// A PutRecords request, taken apart.
pub struct Request {
    body: Value,
    entries: Vec<Entry>,
    hashes: Vec<u128>,
    /// Entries that the server does not see, and what their answer is.
    failed: BTreeMap<usize, Value>,
}

impl FailEntries {
    /// Any entry, with this error code.
    pub fn with(error_code: &str) -> Self {
        let error_code = error_code.to_owned();
        Self { error_code, hashes: 0..=u128::MAX, shard: "shardId-000000000000".to_owned() }
    }

    /// Any entry is throttled.
    pub fn throttled() -> Self {
        Self::with(THROTTLED)
    }

    /// Only entries for this shard.
    pub fn of(self, shard: &Shard) -> Self {
        Self { shard: shard.id.clone(), ..self.of_hashes(shard.hashes.clone()) }
    }

    /// Only entries whose partition key, or explicit hash key, hashes into this.
    pub fn of_hashes(self, hashes: RangeInclusive<u128>) -> Self {
        Self { hashes, ..self }
    }

    /// Whether it can happen to an entry that hashes so.
    pub fn is_for(&self, hash: u128) -> bool {
        self.hashes.contains(&hash)
    }

    /// What is answered for such an entry, in the words of the service.
    pub fn answer(&self, stream: &str) -> Value {
        let message = match &*self.error_code {
            THROTTLED => {
                format!(
                    "Rate exceeded for shard {} in stream {stream} under account 000000000000.",
                    self.shard
                )
            }
            INTERNAL => "Internal service failure.".to_owned(),
            other => format!("{other} by the proxy"),
        };
        json!({ "ErrorCode": self.error_code, "ErrorMessage": message })
    }
}

impl Request {
    /// The request in this body; `None` if it is none.
    pub fn read(body: Value) -> Option<Self> {
        let records = body["Records"].as_array()?;
        let hashes = records.iter().map(hash_of).collect::<Option<_>>()?;
        let entries = records.iter().map(entry).collect::<Option<_>>()?;
        Some(Self { body, entries, hashes, failed: BTreeMap::new() })
    }

    /// Bytes of its largest entry: its data and its keys.
    pub fn largest_entry_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).max().unwrap_or(0)
    }

    pub fn stream(&self) -> String {
        let name =
            self.body["StreamName"].as_str().or_else(|| self.body["StreamARN"].as_str()?.rsplit('/').next());
        name.unwrap_or_default().to_owned()
    }

    /// Lets entries fail: `choose` sees the hash of each that has not failed yet.
    pub fn fail(&mut self, mut choose: impl FnMut(u128) -> Option<FailEntries>) {
        let stream = self.stream();
        for (at, hash) in self.hashes.iter().enumerate() {
            if let Some(failure) = choose(*hash) {
                self.failed.insert(at, failure.answer(&stream));
            }
        }
    }

    /// What the server is to get; `None` if no entry is left.
    pub fn for_server(&self) -> Option<Value> {
        let mut body = self.body.clone();
        let mut at = 0;
        let records = body["Records"].as_array_mut()?;
        records.retain(|_| {
            at += 1;
            !self.failed.contains_key(&(at - 1))
        });
        (!records.is_empty() || self.entries.is_empty()).then_some(body)
    }

    /// Whether the server gets all that the client sent.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }

    /// The answer for all entries, in their order, from what the server said of those that it got.
    pub fn answer(&self, from_server: Option<&Value>) -> Value {
        let nothing = Vec::new();
        let said = from_server.and_then(|answer| answer["Records"].as_array()).unwrap_or(&nothing);
        let mut said = said.iter();
        let answers = (0..self.entries.len()).map(|at| match self.failed.get(&at) {
            Some(failure) => failure.clone(),
            None => said.next().cloned().unwrap_or(Value::Null),
        });
        let answers: Vec<Value> = answers.collect();
        let failed = answers.iter().filter(|answer| answer["ErrorCode"].is_string()).count();
        let mut answer = from_server.cloned().unwrap_or_else(|| json!({ "EncryptionType": "NONE" }));
        answer["FailedRecordCount"] = failed.into();
        answer["Records"] = answers.into();
        answer
    }

    /// Its entries, as the trace has them, after an answer for all of them.
    pub fn entries_after(&self, answer: &Value) -> Vec<Entry> {
        let fate = |answer: &Value| match (&answer["SequenceNumber"], &answer["ErrorCode"]) {
            (Value::String(number), _) => EntryFate::Stored { sequence_number: number.clone() },
            (_, Value::String(code)) => EntryFate::Failed { code: code.clone() },
            _ => EntryFate::Unknown,
        };
        let entries = self.entries.iter().enumerate();
        entries.map(|(at, entry)| Entry { fate: fate(&answer["Records"][at]), ..entry.clone() }).collect()
    }

    /// The same when the server gave no such answer. Those that failed here did so anyway.
    pub fn entries_with(&self, fate: &EntryFate) -> Vec<Entry> {
        let with = |(at, entry): (usize, &Entry)| match self.failed.get(&at) {
            Some(failure) => {
                let code = failure["ErrorCode"].as_str().unwrap_or_default().to_owned();
                Entry { fate: EntryFate::Failed { code }, ..entry.clone() }
            }
            None => Entry { fate: fate.clone(), ..entry.clone() },
        };
        self.entries.iter().enumerate().map(with).collect()
    }
}

/// Gives an answer more entries than it had, or less.
pub fn change_length(answer: &mut Value, by: isize) {
    let Some(records) = answer["Records"].as_array_mut() else { return };
    let last = records.last().cloned().unwrap_or(Value::Null);
    records.resize(records.len().saturating_add_signed(by), last);
}

fn hash_of(record: &Value) -> Option<u128> {
    match record["ExplicitHashKey"].as_str() {
        Some(key) => key.parse().ok(),
        None => Some(hash(record["PartitionKey"].as_str()?)),
    }
}

fn entry(record: &Value) -> Option<Entry> {
    let key = record["PartitionKey"].as_str()?.to_owned();
    let base64 = record["Data"].as_str()?;
    let data_bytes = base64.trim_end_matches('=').len() * 3 / 4;
    let bytes = data_bytes + key.len() + record["ExplicitHashKey"].as_str().map_or(0, str::len);
    Some(Entry { key, bytes, fate: EntryFate::NotForwarded })
}

#[test]
fn answers_of_failed_entries_are_where_they_were_in_the_request() {
    let records = ["a", "b", "c", "d"].map(|key| json!({ "PartitionKey": key, "Data": "YWJjZA==" }));
    let mut request = Request::read(json!({ "StreamName": "s", "Records": records })).unwrap();
    assert_eq!(request.largest_entry_bytes(), 5);
    let failing = [hash("a"), hash("c")];
    request.fail(|hash| failing.contains(&hash).then(FailEntries::throttled));
    let forwarded = request.for_server().unwrap();
    let keys = forwarded["Records"].as_array().unwrap().iter().map(|it| it["PartitionKey"].as_str().unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), ["b", "d"]);

    let from_server = json!({ "FailedRecordCount": 1, "Records": [
        { "SequenceNumber": "1", "ShardId": "x" }, { "ErrorCode": "Own", "ErrorMessage": "of the server" },
    ]});
    let answer = request.answer(Some(&from_server));
    assert_eq!(answer["FailedRecordCount"], 3);
    let fates: Vec<_> = request.entries_after(&answer).into_iter().map(|entry| entry.fate).collect();
    let failed = |code: &str| EntryFate::Failed { code: code.to_owned() };
    let stored = EntryFate::Stored { sequence_number: "1".to_owned() };
    assert_eq!(fates, [failed(THROTTLED), stored, failed(THROTTLED), failed("Own")]);
}
