//! What it costs to find one of 100,000 programs in the catalog, by an id as it stands in
//! the request.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use programs::LocalRegistry;
use programs::catalog::Verdict;
use tracker::{Config, Decider};
use world::programs::{PROGRAMS, id, snapshot};

fn catalog(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let registry = LocalRegistry::open(&dir.path().join("registry.redb")).expect("a new registry");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let decider =
        Decider::standalone(Config::default(), Arc::new(registry)).expect("the defaults can be used");
    let loaded = runtime.block_on(async {
        let writer = decider.catalog.writer().expect("there is no other");
        writer.replace_all(&snapshot(), 1).await
    });
    assert_eq!(loaded, PROGRAMS as u64);
    let ids: Vec<String> = (0..PROGRAMS).map(|nth| id(nth * 7_919 % PROGRAMS)).collect();

    let mut group = c.benchmark_group("catalog");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("find", |b| {
        let mut ids = ids.iter().cycle();
        b.iter_custom(|finds| {
            runtime.block_on(async {
                let start = Instant::now();
                for id in ids.by_ref().take(finds as usize) {
                    let verdict = decider.catalog.find(black_box(id), 1).await;
                    assert!(matches!(verdict, Verdict::Known(_)), "{id} is there");
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, catalog);
criterion_main!(benches);
