//! How fast events are stored: by the consumer alone, from a prepared log, and by `up`, from
//! the hit to the table.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::arguments::Rows;
use crate::contestant::{Clickgate, Server, clear, eventually, get};
use crate::full_speed::{Contestant, check};
use crate::load::Events;
use crate::machine::output_of;
use crate::{Bench, STORING};

/// Events of the prepared log, at least.
const EVENTS_MIN: u64 = 300_000;
const CONNECTIONS: u64 = 64;
const LOAD: Duration = Duration::from_secs(3);
/// Between two polls whether all is stored: polling must cost the process next to nothing.
const PAUSE: Duration = Duration::from_millis(20);

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
        true => Some(Prepared::by_a_tracker(bench)?),
        false => None,
    };
    for at in bench.rounds(STORING) {
        if let Some(prepared) = &prepared {
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

/// A log that was put aside.
struct Prepared {
    dir: PathBuf,
    events: u64,
}

impl Prepared {
    fn by_a_tracker(bench: &Bench) -> io::Result<Self> {
        bench.say("preparing a log");
        let server = Contestant::Written.start(bench)?;
        let mut events = Events::default();
        while events.acknowledged < EVENTS_MIN {
            events += bench.pixels.run(server.address, CONNECTIONS, LOAD)?.events;
        }
        server.stop()?;
        let events = check(bench, events)?;
        let dir = bench.dir.path().join("prepared");
        fs::rename(Clickgate::log_dir(bench), &dir)?;
        Ok(Self { dir, events })
    }
}

fn drain(bench: &Bench, prepared: &Prepared) -> io::Result<Stored> {
    clear(bench)?;
    copy(&prepared.dir, &Clickgate::log_dir(bench))?;
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
    let run: Value = serde_json::from_slice(&fs::read(bench.data().join("run.json"))?)?;
    let admin = run["admin"].as_str().and_then(|text| text.parse().ok());
    let admin = admin.ok_or_else(|| io::Error::other("run.json has no admin address"))?;
    let cpu_before = server.cpu()?;
    let start = Instant::now();
    let load = bench.pixels.run(server.address, CONNECTIONS, LOAD)?;
    caught_up(admin)?;
    let took = start.elapsed();
    let cpu = server.cpu()? - cpu_before;
    let stored = count_stored(bench, server, took, cpu, load.events)?;
    Ok(EndToEnd { requests_per_second: load.per_second(), stored })
}

/// Waits until the table's cursor has passed every record of the log.
fn caught_up(admin: SocketAddr) -> io::Result<()> {
    eventually("everything is stored", || {
        sleep(PAUSE);
        let answer = get(admin, "/log")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let status: Value = serde_json::from_str(body)
            .map_err(|error| io::Error::other(format!("/log cannot be parsed: {error}: {answer}")))?;
        let cursors = status["cursors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lags: Vec<u64> = cursors.iter().filter_map(|cursor| cursor["lag"].as_u64()).collect();
        if lags.is_empty() {
            return Err(io::Error::other(format!("/log names no cursor: {body}")));
        }
        Ok(lags.iter().all(|lag| *lag == 0))
    })
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

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    supervise::files::create_private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
