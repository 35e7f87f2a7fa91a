//! What storing events in DynamoDB costs: write units by the table's own answers, and CPU time of this
//! process.
//!
//! `cargo run --release -p benches --bin table-dynamodb` starts a ministack of its own
//! (`config/install python-tools`), writes as a worker does, once with ids of ours and once with ids
//! that senders gave, and checks that table and ledger hold each event once. ministack's write units
//! are those of DynamoDB; its speed says nothing of DynamoDB's, and it has the other core.
//!
//! The events come as a shipper sends them: lanes in turn, 200 events of one lane to an aggregate,
//! and as many aggregates to a write as `consumer.batch_bytes_max` takes.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use clap::Parser;
use consumers::{Checked, Config, DynamoConfig, DynamoTable, Table, WriteBatch};
use proto::{Message, TrackingEvent, Uuid, ids};
use stream::{Batch, Item, Record, RecordKind};
use supervise::now_ms;

/// Events of an aggregate of 50 KiB.
const AGGREGATE_EVENTS: u64 = 200;
const LANES: u32 = 4;
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Writes events to a table in DynamoDB and says what that costs.
#[derive(Parser)]
struct Arguments {
    /// Events with ids of ours; a fifth as many with ids of senders.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "| ids | events | bytes an event | write units for a million events | events per CPU second | events/s |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, events, from_sender) in
        [("ours", arguments.events, false), ("senders'", arguments.events / 5, true)]
    {
        let measured = runtime.block_on(measure(server.port, events, from_sender))?;
        println!(
            "| {name} | {events} | {} | {:.0} | {:.0} | {:.0} |",
            measured.event_bytes,
            measured.write_units / events as f64 * 1e6,
            events as f64 / measured.cpu.as_secs_f64(),
            events as f64 / measured.took.as_secs_f64(),
        );
    }
    Ok(())
}

struct Measured {
    event_bytes: usize,
    write_units: f64,
    cpu: Duration,
    took: Duration,
}

async fn measure(port: u16, events: u64, from_sender: bool) -> Result<Measured, Box<dyn Error>> {
    let config = Config::default();
    let name = format!("table-{}", Uuid::new_v4().simple());
    let table = DynamoTable::new(client(port), &config, &DynamoConfig { name, ..DynamoConfig::default() });
    if table.create(|_| ()).await? != Checked::Fit {
        return Err("the table cannot be used".into());
    }
    let boot = Uuid::now_v7();
    let message_ids = ids::MessageIds::new();
    let aggregates: Vec<Batch> = (0..events.div_ceil(AGGREGATE_EVENTS))
        .map(|aggregate| {
            let lane = (aggregate % u64::from(LANES)) as u32;
            let first = aggregate / u64::from(LANES) * AGGREGATE_EVENTS;
            let of_aggregate = AGGREGATE_EVENTS.min(events - aggregate * AGGREGATE_EVENTS);
            let item = |number| item(boot, lane, number, &message_ids, from_sender);
            Batch::of_lane(boot, lane, (first..first + of_aggregate).map(item).collect())
        })
        .collect();
    let event_bytes = aggregates.first().and_then(|batch| batch.items.first()).map_or(0, bytes_of);
    let before = (table.cost().write_units, cpu()?, Instant::now());
    let mut stored = 0;
    let mut rest = aggregates.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            bytes += batch.bytes();
            bytes <= config.batch_bytes_max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (batches, behind) = rest.split_at(count);
        let written = table.write(Arc::new(WriteBatch::of(batches, now_ms()))).await?;
        if !written.left.is_empty() {
            return Err("something was left".into());
        }
        stored += written.fates.stored;
        rest = behind;
    }
    let measured = Measured {
        event_bytes,
        write_units: table.cost().write_units - before.0,
        cpu: cpu()? - before.1,
        took: before.2.elapsed(),
    };
    let in_ledger: u64 = table.ledger().await?.iter().map(|row| row.ledger.fates().stored).sum();
    let items = table.count_by_scan(None).await?;
    if [stored, in_ledger, items] != [events; 3] {
        return Err(format!(
            "of {events} events {stored} were stored, the ledger has {in_ledger}, the table {items}"
        )
        .into());
    }
    Ok(measured)
}

/// As a click of a campaign has them.
fn item(boot: Uuid, lane: u32, number: u64, message_ids: &ids::MessageIds, from_sender: bool) -> Item {
    let received_at_ms = now_ms();
    let v7 = message_ids.next(received_at_ms);
    let order = format!("order-{lane}-{number}");
    let id = if from_sender { ids::from_sender(&["212313", "conversion", &order]) } else { v7 };
    let event = TrackingEvent {
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        programid: "212313".into(),
        program_name: "Spring campaign".into(),
        message_id: id.to_string(),
        received_at_ms: ids::time_ms(&v7),
        boot: boot.as_bytes().to_vec(),
        lane,
        number,
        referrer: "https://news.example/article/4711".into(),
        ..TrackingEvent::default()
    };
    Item::Record(Record { number, kind: RecordKind::Event, payload: event.encode_to_vec().into() })
}

fn bytes_of(item: &Item) -> usize {
    if let Item::Record(record) = item { record.payload.len() } else { 0 }
}

/// User and system time of this process so far, all threads: `/proc/self/schedstat` has one thread's only.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything: utime and stime are the 12th and 13th, in 1/100 s (USER_HZ).
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn client(port: u16) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .retry_config(RetryConfig::disabled());
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A ministack that ends with this process.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-tools/python/bin/ministack");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("LOG_LEVEL", "ERROR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process =
            command.spawn().map_err(|error| format!("{program}: {error}; `config/install python-tools`"))?;
        let server = Self { port, process };
        let began = Instant::now();
        while !server.is_ready() {
            if began.elapsed() > READY_WITHIN {
                return Err("ministack is not ready".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(b"GET /_ministack/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
