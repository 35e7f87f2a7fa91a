//! Latency at half of our maximum rate: pixels, for both contestants at the same rate, and the mix.

use std::io;
use std::time::Duration;

use world::open_loop::{self, Plan};
use world::requests::{mix, pixels};

use crate::contestant::clear;
use crate::full_speed::{Contestant, Rounds, check};
use crate::load::Events;
use crate::{Bench, LATENCY};

pub const CONNECTIONS: usize = 64;
/// Excludes the start of the server from the measurement.
const WARM_UP: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_secs(3);
const REPEATS_MAX: usize = 2;

/// One contestant at a fixed rate; milliseconds from the intended moment.
pub struct Latency {
    pub contestant: Contestant,
    /// Requests per second.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub disturbed: bool,
}

/// Half of our maximum: for nginx, which can do more, the easier half. The maximum of the mix
/// is that at the default levels.
pub fn measure(bench: &Bench, full_speed: &Rounds) -> io::Result<Vec<Latency>> {
    let contestants = [
        (Contestant::Nginx, Contestant::Written),
        (Contestant::Written, Contestant::Written),
        (Contestant::Mix, Contestant::Mix),
        (Contestant::MixWritten, Contestant::Mix),
    ];
    let mut rounds = Vec::new();
    for at in bench.rounds(LATENCY) {
        for (contestant, whose_maximum) in contestants {
            if full_speed.has(contestant) {
                let rate = full_speed.maximum(whose_maximum) / 2.0;
                bench.say(&format!("{rate:.0} requests/s, round {at}: {contestant}"));
                rounds.push(undisturbed(bench, contestant, rate)?);
            }
        }
    }
    clear(bench)?;
    Ok(rounds)
}

/// Repeats a round while others use the machine, as far as there is time.
fn undisturbed(bench: &Bench, contestant: Contestant, rate: f64) -> io::Result<Latency> {
    for _ in 0..REPEATS_MAX {
        let round = measure_round(bench, contestant, rate)?;
        if !round.disturbed || !bench.may_repeat(LATENCY) {
            return Ok(round);
        }
        bench.say("disturbed by other processes, once more");
    }
    measure_round(bench, contestant, rate)
}

fn measure_round(bench: &Bench, contestant: Contestant, rate: f64) -> io::Result<Latency> {
    bench.wait_for_quiet(LATENCY)?;
    let server = contestant.start(bench)?;
    let requests = if contestant.is_mix() { mix() } else { pixels() };
    let address = server.address;
    let mut plan = Plan { address, requests, rate, connections: CONNECTIONS, duration: WARM_UP };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let warm = runtime.block_on(open_loop::run(&plan))?;
    plan.duration = ROUND;
    let watch = bench.quiet.watch()?;
    let outcome = runtime.block_on(open_loop::run(&plan))?;
    let disturbed = watch.disturbed()?;
    server.stop()?;
    let others = warm.other + outcome.other;
    if others > 0 {
        return Err(io::Error::other(format!("{contestant} gave {others} answers other than 2xx and 3xx")));
    }
    if contestant != Contestant::Nginx {
        check(bench, Events::exactly(warm.events + outcome.events))?;
    }
    let at = |per_cent| outcome.percentile_ms(per_cent);
    Ok(Latency { contestant, rate, p50: at(50.0), p99: at(99.0), p999: at(99.9), disturbed })
}
