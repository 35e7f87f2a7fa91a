//! The last five minutes, a sample each second, for the page's chart.
//!
//! The samples come from the text that Prometheus reads, and not from a second set of
//! counters: so the chart cannot say anything else than the metrics do, and a hit costs
//! nothing more. Memory is bounded by [`SECONDS`] samples of a few numbers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value as Json, json};
use supervise::now_ms;
use tokio::time::MissedTickBehavior;

/// Samples that are kept, one a second.
pub const SECONDS: usize = 300;

/// What the chart tells apart; the last takes what has no name here.
const OUTCOMES: [&str; 6] = ["accepted", "refused", "shed", "not_durable", "not_counted", "other"];

/// What is counted for each entry of a beacon; the others are of the whole request.
const OF_ENTRIES: [&str; 4] = ["accepted", "refused", "shed", "not_durable"];

type ByOutcome = [u64; OUTCOMES.len()];

/// Counts since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    outcomes: ByOutcome,
    refused: BTreeMap<String, u64>,
    shed: BTreeMap<String, u64>,
}

impl Counts {
    /// Of the text that Prometheus reads. A line that is not understood counts nothing.
    pub fn parse(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match (name, label(labels, "outcome"), label(labels, "reason"), label(labels, "class")) {
                // Health checks and the like: they would hide the hits.
                ("clickgate_requests_total", Some("served"), ..) => {}
                // A beacon is as many hits as it has entries.
                ("clickgate_requests_total", Some(outcome), ..)
                    if label(labels, "route") == Some("beacon") && OF_ENTRIES.contains(&outcome) => {}
                ("clickgate_beacon_entries_total", Some(outcome), ..) if OF_ENTRIES.contains(&outcome) => {
                    counts.outcomes[place(outcome)] += value;
                }
                ("clickgate_requests_total", Some(outcome), ..) => counts.outcomes[place(outcome)] += value,
                ("clickgate_http_malformed_total", ..) => counts.outcomes[place("malformed")] += value,
                ("clickgate_refused_total", _, Some(reason), _) => {
                    *counts.refused.entry(reason.to_owned()).or_default() += value;
                }
                ("clickgate_shed_total", _, _, Some(class)) => {
                    *counts.shed.entry(class.to_owned()).or_default() += value;
                }
                _ => {}
            }
        }
        counts
    }
}

/// A label's value. The labels of our own metrics are words: nothing in them is escaped.
fn label<'l>(labels: &'l str, name: &str) -> Option<&'l str> {
    let mut pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
}

fn place(outcome: &str) -> usize {
    OUTCOMES.iter().position(|known| *known == outcome).unwrap_or(OUTCOMES.len() - 1)
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// Its number since the start of the process, by a clock that never steps.
    second: u64,
    new: ByOutcome,
}

/// The samples, oldest first; their seconds rise, with a gap where none was taken.
#[derive(Debug, Default)]
pub struct Ring {
    samples: VecDeque<Sample>,
    last: Counts,
}

impl Ring {
    /// Takes what was counted up to and in `second`. A second that was sampled already, or an
    /// earlier one, adds to the newest sample.
    pub fn push(&mut self, second: u64, counts: Counts) {
        let new = std::array::from_fn(|at| counts.outcomes[at].saturating_sub(self.last.outcomes[at]));
        self.last = counts;
        if let Some(newest) = self.samples.back_mut().filter(|newest| newest.second >= second) {
            newest.new.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
            return;
        }
        if self.samples.len() == SECONDS {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { second, new });
    }

    /// For the page: a sample is an array of its second and of a count per outcome.
    pub fn to_json(&self) -> Json {
        let row = |sample: &Sample| {
            std::iter::once(sample.second).chain(sample.new).map(Json::from).collect::<Vec<_>>()
        };
        let totals = OUTCOMES.iter().zip(self.last.outcomes).map(|(name, count)| (*name, count));
        json!({
            "outcomes": OUTCOMES,
            "seconds_max": SECONDS,
            "samples": self.samples.iter().map(row).collect::<Vec<_>>(),
            "totals": totals.collect::<BTreeMap<_, _>>(),
            "refused": self.last.refused,
            "shed": self.last.shed,
        })
    }
}

/// The ring of a running process.
pub struct Stats {
    begin: Instant,
    started_at_ms: u64,
    prometheus: PrometheusHandle,
    ring: Mutex<Ring>,
}

