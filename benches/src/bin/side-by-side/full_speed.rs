//! How much a pixel costs: rounds at full speed, the contestants in turn.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::contestant::{Clickgate, Nginx, Server, clear};
use crate::load::{Load, write_script, wrk};
use crate::{Bench, PIXEL};

/// Rounds per contestant and number of connections, unless time runs out.
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(3);
/// How often one round is repeated because somebody else used the machine.
const REPEATS_MAX: usize = 3;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    Nginx,
    Written,
    Synced,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Written => "clickgate, written",
            Self::Synced => "clickgate, synced",
        })
    }
}

impl Contestant {
    /// Starts it with nothing in its log, nor in those of the others.
    pub fn start(self, bench: &Bench) -> io::Result<Server> {
        clear(bench)?;
        match self {
            Self::Nginx => Nginx::start(bench),
            Self::Written => Clickgate::tracker(bench, "written"),
            Self::Synced => Clickgate::tracker(bench, "synced"),
        }
    }
}

/// One contestant at full speed.
pub struct Round {
    pub contestant: Contestant,
    pub connections: usize,
    pub load: Load,
    /// user+sys of the process during the load.
    pub cpu: Duration,
    pub resident_before: u64,
    pub resident_after: u64,
    pub ready_after: Duration,
    /// Answers of 2xx, warm-up included, and the events that the log held afterwards.
    pub kept: Option<(u64, u64)>,
    /// Somebody else used the machine, and there was no time to repeat it.
    pub disturbed: bool,
}

impl Round {
    pub fn cpu_us_per_hit(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.load.ok as f64
    }

    /// Requests that this contestant would answer per second if it had its core all the time.
    pub fn per_core_second(&self) -> f64 {
        self.load.ok as f64 / self.cpu.as_secs_f64()
    }
}

/// All rounds, in the order in which they were made.
pub struct Rounds(pub Vec<Round>);

impl Rounds {
    /// The median of one figure of one contestant.
    pub fn median(&self, contestant: Contestant, connections: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        let of = |round: &&Round| round.contestant == contestant && round.connections == connections;
        median(self.0.iter().filter(of).map(figure).collect())
    }

    /// The rounds of our tracker.
    pub fn ours(&self) -> impl Iterator<Item = &Round> {
        self.0.iter().filter(|round| round.contestant != Contestant::Nginx)
    }
}

/// The middle one; 0 of nothing.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Rounds with 64 and with 256 connections; `synced` with 256 only.
pub fn measure(bench: &Bench) -> io::Result<Rounds> {
    let script = bench.dir.path().join("pixel.lua");
    write_script(&script)?;
    let mut rounds = Vec::new();
    let two = [Contestant::Nginx, Contestant::Written];
    let three = [Contestant::Nginx, Contestant::Written, Contestant::Synced];
    for at in (1..=ROUNDS).take_while(|at| bench.has_time(PIXEL, *at)) {
        for (connections, contestants) in [(64, &two[..]), (256, &three[..])] {
            for contestant in contestants {
                bench.say(&format!("{connections} connections, round {at} of {ROUNDS}: {contestant}"));
                rounds.push(undisturbed(bench, || round(bench, *contestant, connections))?);
            }
        }
    }
    clear(bench)?;
    Ok(Rounds(rounds))
}

/// Repeats a round while others use the machine, as far as there is time.
fn undisturbed(bench: &Bench, round: impl Fn() -> io::Result<Round>) -> io::Result<Round> {
    for _ in 0..REPEATS_MAX {
        let done = round()?;
        if !done.disturbed || !bench.may_repeat(PIXEL) {
            return Ok(done);
        }
        bench.say("disturbed by other processes, once more");
    }
    round()
}

fn round(bench: &Bench, contestant: Contestant, connections: usize) -> io::Result<Round> {
    let script = bench.dir.path().join("pixel.lua");
    bench.wait_for_quiet(PIXEL)?;
    let server = contestant.start(bench)?;
    let resident_before = server.resident_bytes()?;
    let warm = wrk(&script, server.address, connections, WARM_UP)?;
    let (watch, before) = (bench.quiet.watch()?, server.cpu()?);
    let load = wrk(&script, server.address, connections, ROUND)?;
    let (disturbed, cpu) = (watch.disturbed()?, server.cpu()? - before);
    let (ready_after, resident_after) = (server.ready_after, server.resident_bytes()?);
    server.stop()?;
    let kept = match contestant {
        Contestant::Nginx => None,
        _ => Some(check(bench, warm.ok + load.ok, (warm.runs + load.runs) * connections as u64)?),
    };
    Ok(Round {
        contestant,
        connections,
        load,
        cpu,
        resident_before,
        resident_after,
        ready_after,
        kept,
        disturbed,
    })
}

/// The log must hold an event for each answer; and no more than those and the requests that
/// were under way when wrk went home.
pub fn check(bench: &Bench, ok: u64, under_way: u64) -> io::Result<(u64, u64)> {
    let events = Clickgate::events_in_log(bench)?;
    if (ok..=ok + under_way).contains(&events) {
        Ok((ok, events))
    } else {
        Err(io::Error::other(format!("{ok} answers of 2xx, but {events} events in the log")))
    }
}
