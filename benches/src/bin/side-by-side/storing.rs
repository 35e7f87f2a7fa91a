//! How fast events are stored: by the consumer alone, from a prepared log, and by `up`, from
//! the hit to the table.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contestant::{Clickgate, Server, clear, eventually, get};
use crate::full_speed::{Contestant, check};
use crate::load::wrk;
use crate::machine::done;
use crate::{Bench, STORING};

/// Events of the prepared log, at least.
const EVENTS_MIN: u64 = 300_000;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const UP_LOAD: Duration = Duration::from_secs(2);

/// Events and how long it took until all of them were stored.
pub struct Stored {
    pub events: u64,
    pub took: Duration,
    pub resident_bytes: u64,
}

impl Stored {
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

pub struct Storing {
    /// From the start of the consumer's process.
    pub consumer: Vec<Stored>,
    /// From the first hit.
    pub up: Vec<Stored>,
}

pub fn measure(bench: &Bench) -> io::Result<Storing> {
    let prepared = bench.dir.path().join("prepared");
    bench.say("preparing a log");
    let events = prepare(bench, &prepared)?;
    let mut storing = Storing { consumer: Vec::new(), up: Vec::new() };
    for at in (1..=ROUNDS).take_while(|at| bench.has_time(STORING, *at)) {
        bench.say(&format!("consumer, round {at} of {ROUNDS}: {events} events"));
        storing.consumer.push(drain(bench, &prepared, events)?);
        bench.say(&format!("up, round {at} of {ROUNDS}"));
        storing.up.push(end_to_end(bench)?);
    }
    clear(bench)?;
    Ok(storing)
}

/// Lets a tracker fill a log and puts it aside; the events in it.
fn prepare(bench: &Bench, prepared: &Path) -> io::Result<u64> {
    let server = Contestant::Written.start(bench)?;
    let (mut ok, mut runs) = (0, 0);
    while ok < EVENTS_MIN {
        let load = wrk(&bench.dir.path().join("pixel.lua"), server.address, CONNECTIONS, UP_LOAD)?;
        (ok, runs) = (ok + load.ok, runs + load.runs);
    }
    server.stop()?;
    let (_, events) = check(bench, ok, runs * CONNECTIONS as u64)?;
    fs::rename(Clickgate::log_dir(bench), prepared)?;
    Ok(events)
}

fn drain(bench: &Bench, prepared: &Path, events: u64) -> io::Result<Stored> {
    clear(bench)?;
    copy(prepared, &Clickgate::log_dir(bench))?;
    bench.wait_for_quiet(STORING)?;
    let start = Instant::now();
    let server = Clickgate::start(bench, &["consumer"], &[])?;
    caught_up(&server, server.address)?;
    let took = start.elapsed();
    ended(bench, server, took, events, events)
}

fn end_to_end(bench: &Bench) -> io::Result<Stored> {
    clear(bench)?;
    bench.wait_for_quiet(STORING)?;
    let server = Clickgate::start(bench, &["up"], &[])?;
    let run: Value = serde_json::from_slice(&fs::read(bench.data().join("run.json"))?)?;
    let admin = run["admin"].as_str().and_then(|text| text.parse().ok());
    let admin = admin.ok_or_else(|| io::Error::other("run.json has no admin address"))?;
    let start = Instant::now();
    let load = wrk(&bench.dir.path().join("pixel.lua"), server.address, CONNECTIONS, UP_LOAD)?;
    caught_up(&server, admin)?;
    let took = start.elapsed();
    ended(bench, server, took, load.ok, load.ok + load.runs * CONNECTIONS as u64)
}

/// Waits until the table's cursor has passed every record of the log.
fn caught_up(server: &Server, admin: std::net::SocketAddr) -> io::Result<()> {
    server.cpu()?;
    eventually("everything is stored", || {
        let answer = get(admin, "/log")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let status: Value = serde_json::from_str(body)
            .map_err(|error| io::Error::other(format!("/log was not understood: {error}: {answer}")))?;
        let cursors = status["cursors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lags: Vec<u64> = cursors.iter().filter_map(|cursor| cursor["lag"].as_u64()).collect();
        if lags.is_empty() {
            return Err(io::Error::other(format!("/log names no cursor: {body}")));
        }
        Ok(lags.iter().all(|lag| *lag == 0))
    })
}

/// Counts what is in the table, which must be what was sent.
fn ended(bench: &Bench, server: Server, took: Duration, least: u64, most: u64) -> io::Result<Stored> {
    let resident_bytes = server.resident_bytes()?;
    let count = done(Clickgate::command(bench).args(["events", "count"]))?;
    server.stop()?;
    let count = count.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    if (least..=most).contains(&count) {
        Ok(Stored { events: count, took, resident_bytes })
    } else {
        Err(io::Error::other(format!("{count} events are stored instead of {least} to {most}")))
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    stream::create_private_dir(to)?;
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
