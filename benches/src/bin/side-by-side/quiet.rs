//! Detects whether other processes use the machine.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::machine::{Cpu, processes};

/// Share of one core that others may use before a round counts as disturbed.
const OTHERS_MAX: f64 = 0.05;
const SAMPLE: Duration = Duration::from_millis(500);
/// Longest wait for a quiet moment, once per round.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Watches all processes except this one, its descendants and its ancestors.
pub struct Quiet;

/// The others' CPU time at the start of a stretch.
pub struct Watch {
    before: BTreeMap<u32, Cpu>,
    start: Instant,
}

impl Quiet {
    /// Begins to watch.
    pub fn watch(&self) -> io::Result<Watch> {
        Ok(Watch { before: processes()?, start: Instant::now() })
    }

    /// Waits until the others are quiet, for [`WAIT_MAX`] at most.
    pub fn wait(&self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            let watch = self.watch()?;
            std::thread::sleep(SAMPLE);
            if watch.others()? <= OTHERS_MAX || start.elapsed() > WAIT_MAX {
                return Ok(());
            }
        }
    }
}

impl Watch {
    /// Cores that others used on average since the start. A process that began and ended in
    /// between is seen in its parent's time.
    pub fn others(&self) -> io::Result<f64> {
        let after = processes()?;
        let us = std::process::id();
        let spent = |(pid, now): (&u32, &Cpu)| {
            let before = self.before.get(pid).copied().unwrap_or_default();
            (now.own + now.children).saturating_sub(before.own + before.children)
        };
        let others = after.iter().filter(|(pid, _)| !related(**pid, us, &after));
        let others: Duration = others.map(spent).sum();
        Ok(others.as_secs_f64() / self.start.elapsed().as_secs_f64())
    }

    /// Whether other processes disturbed what was measured meanwhile.
    pub fn disturbed(&self) -> io::Result<bool> {
        Ok(self.others()? > OTHERS_MAX)
    }
}

/// Whether `pid` is `us`, or descends from us, or we from it.
fn related(pid: u32, us: u32, processes: &BTreeMap<u32, Cpu>) -> bool {
    let line = |from: u32| std::iter::successors(Some(from), |at| processes.get(at).map(|cpu| cpu.parent));
    line(pid).any(|ancestor| ancestor == us) || line(us).any(|ancestor| ancestor == pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_are_distinguished_from_strangers() {
        let cpu = |parent| Cpu { parent, ..Cpu::default() };
        let all = BTreeMap::from([(1, cpu(0)), (10, cpu(1)), (20, cpu(10)), (30, cpu(20)), (11, cpu(1))]);
        let strangers: Vec<u32> = all.keys().copied().filter(|pid| !related(*pid, 20, &all)).collect();
        assert_eq!(strangers, [11]);
    }
}
