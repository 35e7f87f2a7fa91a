//! `/metrics`: what is counted as it happens, and what is looked up when somebody asks.
//!
//! What there is, is one [`list`]; its sentences are the HELP lines and the table of
//! `docs/metrics.md`, and a test keeps the three the same.

mod list;
mod process;

use std::fmt::Write;
use std::sync::Once;

use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use programs::RedisCounts;
use supervise::now_ms;
use tracing::warn;
use tracker::Histogram;

use crate::cli::VERSION;
use crate::ops;
use crate::owner::Owner;
use crate::registry::AnyRegistry;

/// The text that Prometheus reads.
pub async fn render(owner: &Owner, prometheus: &PrometheusHandle) -> String {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(list::describe);
    gauge!("clickgate_build_info", "version" => VERSION).set(1.0);
    if let Ok(log) = owner.log().await {
        set_log(owner, log);
    }
    set_redis(owner);
    for part in owner.reports() {
        part.measure().await;
    }
    // A tracker alone has no table, and must not make one.
    if owner.runs("consumer") {
        set_records(owner).await;
    }
    prometheus.run_upkeep();
    let mut text = prometheus.render();
    if let Some(tracker) = owner.running_tracker() {
        write_histograms(&mut text, &tracker.latencies());
    }
    process::write(&mut text);
    text
}

fn set_log(owner: &Owner, log: &stream::Log) {
    gauge!("clickgate_log_bytes").set(log.bytes() as f64);
    gauge!("clickgate_log_bytes_max").set(owner.settings.stream.log_bytes_max as f64);
    gauge!("clickgate_log_fill_ratio").set(log.fill_percent() as f64 / 100.0);
    let core_data_poisoned = owner.opened_core_data_log().is_some_and(stream::Log::poisoned);
    gauge!("clickgate_log_poisoned").set(flag(log.poisoned() || core_data_poisoned));
    let mut segments = 0;
    for lane in log.lanes() {
        segments += lane.segments;
        // Those of earlier processes take nothing more, and there may be many.
        if lane.boot == log.boot() {
            let name = lane.lane.to_string();
            let unsynced = lane.issued.saturating_sub(lane.synced);
            gauge!("clickgate_lane_bytes", "lane" => name.clone()).set(lane.bytes as f64);
            gauge!("clickgate_lane_unsynced_records", "lane" => name.clone()).set(unsynced as f64);
            gauge!("clickgate_lane_poisoned", "lane" => name).set(flag(lane.poisoned));
        }
    }
    gauge!("clickgate_log_segments").set(segments as f64);
    for cursor in log.cursors().into_iter().chain(log.undeclared_cursors()) {
        gauge!("clickgate_cursor_lag_records", "cursor" => cursor.name).set(cursor.lag as f64);
    }
}

/// What the connections to Redis count on their own.
fn set_redis(owner: &Owner) {
    let counts = match owner.opened_registry() {
        Some(AnyRegistry::Redis(registry)) => registry.counts(),
        _ => RedisCounts::default(),
    };
    for (event, count) in [
        ("connected", counts.connections),
        ("connect_failed", counts.connections_failed),
        ("call_failed", counts.calls_failed),
        ("script_sent", counts.scripts_sent),
        ("subscribed", counts.subscriptions),
        ("subscription_lost", counts.subscriptions_lost),
        ("message", counts.messages),
        ("message_unreadable", counts.messages_unreadable),
        ("row_unreadable", counts.rows_unreadable),
    ] {
        counter!("clickgate_redis_total", "event" => event).absolute(count);
    }
}

/// The ledger beside the log: where every number is.
async fn set_records(owner: &Owner) {
    match ops::reconciliation(owner).await {
        Ok(reconciliation) => {
            let places = reconciliation.totals;
            let fates = places.fates;
            for (place, count) in [
                ("issued", places.issued),
                ("stored", fates.stored),
                ("duplicates", fates.duplicates),
                ("dead_letters", fates.dead_letters),
                ("dropped", fates.dropped),
                ("rejected", fates.rejected),
                ("reports", fates.reports),
                ("in_log", places.in_log),
                ("abandoned", places.abandoned),
                ("missing", places.missing),
            ] {
                gauge!("clickgate_records", "place" => place).set(count as f64);
            }
        }
        Err(error) => warn!(%error, "metrics go without the ledger"),
    }
}

/// Counts up to each bound, as Prometheus wants them.
fn write_histograms(text: &mut String, histograms: &[Histogram]) {
    const NAME: &str = "clickgate_request_seconds";
    list::write_head(text, NAME);
    for Histogram { route, counts, sum_us } in histograms {
        let mut up_to = 0;
        for (count, bound_us) in counts.iter().zip(Histogram::BOUNDS_US) {
            up_to += count;
            let bound = bound_us as f64 / 1e6;
            let _ = writeln!(text, "{NAME}_bucket{{route=\"{route}\",le=\"{bound}\"}} {up_to}");
        }
        let all: u64 = counts.iter().sum();
        let _ = writeln!(text, "{NAME}_bucket{{route=\"{route}\",le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "{NAME}_sum{{route=\"{route}\"}} {}", *sum_us as f64 / 1e6);
        let _ = writeln!(text, "{NAME}_count{{route=\"{route}\"}} {all}");
    }
}

/// How long ago a running reader of a log had passed everything, since its start if it never had.
pub fn set_reader_lag(cursor: &'static str, lag_records: u64, passed_at_ms: u64, started_at_ms: u64) {
    let since_ms = if passed_at_ms == 0 { started_at_ms } else { passed_at_ms };
    let lag_ms = if lag_records == 0 { 0 } else { now_ms().saturating_sub(since_ms) };
    gauge!("clickgate_cursor_lag_seconds", "cursor" => cursor).set(seconds(lag_ms));
}

pub fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

pub fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let mut counts = [0; Histogram::BOUNDS_US.len() + 1];
        (counts[0], counts[1], counts[16]) = (3, 2, 1);
        let mut text = String::new();
        write_histograms(&mut text, &[Histogram { route: "click", counts, sum_us: 6_000_123 }]);
        for line in [
            "# TYPE clickgate_request_seconds histogram",
            "clickgate_request_seconds_bucket{route=\"click\",le=\"0.00005\"} 3",
            "clickgate_request_seconds_bucket{route=\"click\",le=\"0.0001\"} 5",
            "clickgate_request_seconds_bucket{route=\"click\",le=\"5\"} 5",
            "clickgate_request_seconds_bucket{route=\"click\",le=\"+Inf\"} 6",
            "clickgate_request_seconds_sum{route=\"click\"} 6.000123",
            "clickgate_request_seconds_count{route=\"click\"} 6",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} is not in\n{text}");
        }
    }
}
