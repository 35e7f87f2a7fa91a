//! A table of its own for a test, in the ministack of all, and a proxy before it.

use std::sync::Arc;
use std::time::Duration;

use consumers::{
    Config, DynamoConfig, DynamoTable, Fates, LedgerRow, Table, TableError, WriteBatch, Written,
};
use proto::{BootId, Message, TrackingEvent, Uuid, ids};
use stream::{Batch, Item, Record, RecordKind};

use crate::aws_json::AwsJson;
use crate::aws_proxy::AwsProxy;
use crate::ministack::{Ministack, client};

/// A table, how it is reached, and who uses it.
pub struct Region {
    pub config: Config,
    pub dynamo: DynamoConfig,
    pub proxy: AwsProxy,
    port: u16,
}

impl Region {
    /// An empty table behind a proxy; `None` if ministack is not installed.
    pub async fn new() -> Option<Self> {
        Self::with(|_, _| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config, &mut DynamoConfig)) -> Option<Self> {
        let port = Ministack::shared()?.port();
        let mut config = Config::default();
        let mut dynamo = DynamoConfig {
            name: format!("table-{:016x}", fastrand::u64(..)),
            retry_pause_max: Duration::from_millis(5),
            ..DynamoConfig::default()
        };
        change(&mut config, &mut dynamo);
        let region = Self { config, dynamo, proxy: AwsProxy::to(port), port };
        region.direct().create(|_| ()).await.unwrap();
        Some(region)
    }

    /// The table as a process that begins has it, through the proxy.
    pub fn open(&self) -> DynamoTable {
        self.open_on(self.proxy.port())
    }

    /// The same, without faults.
    pub fn direct(&self) -> DynamoTable {
        self.open_on(self.port)
    }

    fn open_on(&self, port: u16) -> DynamoTable {
        DynamoTable::new(client(port, Duration::from_secs(10)), &self.config, &self.dynamo)
    }

    /// Of the server itself.
    pub fn raw(&self) -> AwsJson {
        AwsJson::new(self.port, "DynamoDB_20120810")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same batches until nothing is left of them.
    pub async fn write_until_done(&self, table: &DynamoTable, batches: &[Batch]) {
        for _ in 0..100 {
            if let Ok(written) = write(table, batches).await
                && written.left.is_empty()
            {
                return;
            }
        }
        panic!("never written");
    }
}

/// A time of which nothing has expired, and that a tail shows already.
pub fn now() -> u64 {
    use std::sync::OnceLock;
    static NOW: OnceLock<u64> = OnceLock::new();
    *NOW.get_or_init(|| supervise::now_ms() - 60_000)
}

pub fn boot(which: u128) -> BootId {
    Uuid::from_u128(which)
}

/// The `n`th event of program "p", with an id of ours.
pub fn hit(n: u64) -> TrackingEvent {
    let id = Uuid::from_u128((u128::from(now() + n) << 80) | (7 << 76) | (1 << 63) | u128::from(n));
    event(id, n)
}

/// The same with the id that its sender gave it.
pub fn conversion(sender_id: &str, n: u64) -> TrackingEvent {
    event(ids::from_sender(&["p", "conversion", sender_id]), n)
}

fn event(id: Uuid, n: u64) -> TrackingEvent {
    TrackingEvent {
        programid: "p".into(),
        message_id: id.to_string(),
        received_at_ms: now() + n,
        ..TrackingEvent::default()
    }
}

pub fn record(number: u64, event: &TrackingEvent) -> Item {
    Item::Record(Record { number, kind: RecordKind::Event, payload: event.encode_to_vec().into() })
}

pub fn poison(number: u64, bytes: usize) -> Item {
    Item::Record(Record { number, kind: RecordKind::Event, payload: vec![0xff; bytes].into() })
}

/// Hits `numbers` of a lane; hit and number are the same.
pub fn hits(boot: BootId, numbers: std::ops::Range<u64>) -> Batch {
    Batch::of_lane(boot, 0, numbers.map(|n| record(n, &hit(n))).collect())
}

pub async fn write(table: &DynamoTable, batches: &[Batch]) -> Result<Written, TableError> {
    table.write(Arc::new(WriteBatch::of(batches, now()))).await
}

pub async fn fates(table: &DynamoTable) -> Fates {
    let mut all = Fates::default();
    for LedgerRow { ledger, .. } in table.ledger().await.unwrap() {
        assert_eq!(ledger.seen().count(), ledger.fates().sum(), "each number has one fate");
        all += ledger.fates();
    }
    all
}

pub async fn items(table: &DynamoTable) -> u64 {
    let counted = table.count_by_scan(None).await.unwrap();
    assert_eq!(table.count(Some("p")).await.unwrap().items, counted, "all are of one program, and found");
    counted
}
