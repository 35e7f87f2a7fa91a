//! The tables with every round.

use super::{MIB, Report, activemq, line, shipping};
use crate::full_speed::Rounds;
use crate::latency::{self, Latency};
use crate::publish::Publish;
use crate::storing::{Stored, Storing};

/// One section for each part of the run that was made.
pub fn write(out: &mut String, report: &Report) {
    if !report.full_speed.0.is_empty() {
        full_speed(out, &report.full_speed);
        latency(out, &report.latency);
    }
    let storing = &report.storing;
    if !storing.consumer.is_empty() || !storing.up.is_empty() {
        self::storing(out, storing);
    }
    if let Some(rounds) = &report.publish {
        publish(out, rounds);
    }
    shipping::write(out, &report.shipping, &report.put_records);
    if let Some(rounds) = report.activemq.as_ref().filter(|rounds| !rounds.is_empty()) {
        activemq::write(out, rounds);
    }
}

fn full_speed(out: &mut String, rounds: &Rounds) {
    out.push_str(
        "\n## Full speed, every round\n\n\
         After each round of ours the log was read from its start to its end: it held an event for every\n\
         answer that acknowledges one, and beyond that at most one per request that was under way when the\n\
         client hung up. Requests/s are what arrived in the round; per core: divided by the CPU time of the\n\
         process. \"Disturbed\": other processes used more than 5 % of a core.\n\n\
         The mix is 70 % pixels, 10 % clicks, 15 % beacons (one entry, posted as the tag does), 2 % HEAD of a click,\n\
         2 % health checks and 1 % the tag, in one shuffled order over connections that all kinds share. With the default\n\
         levels beacons are synced, and the CPU time holds the syncs. \"All written\" is the mix with beacons that wait for\n\
         no sync: what the kinds of requests cost by themselves.\n\n\
         | connections | contestant | requests/s | µs CPU/request | requests/s per core | ready after | MiB before, after | events acknowledged | sent | in the log | |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for round in &rounds.0 {
        let kept = round.kept.map_or("– | – | –".into(), |(events, kept)| {
            format!("{} | {} | {kept}", events.acknowledged, events.sent)
        });
        line(
            out,
            format_args!(
                "| {} | {} | {:.0} | {:.2} | {:.0} | {:.3} s | {:.1}, {:.1} | {kept} | {} |",
                round.connections,
                round.contestant,
                round.load.per_second(),
                round.cpu_us_per_request(),
                round.per_core_second(),
                round.ready_after.as_secs_f64(),
                round.resident_before as f64 / MIB,
                round.resident_after as f64 / MIB,
                disturbed(round.disturbed),
            ),
        );
    }
}

fn latency(out: &mut String, rounds: &[Latency]) {
    line(
        out,
        format_args!(
            "\n## Latency, every round\n\n\
             Open loop over {} connections, in milliseconds from the moment a request was due; at half of our\n\
             maximum of the pixel, for nginx too, and at half of our maximum of the mix. Each connection has one request\n\
             under way at most, so a pixel waits for the sync of a beacon before it. The log held exactly\n\
             the events that were acknowledged.\n\n\
             | contestant | requests/s | p50 | p99 | p99.9 | |\n|---|---|---|---|---|---|",
            latency::CONNECTIONS,
        ),
    );
    for Latency { contestant, rate, p50, p99, p999, disturbed: was } in rounds {
        line(
            out,
            format_args!(
                "| {contestant} | {rate:.0} | {p50:.3} | {p99:.3} | {p999:.3} | {} |",
                disturbed(*was)
            ),
        );
    }
}

fn storing(out: &mut String, storing: &Storing) {
    out.push_str(
        "\n## Storing, every round\n\n\
         On one core. The consumer drains a prepared log; its time and its CPU count from the start of its process.\n\
         `up`, which is tracker, consumer and admin address in one process, is under the load of the pixel over 64\n\
         connections for three seconds and stores meanwhile; its time and its CPU count from the first hit until all\n\
         events are stored, which is asked for every 20 ms. `events count` gave the number of events each time: what was\n\
         acknowledged at least, what was sent at most.\n\n\
         | role | answered, requests/s | events stored | s | events/s | µs CPU/event | MiB |\n|---|---|---|---|---|---|---|\n",
    );
    for stored in &storing.consumer {
        stored_line(out, "consumer", "–", stored);
    }
    for round in &storing.up {
        stored_line(out, "up", &format!("{:.0}", round.requests_per_second), &round.stored);
    }
}

fn stored_line(out: &mut String, role: &str, answered: &str, stored: &Stored) {
    line(
        out,
        format_args!(
            "| {role} | {answered} | {} | {:.2} | {:.0} | {:.2} | {:.1} |",
            stored.events,
            stored.took.as_secs_f64(),
            stored.per_second(),
            stored.cpu_us_per_event(),
            stored.resident_bytes as f64 / MIB,
        ),
    );
}

fn publish(out: &mut String, rounds: &[Publish]) {
    out.push_str(
        "\n## PUBLISH to visible, every round\n\n\
         One process changes programs in Redis, one at a time, 200 a second; a tracker with 100,000 programs is asked\n\
         for the changed one over HTTP until it shows the change. In milliseconds from the call that changes it: the\n\
         write in Redis and one request are in it.\n\n\
         | p50 | p99 | max | |\n|---|---|---|---|\n",
    );
    for Publish { p50, p99, max, disturbed: was } in rounds {
        line(out, format_args!("| {p50:.3} | {p99:.3} | {max:.3} | {} |", disturbed(*was)));
    }
}

pub fn disturbed(disturbed: bool) -> &'static str {
    if disturbed { "disturbed" } else { "" }
}
