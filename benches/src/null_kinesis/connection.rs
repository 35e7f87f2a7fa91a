//! One connection, request by request.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;

use memchr::memmem;

use super::answer::{self, Answers};
use super::{BODY_BYTES_MAX, Counts, Shared, scan};

/// Bytes of the head of a request at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Until the client hangs up.
pub fn serve(shared: &Shared, mut client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let answers = Answers::new();
    let end_of_head = memmem::Finder::new(b"\r\n\r\n");
    // What has come and is not answered yet, in the first `filled` bytes.
    let mut input = vec![0; HEAD_BYTES_MAX];
    let mut filled = 0;
    let mut output = Vec::new();
    loop {
        let head_length = loop {
            if let Some(at) = end_of_head.find(&input[..filled]) {
                break at + 4;
            }
            let read = client.read(&mut input[filled..])?;
            if read == 0 {
                // Between two requests this is how a client ends, else it sent no head that fits.
                return if filled == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
            }
            filled += read;
        };
        let head = Head::read(&input[..head_length]).ok_or(io::ErrorKind::InvalidData)?;
        let end = head_length + head.body_bytes;
        if input.len() < end {
            input.resize(end, 0);
        }
        if filled < end {
            client.read_exact(&mut input[filled..end])?;
            filled = end;
        }
        output.clear();
        answer(shared, &answers, head.operation, &input[head_length..end], &mut output);
        client.write_all(&output)?;
        input.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// What a request's head says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    operation: Operation,
    body_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    PutRecords,
    DescribeStreamSummary,
    ListShards,
    Unknown,
}

impl Head {
    /// `None` if its body is too large, or its length is not said.
    fn read(head: &[u8]) -> Option<Self> {
        let mut operation = Operation::Unknown;
        let mut body_bytes = None;
        for line in std::str::from_utf8(head).ok()?.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("x-amz-target") {
                operation = match value.rsplit('.').next().unwrap_or_default().trim() {
                    "PutRecords" => Operation::PutRecords,
                    "DescribeStreamSummary" => Operation::DescribeStreamSummary,
                    "ListShards" => Operation::ListShards,
                    _ => Operation::Unknown,
                };
            } else if name.eq_ignore_ascii_case("content-length") {
                body_bytes = value.trim().parse().ok();
            }
        }
        let body_bytes = body_bytes.filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
        Some(Self { operation, body_bytes })
    }
}

fn answer(shared: &Shared, answers: &Answers, operation: Operation, body: &[u8], output: &mut Vec<u8>) {
    match operation {
        Operation::PutRecords => put_records(shared, answers, body, output),
        Operation::DescribeStreamSummary => answer::json("200 OK", answer::STREAM, output),
        Operation::ListShards => answer::json("200 OK", answer::SHARDS, output),
        Operation::Unknown => answer::json("400 Bad Request", answer::UNKNOWN_OPERATION, output),
    }
}

fn put_records(shared: &Shared, answers: &Answers, body: &[u8], output: &mut Vec<u8>) {
    let scanned = scan::scan(body);
    if answers.stored(scanned.records as usize, output).is_none() {
        return answer::json("400 Bad Request", answer::TOO_MANY_RECORDS, output);
    }
    // Counted before it is answered: whoever has the answer may look.
    let Counts { requests, records, payload_units, data_bytes, body_bytes, events, undecodable } =
        &shared.counts;
    requests.fetch_add(1, Relaxed);
    records.fetch_add(scanned.records, Relaxed);
    payload_units.fetch_add(scanned.payload_units, Relaxed);
    data_bytes.fetch_add(scanned.data_bytes, Relaxed);
    body_bytes.fetch_add(body.len() as u64, Relaxed);
    if shared.counts_events.load(Relaxed) {
        for base64 in scan::data(body) {
            match scan::events(base64) {
                Some(found) => events.fetch_add(found, Relaxed),
                None => undecodable.fetch_add(1, Relaxed),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_is_asked_and_how_long_it_is() {
        let head = |text: &str| Head::read(format!("POST / HTTP/1.1\r\n{text}\r\n\r\n").as_bytes());
        let put = "x-amz-target: Kinesis_20131202.PutRecords\r\ncontent-length: 12";
        assert_eq!(head(put), Some(Head { operation: Operation::PutRecords, body_bytes: 12 }));
        let other = "X-Amz-Target: Kinesis_20131202.CreateStream\r\nContent-Length:0";
        assert_eq!(head(other), Some(Head { operation: Operation::Unknown, body_bytes: 0 }));
        for refused in ["Host: x", "Content-Length: x", "Content-Length: 16777217"] {
            assert_eq!(head(refused), None, "{refused}");
        }
        assert!(head(&format!("Content-Length: {BODY_BYTES_MAX}")).is_some());
    }
}
