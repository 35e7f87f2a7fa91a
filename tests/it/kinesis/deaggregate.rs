//! Takes records apart as a consumer does, with Amazon's own module aws-kinesis-agg.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::server::is_installed;
use super::stream::{StoredRecord, hash};

/// What a producer put, alone or in an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub partition_key: String,
    /// Of a record in an aggregate that has a table of such keys.
    pub explicit_hash_key: Option<u128>,
    pub data: Vec<u8>,
    /// Whether it came in an aggregate.
    pub is_aggregated: bool,
}

impl UserRecord {
    /// Where Kinesis would have put it.
    pub fn hash(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash(&self.partition_key))
    }
}

/// Whether records can be taken apart here; says what is skipped if not.
pub fn can_deaggregate() -> bool {
    is_installed("aws-kinesis-agg", Path::new(PYTHON))
}

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/python/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kinesis/deaggregate.py");

/// The user records in each of these, in order; one that is no aggregate is its own.
///
/// # Panics
/// Amazon's module found fault with one of them.
pub fn deaggregate(records: &[StoredRecord]) -> Vec<Vec<UserRecord>> {
    let mut python = Command::new(PYTHON)
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (python.stdin.take().unwrap(), python.stdout.take().unwrap());
    let mut stderr = python.stderr.take().unwrap();
    let (apart, complaints) = thread::scope(|scope| {
        // Pipes hold little: whoever only wrote would wait for ever.
        scope.spawn(move || {
            for record in records {
                writeln!(stdin, "{}", line(record)).unwrap();
            }
        });
        let complaints = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let apart: Vec<_> = BufReader::new(stdout).lines().map(|line| user_records(&line.unwrap())).collect();
        (apart, complaints.join().unwrap())
    });
    let status = python.wait().unwrap();
    assert!(status.success() && complaints.is_empty(), "aws-kinesis-agg: {status}\n{complaints}");
    assert_eq!(apart.len(), records.len());
    apart
}

fn line(record: &StoredRecord) -> Value {
    json!({
        "partitionKey": record.partition_key,
        "sequenceNumber": record.sequence_number,
        "data": BASE64.encode(&record.data),
    })
}

fn user_records(line: &str) -> Vec<UserRecord> {
    let records: Vec<Value> = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let user_record = |json: &Value| UserRecord {
        partition_key: text(&json["partitionKey"]),
        explicit_hash_key: json["explicitHashKey"].as_str().map(|key| key.parse().unwrap()),
        data: BASE64.decode(text(&json["data"])).unwrap(),
        is_aggregated: json["isAggregated"].as_bool().unwrap(),
    };
    records.iter().map(user_record).collect()
}
