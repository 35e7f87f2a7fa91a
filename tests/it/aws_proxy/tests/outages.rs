//! A server that is out of reach.

use std::time::{Duration, Instant};

use super::{World, codes};
use crate::aws_json::AwsJson;
use crate::aws_proxy::{AwsProxy, EntryFate, Outage};
use crate::http;
use crate::kinesis::server::KinesisServer;
use crate::world::eventually;

#[test]
fn an_outage_refuses_connections_and_ends() {
    let Some(world) = World::new(1) else { return };
    let address = ([127, 0, 0, 1], world.proxy.port()).into();
    let mut open = http::Client::open(address).unwrap();
    for round in ["first", "second"] {
        world.proxy.go_down(Outage::Refusing);
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(world.put(&["lost"]).is_err());
        assert!(open.get("/").is_err(), "open connections are cut");
        world.proxy.come_back();
        assert_eq!(codes(&world.put(&[round]).unwrap().json()), [""]);
        open = http::Client::open(address).unwrap();
    }
    assert_eq!(world.stored(), ["first", "second"]);
}

#[test]
fn a_silent_outage_takes_requests_and_says_nothing() {
    let Some(world) = World::new(1) else { return };
    world.proxy.go_down(Outage::Silent);
    let client = world.client.clone().with_timeout(Duration::from_millis(200));
    let began = Instant::now();
    assert!(client.call("PutRecords", &world.request(&["a"])).is_err());
    assert!(began.elapsed() >= Duration::from_millis(200), "it was not refused");

    // One that waits until the end of the outage.
    let (client, request) = (world.client.clone(), world.request(&["b"]));
    let waiting = std::thread::spawn(move || client.call("PutRecords", &request).is_err());
    eventually("it has connected", || world.proxy.connections() == 2);
    world.proxy.come_back();
    assert!(waiting.join().unwrap(), "reset");
    assert_eq!(codes(&world.put(&["c"]).unwrap().json()), [""]);
    assert_eq!(world.stored(), ["c"]);
}

#[test]
fn a_server_that_dies_is_no_answer_and_what_it_got_is_unknown() {
    let Some(mut server) = KinesisServer::start() else { return };
    let stream = server.new_stream(1);
    let proxy = AwsProxy::to(server.port());
    let client = AwsJson::new(proxy.port(), "Kinesis_20131202");
    let record = serde_json::json!({ "PartitionKey": "k", "Data": "eA==" });
    let request = serde_json::json!({ "StreamName": stream.name(), "Records": [record] });
    // It takes the request and does nothing about it.
    server.pause();
    let (asking, asked) = (client.clone(), request.clone());
    let waiting = std::thread::spawn(move || asking.call("PutRecords", &asked).is_err());
    eventually("it has asked", || proxy.forwarding() == 1);
    server.kill();
    assert!(waiting.join().unwrap());
    assert!(client.call("PutRecords", &request).is_err());
    let trace = proxy.trace();
    let fates: Vec<_> =
        trace.exchanges.iter().map(|it| (it.entries[0].fate.clone(), it.is_forwarded)).collect();
    assert_eq!(fates, [(EntryFate::Unknown, true), (EntryFate::NotForwarded, false)]);
    eventually("only the first may have been stored", || proxy.trace().lost.len() == 1);
}
