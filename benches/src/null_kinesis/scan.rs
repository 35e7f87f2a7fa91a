//! Finds what counts in a PutRecords request without parsing it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::{memchr, memmem};
use proto::{Envelope, Message, TrackingEvent};

use super::PAYLOAD_UNIT_BYTES;

/// What is in front of a KPL aggregate.
const AGGREGATE_MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The MD5 that follows it.
const AGGREGATE_DIGEST_BYTES: usize = 16;

/// What a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub records: u64,
    pub payload_units: u64,
    pub data_bytes: u64,
}

/// The base64 of each entry's data. No base64 has a quote in it, and a quote in a key is
/// escaped, so `"Data"` is never a part of something else.
pub fn data(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let finder = memmem::Finder::new(b"\"Data\"");
    let mut rest = body;
    std::iter::from_fn(move || {
        let after = finder.find(rest)? + b"\"Data\"".len();
        let begin = after + memchr(b'"', &rest[after..])? + 1;
        let end = begin + memchr(b'"', &rest[begin..])?;
        let found = &rest[begin..end];
        rest = &rest[end + 1..];
        Some(found)
    })
}

pub fn scan(body: &[u8]) -> Scanned {
    let mut scanned = Scanned::default();
    for base64 in data(body) {
        let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
        let bytes = (base64.len() / 4 * 3).saturating_sub(padding) as u64;
        scanned.records += 1;
        scanned.data_bytes += bytes;
        scanned.payload_units += bytes.div_ceil(PAYLOAD_UNIT_BYTES).max(1);
    }
    scanned
}

/// The events in an entry: alone, or in an aggregate. `None` if it cannot be decoded.
pub fn events(base64: &[u8]) -> Option<u64> {
    let data = BASE64.decode(base64).ok()?;
    let Some(aggregate) = data.strip_prefix(&AGGREGATE_MAGIC) else { return is_event(&data).map(u64::from) };
    let message = &aggregate[..aggregate.len().checked_sub(AGGREGATE_DIGEST_BYTES)?];
    let mut events = 0;
    for record in fields(message, 3)? {
        let [data] = fields(record, 3)?[..] else { return None };
        events += u64::from(is_event(data)?);
    }
    Some(events)
}

/// Whether it is an event, and not an envelope.
fn is_event(data: &[u8]) -> Option<bool> {
    match Envelope::from_wire(data).ok()? {
        Some(_) => Some(false),
        None => TrackingEvent::decode(data).ok().map(|_| true),
    }
}

/// All fields of this number, which have a length, of a protobuf message.
fn fields(mut message: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = varint(&mut message)?;
        match key & 7 {
            0 => {}
            2 => {
                let (field, rest) = message.split_at_checked(usize::try_from(value).ok()?)?;
                message = rest;
                if key >> 3 == number {
                    found.push(field);
                }
            }
            // An aggregate has no others.
            _ => return None,
        }
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_in_any_order_of_fields_and_with_blanks() {
        let body = br#"{"StreamName":"\"Data\"","Records":[{"Data":"YWI=","PartitionKey":"\"Data\":\"x\""},
            { "PartitionKey" : "k", "Data" : "YWJj" }, {"Data":""}]}"#;
        assert_eq!(data(body).collect::<Vec<_>>(), [&b"YWI="[..], b"YWJj", b""]);
        assert_eq!(scan(body), Scanned { records: 3, payload_units: 3, data_bytes: 5 });
        assert_eq!(scan(b"{}"), Scanned::default());
        assert_eq!(scan(br#"{"Data":"cut"#), Scanned::default());
    }

    #[test]
    fn data_is_rounded_up_to_payload_units() {
        for (bytes, units) in
            [(0, 1), (1, 1), (25 << 10, 1), ((25 << 10) + 1, 2), (50 << 10, 2), (1 << 20, 41)]
        {
            let body = format!(r#"{{"Data":"{}"}}"#, BASE64.encode(vec![0; bytes]));
            let scanned = scan(body.as_bytes());
            assert_eq!((scanned.data_bytes, scanned.payload_units), (bytes as u64, units));
        }
    }

    #[test]
    fn events_are_counted_in_aggregates_and_alone_and_envelopes_are_not() {
        let event = TrackingEvent { message_id: "x".repeat(200), ..TrackingEvent::default() }.encode_to_vec();
        let envelope = Envelope { lane: 1, ..Envelope::default() }.to_wire();
        let aggregate = aggregate(&[&event, &envelope, &event]);
        let count = |data: &[u8]| events(BASE64.encode(data).as_bytes());
        assert_eq!(count(&event), Some(1));
        assert_eq!(count(&envelope), Some(0));
        assert_eq!(count(&aggregate), Some(2));
        assert_eq!(count(&aggregate[..10]), None);
        assert_eq!(count(b"\xff"), None);
        assert_eq!(events(b"*"), None);
    }

    /// A KPL aggregate of one partition key, with a digest that nobody checks here.
    fn aggregate(records: &[&[u8]]) -> Vec<u8> {
        let mut message = AGGREGATE_MAGIC.to_vec();
        field(1, b"key", &mut message);
        for data in records {
            let mut record = vec![1 << 3, 0];
            field(3, data, &mut record);
            field(3, &record, &mut message);
        }
        message.extend([0; AGGREGATE_DIGEST_BYTES]);
        message
    }

    fn field(number: u8, bytes: &[u8], message: &mut Vec<u8>) {
        message.extend([number << 3 | 2, bytes.len() as u8 | 128, (bytes.len() >> 7) as u8]);
        message.extend_from_slice(bytes);
    }
}