impl Stats {
    /// Nothing sampled yet.
    pub fn new(prometheus: PrometheusHandle) -> Self {
        Self { begin: Instant::now(), started_at_ms: now_ms(), prometheus, ring: Mutex::default() }
    }

    /// Samples now.
    pub fn sample(&self) {
        let counts = Counts::parse(&self.prometheus.render());
        let second = self.begin.elapsed().as_secs();
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(second, counts);
    }

    /// Samples each second, for as long as it is polled.
    pub async fn follow(&self) {
        // In the middle of a second: a timer that is late by a little does not skip one.
        let first = tokio::time::Instant::from_std(self.begin) + Duration::from_millis(500);
        let mut ticks = tokio::time::interval_at(first, Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.sample();
        }
    }

    /// [`Ring::to_json`], with the start and the age of the process.
    pub fn to_json(&self) -> Json {
        let mut json = self.ring.lock().unwrap_or_else(PoisonError::into_inner).to_json();
        json["started_at_ms"] = json!(self.started_at_ms);
        json["second"] = json!(self.begin.elapsed().as_secs());
        json["now_ms"] = json!(now_ms());
        json
    }
}

#[cfg(test)]
mod tests {
    use metrics::counter;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn accepted(count: u64) -> Counts {
        let mut counts = Counts::default();
        counts.outcomes[0] = count;
        counts
    }

    fn rows(ring: &Ring) -> Vec<(u64, u64)> {
        ring.samples.iter().map(|sample| (sample.second, sample.new[0])).collect()
    }

    #[test]
    fn the_ring_keeps_the_newest_300_seconds_and_they_rise() {
        let mut ring = Ring::default();
        for second in 0..1_000 {
            ring.push(second, accepted(second * 3));
        }
        let rows = rows(&ring);
        assert_eq!(rows.len(), SECONDS);
        assert_eq!((rows[0], rows[299]), ((700, 3), (999, 3)));
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn any_order_of_seconds_leaves_them_rising_and_loses_no_count() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut ring = Ring::default();
        let mut count = 0;
        for _ in 0..250 {
            count += random.u64(..5);
            ring.push(random.u64(..200), accepted(count));
        }
        let rows = rows(&ring);
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(rows.iter().map(|row| row.1).sum::<u64>(), count);
    }

    #[test]
    fn a_counter_that_goes_back_is_not_a_huge_second() {
        let mut ring = Ring::default();
        ring.push(0, accepted(10));
        ring.push(1, accepted(4));
        ring.push(2, accepted(5));
        assert_eq!(rows(&ring), [(0, 10), (1, 0), (2, 1)]);
    }

    #[test]
    fn it_reads_what_the_recorder_writes() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let stats = Stats::new(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            let request = |route: &'static str, outcome: &'static str, count| {
                counter!("clickgate_requests_total", "route" => route, "outcome" => outcome).increment(count);
            };
            request("click", "accepted", 2);
            request("event", "accepted", 3);
            request("click", "refused", 1);
            request("other", "served", 100);
            request("unknown", "not_found", 7);
            request("beacon", "refused", 1);
            request("beacon", "slow", 1);
            for (outcome, count) in [("accepted", 19), ("refused", 1), ("not_counted", 50)] {
                counter!("clickgate_beacon_entries_total", "outcome" => outcome).increment(count);
            }
            counter!("clickgate_http_malformed_total").increment(4);
            counter!("clickgate_refused_total", "reason" => "expired").increment(1);
            counter!("clickgate_shed_total", "class" => "impression").increment(9);
            metrics::histogram!("clickgate_anything_seconds", "outcome" => "accepted").record(1.5);
        });
        stats.sample();
        let json = stats.to_json();
        assert_eq!(
            json["totals"],
            json!({ "accepted": 24, "refused": 2, "shed": 0, "not_durable": 0, "not_counted": 0, "other": 12 })
        );
        assert_eq!(json["samples"], json!([[0, 24, 2, 0, 0, 0, 12]]));
        assert_eq!(
            (&json["refused"], &json["shed"]),
            (&json!({ "expired": 1 }), &json!({ "impression": 9 }))
        );
    }

    #[test]
    fn lines_that_are_not_understood_count_nothing() {
        let text = "# HELP x y\n\nnonsense\nclickgate_requests_total 5\n\
                    clickgate_requests_total{outcome=\"accepted\"} 1.5\nclickgate_requests_total{} x\n\
                    clickgate_refused_total{class=\"click\"} 3\n";
        assert_eq!(Counts::parse(text), Counts::default());
    }
}
