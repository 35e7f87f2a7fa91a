//! Metrics of this process, as `metrics-process` reads them from the operating system.
//!
//! Its values are written by hand and not through the recorder, whose counters are whole
//! numbers: CPU time is counted in fractions of a second.

use std::fmt::Write;

use metrics_process::collector::{Metrics, collect};

use super::list;

/// Adds the process at this moment; a value that the system does not give is left out.
pub fn write(text: &mut String) {
    let Metrics { resident_memory_bytes, start_time_seconds, cpu_seconds_total, open_fds, threads, .. } =
        collect();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (name, value) in [
        ("process_resident_memory_bytes", whole(resident_memory_bytes)),
        ("process_start_time_seconds", whole(start_time_seconds)),
        ("process_cpu_seconds_total", cpu_seconds_total),
        ("process_open_fds", whole(open_fds)),
        ("process_threads", whole(threads)),
    ] {
        let Some(value) = value else { continue };
        list::write_head(text, name);
        let _ = writeln!(text, "{name} {value}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_started_before_now_and_uses_what_a_process_uses() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
        };
        let now = supervise::now_ms() as f64 / 1_000.0;
        let started = value("process_start_time_seconds");
        assert!((now - 3_600.0..=now + 1.0).contains(&started), "{started}");
        assert!(value("process_resident_memory_bytes") > f64::from(1 << 20));
        assert!(value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
