//! The bounds of numeric settings.

use super::{Config, ConfigError};

type Bound = (&'static str, fn(&Config) -> u64, (u64, u64));

#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    ("workers", |config| config.workers as u64, (0, 512)),
    ("connections_per_worker_max", |config| config.connections_per_worker_max as u64, (1, 1_000_000)),
    ("rejected_per_second_max", |config| config.rejected_per_second_max.into(), (0, 1_000_000)),
    ("keep_alive_seconds", |config| config.keep_alive_seconds, (1, 3_600)),
    ("client_request_timeout_ms", |config| config.client_request_timeout_ms, (1, 600_000)),
    ("stream_timeout_ms", |config| config.stream_timeout_ms, (1, 600_000)),
    ("client_body_timeout_ms", |config| config.client_body_timeout_ms, (1, 600_000)),
    ("client_disconnect_timeout_ms", |config| config.client_disconnect_timeout_ms, (1, 600_000)),
    ("shutdown_timeout_seconds", |config| config.shutdown_timeout_seconds, (1, 3_600)),
    ("limits.parameters_max", |config| config.limits.parameters_max as u64, (1, 1_000)),
    ("limits.name_bytes_max", |config| config.limits.name_bytes_max as u64, (1, 65_536)),
    ("limits.value_bytes_max", |config| config.limits.value_bytes_max as u64, (1, 65_536)),
    ("limits.request_line_bytes_max", |config| config.limits.request_line_bytes_max as u64, (256, 65_536)),
    ("limits.header_bytes_max", |config| config.limits.header_bytes_max as u64, (1_024, 131_072)),
    ("limits.body_bytes_max", |config| config.limits.body_bytes_max as u64, (1_024, 16_777_216)),
    ("limits.bodies_bytes_max", |config| config.limits.bodies_bytes_max as u64, (1_024, 1_099_511_627_776)),
    ("limits.entries_max", |config| config.limits.entries_max as u64, (1, 10_000)),
    ("catalog.entries_max", |config| config.catalog.entries_max, (1, 100_000_000)),
    ("catalog.fresh_seconds", |config| config.catalog.fresh_seconds, (1, 86_400)),
    ("catalog.stale_seconds", |config| config.catalog.stale_seconds, (0, 604_800)),
    ("catalog.unknown_entries_max", |config| config.catalog.unknown_entries_max, (0, 100_000_000)),
    ("catalog.unknown_seconds", |config| config.catalog.unknown_seconds, (0, 3_600)),
    ("catalog.registry_timeout_ms", |config| config.catalog.registry_timeout_ms, (1, 60_000)),
    ("catalog.loads_max", |config| config.catalog.loads_max as u64, (1, 100_000)),
    ("catalog.snapshot_seconds", |config| config.catalog.snapshot_seconds, (1, 86_400)),
];

/// The inclusive bounds of the setting `key`, dotted; `None` if it is not a number.
pub fn bounds(key: &str) -> Option<(u64, u64)> {
    BOUNDS.iter().find(|(known, ..)| *known == key).map(|(_, _, bounds)| *bounds)
}

/// Every number that is out of bounds.
pub(super) fn errors(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (key, of, (min, max)) in BOUNDS {
        let value = of(config);
        if !(*min..=*max).contains(&value) {
            let expected = format!("{min} to {max}");
            errors.push(ConfigError { key, value: value.to_string(), expected });
        }
    }
    errors
}
