//! The endpoint, by a client that shows what is on the wire.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proto::{Message, TrackingEvent};

use super::*;

fn connect(null: &NullKinesis) -> TcpStream {
    let client = TcpStream::connect(null.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

fn request(operation: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let target = format!("Kinesis_20131202.{operation}");
    format!("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: {target}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn put(data: &[Vec<u8>]) -> Vec<u8> {
    let entry = |data: &Vec<u8>| format!(r#"{{"Data":"{}","PartitionKey":"k"}}"#, BASE64.encode(data));
    let entries: Vec<_> = data.iter().map(entry).collect();
    request("PutRecords", &format!(r#"{{"Records":[{}],"StreamName":"s"}}"#, entries.join(",")))
}

/// The status and the JSON of the next answer.
fn answer(client: &mut TcpStream) -> (u16, serde_json::Value) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&body).unwrap())
}

#[test]
fn every_entry_of_every_request_is_stored_and_counted() {
    let null = NullKinesis::start(0).unwrap();
    let mut client = connect(&null);
    let sizes = [(1, 26_000), (2, 26_000), (300, 26_000), (500, 1), (0, 0)];
    let requests = sizes.map(|(count, bytes)| put(&vec![vec![b'x'; bytes]; count]));
    // All at once, then one in two parts: it is a stream of bytes.
    client.write_all(&requests.concat()).unwrap();
    for (count, _) in sizes {
        let (status, json) = answer(&mut client);
        assert_eq!((status, &json["FailedRecordCount"]), (200, &0.into()));
        let entries = json["Records"].as_array().unwrap();
        assert_eq!(entries.len(), count);
        assert!(entries.iter().all(|it| it["ShardId"].is_string() && it["SequenceNumber"].is_string()));
    }
    let (first, second) = requests[0].split_at(700);
    client.write_all(first).unwrap();
    client.flush().unwrap();
    client.write_all(second).unwrap();
    assert_eq!(answer(&mut client).0, 200);
    let figures = null.figures();
    let expected = Figures {
        requests: 6,
        records: 804,
        payload_units: 304 * 2 + 500,
        data_bytes: 304 * 26_000 + 500,
        body_bytes: figures.body_bytes,
        events: 0,
        undecodable: 0,
    };
    assert_eq!(figures, expected);
    assert!(figures.body_bytes > 304 * 26_000 * 4 / 3);
}

#[test]
fn events_are_counted_when_asked_for() {
    let null = NullKinesis::start(0).unwrap();
    let mut client = connect(&null);
    let event = TrackingEvent { message_id: "id".to_owned(), ..TrackingEvent::default() }.encode_to_vec();
    let request = put(&[event.clone(), event, b"\xff".to_vec()]);
    for (is_on, events, undecodable) in [(false, 0, 0), (true, 2, 1), (false, 2, 1)] {
        null.count_events(is_on);
        client.write_all(&request).unwrap();
        answer(&mut client);
        assert_eq!((null.figures().events, null.figures().undecodable), (events, undecodable));
    }
}

#[test]
fn what_a_shipper_asks_at_its_start_is_answered_and_all_else_refused() {
    let null = NullKinesis::start(0).unwrap();
    let mut client = connect(&null);
    let mut ask = |operation: &str| {
        client.write_all(&request(operation, "{}")).unwrap();
        answer(&mut client)
    };
    let (status, json) = ask("DescribeStreamSummary");
    assert_eq!((status, &json["StreamDescriptionSummary"]["StreamStatus"]), (200, &"ACTIVE".into()));
    let (status, json) = ask("ListShards");
    assert_eq!((status, json["Shards"].as_array().unwrap().len()), (200, 1));
    let (status, json) = ask("CreateStream");
    assert_eq!((status, &json["__type"]), (400, &"UnknownOperationException".into()));
    client.write_all(&put(&vec![Vec::new(); 501])).unwrap();
    assert_eq!(answer(&mut client).1["__type"], "ValidationException");
    assert_eq!(null.figures(), Figures::default());
}

#[test]
fn a_request_that_is_too_large_and_a_connection_too_many_are_hung_up_on() {
    let null = NullKinesis::start(0).unwrap();
    let is_hung_up = |mut client: &TcpStream| client.read(&mut [0]).map_or(true, |read| read == 0);
    let mut client = connect(&null);
    let length = BODY_BYTES_MAX + 1;
    client.write_all(format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").as_bytes()).unwrap();
    assert!(is_hung_up(&client));
    let mut client = connect(&null);
    let _ = client.write_all(&vec![b'x'; 128 << 10]);
    assert!(is_hung_up(&client));

    let null = NullKinesis::start(0).unwrap();
    let clients: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(&null)).collect();
    assert!(is_hung_up(&connect(&null)));
    let mut last = clients.last().unwrap();
    last.write_all(&request("ListShards", "{}")).unwrap();
    assert_eq!(answer(&mut last.try_clone().unwrap()).0, 200, "those before are served");
}
