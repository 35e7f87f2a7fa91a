//! How fast persistent messages become events: `bridge activemq` against a client that does nothing but
//! acknowledge, in turns, from the same real broker.
//!
//! Before each round the queue is filled, so that nobody publishes meanwhile and every message is on the
//! broker's disk. Both contestants have the first core, broker and load the second. Both acknowledge each
//! message by itself (`client-individual`), with the same prefetch, and write all acknowledgements together
//! that are due together; ours when the log's sync has covered the events. The clock starts with
//! a contestant's first acknowledgement and ends with its last.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use proto::{Message, TrackingEvent};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use world::programs::{PROGRAMS, id};
use world::stomp::Client;

use crate::arguments::Rows;
use crate::broker::Broker;
use crate::contestant::{Clickgate, clear, get};
use crate::{ACTIVEMQ, Bench};

/// Messages of a round.
const MESSAGES: u64 = 60_000;
/// As many as make the virtual machine of the broker compile what is hot.
const WARM_UP: u64 = 60_000;
const PUBLISHERS: u64 = 4;
const QUEUE: &str = "/queue/orders";
/// What a broker may send ahead of acknowledgements; our default.
const PREFETCH: u32 = 2_000;
/// Between two looks at the bridge: they must cost it next to nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time without any progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// Repetitions of a round that other processes disturbed.
const REPEATS_MAX: usize = 1;

/// Who takes the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// `clickgate bridge activemq`.
    Bridge,
    /// A client that acknowledges and does nothing else.
    AcknowledgeOnly,
}

/// One queue, taken off the broker.
pub struct Taken {
    pub consumer: Consumer,
    /// Messages while the clock ran.
    pub messages: u64,
    pub took: Duration,
    /// user+sys of the consumer.
    pub cpu: Duration,
    /// user+sys of the broker.
    pub broker_cpu: Duration,
    /// Distinct messages that the log held as events in the end.
    pub events: Option<u64>,
    pub disturbed: bool,
}

impl Taken {
    pub fn per_second(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }

    /// µs of the consumer's CPU for a message.
    pub fn cpu_us_per_message(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.messages as f64
    }

    pub fn broker_us_per_message(&self) -> f64 {
        self.broker_cpu.as_secs_f64() * 1e6 / self.messages as f64
    }

    /// Share of its core that the consumer used.
    pub fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Share of its core that the broker used.
    pub fn broker_busy(&self) -> f64 {
        self.broker_cpu.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// Every round; `None` if it was not asked for, and no rounds without a broker.
pub fn measure(bench: &Bench) -> io::Result<Option<Vec<Taken>>> {
    if !bench.arguments.measures(Rows::Activemq) {
        return Ok(None);
    }
    let Some(broker) = Broker::start(bench)? else {
        bench.say("activemq: left out, ActiveMQ is missing (apt-get install -y activemq)");
        return Ok(Some(Vec::new()));
    };
    bench.say(&format!("activemq: warming the broker up with {WARM_UP} messages"));
    publish(&broker, WARM_UP)?;
    acknowledge_only(&broker, WARM_UP)?;
    let mut rounds = Vec::new();
    for at in bench.rounds(ACTIVEMQ) {
        for consumer in [Consumer::Bridge, Consumer::AcknowledgeOnly] {
            bench.say(&format!("activemq, round {at}: {MESSAGES} messages, {consumer:?}"));
            rounds.push(undisturbed(bench, &broker, consumer)?);
        }
    }
    clear(bench)?;
    Ok(Some(rounds))
}

fn undisturbed(bench: &Bench, broker: &Broker, consumer: Consumer) -> io::Result<Taken> {
    for _ in 0..REPEATS_MAX {
        let taken = round(bench, broker, consumer)?;
        if !taken.disturbed || !bench.may_repeat(ACTIVEMQ) {
            return Ok(taken);
        }
        bench.say("disturbed by other processes, once more");
    }
    round(bench, broker, consumer)
}

fn round(bench: &Bench, broker: &Broker, consumer: Consumer) -> io::Result<Taken> {
    clear(bench)?;
    publish(broker, MESSAGES)?;
    bench.wait_for_quiet(ACTIVEMQ)?;
    let watch = bench.quiet.watch()?;
    let mut taken = match consumer {
        Consumer::Bridge => bridge(bench, broker)?,
        Consumer::AcknowledgeOnly => acknowledge_only(broker, MESSAGES)?,
    };
    taken.disturbed = watch.disturbed()?;
    for queue in [QUEUE.to_owned(), format!("{QUEUE}.QUARANTINE")] {
        match Client::connect(broker.address)?.count(&queue)? {
            0 => {}
            left => return Err(io::Error::other(format!("{left} messages are left in {queue}"))),
        }
    }
    if consumer == Consumer::Bridge {
        taken.events = Some(events_in_log(bench)?);
    }
    Ok(taken)
}

/// Fills the queue.
fn publish(broker: &Broker, messages: u64) -> io::Result<()> {
    let address = broker.address;
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let bodies: Vec<String> = (publisher..messages).step_by(PUBLISHERS as usize).map(order).collect();
        thread::spawn(move || Client::connect(address)?.publish(QUEUE, &bodies))
    });
    let publishers: Vec<_> = publishers.collect();
    for publisher in publishers {
        publisher.join().map_err(|_| io::Error::other("a publisher panicked"))??;
    }
    Ok(())
}

