//! Latency histograms with fixed buckets.
//!
//! Measured from the parsed head of a request to its answer: the decision, the wait for the write
//! or the sync, the body of a beacon. The network is not included.
//!
//! # Why not the recorder's histograms?
//!
//! They keep every sample until the next scrape, an unbounded queue, and cost an atomic exchange
//! per hit. Here each worker is the only writer of its own counts, with a plain load and store, and
//! memory is fixed. The test below measures one observation, both clock readings and the routing
//! included: 0.1 µs of the 10 µs that a hit costs on a 2-core VM.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::request::routes::{HitRoute, Target};

/// Upper bounds of the buckets, in microseconds; an unbounded one follows.
pub const BUCKETS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];
/// The hit routes, and everything else.
const ROUTES: usize = HitRoute::ALL.len() + 1;

/// The latencies of all workers.
#[derive(Default)]
pub struct Latencies {
    workers: Mutex<Vec<Arc<WorkerLatencies>>>,
}

/// One route's histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The route, or `other` for fixed pages and unknown paths.
    pub route: &'static str,
    /// Answers up to each bound of [`Histogram::BOUNDS_US`], and those above the last. Not
    /// cumulative.
    pub counts: [u64; BUCKETS_US.len() + 1],
    /// Of all answers.
    pub sum_us: u64,
}

impl Histogram {
    /// Upper bounds of the buckets, in microseconds, inclusive.
    pub const BOUNDS_US: [u64; BUCKETS_US.len()] = BUCKETS_US;
}

/// The histograms of one worker, which alone writes them.
#[derive(Default)]
pub struct WorkerLatencies {
    routes: [Counts; ROUTES],
}

#[derive(Default)]
struct Counts {
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Latencies {
    /// The histograms of a new worker. Those of a stopped worker stay, as counters never decrease.
    pub fn worker(&self) -> Arc<WorkerLatencies> {
        let worker = Arc::<WorkerLatencies>::default();
        self.workers.lock().expect("nothing panics while it is held").push(Arc::clone(&worker));
        worker
    }

    /// The sum over all workers, a histogram per route.
    pub fn histograms(&self) -> Vec<Histogram> {
        let workers = self.workers.lock().expect("nothing panics while it is held");
        let names = HitRoute::ALL.map(HitRoute::name).into_iter().chain(["other"]);
        let histogram = |(at, route)| {
            let rows = || workers.iter().map(move |worker| &worker.routes[at]);
            Histogram {
                route,
                counts: std::array::from_fn(|bucket| {
                    rows().map(|row: &Counts| row.counts[bucket].load(Relaxed)).sum()
                }),
                sum_us: rows().map(|row: &Counts| row.sum_us.load(Relaxed)).sum(),
            }
        };
        names.enumerate().map(histogram).collect()
    }
}

impl WorkerLatencies {
    /// Counts one answer that took `took`. Only the worker itself may call it.
    pub fn observe(&self, target: Target<'_>, took: Duration) {
        let row = match target {
            Target::Hit(route, _) => route as usize,
            Target::Beacon => HitRoute::Beacon as usize,
            _ => HitRoute::ALL.len(),
        };
        self.count(row, took);
    }

    fn count(&self, row: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let row = &self.routes[row];
        add(&row.counts[BUCKETS_US.partition_point(|bound| *bound < us)], 1);
        add(&row.sum_us, us);
    }
}

/// There is one writer, so nothing is lost between the load and the store.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Prefixes;

    #[test]
    fn an_answer_is_in_the_bucket_of_its_bound_and_in_no_other() {
        let latencies = Latencies::default();
        let one = latencies.worker();
        let other = latencies.worker();
        for us in BUCKETS_US {
            one.count(0, Duration::from_micros(us));
            other.count(0, Duration::from_micros(us + 1));
        }
        let histogram = &latencies.histograms()[0];
        assert_eq!(histogram.route, "event");
        let mut counts = [2; BUCKETS_US.len() + 1];
        counts[0] = 1;
        counts[BUCKETS_US.len()] = 1;
        assert_eq!(histogram.counts, counts);
        assert_eq!(histogram.sum_us, BUCKETS_US.iter().map(|us| 2 * us + 1).sum::<u64>());
    }

    #[test]
    fn every_route_has_a_histogram_and_other_paths_share_one() {
        let latencies = Latencies::default();
        let worker = latencies.worker();
        let prefixes = Prefixes::default();
        for path in ["/event/1", "/i/1.gif", "/c/1", "/v/1", "/b", "/health/ready", "/nothing"] {
            worker.observe(Target::of(path, &prefixes), Duration::ZERO);
        }
        let seen = latencies.histograms().into_iter().map(|it| (it.route, it.counts.iter().sum::<u64>()));
        let seen: Vec<_> = seen.filter(|(_, answers)| *answers > 0).collect();
        assert_eq!(
            seen,
            [("event", 1), ("impression", 1), ("click", 1), ("conversion", 1), ("beacon", 1), ("other", 2)]
        );
    }

    #[test]
    fn an_observation_costs_less_than_a_microsecond() {
        let worker = WorkerLatencies::default();
        let prefixes = Prefixes::default();
        let rounds = 100_000;
        let cheapest = (0..20).map(|_| {
            let begin = Instant::now();
            for _ in 0..rounds {
                let began = Instant::now();
                let target = Target::of(std::hint::black_box("/i/212312.gif"), &prefixes);
                worker.observe(target, began.elapsed());
            }
            begin.elapsed() / rounds
        });
        let cheapest = cheapest.min().unwrap();
        println!("{cheapest:?} an observation");
        assert!(cheapest < Duration::from_micros(1), "{cheapest:?}");
    }
}
