//! The table about the ActiveMQ bridge.

use super::line;
use super::rounds::disturbed;
use crate::activemq::{Consumer, Taken};

pub fn write(out: &mut String, rounds: &[Taken]) {
    out.push_str(
        "\n## ActiveMQ, every round\n\n\
         How fast do waiting messages become events? A real broker, on the core of the load, has a queue of persistent\n\
         messages of about 150 bytes, filled before the clock starts. `bridge activemq` takes it off, checks each message\n\
         against its program, and acknowledges each after the log's sync; in turn with it, a client takes the same queue\n\
         off, acknowledges in the same way with the same prefetch, and does nothing else. After each round the queue\n\
         and its quarantine were empty, and after one of ours the log held each message as an event, once. What bounds is\n\
         the one whose core is busy.\n\n\
         | consumer | messages/s | µs CPU/message | share of its core | broker, µs CPU/message | share of its core | in the log | |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for round in rounds {
        let consumer = match round.consumer {
            Consumer::Bridge => "clickgate, synced",
            Consumer::AcknowledgeOnly => "acknowledges only",
        };
        let kept = round.events.map_or("–".to_owned(), |events| events.to_string());
        line(
            out,
            format_args!(
                "| {consumer} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {kept} | {} |",
                round.per_second(),
                round.cpu_us_per_message(),
                round.busy(),
                round.broker_us_per_message(),
                round.broker_busy(),
                disturbed(round.disturbed),
            ),
        );
    }
}
