//! A stream, a table, and who works with them; a proxy before each of the two.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proto::{BootId, Message, TrackingEvent, Uuid};
use serde_json::{Value, json};

use crate::aws_json::AwsJson;
use crate::aws_proxy::AwsProxy;
use crate::kinesis::server::KinesisServer;
use crate::kinesis::stream::Stream;
use crate::ministack::Ministack;
use crate::shipper::load::Load;
use crate::shipper::region::{log, machine};
use crate::world::{Process, World, text};

/// Records of an aggregate that a test makes.
const AGGREGATE_MAX: usize = 100;

/// How long a test waits for events to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(120);

pub struct Region {
    pub stream: Stream,
    pub table: Table,
    pub kinesis: AwsProxy,
    pub dynamodb: AwsProxy,
}

/// A table of its own in DynamoDB.
pub struct Table {
    pub name: String,
    client: AwsJson,
}

impl Region {
    /// A stream of so many shards and an empty table; `None` if a server is missing.
    pub fn new(shards: u32) -> Option<Self> {
        let (kinesis, dynamodb) = (KinesisServer::shared()?, Ministack::shared()?);
        Some(Self {
            stream: kinesis.new_stream(shards),
            table: Table::create(dynamodb.port()),
            kinesis: AwsProxy::to(kinesis.port()),
            dynamodb: AwsProxy::to(dynamodb.port()),
        })
    }

    /// A machine that ships to the stream; without a proxy before it. The server has other tests to
    /// serve, so that it may take long until the last event is there.
    pub fn edge(&self) -> World {
        let kinesis = KinesisServer::shared().unwrap();
        machine(self.stream.name(), &kinesis.url()).with("drain.grace_ms", "120000")
    }

    /// A machine that stores what is in the stream, and shares its shards out soon.
    pub fn worker(&self) -> World {
        machine(self.stream.name(), &self.kinesis.url())
            .with("aws.dynamodb_endpoint", &self.dynamodb.url())
            .with("table.kind", "dynamodb")
            .with("table.name", &self.table.name)
            .with("worker.lease_failover_ms", "2000")
            .with("worker.shard_sync_ms", "2000")
            .with("worker.poll_ms", "100")
            .with("worker.retry_pause_ms_max", "300")
            .with("consumer.retry_pause_ms_max", "300")
    }

    /// A machine without data that asks the table, past the proxies.
    pub fn reader(&self) -> World {
        let dynamodb = format!("http://127.0.0.1:{}", Ministack::shared().unwrap().port());
        self.worker().with("aws.dynamodb_endpoint", &dynamodb)
    }

    /// Puts a piece of a lane into the stream, as aggregates.
    pub fn put(&self, lane: u32, numbers: impl IntoIterator<Item = u64>) {
        let events: Vec<Vec<u8>> = numbers.into_iter().map(|number| event(lane, number)).collect();
        for events in events.chunks(AGGREGATE_MAX) {
            let records: Vec<(&str, &[u8])> = events.iter().map(|event| ("k", &event[..])).collect();
            self.stream.put("k", &crate::kinesis::aggregate(&records));
        }
    }

