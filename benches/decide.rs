//! What one pixel costs a worker between the parsed request and the answer, without waiting
//! for the disk: read, find, decide, encode, append, build the answer.
//!
//! Through the worker's own [`tracker::Edge`] at level `memory`, with 100,000 programs, all of
//! them fresh. After every 64 hits the lane writes, outside the measured time. In the
//! end the log must have issued a number for every hit: a refused hit has none.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use programs::LocalRegistry;
use stream::{Level, Log, LogConfig};
use tokio::task::{LocalSet, yield_now};
use tracker::{Config, Edge, Head, Headers, HitRoute, Method, Reply, Site};
use world::programs::{PROGRAMS, id, snapshot};

const HITS_PER_WRITE: u64 = 64;

/// A pixel's target.
fn target(nth: usize) -> String {
    format!("/i/{}.gif?utm_source=news&v=visitor-1", id(nth))
}

fn head(target: &str) -> Head<'_> {
    let (path, query) = target.split_once('?').expect("it has a query");
    let agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let headers = Headers {
        user_agent: Some(agent),
        referrer: Some(b"https://news.example/article/1"),
        ..Headers::default()
    };
    Head {
        method: Method::Get,
        target,
        path,
        query,
        request_line_bytes: "GET  HTTP/1.1\r\n".len() + target.len(),
        peer: Some([127, 0, 0, 1].into()),
        headers,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("for a while")
}

fn decide(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let segments = LogConfig { segment_bytes: 256 << 20, ..LogConfig::default() };
    let log = Log::open(dir.path(), "events", segments).expect("a new log");
    let registry = LocalRegistry::open(&dir.path().join("registry.redb")).expect("a new registry");
    let mut config = Config::default();
    config.levels.impression = Level::Memory;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    let edge = local.block_on(&runtime, async {
        let site = Site::new(config, log.clone(), Arc::new(registry));
        let writer = site.decider.catalog.writer().expect("there is no other");
        writer.replace_all(&snapshot(), now_ms()).await;
        Edge::new(Arc::new(site), log.open_lane().expect("a lane"), 1)
    });
    let targets: Vec<String> = (0..10_000).map(|nth| target(nth * 7_919 % PROGRAMS)).collect();

    let asked = Cell::new(0);
    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("pixel", |b| {
        let mut targets = targets.iter().cycle();
        b.iter_custom(|iterations| {
            local.block_on(&runtime, async {
                let mut spent = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    let hits = left.min(HITS_PER_WRITE);
                    let start = Instant::now();
                    for target in targets.by_ref().take(hits as usize) {
                        let head = head(black_box(target));
                        let id = &head.path["/i/".len()..head.path.len() - ".gif".len()];
                        let reply = edge.hit(HitRoute::Impression, id, &head, now_ms()).await;
                        assert!(matches!(reply, Reply::Pixel), "the log took it");
                    }
                    spent += start.elapsed();
                    asked.set(asked.get() + hits);
                    left -= hits;
                    yield_now().await;
                }
                spent
            })
        });
    });
    group.finish();
    local.block_on(&runtime, async move { drop(edge) });
    log.close();
    let issued: u64 = log.lanes().iter().map(|lane| lane.issued).sum();
    assert!(issued >= asked.get(), "{issued} numbers for {} hits: some were refused", asked.get());
}

criterion_group!(benches, decide);
criterion_main!(benches);
