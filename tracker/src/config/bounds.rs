//! Between what each number of the settings may be.

use super::{Config, ConfigError};

type Bound = (&'static str, fn(&Config) -> u64, (u64, u64));

#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    ("workers", |it| it.workers as u64, (0, 512)),
    ("connections_per_worker_max", |it| it.connections_per_worker_max as u64, (1, 1_000_000)),
    ("rejected_per_second_max", |it| it.rejected_per_second_max.into(), (0, 1_000_000)),
    ("keep_alive_seconds", |it| it.keep_alive_seconds, (1, 3_600)),
    ("client_request_timeout_ms", |it| it.client_request_timeout_ms, (1, 600_000)),
    ("client_body_timeout_ms", |it| it.client_body_timeout_ms, (1, 600_000)),
    ("client_disconnect_timeout_ms", |it| it.client_disconnect_timeout_ms, (1, 600_000)),
    ("shutdown_timeout_seconds", |it| it.shutdown_timeout_seconds, (1, 3_600)),
    ("limits.parameters_max", |it| it.limits.parameters_max as u64, (1, 1_000)),
    ("limits.name_bytes_max", |it| it.limits.name_bytes_max as u64, (1, 65_536)),
    ("limits.value_bytes_max", |it| it.limits.value_bytes_max as u64, (1, 65_536)),
    ("limits.request_line_bytes_max", |it| it.limits.request_line_bytes_max as u64, (256, 65_536)),
    ("limits.header_bytes_max", |it| it.limits.header_bytes_max as u64, (1_024, 131_072)),
    ("limits.body_bytes_max", |it| it.limits.body_bytes_max as u64, (1_024, 16_777_216)),
    ("limits.bodies_bytes_max", |it| it.limits.bodies_bytes_max as u64, (1_024, 1_099_511_627_776)),
    ("limits.entries_max", |it| it.limits.entries_max as u64, (1, 10_000)),
    ("catalog.entries_max", |it| it.catalog.entries_max, (1, 100_000_000)),
    ("catalog.fresh_seconds", |it| it.catalog.fresh_seconds, (1, 86_400)),
    ("catalog.stale_seconds", |it| it.catalog.stale_seconds, (0, 604_800)),
    ("catalog.unknown_entries_max", |it| it.catalog.unknown_entries_max, (0, 100_000_000)),
    ("catalog.unknown_seconds", |it| it.catalog.unknown_seconds, (0, 3_600)),
    ("catalog.registry_timeout_ms", |it| it.catalog.registry_timeout_ms, (1, 60_000)),
    ("catalog.loads_max", |it| it.catalog.loads_max as u64, (1, 100_000)),
    ("catalog.snapshot_seconds", |it| it.catalog.snapshot_seconds, (1, 86_400)),
];

/// Between what the setting `key`, with dots, may be, both inclusive; `None` if it is no number.
pub fn bounds(key: &str) -> Option<(u64, u64)> {
    BOUNDS.iter().find(|(known, ..)| *known == key).map(|(_, _, bounds)| *bounds)
}

/// Every number that is out of its bounds.
pub(super) fn errors(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (key, of, (least, most)) in BOUNDS {
        let value = of(config);
        if !(*least..=*most).contains(&value) {
            let expected = format!("{least} to {most}");
            errors.push(ConfigError { key, value: value.to_string(), expected });
        }
    }
    errors
}
