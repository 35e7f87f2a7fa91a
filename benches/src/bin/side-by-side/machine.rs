//! Reads processes and the machine from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel counts CPU time for /proc in this unit (USER_HZ), on every architecture of Linux
/// that we run on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time and family of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub parent: u32,
    /// user+sys of all its threads.
    pub own: Duration,
    /// user+sys of its children that have ended.
    pub children: Duration,
}

/// Reads `/proc/<pid>/stat`.
pub fn cpu(pid: u32) -> io::Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be parsed")))
}

fn parse_stat(stat: &str) -> Option<Cpu> {
    // The name may hold anything, so count from behind it.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
    Some(Cpu {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        children: ticks(13)? + ticks(14)?,
    })
}

/// All processes except kernel threads.
pub fn processes() -> io::Result<BTreeMap<u32, Cpu>> {
    const KTHREADD: u32 = 2;
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended by now.
        if let Ok(cpu) = cpu(pid)
            && pid != KTHREADD
            && cpu.parent != KTHREADD
        {
            processes.insert(pid, cpu);
        }
    }
    Ok(processes)
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no VmRSS")))
}

/// Runs a command to its end and returns its standard output.
pub fn output_of(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {}: {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where and when a run was made.
pub struct Machine {
    pub cpu: String,
    pub kernel: String,
    pub date: String,
    pub commit: String,
    pub nginx: String,
}

/// Describes this machine and the state of the sources.
pub fn describe(workspace: &Path) -> io::Result<Machine> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let git = |arguments: &[&str]| output_of(Command::new("git").args(arguments).current_dir(workspace));
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = programs::rfc3339::format_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    // nginx says its version on standard error.
    let nginx = Command::new("nginx").arg("-v").output()?.stderr;
    Ok(Machine {
        cpu: format!("{} cores, {}", cores, model.map_or("unknown", |(_, model)| model)),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        date: moment,
        commit: git(&["rev-parse", "--short", "HEAD"])?.trim().to_owned()
            + if changed { " with uncommitted changes" } else { "" },
        nginx: String::from_utf8_lossy(&nginx).trim().trim_start_matches("nginx version: ").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let stat = "7 (a ) b) S 3 7 7 0 -1 4194560 1 2 3 4 100 50 7 3 20 0 5 0";
        let cpu = parse_stat(stat).unwrap();
        assert_eq!((cpu.parent, cpu.own.as_millis(), cpu.children.as_millis()), (3, 1_500, 100));
        assert!(parse_stat("7 (a").is_none());
    }

    #[test]
    fn this_process_has_memory_and_is_listed() {
        let us = std::process::id();
        assert!(resident_bytes(us).unwrap() > 0);
        assert!(processes().unwrap().contains_key(&us));
    }
}
