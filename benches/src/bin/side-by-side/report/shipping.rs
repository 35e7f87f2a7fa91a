//! The tables about shipping.

use super::rounds::disturbed;
use super::{MIB, line};
use crate::put_records::PutRecords;
use crate::shipping::{Alone, CONNECTIONS, Shipping, Together};

/// One section for each part of the run that was made.
pub fn write(out: &mut String, shipping: &Shipping, put_records: &[PutRecords]) {
    if !shipping.alone.is_empty() {
        alone(out, &shipping.alone);
    }
    if !shipping.together.is_empty() {
        together(out, &shipping.together);
    }
    if !put_records.is_empty() {
        self::put_records(out, put_records);
    }
}

fn alone(out: &mut String, rounds: &[Alone]) {
    out.push_str(
        "\n## The shipper alone, every round\n\n\
         What does the shipper cost? A tracker without hits ships a log that another one filled under load\n\
         (`log ship`), into a Kinesis on the other core that takes everything: the CPU is that of the tracker's\n\
         process from the command to its end, so nothing of its start is in it. Kinesis decoded all that came and\n\
         counted as many events as the log held.\n\n\
         | events in the log, and in Kinesis | s | events/s | µs CPU/event | events per CPU second | MiB before, after | |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for round in rounds {
        let Alone { events, took, cpu, resident_before, resident_after, disturbed: was } = round;
        let (took, cpu) = (took.as_secs_f64(), cpu.as_secs_f64());
        line(
            out,
            format_args!(
                "| {events} | {took:.2} | {:.0} | {:.2} | {:.0} | {:.1}, {:.1} | {} |",
                *events as f64 / took,
                cpu * 1e6 / *events as f64,
                round.per_cpu_second(),
                *resident_before as f64 / MIB,
                *resident_after as f64 / MIB,
                disturbed(*was),
            ),
        );
    }
}

fn together(out: &mut String, rounds: &[Together]) {
    line(
        out,
        format_args!(
            "\n## Tracker and shipper, every round\n\n\
             What does a hit cost from its request to Kinesis, in units of nginx's pixel? Pixels over {CONNECTIONS}\n\
             connections, level `written`, and meanwhile the shipper in the same process, on the same core. The CPU of\n\
             the process counts from the first hit until Kinesis has acknowledged the last and the cursor has passed it.\n\
             Kinesis, on the other core beside the client, decoded all that came: an event for every answer of 2xx, and\n\
             beyond that at most one per request that was under way when the client hung up.\n\n\
             | contestant | requests/s | µs CPU/hit | events acknowledged | sent | in Kinesis | |\n|---|---|---|---|---|---|---|",
        ),
    );
    for round in rounds {
        let shipped = round.shipped.map_or("– | – | –".into(), |(events, got)| {
            format!("{} | {} | {got}", events.acknowledged, events.sent)
        });
        let shipper = if round.shipped.is_some() { " and shipped" } else { "" };
        line(
            out,
            format_args!(
                "| {}{shipper} | {:.0} | {:.2} | {shipped} | {} |",
                round.contestant,
                round.hits_per_second,
                round.cpu_us_per_hit(),
                disturbed(round.disturbed),
            ),
        );
    }
}

fn put_records(out: &mut String, runs: &[PutRecords]) {
    out.push_str(
        "\n## PutRecords, for a million events\n\n\
         What does Kinesis charge for? Counted by the endpoint; a payload unit is 25 KiB of a record's data, begun ones\n\
         count as whole. At a low rate `shipper.linger_ms` decides how many events share a record. Lane reports, one in\n\
         10 s, are in the figures.\n\n\
         | `shipper.aggregate` | hits/s | events | requests | Kinesis records | payload units | MB of data | MB of requests |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        let of = |count| run.per_million(count);
        let PutRecords { aggregate, hits_per_second, events, figures } = run;
        line(
            out,
            format_args!(
                "| `{aggregate}` | {hits_per_second:.0} | {events} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
                of(figures.requests),
                of(figures.records),
                of(figures.payload_units),
                of(figures.data_bytes) / 1e6,
                of(figures.body_bytes) / 1e6,
            ),
        );
    }
}
