//! How long a pixel takes at half of the rate that we can do, for both at the same rate.

use std::io;
use std::time::Duration;

use world::open_loop::{self, Plan};

use crate::contestant::clear;
use crate::full_speed::{Contestant, Round, Rounds, check};
use crate::load::paths;
use crate::{Bench, LATENCY};

pub const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
/// What is measured is a server that runs, not one that starts.
const WARM_UP: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_secs(3);
const REPEATS_MAX: usize = 2;

/// One contestant at a fixed rate; milliseconds from the intended moment.
pub struct Latency {
    pub contestant: Contestant,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub disturbed: bool,
}

/// All rounds, and the rate of all of them.
pub struct Latencies {
    pub rate: f64,
    pub rounds: Vec<Latency>,
}

/// Half of our maximum: for nginx, which can do more, the easier half.
pub fn measure(bench: &Bench, pixel: &Rounds) -> io::Result<Latencies> {
    let best =
        |connections| pixel.median(Contestant::Written, connections, |round: &Round| round.load.per_second());
    let rate = best(64).max(best(256)) / 2.0;
    let mut rounds = Vec::new();
    for at in (1..=ROUNDS).take_while(|at| bench.has_time(LATENCY, *at)) {
        for contestant in [Contestant::Nginx, Contestant::Written] {
            bench.say(&format!("{rate:.0} requests/s, round {at} of {ROUNDS}: {contestant}"));
            let mut round = one(bench, contestant, rate)?;
            for _ in 0..REPEATS_MAX {
                if round.disturbed && bench.may_repeat(LATENCY) {
                    bench.say("disturbed by other processes, once more");
                    round = one(bench, contestant, rate)?;
                }
            }
            rounds.push(round);
        }
    }
    clear(bench)?;
    Ok(Latencies { rate, rounds })
}

fn one(bench: &Bench, contestant: Contestant, rate: f64) -> io::Result<Latency> {
    bench.wait_for_quiet(LATENCY)?;
    let server = contestant.start(bench)?;
    let plan =
        |duration| Plan { address: server.address, paths: paths(), rate, connections: CONNECTIONS, duration };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let warm = runtime.block_on(open_loop::run(&plan(WARM_UP)))?;
    let watch = bench.quiet.watch()?;
    let outcome = runtime.block_on(open_loop::run(&plan(ROUND)))?;
    let disturbed = watch.disturbed()?;
    server.stop()?;
    if outcome.other + warm.other > 0 {
        return Err(io::Error::other(format!("{contestant} gave {} answers that are no 2xx", outcome.other)));
    }
    if contestant != Contestant::Nginx {
        check(bench, warm.ok + outcome.ok, 0)?;
    }
    let at = |per_cent| outcome.percentile_ms(per_cent);
    Ok(Latency { contestant, p50: at(50.0), p99: at(99.0), p999: at(99.9), disturbed })
}
