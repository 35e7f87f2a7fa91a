//! What a process costs: memory, time, sockets.

use std::time::{Duration, Instant};

use crate::world::{Process, eventually};

/// What a process has and has used.
pub struct Usage {
    pub memory_bytes: usize,
    pub cpu: Duration,
    pub sockets: usize,
}

impl Usage {
    pub fn of(process: &Process) -> Self {
        let proc = format!("/proc/{}", process.pid().as_raw_nonzero());
        let field = |text: &str, at: usize| text.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
        let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
        // The name before it may have spaces; user and system time are fields 14 and 15.
        let (_, stat) = stat.rsplit_once(") ").unwrap();
        let ticks = field(stat, 11) + field(stat, 12);
        let pages = field(&std::fs::read_to_string(format!("{proc}/statm")).unwrap(), 1);
        Self {
            memory_bytes: pages as usize * rustix::param::page_size(),
            cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
            sockets: sockets(&proc),
        }
    }

    /// As it is when nobody is there any more who asked whether the process is ready.
    pub fn at_rest(process: &Process) -> Self {
        let mut usage = Self::of(process);
        let mut unchanged = 0;
        eventually("the process is at rest", || {
            let before = std::mem::replace(&mut usage, Self::of(process));
            unchanged = if usage.sockets == before.sockets { unchanged + 1 } else { 0 };
            unchanged == 20
        });
        usage
    }
}

/// Files are left out: a process opens one for itself now and then.
fn sockets(proc: &str) -> usize {
    let descriptors = std::fs::read_dir(format!("{proc}/fd")).unwrap();
    // One that is closed at this very moment is none.
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// What a process does while nobody asks for anything. The time is the measurement.
pub fn cpu_while_silent(process: &Process, time: Duration) -> f64 {
    let (before, began) = (Usage::of(process).cpu, Instant::now());
    std::thread::sleep(time);
    (Usage::of(process).cpu - before).as_secs_f64() / began.elapsed().as_secs_f64()
}
