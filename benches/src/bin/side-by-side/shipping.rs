//! What it costs to bring events to Kinesis: the shipper alone, from a prepared log, and tracker
//! and shipper in one process, from the hit to Kinesis, against nginx.
//!
//! Kinesis is one that takes everything ([`NullKinesis`]), in this process and so on the other core.
//! It decodes what it gets, and must have got as many events as the log held or the client had
//! answers for.

use std::io;
use std::time::{Duration, Instant};

use world::null_kinesis::{Figures, NullKinesis};

use crate::arguments::Rows;
use crate::contestant::{Clickgate, Server, clear};
use crate::full_speed::Contestant;
use crate::lag::{admin, caught_up};
use crate::load::Events;
use crate::machine::output_of;
use crate::prepared::Prepared;
use crate::{Bench, SHIPPING};

pub const CONNECTIONS: u64 = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const LOAD: Duration = Duration::from_secs(3);
/// Repetitions of a round that other processes disturbed.
const REPEATS_MAX: usize = 1;

/// The shipper alone, in a process that does nothing else.
pub struct Alone {
    /// As the log held them and Kinesis got them.
    pub events: u64,
    /// From the command to its end; the command itself is a process of its own on the same core.
    pub took: Duration,
    /// user+sys of the process meanwhile.
    pub cpu: Duration,
    pub resident_before: u64,
    pub resident_after: u64,
    pub disturbed: bool,
}

impl Alone {
    pub fn per_cpu_second(&self) -> f64 {
        self.events as f64 / self.cpu.as_secs_f64()
    }
}

/// nginx, or tracker and shipper, at full speed.
pub struct Together {
    pub contestant: Contestant,
    /// Hits that were answered with 2xx.
    pub hits: u64,
    pub hits_per_second: f64,
    /// user+sys of the process: of ours until everything was acknowledged by Kinesis.
    pub cpu: Duration,
    /// What was sent, warm-up included, and the events that Kinesis got.
    pub shipped: Option<(Events, u64)>,
    pub disturbed: bool,
}

impl Together {
    pub fn cpu_us_per_hit(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.hits as f64
    }
}

#[derive(Default)]
pub struct Shipping {
    pub alone: Vec<Alone>,
    pub together: Vec<Together>,
}

pub fn measure(bench: &Bench) -> io::Result<Shipping> {
    let mut shipping = Shipping::default();
    for at in bench.rounds(SHIPPING) {
        if bench.arguments.measures(Rows::Shipper) {
            let prepared = Prepared::of(bench)?;
            bench.say(&format!("shipper, round {at}: {} events", prepared.events));
            let round = undisturbed(bench, || alone(bench, prepared), |round| round.disturbed)?;
            shipping.alone.push(round);
        }
        if bench.arguments.measures(Rows::Shipping) {
            bench.say(&format!("tracker and shipper, round {at}"));
            for contestant in [nginx, together] {
                let round = undisturbed(bench, || contestant(bench), |round| round.disturbed)?;
                shipping.together.push(round);
            }
        }
    }
    clear(bench)?;
    Ok(shipping)
}

/// Repeats a round while others use the machine, as far as there is time.
fn undisturbed<R>(
    bench: &Bench,
    round: impl Fn() -> io::Result<R>,
    disturbed: impl Fn(&R) -> bool,
) -> io::Result<R> {
    for _ in 0..REPEATS_MAX {
        let done = round()?;
        if !disturbed(&done) || !bench.may_repeat(SHIPPING) {
            return Ok(done);
        }
        bench.say("disturbed by other processes, once more");
    }
    round()
}

