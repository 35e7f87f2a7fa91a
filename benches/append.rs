//! What a record costs from the append until it has reached its level, for the 64 records of
//! one turn of a worker's event loop together; through a real lane, on a real disk.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use stream::{Class, Level, Log, LogConfig, RecordKind};
use tokio::task::{LocalSet, yield_now};

const RECORDS_PER_WRITE: u64 = 64;
/// About a pixel's event.
const RECORD: [u8; 256] = [0x5a; 256];

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group
        .throughput(Throughput::Elements(RECORDS_PER_WRITE))
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    for (name, level) in [("memory", Level::Memory), ("written", Level::Written), ("synced", Level::Synced)] {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_custom(|writes| time_writes(level, writes));
        });
    }
    group.finish();
}

/// The time of this many writes, on a log of its own.
fn time_writes(level: Level, writes: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let segments = LogConfig { segment_bytes: 1 << 30, log_bytes_max: 64 << 30, ..LogConfig::default() };
    let log = Log::open(dir.path(), "events", segments).expect("a new log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let spent = LocalSet::new().block_on(&runtime, async {
        let lane = log.open_lane().expect("a lane");
        let record = || async {
            let encode = |_: u64, out: &mut Vec<u8>| out.extend_from_slice(&RECORD);
            let number = lane.append(Class::Conversion, RecordKind::Event, encode).expect("there is room");
            lane.reached(level, number).await.expect("it is safe")
        };
        let start = Instant::now();
        for _ in 0..writes {
            join_all((0..RECORDS_PER_WRITE).map(|_| record())).await;
            if level == Level::Memory {
                // No record waits at this level, so let the lane write here.
                yield_now().await;
            }
        }
        start.elapsed()
    });
    log.close();
    let issued: u64 = log.lanes().iter().map(|lane| lane.issued).sum();
    assert!(issued >= writes * RECORDS_PER_WRITE, "every record has a number");
    spent
}

criterion_group!(benches, append);
criterion_main!(benches);
