//! `/metrics`: what is counted as it happens, and what is looked up when somebody asks.

use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tracing::warn;

use crate::ops;
use crate::owner::Owner;

/// The text that Prometheus reads.
pub async fn render(owner: &Owner, prometheus: &PrometheusHandle) -> String {
    if let Ok(log) = owner.log().await {
        gauge!("clickgate_log_bytes").set(log.bytes() as f64);
        gauge!("clickgate_log_bytes_max").set(owner.settings.stream.log_bytes_max as f64);
        gauge!("clickgate_log_fill_ratio").set(log.fill_percent() as f64 / 100.0);
        gauge!("clickgate_log_poisoned").set(f64::from(u8::from(log.poisoned())));
        for cursor in log.cursors() {
            gauge!("clickgate_cursor_lag_records", "cursor" => cursor.name).set(cursor.lag as f64);
        }
    }
    if let Some(status) = owner.consumer.get() {
        let status = status.get();
        gauge!("clickgate_consumer_lag_seconds").set(status.lag_ms as f64 / 1_000.0);
        gauge!("clickgate_consumer_failing").set(f64::from(u8::from(status.error.is_some())));
        gauge!("clickgate_consumer_transactions").set(status.transactions as f64);
    }
    if let Some(tracker) = owner.running_tracker() {
        let (catalog, health) = (tracker.catalog().await, tracker.health());
        gauge!("clickgate_catalog_entries").set(catalog.entries as f64);
        gauge!("clickgate_catalog_unknown_entries").set(catalog.unknown_entries as f64);
        gauge!("clickgate_ready").set(f64::from(u8::from(health.ready)));
    }
    // A tracker alone has no table, and must not make one.
    if owner.consumer.get().is_some() {
        set_records(owner).await;
    }
    prometheus.run_upkeep();
    prometheus.render()
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
