//! The answers, written once and copied.

use std::io::Write;

/// Entries that a request may have.
pub const RECORDS_MAX: usize = 500;

/// What Kinesis says of an entry that it has; the same for all, as nobody reads them again.
const ENTRY: &str = r#"{"SequenceNumber":"49600000000000000000000000000000000000000000000000000000","ShardId":"shardId-000000000000"},"#;

/// Answers to PutRecords.
pub struct Answers {
    entries: Vec<u8>,
}

impl Answers {
    pub fn new() -> Self {
        Self { entries: ENTRY.repeat(RECORDS_MAX).into_bytes() }
    }

    /// Success for so many entries, head and body; `None` if they are more than Kinesis takes.
    pub fn stored(&self, records: usize, answer: &mut Vec<u8>) -> Option<()> {
        const BEGIN: &str = r#"{"EncryptionType":"NONE","FailedRecordCount":0,"Records":["#;
        const END: &str = "]}";
        // Without the last comma.
        let entries = self.entries.get(..(records * ENTRY.len()).saturating_sub(1))?;
        head("200 OK", BEGIN.len() + entries.len() + END.len(), answer);
        answer.extend_from_slice(BEGIN.as_bytes());
        answer.extend_from_slice(entries);
        answer.extend_from_slice(END.as_bytes());
        Some(())
    }
}

/// An answer with this JSON.
pub fn json(status: &str, body: &str, answer: &mut Vec<u8>) {
    head(status, body.len(), answer);
    answer.extend_from_slice(body.as_bytes());
}

fn head(status: &str, length: usize, answer: &mut Vec<u8>) {
    write!(
        answer,
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         x-amzn-RequestId: null\r\nContent-Length: {length}\r\n\r\n"
    )
    .expect("a vector grows");
}

/// The one stream, as DescribeStreamSummary has it.
pub const STREAM: &str = r#"{"StreamDescriptionSummary":{"StreamName":"null","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/null","StreamStatus":"ACTIVE","StreamModeDetails":{"StreamMode":"PROVISIONED"},"RetentionPeriodHours":24,"StreamCreationTimestamp":1.7E9,"EnhancedMonitoring":[{"ShardLevelMetrics":[]}],"EncryptionType":"NONE","OpenShardCount":1,"ConsumerCount":0}}"#;
/// Its one shard, as ListShards has it.
pub const SHARDS: &str = r#"{"Shards":[{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{"StartingSequenceNumber":"0"}}]}"#;
/// For any other operation.
pub const UNKNOWN_OPERATION: &str = r#"{"__type":"UnknownOperationException","message":"only PutRecords, DescribeStreamSummary and ListShards"}"#;
/// For more entries than Kinesis takes.
pub const TOO_MANY_RECORDS: &str =
    r#"{"__type":"ValidationException","message":"a request has at most 500 records"}"#;
