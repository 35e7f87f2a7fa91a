//! What events cost in Kinesis: the requests, records and payload units that they become, with the
//! aggregates of the KPL and with one event a record, at a low rate and at full speed.
//!
//! The figures are counts of the endpoint, so a disturbed machine changes them little.

use std::io;
use std::time::Duration;

use world::null_kinesis::Figures;
use world::open_loop::{self, Plan};
use world::requests::pixels;

use crate::Bench;
use crate::arguments::Rows;
use crate::contestant::{Server, clear};
use crate::lag::{admin, caught_up};
use crate::load::Events;
use crate::shipping::{CONNECTIONS, counting, got, tracker};

/// Hits per second of the low rate.
const RATE: f64 = 2_000.0;
const LOW: Duration = Duration::from_secs(10);
const FULL: Duration = Duration::from_secs(3);

/// What the hits of one run became.
pub struct PutRecords {
    /// The value of `shipper.aggregate`.
    pub aggregate: &'static str,
    /// Hits per second, as they were answered.
    pub hits_per_second: f64,
    pub events: u64,
    pub figures: Figures,
}

impl PutRecords {
    pub fn per_million(&self, count: u64) -> f64 {
        count as f64 * 1e6 / self.events as f64
    }
}

/// Each combination once.
pub fn measure(bench: &Bench) -> io::Result<Vec<PutRecords>> {
    let mut all = Vec::new();
    if bench.arguments.measures(Rows::PutRecords) {
        for load in [at_low_rate, at_full_speed] {
            for aggregate in ["kpl", "none"] {
                bench.say(&format!("PutRecords, shipper.aggregate = {aggregate:?}"));
                all.push(count(bench, aggregate, load)?);
            }
        }
        clear(bench)?;
    }
    Ok(all)
}

fn count(
    bench: &Bench,
    aggregate: &'static str,
    load: fn(&Bench, &Server) -> io::Result<(Events, f64)>,
) -> io::Result<PutRecords> {
    clear(bench)?;
    let kinesis = counting()?;
    let settings =
        [("CLICKGATE__SHIPPER__AGGREGATE", aggregate), ("CLICKGATE__SHIPPER__CONTROL_STREAM", "control")];
    let server = tracker(bench, &kinesis, &settings)?;
    let (sent, hits_per_second) = load(bench, &server)?;
    caught_up(admin(bench)?)?;
    // Before the end, of which the control stream hears.
    let figures = kinesis.figures();
    server.stop()?;
    Ok(PutRecords { aggregate, hits_per_second, events: got(&kinesis, sent)?, figures })
}

fn at_low_rate(_: &Bench, server: &Server) -> io::Result<(Events, f64)> {
    let connections = CONNECTIONS as usize;
    let plan = Plan { address: server.address, requests: pixels(), rate: RATE, connections, duration: LOW };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(open_loop::run(&plan))?;
    match outcome.other {
        0 => Ok((Events::exactly(outcome.events), RATE)),
        others => Err(io::Error::other(format!("{others} answers other than 2xx and 3xx"))),
    }
}

fn at_full_speed(bench: &Bench, server: &Server) -> io::Result<(Events, f64)> {
    let load = bench.pixels.run(server.address, CONNECTIONS, FULL)?;
    Ok((load.events, load.per_second()))
}
