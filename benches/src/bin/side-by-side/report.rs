//! `RESULTS.md`: every promised row with what was measured, and every round.

mod activemq;
mod rounds;
mod shipping;

use std::fmt::Write as _;
use std::time::Duration;

use crate::activemq::{Consumer, Taken};
use crate::full_speed::{Contestant, Round, Rounds, median};
use crate::latency::Latency;
use crate::machine::Machine;
use crate::publish::Publish;
use crate::put_records::PutRecords;
use crate::shipping::{Alone, Shipping, Together};
use crate::storing::{EndToEnd, Storing};

const MIB: f64 = 1_048_576.0;
const BRIDGE: &str = "ActiveMQ bridge, persistent messages, acknowledged after the log's sync";

/// All that was measured.
pub struct Report {
    pub machine: Machine,
    pub full_speed: Rounds,
    pub latency: Vec<Latency>,
    pub storing: Storing,
    /// Without rounds if there was no redis-server.
    pub publish: Option<Vec<Publish>>,
    pub shipping: Shipping,
    pub put_records: Vec<PutRecords>,
    /// Without rounds if there was no ActiveMQ.
    pub activemq: Option<Vec<Taken>>,
    /// A table in Markdown; empty if there was no server for it.
    pub table_dynamodb: Option<String>,
    pub took: Duration,
}

/// What was measured, and what was promised of it.
pub struct Row {
    pub what: String,
    pub measured: f64,
    pub unit: &'static str,
    /// None if nothing was promised.
    pub limits: Option<Limits>,
}

/// A promise.
pub struct Limits {
    pub must: f64,
    pub aim: f64,
    /// The measured figure is to be at most these; else at least.
    pub at_most: bool,
}

impl Limits {
    pub fn verdict(&self, measured: f64) -> &'static str {
        let meets = |limit| if self.at_most { measured <= limit } else { measured >= limit };
        match (meets(self.must), meets(self.aim)) {
            (_, true) => "aim",
            (true, false) => "must",
            (false, false) => "**missed**",
        }
    }
}

