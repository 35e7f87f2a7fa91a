//! The cost of a request: rounds at full speed, the contestants in turn.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::arguments::{Arguments, Rows};
use crate::contestant::{Clickgate, Nginx, Server, clear};
use crate::load::{Events, Load, Script};
use crate::{Bench, FULL_SPEED};

const WARM_UP: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(3);
/// Repetitions of a round that other processes disturbed.
const REPEATS_MAX: usize = 3;

/// A server with its settings and its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// nginx, pixels.
    Nginx,
    /// Pixels at their default level.
    Written,
    /// Pixels, each synced.
    Synced,
    /// The mix, every route at its default level: beacons are synced.
    Mix,
    /// The mix with beacons that wait for no sync either: what the kinds cost by themselves.
    MixWritten,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Written => "clickgate, written",
            Self::Synced => "clickgate, synced",
            Self::Mix => "clickgate, mix",
            Self::MixWritten => "clickgate, mix, all written",
        })
    }
}

impl Contestant {
    /// Starts it with nothing in its log, nor in those of the others.
    pub fn start(self, bench: &Bench) -> io::Result<Server> {
        clear(bench)?;
        match self {
            Self::Nginx => Nginx::start(bench),
            Self::Written => {
                Clickgate::tracker(bench, &[("CLICKGATE__TRACKER__LEVELS__IMPRESSION", "written")])
            }
            Self::Synced => {
                Clickgate::tracker(bench, &[("CLICKGATE__TRACKER__LEVELS__IMPRESSION", "synced")])
            }
            Self::Mix => Clickgate::tracker(bench, &[]),
            Self::MixWritten => {
                Clickgate::tracker(bench, &[("CLICKGATE__TRACKER__LEVELS__BEACON", "written")])
            }
        }
    }

    pub fn is_mix(self) -> bool {
        matches!(self, Self::Mix | Self::MixWritten)
    }

    /// What it is asked for.
    fn script(self, bench: &Bench) -> &Script {
        if self.is_mix() { &bench.mix } else { &bench.pixels }
    }

    /// Those that the chosen rows compare, in their turn. The pixel is what the mix is held against.
    fn of(arguments: &Arguments, connections: u64) -> Vec<Self> {
        let is_chosen = |contestant: &Self| match contestant {
            Self::Nginx => arguments.measures(Rows::Pixel),
            Self::Written => arguments.measures(Rows::Pixel) || arguments.measures(Rows::Mixed),
            // A sync serves many when many wait for it.
            Self::Synced => arguments.measures(Rows::Pixel) && connections == 256,
            Self::Mix | Self::MixWritten => arguments.measures(Rows::Mixed),
        };
        let all = [Self::Nginx, Self::Written, Self::Synced, Self::Mix, Self::MixWritten];
        all.into_iter().filter(is_chosen).collect()
    }
}

/// One contestant at full speed.
pub struct Round {
    pub contestant: Contestant,
    pub connections: u64,
    pub load: Load,
    /// user+sys of the process during the load.
    pub cpu: Duration,
    pub resident_before: u64,
    pub resident_after: u64,
    pub ready_after: Duration,
    /// What was sent, warm-up included, and the events that the log held afterwards.
    pub kept: Option<(Events, u64)>,
    /// Other processes used the machine, and there was no time to repeat the round.
    pub disturbed: bool,
}

impl Round {
    pub fn cpu_us_per_request(&self) -> f64 {
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
    pub fn median(&self, contestant: Contestant, connections: u64, figure: impl Fn(&Round) -> f64) -> f64 {
        let of = |round: &&Round| round.contestant == contestant && round.connections == connections;
        median(self.0.iter().filter(of).map(figure).collect())
    }

    /// Its best rate, whatever the number of connections.
    pub fn maximum(&self, contestant: Contestant) -> f64 {
        let rate = |connections| self.median(contestant, connections, |round| round.load.per_second());
        rate(64).max(rate(256))
    }

    pub fn has(&self, contestant: Contestant) -> bool {
        self.0.iter().any(|round| round.contestant == contestant)
    }

    /// The rounds of our tracker that are about pixels.
    pub fn our_pixels(&self) -> impl Iterator<Item = &Round> {
        let ours = [Contestant::Written, Contestant::Synced];
        self.0.iter().filter(move |round| ours.contains(&round.contestant))
    }
}

/// The middle one; 0 of nothing.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Rounds with 64 and with 256 connections; `synced` with 256 only.
pub fn measure(bench: &Bench) -> io::Result<Rounds> {
    let mut rounds = Vec::new();
    for at in bench.rounds(FULL_SPEED) {
        for connections in [64, 256] {
            for contestant in Contestant::of(&bench.arguments, connections) {
                bench.say(&format!("{connections} connections, round {at}: {contestant}"));
                rounds.push(undisturbed(bench, || round(bench, contestant, connections))?);
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
        if !done.disturbed || !bench.may_repeat(FULL_SPEED) {
            return Ok(done);
        }
        bench.say("disturbed by other processes, once more");
    }
    round()
}

fn round(bench: &Bench, contestant: Contestant, connections: u64) -> io::Result<Round> {
    bench.wait_for_quiet(FULL_SPEED)?;
    let script = contestant.script(bench);
    let server = contestant.start(bench)?;
    let resident_before = server.resident_bytes()?;
    let warm = script.run(server.address, connections, WARM_UP)?;
    let watch = bench.quiet.watch()?;
    let cpu_before = server.cpu()?;
    let load = script.run(server.address, connections, ROUND)?;
    let disturbed = watch.disturbed()?;
    let cpu = server.cpu()? - cpu_before;
    let ready_after = server.ready_after;
    let resident_after = server.resident_bytes()?;
    server.stop()?;
    let mut events = warm.events;
    events += load.events;
    let kept = match contestant {
        Contestant::Nginx => None,
        _ => Some((events, check(bench, events)?)),
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

/// Checks that the log holds an event for each answer that acknowledged one, and no more than those
/// and the requests under way when the client hung up. Returns their number.
pub fn check(bench: &Bench, events: Events) -> io::Result<u64> {
    let kept = Clickgate::events_in_log(bench)?;
    if events.allow(kept) {
        Ok(kept)
    } else {
        Err(io::Error::other(format!("{events:?}, but {kept} are in the log")))
    }
}
