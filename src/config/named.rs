//! Keys of what an operator gives a name: the brokers and queues of the ActiveMQ bridge.
//!
//! `bridge.activemq.brokers.main.urls` is the key `urls` of the broker `main`; in the lists of keys it is
//! `bridge.activemq.brokers.*.urls`. Naming one is making one. A name can be a part of a variable's name, so it
//! has small letters, digits and single underscores.

use std::collections::BTreeMap;

use bridges::activemq::{Broker, Empty, Endpoint, Format, Identity, Queue, Source, Target, errors_of};

use super::Settings;
use super::field::{Field, Kind, Value, mistaken, word_fields};

/// Longest name.
const NAME_BYTES_MAX: usize = 32;

/// The brokers and queues of the ActiveMQ bridge, by their names.
#[derive(Clone, Debug, Default)]
pub struct ActiveMq {
    pub brokers: BTreeMap<String, Broker>,
    pub queues: BTreeMap<String, Queue>,
}

/// A setting of each thing of a family.
pub struct NamedKey {
    /// With `*` for the name.
    pub pattern: &'static str,
    pub kind: Kind,
    pub bounds: Option<(u64, u64)>,
    pub doc: &'static str,
    write: fn(&mut ActiveMq, &str, Value) -> Result<(), String>,
    read: fn(&ActiveMq, &str) -> Option<Value>,
    /// Of one that nobody has set.
    default: fn() -> Option<Value>,
}

impl NamedKey {
    /// The key that `key` is, and the name in it.
    pub fn find(key: &str) -> Option<(&'static Self, &str)> {
        NAMED.iter().find_map(|known| Some((known, known.name_in(key)?)))
    }

    fn name_in<'k>(&self, key: &'k str) -> Option<&'k str> {
        let (before, behind) = self.pattern.split_once('*')?;
        let name = key.strip_prefix(before)?.strip_suffix(behind)?;
        (!name.is_empty() && !name.contains('.')).then_some(name)
    }

    /// This key of the thing `name`.
    pub fn of(&self, name: &str) -> String {
        self.pattern.replacen('*', name, 1)
    }

    /// Never shown.
    pub fn is_secret(&self) -> bool {
        self.pattern.ends_with(".password")
    }

    /// Sets it.
    ///
    /// # Errors
    /// Why the name or the value does not fit; a secret is not quoted.
    pub fn set(&self, settings: &mut Settings, name: &str, value: Value) -> Result<(), String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() > NAME_BYTES_MAX || name.contains("__") || !name.bytes().all(fits) {
            let expected = "small letters, digits and single underscores";
            return Err(format!("{name:?} is no name of 1 to {NAME_BYTES_MAX} {expected}"));
        }
        if let (Value::Number(number), Some((least, most))) = (&value, self.bounds)
            && !(least..=most).contains(number)
        {
            return Err(format!("{number} is not between {least} and {most}"));
        }
        let set = (self.write)(&mut settings.bridge.activemq, name, value);
        set.map_err(|reason| if self.is_secret() { "expected a text".to_owned() } else { reason })
    }

    /// Its value of the thing `name`; `None` if it is not set.
    pub fn shown(&self, settings: &Settings, name: &str) -> Option<Value> {
        (self.read)(&settings.bridge.activemq, name)
    }

    /// What it is unless set.
    pub fn default(&self) -> Option<Value> {
        (self.default)()
    }
}

/// What does not fit together, as keys and reasons.
pub fn errors(settings: &ActiveMq) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    for (name, broker) in &settings.brokers {
        let key = |field: &str| format!("bridge.activemq.brokers.{name}.{field}");
        if broker.urls.is_empty() {
            errors.push((key("urls"), "must be set: stomp://host:port or stomp+ssl://host:port".to_owned()));
        }
        if broker.certificate_file.is_some() != broker.key_file.is_some() {
            let reason = "certificate_file and key_file must be set together";
            errors.push((key("certificate_file"), reason.to_owned()));
        }
    }
    for (name, queue) in &settings.queues {
        let key = |field: &str| format!("bridge.activemq.queues.{name}.{field}");
        if !settings.brokers.contains_key(&queue.broker) {
            let known: Vec<&str> = settings.brokers.keys().map(String::as_str).collect();
            let reason = format!("{:?} is none of the brokers ({})", queue.broker, known.join(", "));
            errors.push((key("broker"), reason));
        }
        errors.extend(errors_of(queue).into_iter().map(|(field, reason)| (key(field), reason)));
    }
    errors
}