impl Report {
    /// The promises of DESIGN §5 that this run can judge, and what else is worth knowing.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        if self.full_speed.has(Contestant::Nginx) {
            self.pixel_rows(&mut rows);
        }
        if self.full_speed.has(Contestant::Mix) {
            self.mix_rows(&mut rows);
        }
        self.storing_rows(&mut rows);
        if let Some(publish) = self.publish.as_ref().filter(|rounds| !rounds.is_empty()) {
            let p99 = median(publish.iter().map(|round| round.p99).collect());
            rows.push(at_most("PUBLISH to visible in another process's L1, p99", p99, "ms", 10.0, 2.0));
        }
        self.shipping_rows(&mut rows);
        self.activemq_rows(&mut rows);
        rows
    }

    fn pixel_rows(&self, rows: &mut Vec<Row>) {
        for connections in [64, 256] {
            let what = format!("pixel, CPU per hit against nginx, {connections} connections");
            let cpu = self.against_nginx(connections, Round::cpu_us_per_request);
            rows.push(at_most(&what, cpu, "x", 1.2, 1.0));
        }
        for connections in [64, 256] {
            let what = format!("pixel, requests/s per core against nginx, {connections} connections");
            let rate = self.against_nginx(connections, Round::per_core_second);
            rows.push(at_least(&what, rate, "x", 0.85, 1.0));
        }
        let rate = |round: &Round| round.load.per_second();
        let synced = self.ratio(Contestant::Synced, Contestant::Written, 256, rate);
        rows.push(at_least("`synced` against `written`, requests/s, 256 connections", synced, "x", 0.8, 0.9));
        if let Some(latency) = self.latency_of(Contestant::Written) {
            let what = format!("p99 at {:.0} requests/s, open loop (aim: nginx's)", latency.rate);
            let nginx = self.latency_of(Contestant::Nginx).map_or(0.0, |nginx| nginx.p99);
            rows.push(at_most(&what, latency.p99, "ms", 2.0, nginx));
        }
        let ours = |figure: fn(&Round) -> f64| median(self.full_speed.our_pixels().map(figure).collect());
        let memory = ours(|round| round.resident_after as f64 / MIB);
        rows.push(at_most("resident memory, 100,000 programs, after load", memory, "MiB", 120.0, 60.0));
        let ready_after = ours(|round| round.ready_after.as_secs_f64());
        rows.push(at_most("start to ready, 100,000 programs", ready_after, "s", 2.0, 0.5));
    }

    fn mix_rows(&self, rows: &mut Vec<Row>) {
        let cpu = Round::cpu_us_per_request;
        for connections in [64, 256] {
            let what = format!("mix, CPU per request against the pixel's, {connections} connections");
            let ratio = self.ratio(Contestant::Mix, Contestant::Written, connections, cpu);
            rows.push(at_most(&what, ratio, "x", 1.25, 1.1));
        }
        for connections in [64, 256] {
            let what =
                format!("the same with beacons `written` instead of `synced`, {connections} connections");
            let ratio = self.ratio(Contestant::MixWritten, Contestant::Written, connections, cpu);
            rows.push(unpromised(&what, ratio, "x"));
        }
        for (contestant, kind) in [
            (Contestant::Written, "pixel"),
            (Contestant::Mix, "mix"),
            (Contestant::MixWritten, "mix, beacons `written`"),
        ] {
            // Beside nginx the pixel's is a promise and has its row.
            let is_promised = contestant == Contestant::Written && self.full_speed.has(Contestant::Nginx);
            if let Some(latency) = self.latency_of(contestant).filter(|_| !is_promised) {
                let what = format!("{kind}, p99 at {:.0} requests/s, open loop", latency.rate);
                rows.push(unpromised(&what, latency.p99, "ms"));
            }
        }
    }

    fn storing_rows(&self, rows: &mut Vec<Row>) {
        let consumer = &self.storing.consumer;
        if !consumer.is_empty() {
            let stored = median(consumer.iter().map(|round| round.per_second()).collect());
            rows.push(at_least("consumer into the local table", stored, "events/s", 30_000.0, 100_000.0));
        }
        let up = &self.storing.up;
        if !up.is_empty() {
            let of = |figure: fn(&EndToEnd) -> f64| median(up.iter().map(figure).collect());
            let answered = of(|round| round.requests_per_second);
            let stored = of(|round| round.stored.per_second());
            let cpu = of(|round| round.stored.cpu_us_per_event());
            rows.push(unpromised("`up` on one core, answered while it stores", answered, "requests/s"));
            rows.push(unpromised("`up` on one core, from the first hit to all stored", stored, "events/s"));
            rows.push(unpromised("`up` on one core, CPU per hit, from the hit to stored", cpu, "µs"));
        }
    }

    fn shipping_rows(&self, rows: &mut Vec<Row>) {
        let Shipping { alone, together } = &self.shipping;
        if !alone.is_empty() {
            let rate = median(alone.iter().map(Alone::per_cpu_second).collect());
            let what = "shipper into a Kinesis that takes everything, per CPU second";
            rows.push(at_least(what, rate, "events", 125_000.0, 200_000.0));
        }
        if !together.is_empty() {
            let cpu = |contestant| {
                let of = together.iter().filter(|round| round.contestant == contestant);
                median(of.map(Together::cpu_us_per_hit).collect())
            };
            let (ours, nginx) = (cpu(Contestant::Written), cpu(Contestant::Nginx));
            let what = "tracker and shipper, from the hit to Kinesis, CPU per hit against nginx";
            rows.push(at_most(what, ours / nginx, "x", 2.5, 1.8));
            rows.push(unpromised("the same, CPU per hit", ours, "µs"));
        }
    }

    fn activemq_rows(&self, rows: &mut Vec<Row>) {
        let Some(rounds) = self.activemq.as_ref().filter(|rounds| !rounds.is_empty()) else { return };
        let rate = |consumer| {
            let of = rounds.iter().filter(|round| round.consumer == consumer);
            median(of.map(Taken::per_second).collect())
        };
        let ours = rate(Consumer::Bridge);
        let other = rate(Consumer::AcknowledgeOnly);
        rows.push(at_least(BRIDGE, ours, "messages/s", 8_000.0, 15_000.0));
        let what = "the same against a client that acknowledges and does nothing else";
        rows.push(unpromised(what, ours / other, "x"));
    }

    fn against_nginx(&self, connections: u64, figure: fn(&Round) -> f64) -> f64 {
        self.ratio(Contestant::Written, Contestant::Nginx, connections, figure)
    }

    /// One median over the other.
    fn ratio(
        &self,
        contestant: Contestant,
        other: Contestant,
        connections: u64,
        figure: fn(&Round) -> f64,
    ) -> f64 {
        let of = |contestant| self.full_speed.median(contestant, connections, figure);
        of(contestant) / of(other)
    }

    /// The round with the median p99.
    fn latency_of(&self, contestant: Contestant) -> Option<&Latency> {
        let mut rounds: Vec<_> = self.latency.iter().filter(|round| round.contestant == contestant).collect();
        rounds.sort_by(|a, b| a.p99.total_cmp(&b.p99));
        rounds.get(rounds.len() / 2).copied()
    }

    pub fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "# Results\n\n\
             Written by `cargo run --release -p benches --bin side-by-side`; the method is said in\n\
             `benches/src/bin/side-by-side/main.rs`.\n\n\
             - Machine: {}, Linux {}\n- Date: {}\n- Commit: {}\n- Against: {}, `empty_gif`, buffered access log\n\
             - Took: {} s\n\n![the promised figures against their limits](results.svg)\n\n\
             ## Promises\n\nEach figure is the median of its rounds. What has no limit is for information.\n\n\
             | what | must | aim | measured | verdict |\n|---|---|---|---|---|\n",
            machine.cpu,
            machine.kernel,
            machine.date,
            machine.commit,
            machine.nginx,
            self.took.as_secs()
        );
        for row in self.rows() {
            promise(&mut out, &row);
        }
        if self.publish.as_ref().is_some_and(Vec::is_empty) {
            out.push_str("| PUBLISH to visible in another process's L1, p99 | ≤ 10.000 ms | ≤ 2.000 ms | redis-server is missing | – |\n");
        }
        if self.activemq.as_ref().is_some_and(Vec::is_empty) {
            line(
                &mut out,
                format_args!(
                    "| {BRIDGE} | ≥ 8000 messages/s | ≥ 15000 messages/s | ActiveMQ is missing | – |"
                ),
            );
        }
        rounds::write(&mut out, self);
        if let Some(figures) = self.table_dynamodb.as_ref().filter(|figures| !figures.is_empty()) {
            out.push_str(
                "\n## Storing in DynamoDB\n\n\
                 What does DynamoDB charge for, and what does storing cost a worker? `table-dynamodb` writes events as a worker\n\
                 does, 200 of a lane to an aggregate, into a ministack: the write units are those of the table's own answers,\n\
                 the CPU is that of the process that writes, and events/s are ministack's, not DynamoDB's. Items and ledger were\n\
                 counted after each run, and held each event once.\n\n",
            );
            out.push_str(figures);
        }
        out
    }
}