/// `log ship` of a prepared log, carried out by a tracker without hits: so nothing of its start is
/// in the figures.
fn alone(bench: &Bench, prepared: &Prepared) -> io::Result<Alone> {
    clear(bench)?;
    let kinesis = counting()?;
    let dir = bench.dir.path().join("dead");
    prepared.copy_to(&dir)?;
    let server = tracker(bench, &kinesis, &[])?;
    bench.wait_for_quiet(SHIPPING)?;
    let watch = bench.quiet.watch()?;
    let resident_before = server.resident_bytes()?;
    let cpu_before = server.cpu()?;
    let start = Instant::now();
    output_of(Clickgate::command(bench).args(["log", "ship"]).arg(&dir))?;
    let took = start.elapsed();
    let cpu = server.cpu()? - cpu_before;
    let disturbed = watch.disturbed()?;
    let resident_after = server.resident_bytes()?;
    server.stop()?;
    let events = got(&kinesis, Events::exactly(prepared.events))?;
    Ok(Alone { events, took, cpu, resident_before, resident_after, disturbed })
}

fn nginx(bench: &Bench) -> io::Result<Together> {
    bench.wait_for_quiet(SHIPPING)?;
    let contestant = Contestant::Nginx;
    let server = contestant.start(bench)?;
    bench.pixels.run(server.address, CONNECTIONS, WARM_UP)?;
    let watch = bench.quiet.watch()?;
    let cpu_before = server.cpu()?;
    let load = bench.pixels.run(server.address, CONNECTIONS, LOAD)?;
    let cpu = server.cpu()? - cpu_before;
    let disturbed = watch.disturbed()?;
    server.stop()?;
    let hits_per_second = load.per_second();
    Ok(Together { contestant, hits: load.ok, hits_per_second, cpu, shipped: None, disturbed })
}

/// The CPU counts until Kinesis has acknowledged the last hit and the cursor has passed it.
fn together(bench: &Bench) -> io::Result<Together> {
    clear(bench)?;
    bench.wait_for_quiet(SHIPPING)?;
    let kinesis = counting()?;
    let server = tracker(bench, &kinesis, &[])?;
    let admin = admin(bench)?;
    let warm = bench.pixels.run(server.address, CONNECTIONS, WARM_UP)?;
    caught_up(admin)?;
    let watch = bench.quiet.watch()?;
    let cpu_before = server.cpu()?;
    let load = bench.pixels.run(server.address, CONNECTIONS, LOAD)?;
    caught_up(admin)?;
    let cpu = server.cpu()? - cpu_before;
    let disturbed = watch.disturbed()?;
    server.stop()?;
    let mut events = warm.events;
    events += load.events;
    let shipped = Some((events, got(&kinesis, events)?));
    let (contestant, hits_per_second) = (Contestant::Written, load.per_second());
    Ok(Together { contestant, hits: load.ok, hits_per_second, cpu, shipped, disturbed })
}

/// A Kinesis that counts what it gets.
pub fn counting() -> io::Result<NullKinesis> {
    let kinesis = NullKinesis::start(0)?;
    kinesis.count_events(true);
    Ok(kinesis)
}

/// Our tracker, whose shipper sends to `kinesis`.
pub fn tracker(bench: &Bench, kinesis: &NullKinesis, more: &[(&str, &str)]) -> io::Result<Server> {
    let endpoint = kinesis.url();
    let mut settings = vec![
        ("CLICKGATE__TRACKER__LEVELS__IMPRESSION", "written"),
        ("CLICKGATE__SHIPPER__STREAM", "events"),
        ("CLICKGATE__AWS__REGION", "us-east-1"),
        ("CLICKGATE__AWS__KINESIS_ENDPOINT", &endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    settings.extend(more);
    Clickgate::tracker(bench, &settings)
}

/// The events that Kinesis got, if they are those that were sent.
pub fn got(kinesis: &NullKinesis, sent: Events) -> io::Result<u64> {
    let Figures { events, undecodable, .. } = kinesis.figures();
    if undecodable == 0 && sent.allow(events) {
        Ok(events)
    } else {
        Err(io::Error::other(format!("{sent:?}, but Kinesis got {events} and {undecodable} undecodable")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_fails_if_events_are_missing_in_kinesis() {
        let kinesis = counting().unwrap();
        assert_eq!(got(&kinesis, Events::exactly(0)).unwrap(), 0);
        let missing = got(&kinesis, Events { acknowledged: 1, sent: 2 }).unwrap_err().to_string();
        assert!(missing.contains("Kinesis got 0"), "{missing}");
    }
}