/// All names of the family of a pattern.
pub fn names(settings: &ActiveMq, pattern: &str) -> Vec<String> {
    match pattern.starts_with("bridge.activemq.brokers.") {
        true => settings.brokers.keys().cloned().collect(),
        false => settings.queues.keys().cloned().collect(),
    }
}

const fn kind<T, F: Field>(_of: fn(&T) -> &F) -> Kind {
    F::KIND
}

fn set<F: Field>(field: &mut F, value: Value) -> Result<(), String> {
    *field = F::of(value)?;
    Ok(())
}

macro_rules! named {
    ($family:ident: $thing:ty, $name:literal, $($field:ident).+, $bounds:expr, $doc:literal) => {
        NamedKey {
            pattern: concat!("bridge.activemq.", stringify!($family), ".*.", $name),
            kind: kind(|thing: &$thing| &thing.$($field).+),
            bounds: $bounds,
            doc: $doc,
            write: |all, name, value| set(&mut all.$family.entry(name.to_owned()).or_default().$($field).+, value),
            read: |all, name| all.$family.get(name)?.$($field).+.show(),
            default: || <$thing>::default().$($field).+.show(),
        }
    };
}

/// Every key, family by family.
#[rustfmt::skip]
pub const NAMED: &[NamedKey] = &[
    named!(brokers: Broker, "urls", urls, None, "stomp://host:port, or stomp+ssl://host:port for TLS; tried in turn, as of an active and a standby broker only one listens."),
    named!(brokers: Broker, "username", username, None, "User at the broker."),
    named!(brokers: Broker, "password", password, None, "Its password."),
    named!(brokers: Broker, "ca_file", ca_file, None, "PEM file with the authorities of the broker's certificate; those of the operating system unless set."),
    named!(brokers: Broker, "certificate_file", certificate_file, None, "PEM file with our certificate and its chain, for a broker that asks for one."),
    named!(brokers: Broker, "key_file", key_file, None, "PEM file with its key."),
    named!(brokers: Broker, "virtual_host", virtual_host, None, "The header host of CONNECT; the host of the URL unless set."),
    named!(brokers: Broker, "heart_beat_ms", heart_beat_ms, Some((100, 600_000)), "Interval of heart-beats in both directions; a broker that is silent for 2.5 of them is given up."),
    named!(brokers: Broker, "connect_timeout_ms", connect_timeout_ms, Some((100, 600_000)), "Longest wait until a queue is subscribed to, with connection, TLS and login."),
    named!(brokers: Broker, "retry_pause_ms_max", retry_pause_ms_max, Some((1, 3_600_000)), "Longest pause between two attempts to connect."),
    named!(brokers: Broker, "connect_headers", connect_headers, None, "Further headers of CONNECT, as name=value."),
    named!(brokers: Broker, "transacted_ack", transacted_ack, None, "Whether an ACK counts within a transaction; false for ActiveMQ Artemis, which ignores it."),
    named!(queues: Queue, "broker", broker, None, "The name of its broker."),
    named!(queues: Queue, "destination", destination, None, "/queue/NAME or /topic/NAME."),
    named!(queues: Queue, "format", format, None, "json | xml | pairs | text | bytes | map: how bodies are read."),
    named!(queues: Queue, "target", target, None, "events | programs: whether messages become events, or core data for the registry."),
    named!(queues: Queue, "program", fields.program, None, "Where the program's id comes from: /a/path in the body, header:name or =constant; the following the same."),
    named!(queues: Queue, "type", fields.kind, None, "impression, click, conversion or the name of a custom event; legacy unless set."),
    named!(queues: Queue, "id", fields.id, None, "The key of the business or the sender's id, for identity."),
    named!(queues: Queue, "time", fields.time, None, "When it happened, in milliseconds since 1970 or RFC 3339; the header timestamp unless set."),
    named!(queues: Queue, "parameters", fields.parameters, None, "Parameters of the event, as name=source; v is the visitor's id."),
    named!(queues: Queue, "identity", identity, None, "message | key | sender: what makes two messages the same event: the broker's message id; the field id; program, type and id, as of a beacon."),
    named!(queues: Queue, "validate", validate, None, "Whether an event must satisfy its program's rules, as a hit must; if not it is put aside."),
    named!(queues: Queue, "payload", payload, None, "Whether the body goes along with the event."),
    named!(queues: Queue, "empty", empty, None, "quarantine | accept: bodies that are empty without a content-length, as Map and Object messages are."),
    named!(queues: Queue, "level", level, None, "memory | written | synced | stream: how safe an event is before its message is acknowledged; without a shipper stream is synced."),
    named!(queues: Queue, "prefetch", prefetch, Some((1, 100_000)), "Messages that the broker sends ahead of their acknowledgement."),
    named!(queues: Queue, "quarantine", quarantine, None, "Where messages are put aside at the broker, /queue/NAME; the destination's name with .QUARANTINE behind it unless set."),
    named!(queues: Queue, "attempts_max", attempts_max, Some((1, 1_000)), "How often the bridge may die over a message before it is put aside."),
    named!(queues: Queue, "selector", selector, None, "Which messages are wanted, in the broker's syntax: region = 'eu'."),
    named!(queues: Queue, "durable", durable, None, "Name of a durable subscription of a topic."),
    named!(queues: Queue, "client_id", client_id, None, "The header client-id of CONNECT; a durable subscription belongs to it."),
    named!(queues: Queue, "subscribe_headers", subscribe_headers, None, "Further headers of SUBSCRIBE, as name=value."),
];

