//! What happens to whole requests.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::{World, codes};
use crate::aws_proxy::put_records::{INTERNAL, THROTTLED};
use crate::aws_proxy::{AnswerFate, Fault, Rule};
use crate::http;
use crate::world::eventually;

#[test]
fn without_rules_everything_passes_over_one_connection() {
    let Some(world) = World::new(1) else { return };
    let mut client = http::Client::open(([127, 0, 0, 1], world.proxy.port()).into()).unwrap();
    for key in ["a", "b", "c"] {
        let body = world.request(&[key]).to_string();
        let request = head(body.len()) + &body;
        let answer = client.send(&request).unwrap();
        assert_eq!((answer.status, codes(&answer.json())), (200, vec![""]));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    assert_eq!(world.stored(), ["a", "b", "c"]);
    let trace = world.proxy.trace();
    assert!(trace.exchanges.iter().all(|it| it.is_forwarded && it.faults.is_empty()));
    assert_eq!((trace.exchanges.len(), trace.forgotten), (3, 0));
}

#[test]
fn a_refused_request_has_the_error_and_the_next_one_passes() {
    let Some(world) = World::new(1) else { return };
    let refusals = [
        (400, THROTTLED),
        (500, INTERNAL),
        (400, "AccessDeniedException"),
        (400, "ResourceNotFoundException"),
        (400, "UnrecognizedClientException"),
        (403, "InvalidSignatureException"),
        (400, "ExpiredTokenException"),
        (400, "ValidationException"),
        (503, "ServiceUnavailable"),
    ];
    for (status, error_type) in refusals {
        let rule = world.proxy.add(Rule::next(2, Fault::refuse(status, error_type)).on("PutRecords"));
        for _ in 0..2 {
            let answer = world.put(&["a"]).unwrap();
            assert_eq!((answer.status, &*answer.error_type()), (status, error_type));
            assert!(answer.header("date").is_some());
            assert_eq!(world.describe().unwrap().status, 200, "another operation");
        }
        assert_eq!((world.put(&["b"]).unwrap().status, world.proxy.count(rule)), (200, 2));
    }
    assert_eq!(world.stored(), ["b"; 9]);
}

#[test]
fn a_request_reset_before_the_server_is_not_in_the_stream() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(2, Fault::ResetBefore));
    assert!(world.put(&["a"]).is_err());
    assert!(world.put(&["b"]).is_err());
    assert_eq!(world.put(&["c"]).unwrap().status, 200);
    assert_eq!(world.stored(), ["c"]);
    let trace = world.proxy.trace();
    assert_eq!(trace.exchanges.iter().map(|it| it.is_forwarded).collect::<Vec<_>>(), [false, false, true]);
    assert!(trace.lost.is_empty(), "nothing was stored that the client does not know of");
}

#[test]
fn a_delayed_request_is_stored_although_its_client_has_given_up() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(1, Fault::Delay(Duration::from_millis(500))));
    let client = world.client.clone().with_timeout(Duration::from_millis(100));
    assert!(client.call("PutRecords", &world.request(&["a"])).is_err());
    eventually("its answer is lost", || world.proxy.trace().lost.len() == 1);
    let exchange = &world.proxy.trace().lost[0];
    assert!(exchange.answered - exchange.began >= Duration::from_millis(500));
    assert_eq!(world.stored(), ["a"]);
}

#[test]
fn a_request_can_be_edited_on_its_way() {
    let Some(world) = World::new(1) else { return };
    world.proxy.add(Rule::next(1, Fault::edit_request(|json| json["StreamName"] = "elsewhere".into())));
    assert_eq!(world.put(&["a"]).unwrap().error_type(), "ResourceNotFoundException");
    assert_eq!(world.put(&["b"]).unwrap().status, 200);
    assert_eq!(world.proxy.trace().exchanges[0].answer, AnswerFate::Reached);
}

#[test]
fn an_answer_that_a_client_did_not_read_before_it_hung_up_is_lost() {
    let Some(world) = World::new(1) else { return };
    let body = world.request(&["unread"]).to_string();
    let mut client = TcpStream::connect(("127.0.0.1", world.proxy.port())).unwrap();
    client.write_all(head(body.len()).as_bytes()).unwrap();
    client.write_all(body.as_bytes()).unwrap();
    eventually("the answer is sent", || {
        world.proxy.trace().exchanges.iter().any(|it| it.answer == AnswerFate::Reached)
    });
    drop(client);
    eventually("it is known as lost", || !world.proxy.trace().lost.is_empty());
    assert_eq!(world.stored(), ["unread"]);
    // One that has read it may hang up.
    world.put(&["read"]).unwrap();
    eventually("it has hung up", || world.proxy.connections() == 0);
    assert_eq!(world.proxy.trace().lost.len(), 1);
}

/// Of a PutRecords request with so many bytes of body.
fn head(bytes: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.PutRecords\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host, Signature=00\r\nContent-Length: {bytes}\r\n\r\n"
    )
}
