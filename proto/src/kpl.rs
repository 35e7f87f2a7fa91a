//! The aggregate of the Kinesis Producer Library: several user records in one Kinesis record.
//!
//! ```text
//! F3 89 9A C2 │ AggregatedRecord (`kpl.proto`) │ MD5 of the message
//! ```
//!
//! Source: aggregation-format.md of awslabs/amazon-kinesis-producer. Consumers of the KCL unpack
//! it by themselves; they drop a whole aggregate, without an error, if one of its user records
//! hashes into another shard. So all user records of an [`Aggregate`] have the aggregate's own
//! partition key: wherever the stream's shards are cut, they are where their aggregate is.
//!
//! A record that stands alone is no aggregate but itself, as the KPL does it.

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

/// The generated messages; their documentation is in `kpl.proto`.
#[allow(missing_docs, reason = "generated; documented in kpl.proto")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/kpl.rs"));
}

use generated::AggregatedRecord;

#[cfg(test)]
mod tests;

/// In front of each aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The MD5 at the end.
const DIGEST_BYTES: usize = 16;
/// Tags of the fields, each with wire type 2: a length follows.
const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
/// What each of our records begins with: field 1, index 0 of the table; then the tag of its data.
const RECORD_HEAD: [u8; 3] = [1 << 3, 0, 3 << 3 | 2];

/// Bytes of the longest partition key that Kinesis takes, and that an [`Aggregate`] can have.
pub const PARTITION_KEY_BYTES_MAX: usize = 256;

/// Where the key of an aggregate begins, if it is short enough to have one byte of length.
const KEY_AT: usize = MAGIC.len() + 2;

/// An aggregate that is being filled.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// As far as it goes, without the digest.
    bytes: Vec<u8>,
    records: usize,
    /// Where the data of the first record begins.
    first_at: usize,
}

impl Aggregate {
    /// An empty one, of `partition_key`: 1 to [`PARTITION_KEY_BYTES_MAX`] bytes.
    pub fn new(partition_key: &str) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(PARTITION_KEY_TABLE);
        put_length(&mut bytes, partition_key.len());
        bytes.extend_from_slice(partition_key.as_bytes());
        Self { bytes, records: 0, first_at: 0 }
    }

    /// How many records it has.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Its bytes once it is finished with one more record of `data_bytes` in it.
    pub fn bytes_with(&self, data_bytes: usize) -> usize {
        let record = RECORD_HEAD.len() + length_bytes(data_bytes) + data_bytes;
        self.bytes.len() + 1 + length_bytes(record) + record + DIGEST_BYTES
    }

    /// Adds a record.
    pub fn push(&mut self, data: &[u8]) {
        self.bytes.push(RECORDS);
        put_length(&mut self.bytes, RECORD_HEAD.len() + length_bytes(data.len()) + data.len());
        self.bytes.extend_from_slice(&RECORD_HEAD);
        put_length(&mut self.bytes, data.len());
        if self.records == 0 {
            self.first_at = self.bytes.len();
        }
        self.bytes.extend_from_slice(data);
        self.records += 1;
    }

    /// The data of the Kinesis record: the aggregate, or its only record as it is.
    pub fn finish(mut self) -> Vec<u8> {
        // What could be taken for an aggregate is put into one, so that it comes out whole.
        if self.records == 1 && !self.bytes[self.first_at..].starts_with(&MAGIC) {
            self.bytes.drain(..self.first_at);
            return self.bytes;
        }
        let digest = Md5::digest(&self.bytes[MAGIC.len()..]);
        self.bytes.extend_from_slice(&digest);
        self.bytes
    }
}

/// A user record, as the KCL hands it to its application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Its own partition key.
    pub partition_key: String,
    /// A decimal number below 2^128 that takes the place of the key's hash.
    pub explicit_hash_key: Option<String>,
    /// Its data.
    pub data: Bytes,
}

/// The user records of an aggregate, which share its memory; `None` if `data` is none.
///
/// As for the KCL, data that is too short, has another digest or no such message in it is a plain
/// record. An index that is in no table makes it one too: the KCL would lose the rest of it.
pub fn read(data: &Bytes) -> Option<Vec<UserRecord>> {
    let body_bytes = data.len().checked_sub(MAGIC.len() + DIGEST_BYTES)?;
    if !data.starts_with(&MAGIC) {
        return None;
    }
    let body = data.slice(MAGIC.len()..MAGIC.len() + body_bytes);
    if Md5::digest(&body)[..] != data[MAGIC.len() + body_bytes..] {
        return None;
    }
    let AggregatedRecord { partition_key_table, explicit_hash_key_table, records } =
        AggregatedRecord::decode(body).ok()?;
    let at = |table: &[String], index: u64| table.get(usize::try_from(index).ok()?).cloned();
    let user_record = |record: generated::Record| {
        let explicit_hash_key = match record.explicit_hash_key_index {
            Some(index) => Some(at(&explicit_hash_key_table, index)?),
            None => None,
        };
        let partition_key = at(&partition_key_table, record.partition_key_index)?;
        Some(UserRecord { partition_key, explicit_hash_key, data: record.data })
    };
    records.into_iter().map(user_record).collect()
}

/// Gives an aggregate that [`Aggregate::finish`] made another partition key, of as many bytes and
/// at most 127. What is no aggregate stays as it is: its key is not in its data.
pub fn set_partition_key(data: &mut [u8], partition_key: &str) {
    let key = partition_key.as_bytes();
    let key_end = KEY_AT + key.len();
    let body_end = data.len().saturating_sub(DIGEST_BYTES);
    let is_of_this_length = data.starts_with(&MAGIC)
        && body_end >= key_end
        && data[MAGIC.len()..KEY_AT] == [PARTITION_KEY_TABLE, key.len() as u8]
        && key.len() < 0x80;
    if is_of_this_length {
        data[KEY_AT..key_end].copy_from_slice(key);
        let digest = Md5::digest(&data[MAGIC.len()..body_end]);
        data[body_end..].copy_from_slice(&digest);
    }
}

/// Bytes of a length as a varint.
fn length_bytes(length: usize) -> usize {
    prost::length_delimiter_len(length)
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    prost::encode_length_delimiter(length, bytes).expect("a vector grows");
}