word_fields! {
    Format { "json" => Format::Json, "xml" => Format::Xml, "pairs" => Format::Pairs, "text" => Format::Text, "bytes" => Format::Bytes, "map" => Format::Map }
    Target { "events" => Target::Events, "programs" => Target::Programs }
    Identity { "message" => Identity::Message, "key" => Identity::Key, "sender" => Identity::Sender }
    Empty { "quarantine" => Empty::Quarantine, "accept" => Empty::Accept }
}

impl Field for Source {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        String::of(value)?.parse()
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Text(self.to_string()))
    }
}

/// The empty text is: not set.
impl Field for Option<Source> {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        match String::of(value)?.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }

    fn show(&self) -> Option<Value> {
        self.as_ref().and_then(Source::show)
    }
}

impl Field for Vec<Endpoint> {
    const KIND: Kind = Kind::List;

    fn of(value: Value) -> Result<Self, String> {
        each(value, str::parse)
    }

    fn show(&self) -> Option<Value> {
        Some(Value::List(self.iter().map(ToString::to_string).collect()))
    }
}

impl Field for Vec<(String, String)> {
    const KIND: Kind = Kind::List;

    fn of(value: Value) -> Result<Self, String> {
        each(value, |item| pair(item).map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    fn show(&self) -> Option<Value> {
        Some(Value::List(self.iter().map(|(name, value)| format!("{name}={value}")).collect()))
    }
}

impl Field for Vec<(String, Source)> {
    const KIND: Kind = Kind::List;

    fn of(value: Value) -> Result<Self, String> {
        each(value, |item| {
            let (name, source) = pair(item)?;
            Ok((name.to_owned(), source.parse()?))
        })
    }

    fn show(&self) -> Option<Value> {
        Some(Value::List(self.iter().map(|(name, source)| format!("{name}={source}")).collect()))
    }
}

fn pair(item: &str) -> Result<(&str, &str), String> {
    match item.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        // What stands there may be a secret, so it is not repeated.
        _ => Err("is not name=value".to_owned()),
    }
}

/// All items, or all that are wrong.
fn each<T>(value: Value, of: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let Value::List(items) = value else { return Err(mistaken(&value, Kind::List)) };
    let mut read = Vec::new();
    let mut wrong = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match of(item) {
            Ok(item) => read.push(item),
            Err(reason) => wrong.push(format!("[{at}] {reason}")),
        }
    }
    if wrong.is_empty() { Ok(read) } else { Err(wrong.join("; ")) }
}