fn promise(out: &mut String, row: &Row) {
    let figure = |figure: f64| number(figure, row.unit);
    let measured = figure(row.measured);
    match &row.limits {
        Some(limits) => {
            let sign = if limits.at_most { "≤" } else { "≥" };
            let must = figure(limits.must);
            let aim = figure(limits.aim);
            let verdict = limits.verdict(row.measured);
            line(
                out,
                format_args!("| {} | {sign} {must} | {sign} {aim} | {measured} | {verdict} |", row.what),
            );
        }
        None => line(out, format_args!("| {} | – | – | {measured} | – |", row.what)),
    }
}

fn at_most(what: &str, measured: f64, unit: &'static str, must: f64, aim: f64) -> Row {
    Row { what: what.into(), measured, unit, limits: Some(Limits { must, aim, at_most: true }) }
}

fn at_least(what: &str, measured: f64, unit: &'static str, must: f64, aim: f64) -> Row {
    Row { what: what.into(), measured, unit, limits: Some(Limits { must, aim, at_most: false }) }
}

fn unpromised(what: &str, measured: f64, unit: &'static str) -> Row {
    Row { what: what.into(), measured, unit, limits: None }
}

/// A figure with as many digits as its unit can bear.
pub fn number(figure: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{figure:.2}x"),
        "ms" | "s" => format!("{figure:.3} {unit}"),
        "µs" => format!("{figure:.2} {unit}"),
        _ => format!("{figure:.0} {unit}"),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("a text grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_the_better_limit_that_is_met() {
        let cost = |measured| Limits { must: 1.2, aim: 1.0, at_most: true }.verdict(measured);
        assert_eq!((cost(1.0), cost(1.2), cost(1.21)), ("aim", "must", "**missed**"));
        let speed = |measured| Limits { must: 0.85, aim: 1.0, at_most: false }.verdict(measured);
        assert_eq!((speed(1.0), speed(0.85), speed(0.84)), ("aim", "must", "**missed**"));
    }

    #[test]
    fn an_aim_that_is_weaker_than_the_must_is_still_reached_first() {
        // nginx may be slower than our own limit.
        assert_eq!(Limits { must: 2.0, aim: 3.0, at_most: true }.verdict(2.5), "aim");
    }

    #[test]
    fn a_row_without_limits_has_no_verdict() {
        let mut out = String::new();
        promise(&mut out, &unpromised("up", 20.125, "µs"));
        promise(&mut out, &at_most("mix", 1.2, "x", 1.25, 1.1));
        assert_eq!(out, "| up | – | – | 20.12 µs | – |\n| mix | ≤ 1.25x | ≤ 1.10x | 1.20x | must |\n");
    }
}
