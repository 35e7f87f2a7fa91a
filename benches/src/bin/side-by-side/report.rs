//! `RESULTS.md`: every promised row with what was measured, and every round.

use std::fmt::Write as _;
use std::time::Duration;

use crate::full_speed::{Contestant, Round, Rounds, median};
use crate::latency::{self, Latencies, Latency};
use crate::machine::Machine;
use crate::publish::Publish;
use crate::storing::{Stored, Storing};

const MIB: f64 = 1_048_576.0;

/// All that was measured.
pub struct Report {
    pub machine: Machine,
    pub pixel: Rounds,
    pub latency: Latencies,
    pub storing: Storing,
    /// None without redis-server.
    pub publish: Vec<Publish>,
    pub took: Duration,
}

/// A promise, and what came of it.
pub struct Row {
    pub what: String,
    pub measured: f64,
    pub unit: &'static str,
    pub must: f64,
    pub aim: f64,
    /// The measured figure is to be at most these; else at least.
    pub at_most: bool,
}

impl Row {
    fn meets(&self, limit: f64) -> bool {
        if self.at_most { self.measured <= limit } else { self.measured >= limit }
    }

    pub fn verdict(&self) -> &'static str {
        match (self.meets(self.must), self.meets(self.aim)) {
            (_, true) => "aim",
            (true, false) => "must",
            (false, false) => "**missed**",
        }
    }
}

impl Report {
    /// The promises of DESIGN §5 that this run can judge.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for connections in [64, 256] {
            let cpu = self.ratio(connections, Round::cpu_us_per_hit);
            rows.push(at_most(
                &format!("pixel, CPU per hit against nginx, {connections} connections"),
                cpu,
                "x",
                1.2,
                1.0,
            ));
        }
        for connections in [64, 256] {
            let rate = self.ratio(connections, Round::per_core_second);
            rows.push(at_least(
                &format!("pixel, requests/s per core against nginx, {connections} connections"),
                rate,
                "x",
                0.85,
                1.0,
            ));
        }
        let per_second = |contestant| self.pixel.median(contestant, 256, |round| round.load.per_second());
        let synced = per_second(Contestant::Synced) / per_second(Contestant::Written);
        rows.push(at_least("`synced` against `written`, requests/s, 256 connections", synced, "x", 0.8, 0.9));
        let what = format!("p99 at {:.0} requests/s, open loop (aim: nginx's)", self.latency.rate);
        let (ours, theirs) = (self.p(Contestant::Written, |l| l.p99), self.p(Contestant::Nginx, |l| l.p99));
        rows.push(at_most(&what, ours, "ms", 2.0, theirs));
        let ours = |figure: fn(&Round) -> f64| median(self.pixel.ours().map(figure).collect());
        rows.push(at_most(
            "resident memory, 100,000 programs, after load",
            ours(|round| round.resident_after as f64 / MIB),
            "MiB",
            120.0,
            60.0,
        ));
        rows.push(at_most(
            "start to ready, 100,000 programs",
            ours(|round| round.ready_after.as_secs_f64()),
            "s",
            2.0,
            0.5,
        ));
        let stored = median(self.storing.consumer.iter().map(Stored::per_second).collect());
        rows.push(at_least("consumer into the local table", stored, "events/s", 30_000.0, 100_000.0));
        if !self.publish.is_empty() {
            let p99 = median(self.publish.iter().map(|round| round.p99).collect());
            rows.push(at_most("PUBLISH to visible in another process's L1, p99", p99, "ms", 10.0, 2.0));
        }
        rows
    }

    /// Our median over nginx's.
    fn ratio(&self, connections: usize, figure: fn(&Round) -> f64) -> f64 {
        let of = |contestant| self.pixel.median(contestant, connections, figure);
        of(Contestant::Written) / of(Contestant::Nginx)
    }

    fn p(&self, contestant: Contestant, figure: impl Fn(&Latency) -> f64) -> f64 {
        let rounds = self.latency.rounds.iter().filter(|round| round.contestant == contestant);
        median(rounds.map(figure).collect())
    }

    pub fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "# Results\n\n\
             Written by `cargo run --release -p benches --bin side-by-side`; the method is said in\n\
             `benches/src/bin/side-by-side/main.rs`.\n\n\
             - Machine: {}, Linux {}\n- Date: {}\n- Commit: {}\n- Against: {}, `empty_gif`, buffered access log\n\
             - Took: {} s\n\n![the promised figures against their limits](results.svg)\n\n\
             ## Promises\n\nEach figure is the median of its rounds.\n\n\
             | what | must | aim | measured | verdict |\n|---|---|---|---|---|\n",
            machine.cpu,
            machine.kernel,
            machine.date,
            machine.commit,
            machine.nginx,
            self.took.as_secs()
        );
        for row in self.rows() {
            let (sign, unit) = (if row.at_most { "≤" } else { "≥" }, row.unit);
            let figure = |figure: f64| number(figure, unit);
            let (must, aim, measured) = (figure(row.must), figure(row.aim), figure(row.measured));
            line(
                &mut out,
                format_args!(
                    "| {} | {sign} {must} | {sign} {aim} | {measured} | {} |",
                    row.what,
                    row.verdict()
                ),
            );
        }
        if self.publish.is_empty() {
            out.push_str("| PUBLISH to visible in another process's L1, p99 | ≤ 10.000 ms | ≤ 2.000 ms | redis-server is missing | – |\n");
        }
        let up = median(self.storing.up.iter().map(Stored::per_second).collect());
        line(
            &mut out,
            format_args!(
                "| `up` on one core, from the hit to the table | – | – | {} | – |",
                number(up, "events/s")
            ),
        );
        self.pixel_rounds(&mut out);
        self.latency_rounds(&mut out);
        self.storing_rounds(&mut out);
        out.push_str(&publish_rounds(&self.publish));
        out
    }

    fn pixel_rounds(&self, out: &mut String) {
        out.push_str(
            "\n## Pixel, every round\n\n\
             After each round of ours the log was read from its start to its end: it held an event for every\n\
             2xx that the client got, and beyond that at most one per request that was under way when the\n\
             client hung up. Requests/s are what arrived in the round; per core: divided by the CPU time of the\n\
             process. \"Disturbed\": other processes used more than 5 % of a core.\n\n\
             | connections | contestant | requests/s | µs CPU/hit | requests/s per core | ready after | MiB before, after | 2xx | events in the log | |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for round in &self.pixel.0 {
            let kept = round.kept.map_or("– | –".into(), |(ok, events)| format!("{ok} | {events}"));
            line(
                out,
                format_args!(
                    "| {} | {} | {:.0} | {:.2} | {:.0} | {:.3} s | {:.1}, {:.1} | {kept} | {} |",
                    round.connections,
                    round.contestant,
                    round.load.per_second(),
                    round.cpu_us_per_hit(),
                    round.per_core_second(),
                    round.ready_after.as_secs_f64(),
                    round.resident_before as f64 / MIB,
                    round.resident_after as f64 / MIB,
                    disturbed(round.disturbed),
                ),
            );
        }
    }

    fn latency_rounds(&self, out: &mut String) {
        line(
            out,
            format_args!(
                "\n## Latency, every round\n\n\
             Open loop, {:.0} requests/s over {} connections (half of our maximum, for both), in milliseconds from\n\
             the moment a request was due. The log was checked as above.\n\n\
             | contestant | p50 | p99 | p99.9 | |\n|---|---|---|---|---|",
                self.latency.rate,
                latency::CONNECTIONS,
            ),
        );
        for round in &self.latency.rounds {
            let Latency { contestant, p50, p99, p999, .. } = round;
            line(
                out,
                format_args!(
                    "| {contestant} | {p50:.3} | {p99:.3} | {p999:.3} | {} |",
                    disturbed(round.disturbed)
                ),
            );
        }
    }

    fn storing_rounds(&self, out: &mut String) {
        out.push_str(
            "\n## Storing, every round\n\n\
             On one core. The consumer drains a prepared log; its time counts from the start of its process.\n\
             `up` is under load for two seconds and stores meanwhile; its time counts from the first hit to the\n\
             last event stored. `events count` gave the number of events each time.\n\n\
             | role | events | s | events/s | MiB |\n|---|---|---|---|---|\n",
        );
        for (role, rounds) in [("consumer", &self.storing.consumer), ("up", &self.storing.up)] {
            for round in rounds {
                let (took, memory) = (round.took.as_secs_f64(), round.resident_bytes as f64 / MIB);
                line(
                    out,
                    format_args!(
                        "| {role} | {} | {took:.2} | {:.0} | {memory:.1} |",
                        round.events,
                        round.per_second()
                    ),
                );
            }
        }
    }
}