    /// Waits until the table has these ids, then asserts that it has no other, each once, and that the
    /// ledger counts as many and misses none.
    pub fn assert_stored(&self, ids: &BTreeSet<String>) {
        self.wait_for(ids);
        let stored = self.table.event_ids();
        assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), stored.len(), "stored twice");
        let more: Vec<_> = stored.iter().filter(|id| !ids.contains(*id)).collect();
        assert!(more.is_empty(), "nobody sent {more:?}");
        let totals = self.reconciled()["totals"].clone();
        assert_eq!(totals["stored"], stored.len(), "the ledger counts otherwise: {totals}");
        assert_eq!(totals["missing"], 0, "{totals}");
    }

    /// Waits until the table has at least these, and the ledger says so.
    pub fn wait_for(&self, ids: &BTreeSet<String>) {
        let deadline = Instant::now() + STORED_WITHIN;
        loop {
            let stored: BTreeSet<String> = self.table.event_ids().into_iter().collect();
            let missing: Vec<&String> = ids.difference(&stored).take(5).collect();
            let counted = || self.reconciled()["totals"]["stored"].as_u64().unwrap() >= ids.len() as u64;
            if missing.is_empty() && counted() {
                return;
            }
            let left = ids.difference(&stored).count();
            assert!(Instant::now() < deadline, "{left} of {} are not stored: {missing:?} …", ids.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `reconcile` says of the table, on a machine that has nothing else.
    pub fn reconciled(&self) -> Value {
        let output = self.reader().run(&["--json", "reconcile"]);
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }
}

impl Table {
    /// A new one on the server at this port, with our keys.
    pub fn create(port: u16) -> Self {
        let name = format!("table-{:016x}", fastrand::u64(..));
        let table = Self { name, client: AwsJson::new(port, "DynamoDB_20120810") };
        let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        table.call(
            "CreateTable",
            json!({
                "TableName": table.name,
                "AttributeDefinitions": [attribute("pk"), attribute("sk")],
                "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
                "BillingMode": "PAY_PER_REQUEST",
            }),
        );
        let expiry = json!({ "AttributeName": "expires_at", "Enabled": true });
        table.call("UpdateTimeToLive", json!({ "TableName": table.name, "TimeToLiveSpecification": expiry }));
        table
    }

    /// A call that must succeed.
    pub fn call(&self, operation: &str, body: Value) -> Value {
        let answer = self.client.call(operation, &body).unwrap();
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// All items.
    pub fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut ask = json!({ "TableName": self.name, "ConsistentRead": true });
        loop {
            let page = self.call("Scan", ask.clone());
            items.extend(page["Items"].as_array().unwrap().iter().cloned());
            match &page["LastEvaluatedKey"] {
                Value::Null => return items,
                next => ask["ExclusiveStartKey"] = next.clone(),
            }
        }
    }

    /// Of the events, each as often as it is there.
    pub fn event_ids(&self) -> Vec<String> {
        let bytes = |item: &Value| item["event"]["B"].as_str().map(|text| BASE64.decode(text).unwrap());
        let events = self.items().into_iter().filter_map(|item| bytes(&item));
        events.map(|event| TrackingEvent::decode(&event[..]).unwrap().message_id).collect()
    }

    /// The rows of the leases, by shard.
    pub fn leases(&self) -> Vec<Value> {
        let is_lease = |item: &Value| item["pk"]["S"].as_str().unwrap().starts_with("lease#");
        let mut leases: Vec<Value> = self.items().into_iter().filter(is_lease).collect();
        leases.sort_by_key(|lease| lease["sk"]["S"].as_str().unwrap().to_owned());
        leases
    }

    /// Removes an item by hand.
    pub fn delete(&self, item: &Value) {
        let key = json!({ "pk": item["pk"], "sk": item["sk"] });
        self.call("DeleteItem", json!({ "TableName": self.name, "Key": key }));
    }
}

/// The workers that hold leases, each as often as it does.
pub fn owners(leases: &[Value]) -> Vec<String> {
    let owner = |lease: &Value| lease["owner"]["S"].as_str().map(str::to_owned);
    let mut owners: Vec<String> = leases.iter().filter_map(owner).collect();
    owners.sort();
    owners
}

/// The boot of the lanes that [`event`] makes.
pub const BOOT: BootId = Uuid::from_u128(7);
const NOW: u64 = 1_795_000_000_000;

/// The id of the event at this place.
pub fn id(lane: u32, number: u64) -> Uuid {
    let time = NOW + number;
    Uuid::from_u128(
        (u128::from(time) << 80) | (7 << 76) | (1 << 63) | (u128::from(lane) << 32) | u128::from(number),
    )
}

/// An event as a lane ships it.
pub fn event(lane: u32, number: u64) -> Vec<u8> {
    let event = TrackingEvent {
        programid: "212313".to_owned(),
        message_id: id(lane, number).to_string(),
        received_at_ms: NOW + number,
        boot: BOOT.as_bytes().to_vec(),
        lane,
        number,
        ..TrackingEvent::default()
    };
    event.encode_to_vec()
}

pub fn ids(lane: u32, numbers: impl IntoIterator<Item = u64>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| id(lane, number).to_string()).collect()
}

/// Some three hundred hits a second: what a local DynamoDB takes on a machine with other things to do.
pub fn load(edge: &Process) -> Load {
    Load::start_with_pause(edge.tracker, 2, Duration::from_millis(6))
}

/// What a worker says of its stream.
pub fn worker_status(process: &Process) -> Value {
    log(process)["consumer"]["stream"].clone()
}

/// Shards that it holds.
pub fn shards_held(process: &Process) -> usize {
    worker_status(process)["shards"].as_object().map_or(0, serde_json::Map::len)
}