/// The body of message `n`, as an order system might write it.
fn order(n: u64) -> String {
    let program = id(n as usize % PROGRAMS);
    format!(
        r#"{{"program":"{program}","order":"{n}","total":{}.50,"currency":"EUR","customer":{{"id":"c-{}","country":"DE"}},"items":[{{"sku":"A-{}","count":2}}]}}"#,
        n % 1_000,
        n % 7_919,
        n % 997
    )
}

/// On a thread of this process that moves to the first core.
fn acknowledge_only(broker: &Broker, messages: u64) -> io::Result<Taken> {
    let address = broker.address;
    let before = broker.cpu()?;
    let draining = thread::spawn(move || {
        let mut first_core = CpuSet::new();
        first_core.set(0);
        sched_setaffinity(None, &first_core)?;
        Client::connect(address)?.acknowledge_all(QUEUE, messages, PREFETCH)
    });
    let drained = draining.join().map_err(|_| io::Error::other("the client panicked"))??;
    // A little more than while the clock ran.
    let broker_cpu = broker.cpu()? - before;
    Ok(Taken {
        consumer: Consumer::AcknowledgeOnly,
        messages: drained.messages,
        took: drained.took,
        cpu: drained.cpu,
        broker_cpu,
        events: None,
        disturbed: false,
    })
}

fn bridge(bench: &Bench, broker: &Broker) -> io::Result<Taken> {
    let url = broker.url();
    let prefetch = PREFETCH.to_string();
    let settings = [
        ("CLICKGATE__BRIDGE__ACTIVEMQ__BROKERS__MAIN__URLS", url.as_str()),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__BROKER", "main"),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__DESTINATION", QUEUE),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__PROGRAM", "/program"),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__TYPE", "=conversion"),
        (
            "CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__PARAMETERS",
            "order=/order,value=/total,currency=/currency",
        ),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__LEVEL", "synced"),
        ("CLICKGATE__BRIDGE__ACTIVEMQ__QUEUES__ORDERS__PREFETCH", &prefetch),
    ];
    let server = Clickgate::start(bench, &["bridge", "activemq"], &settings)?;
    let look = || -> io::Result<Look> {
        let acknowledged = acknowledged(server.address)?;
        Ok(Look { acknowledged, at: Instant::now(), cpu: server.cpu()?, broker_cpu: broker.cpu()? })
    };
    let mut first = look()?;
    while first.acknowledged == 0 {
        thread::sleep(PAUSE);
        first = look()?;
    }
    let mut last = look()?;
    let mut progressed = Instant::now();
    while last.acknowledged < MESSAGES {
        if progressed.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("the bridge stands at {} messages", last.acknowledged)));
        }
        thread::sleep(PAUSE);
        let now = look()?;
        if now.acknowledged > last.acknowledged {
            progressed = Instant::now();
        }
        last = now;
    }
    server.stop()?;
    Ok(Taken {
        consumer: Consumer::Bridge,
        messages: last.acknowledged - first.acknowledged,
        took: last.at - first.at,
        cpu: last.cpu - first.cpu,
        broker_cpu: last.broker_cpu - first.broker_cpu,
        events: None,
        disturbed: false,
    })
}

struct Look {
    acknowledged: u64,
    at: Instant,
    cpu: Duration,
    broker_cpu: Duration,
}

/// Messages that the bridge has acknowledged; an error once it has put one aside.
fn acknowledged(admin: SocketAddr) -> io::Result<u64> {
    let answer = get(admin, "/log")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status: Value = serde_json::from_str(body)
        .map_err(|error| io::Error::other(format!("/log cannot be parsed: {error}: {answer}")))?;
    let bridge = &status["activemq"][0];
    let count = |outcome: &str| bridge["counts"][outcome].as_u64();
    match (count("acknowledged"), count("quarantined"), count("dead")) {
        (Some(acknowledged), Some(0), Some(0)) => Ok(acknowledged),
        _ => Err(io::Error::other(format!("the bridge says {bridge}"))),
    }
}

/// The log must hold each message as an event, and nothing else.
fn events_in_log(bench: &Bench) -> io::Result<u64> {
    let mut orders = HashSet::new();
    let mut wrong = 0;
    let events = Clickgate::each_event_in_log(bench, |payload| {
        let order = TrackingEvent::decode(payload).ok().and_then(|event| {
            event.parameters.iter().find(|parameter| parameter.name == "order")?.value.parse::<u64>().ok()
        });
        match order {
            Some(order) if order < MESSAGES => {
                orders.insert(order);
            }
            _ => wrong += 1,
        }
    })?;
    match (events, orders.len() as u64, wrong) {
        (MESSAGES, MESSAGES, 0) => Ok(events),
        (_, distinct, _) => Err(io::Error::other(format!(
            "of {MESSAGES} messages the log holds {distinct}, in {events} events, {wrong} of them strange"
        ))),
    }
}
