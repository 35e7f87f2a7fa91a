//! A stream with a proxy before it, and a machine that ships to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aws_proxy::AwsProxy;
use crate::http;
use crate::kinesis::consumers::{dropped_by_kcl, ids, ids_by_record};
use crate::kinesis::deaggregate::can_deaggregate;
use crate::kinesis::server::KinesisServer;
use crate::kinesis::stream::{StoredRecord, Stream};
use crate::world::{Process, World};

pub struct Region {
    pub stream: Stream,
    pub proxy: AwsProxy,
    pub world: World,
}

impl Region {
    /// A stream of so many shards, on the server that all tests share; `None` if a server that the
    /// tests need is missing.
    pub fn new(shards: u32) -> Option<Self> {
        let server = KinesisServer::shared()?;
        if !can_deaggregate() {
            return None;
        }
        let stream = server.new_stream(shards);
        let proxy = AwsProxy::to(server.port());
        let world = machine(stream.name(), &proxy.url());
        Some(Self { stream, proxy, world })
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.world.set(key, value);
        self
    }

    /// What `GET /log` says of the shipper.
    pub fn shipper(&self, process: &Process) -> Value {
        log(process)["shipper"].clone()
    }

    /// Waits until everything in the log is acknowledged; what the log says then.
    pub fn caught_up(&self, process: &Process) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let said = log(process);
            if said["shipper"]["caught_up"] == true && lag(&said) == 0 {
                return said;
            }
            assert!(Instant::now() < deadline, "not everything is shipped: {said}\n{}", process.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// That each of these ids is in the stream, that none came twice but where an answer was lost,
    /// and that no consumer of the KCL drops any. Returns the records.
    pub fn assert_each_is_there(&self, acknowledged: &[String]) -> Vec<StoredRecord> {
        let records = self.stream.records();
        let stored = ids(&records);
        let missing: Vec<_> = acknowledged.iter().filter(|id| !stored.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} of {} missing: {missing:?}", missing.len(), acknowledged.len());
        assert_eq!(dropped_by_kcl(&records), Vec::<String>::new());
        records
    }

    /// That only those ids are in the stream twice whose answer was lost, or could not be read.
    pub fn assert_twice_only_where_an_answer_was_lost(&self, records: &[StoredRecord]) {
        let trace = self.proxy.trace();
        let lost = trace.lost_sequence_numbers();
        let mut by_id: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (record, id) in ids_by_record(records) {
            by_id.entry(id).or_default().push(record);
        }
        for (id, places) in by_id.iter().filter(|(_, places)| places.len() > 1) {
            let answered = places.iter().filter(|record| !lost.contains(record)).count();
            assert!(answered <= 1, "{id} is in {places:?}, of which {answered} were answered");
        }
    }
}

/// A machine that ships to the stream of this name at this address.
pub fn machine(stream: &str, url: &str) -> World {
    let mut world = World::new()
        .with("shipper.stream", stream)
        .with("aws.region", "us-east-1")
        .with("aws.kinesis_endpoint", url)
        .with("shipper.retry_pause_ms_max", "300");
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    world.settings.extend(environment.map(|(key, value)| (key.to_owned(), value.to_owned())));
    world
}

/// What the admin address says.
pub fn ask(process: &Process, target: &str) -> http::Answer {
    let address = process.admin;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    http::Client::open(address).and_then(|mut client| client.send(&request)).unwrap()
}

pub fn log(process: &Process) -> Value {
    ask(process, "/log").json()
}

/// Records that the shipper's cursor has not passed.
pub fn lag(log: &Value) -> u64 {
    let cursors = log["cursors"].as_array().unwrap();
    cursors.iter().find(|cursor| cursor["name"] == "shipper").unwrap()["lag"].as_u64().unwrap()
}

/// Numbers that this process gave out.
pub fn issued(log: &Value) -> u64 {
    log["lanes"].as_array().unwrap().iter().map(|lane| lane["issued"].as_u64().unwrap()).sum()
}