/// The rounds of the row about Redis.
pub fn publish_rounds(rounds: &[Publish]) -> String {
    let mut out = "\n## PUBLISH to visible, every round\n\n\
        One process changes programs in Redis, one at a time, 200 a second; a tracker with 100,000 programs is asked\n\
        for the changed one over HTTP until it shows the change. In milliseconds from the call that changes it: the\n\
        write in Redis and one request are in it.\n\n\
        | p50 | p99 | max | |\n|---|---|---|---|\n"
        .to_owned();
    for Publish { p50, p99, max, disturbed: was } in rounds {
        line(&mut out, format_args!("| {p50:.3} | {p99:.3} | {max:.3} | {} |", disturbed(*was)));
    }
    out
}

fn at_most(what: &str, measured: f64, unit: &'static str, must: f64, aim: f64) -> Row {
    Row { what: what.into(), measured, unit, must, aim, at_most: true }
}

fn at_least(what: &str, measured: f64, unit: &'static str, must: f64, aim: f64) -> Row {
    Row { what: what.into(), measured, unit, must, aim, at_most: false }
}

/// A figure with as many digits as its unit can bear.
pub fn number(figure: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{figure:.2}x"),
        "ms" | "s" => format!("{figure:.3} {unit}"),
        _ => format!("{figure:.0} {unit}"),
    }
}

fn disturbed(disturbed: bool) -> &'static str {
    if disturbed { "disturbed" } else { "" }
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("a text grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_the_better_limit_that_is_met() {
        let cost = |measured| at_most("", measured, "x", 1.2, 1.0).verdict();
        assert_eq!((cost(1.0), cost(1.2), cost(1.21)), ("aim", "must", "**missed**"));
        let speed = |measured| at_least("", measured, "x", 0.85, 1.0).verdict();
        assert_eq!((speed(1.0), speed(0.85), speed(0.84)), ("aim", "must", "**missed**"));
    }

    #[test]
    fn an_aim_that_is_weaker_than_the_must_is_still_reached_first() {
        // nginx may be slower than our own limit.
        assert_eq!(at_most("", 2.5, "ms", 2.0, 3.0).verdict(), "aim");
    }
}
