//! How fast events are stored: by the consumer alone, from a prepared log, and by `up`, from
//! the hit to the table.

use std::io;
use std::time::{Duration, Instant};

use crate::arguments::Rows;
use crate::contestant::{Clickgate, Server, clear};
use crate::lag::{admin, caught_up};
use crate::load::Events;
use crate::machine::output_of;
use crate::prepared::Prepared;
use crate::{Bench, STORING};

const CONNECTIONS: u64 = 64;
const LOAD: Duration = Duration::from_secs(3);

/// Events, and what it took until all of them were stored.
pub struct Stored {
    pub events: u64,
    pub took: Duration,
    /// user+sys of the process meanwhile.
    pub cpu: Duration,
    pub resident_bytes: u64,
}

impl Stored {
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    pub fn cpu_us_per_event(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events as f64
    }
}

/// `up`: hits that it answers and stores at the same time.
pub struct EndToEnd {
    /// What was answered per second while there was load.
    pub requests_per_second: f64,
    /// From the first hit.
    pub stored: Stored,
}

pub struct Storing {
    /// From the start of the consumer's process.
    pub consumer: Vec<Stored>,
    pub up: Vec<EndToEnd>,
}

pub fn measure(bench: &Bench) -> io::Result<Storing> {
    let mut storing = Storing { consumer: Vec::new(), up: Vec::new() };
    let prepared = match bench.arguments.measures(Rows::Consumer) {
        true => Some(Prepared::of(bench)?),
        false => None,
    };
    for at in bench.rounds(STORING) {
        if let Some(prepared) = prepared {
            bench.say(&format!("consumer, round {at}: {} events", prepared.events));
            storing.consumer.push(drain(bench, prepared)?);
        }
        if bench.arguments.measures(Rows::Up) {
            bench.say(&format!("up, round {at}"));
            storing.up.push(end_to_end(bench)?);
        }
    }
    clear(bench)?;
    Ok(storing)
}

fn drain(bench: &Bench, prepared: &Prepared) -> io::Result<Stored> {
    clear(bench)?;
    prepared.copy_to(&Clickgate::log_dir(bench))?;
    bench.wait_for_quiet(STORING)?;
    let start = Instant::now();
    let server = Clickgate::start(bench, &["consumer"], &[])?;
    caught_up(server.address)?;
    let took = start.elapsed();
    let cpu = server.cpu()?;
    count_stored(bench, server, took, cpu, Events::exactly(prepared.events))
}

fn end_to_end(bench: &Bench) -> io::Result<EndToEnd> {
    clear(bench)?;
    bench.wait_for_quiet(STORING)?;
    let server = Clickgate::start(bench, &["up"], &[])?;
    let cpu_before = server.cpu()?;
    let start = Instant::now();
    let load = bench.pixels.run(server.address, CONNECTIONS, LOAD)?;
    caught_up(admin(bench)?)?;
    let took = start.elapsed();
    let cpu = server.cpu()? - cpu_before;
    let stored = count_stored(bench, server, took, cpu, load.events)?;
    Ok(EndToEnd { requests_per_second: load.per_second(), stored })
}

/// Counts the events in the table, which must be those that were sent.
fn count_stored(
    bench: &Bench,
    server: Server,
    took: Duration,
    cpu: Duration,
    sent: Events,
) -> io::Result<Stored> {
    let resident_bytes = server.resident_bytes()?;
    let count = output_of(Clickgate::command(bench).args(["events", "count"]))?;
    server.stop()?;
    let events = count.lines().last().and_then(|line| line.trim().parse().ok());
    match events {
        Some(events) if sent.allow(events) => Ok(Stored { events, took, cpu, resident_bytes }),
        _ => Err(io::Error::other(format!("{sent:?}, but `events count` says: {count}"))),
    }
}
