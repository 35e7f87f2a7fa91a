//! What the operating system says of this process, from `/proc`; nothing where there is none.

use std::fmt::Write;
use std::fs::{read_dir, read_to_string};

use super::list;

/// The process at one moment.
pub struct Process {
    resident_bytes: u64,
    /// Since 1970.
    pub start_seconds: f64,
    cpu_seconds: f64,
    open_fds: usize,
    threads: u64,
}

/// Looks it up.
pub fn read() -> Option<Process> {
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let system = read_to_string("/proc/stat").ok()?;
    let boot: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let status = read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    let stat = read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything, field 3 of proc_pid_stat(5) is the first.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let [user, system, threads, start] = [field(14)?, field(15)?, field(20)?, field(22)?];
    Some(Process {
        resident_bytes: resident_kib * 1_024,
        start_seconds: boot as f64 + start as f64 / ticks_per_second,
        cpu_seconds: (user + system) as f64 / ticks_per_second,
        open_fds: read_dir("/proc/self/fd").ok()?.count(),
        threads,
    })
}

impl Process {
    /// As Prometheus reads it.
    pub fn write(&self, text: &mut String) {
        for (name, value) in [
            ("process_resident_memory_bytes", self.resident_bytes as f64),
            ("process_start_time_seconds", self.start_seconds),
            ("process_cpu_seconds_total", self.cpu_seconds),
            ("process_open_fds", self.open_fds as f64),
            ("process_threads", self.threads as f64),
        ] {
            list::write_head(text, name);
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_started_before_now_and_uses_what_a_process_uses() {
        let process = read().unwrap();
        let now = supervise::now_ms() as f64 / 1_000.0;
        assert!((now - 3_600.0..=now + 1.0).contains(&process.start_seconds), "{}", process.start_seconds);
        assert!(process.resident_bytes > 1 << 20 && process.open_fds >= 3 && process.threads >= 1);
    }
}
