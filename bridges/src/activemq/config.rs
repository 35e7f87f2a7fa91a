//! What an operator may set of a broker and of a queue.

use std::path::PathBuf;
use std::time::Duration;

use stream::Level;

use super::mapping::Source;

/// A broker: where it is and how we log in. Its name, under which it is configured, goes into the
/// identity of its messages; an address does not, so a broker may move.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// `stomp://host:port`, or `stomp+ssl://host:port`; tried in turn.
    pub urls: Vec<Endpoint>,
    /// `login`; none unless set.
    pub username: Option<String>,
    /// `passcode`.
    pub password: Option<String>,
    /// PEM file of the authorities that the broker's certificate must be of; those of the
    /// operating system unless set.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our certificate and its chain, for a broker that asks for one.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
    /// `host` of CONNECT; the endpoint's unless set.
    pub virtual_host: Option<String>,
    /// Interval of heart-beats in both directions, offered to the broker.
    pub heart_beat_ms: u64,
    /// Longest wait for connection, TLS, CONNECTED and the receipt of SUBSCRIBE together.
    pub connect_timeout_ms: u64,
    /// Longest pause between two attempts to connect.
    pub retry_pause_ms_max: u64,
    /// Further headers of CONNECT.
    pub connect_headers: Vec<(String, String)>,
    /// Whether an ACK within a transaction counts. ActiveMQ Artemis ignores it; there a message is
    /// acknowledged after the transaction that put it aside.
    pub transacted_ack: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            username: None,
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            virtual_host: None,
            heart_beat_ms: 10_000,
            connect_timeout_ms: 10_000,
            retry_pause_ms_max: 10_000,
            connect_headers: Vec::new(),
            transacted_ack: true,
        }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        let mut shown = f.debug_struct("Broker");
        shown.field("urls", &self.urls).field("username", &self.username).field("password", &password);
        shown.finish_non_exhaustive()
    }
}

impl Broker {
    /// The interval that is offered.
    pub fn heart_beat(&self) -> Duration {
        Duration::from_millis(self.heart_beat_ms)
    }

    /// The bound of a whole handshake.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; the name that its certificate must have.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "stomp+ssl" } else { "stomp" };
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "stomp://host:port or stomp+ssl://host:port, without user, password, path and query";
        // What stands before an @ may be a secret.
        let wrong = || match text.contains('@') {
            true => format!("has a user or a password in it; expected {expected}"),
            false => format!("{text:?} is not {expected}"),
        };
        let (tls, rest) = match text.split_once("://") {
            Some(("stomp", rest)) => (false, rest),
            Some(("stomp+ssl", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = !host.is_empty() && (bare.is_some() && host.contains(':') || host.bytes().all(fits));
        if !is_host || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON value; paths are JSON pointers (RFC 6901).
    #[default]
    Json,
    /// An XML document; a path is `/element/element` or `/element/@attribute`.
    Xml,
    /// Lines or `&`-separated pairs `key=value`; a path is `/key`.
    Pairs,
    /// Text that nothing is taken from.
    Text,
    /// Bytes that nothing is taken from.
    Bytes,
    /// A Map message, which the broker turns into JSON (`jms-map-json`); a path is `/key`.
    Map,
}

/// What a message becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// An event of the log.
    #[default]
    Events,
    /// Core data for the registry; the body is that of `proto::core_data`.
    Programs,
}

/// What makes two messages the same event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The broker's message id: a redelivery is the same event.
    #[default]
    Message,
    /// A key of the business, the field `id`: a message that was sent twice is the same event.
    Key,
    /// Program, type and the field `id`, as a beacon has them: what came over HTTP too is the same.
    Sender,
}

/// What becomes of a body that is empty without a content-length: a Map or Object message looks so
/// when it was not transformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Empty {
    /// It is put aside.
    #[default]
    Quarantine,
    /// It is an empty body.
    Accept,
}

/// A queue or a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The name of its broker.
    pub broker: String,
    /// `/queue/name` or `/topic/name`.
    pub destination: String,
    /// How its bodies are read.
    pub format: Format,
    /// What its messages become.
    pub target: Target,
    /// Where the fields come from.
    pub fields: Fields,
    /// What makes two messages the same event.
    pub identity: Identity,
    /// Whether an event is judged by the rules of its program, as a hit is.
    pub validate: bool,
    /// Whether the body goes along with the event.
    pub payload: bool,
    /// What becomes of a suspiciously empty body.
    pub empty: Empty,
    /// How safe an event is before its message is acknowledged.
    pub level: Level,
    /// Messages that the broker sends ahead of their acknowledgement.
    pub prefetch: u32,
    /// Where messages are put aside; the destination as a queue, with `.QUARANTINE` behind it, unless set.
    pub quarantine: Option<String>,
    /// Deaths of the bridge over one message before it is put aside.
    pub attempts_max: u32,
    /// Which messages are wanted, in the syntax of SQL 92.
    pub selector: Option<String>,
    /// Name of a durable subscription of a topic.
    pub durable: Option<String>,
    /// `client-id` of the connection; a durable subscription belongs to it.
    pub client_id: Option<String>,
    /// Further headers of SUBSCRIBE.
    pub subscribe_headers: Vec<(String, String)>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            broker: String::new(),
            destination: String::new(),
            format: Format::default(),
            target: Target::default(),
            fields: Fields::default(),
            identity: Identity::default(),
            validate: true,
            payload: true,
            empty: Empty::default(),
            level: Level::Stream,
            prefetch: 2_000,
            quarantine: None,
            attempts_max: 5,
            selector: None,
            durable: None,
            client_id: None,
            subscribe_headers: Vec::new(),
        }
    }
}

impl Queue {
    /// Where messages are put aside: a queue, of a topic too, as a topic keeps nothing for nobody.
    pub fn quarantine(&self) -> String {
        let name = self.destination.strip_prefix("/topic/").or(self.destination.strip_prefix("/queue/"));
        let default = || format!("/queue/{}.QUARANTINE", name.unwrap_or(&self.destination));
        self.quarantine.clone().unwrap_or_else(default)
    }
}

/// Where the fields of an event come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The program's id.
    pub program: Source,
    /// impression, click, conversion, or the name of a custom event; legacy unless set.
    pub kind: Option<Source>,
    /// The key of the business or the sender's id.
    pub id: Option<Source>,
    /// When it happened, on the sender's clock: milliseconds since 1970 or RFC 3339; the broker's
    /// `timestamp` unless set.
    pub time: Option<Source>,
    /// The parameters, in this order.
    pub parameters: Vec<(String, Source)>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            program: Source::Header("program".to_owned()),
            kind: None,
            id: None,
            time: None,
            parameters: Vec::new(),
        }
    }
}

/// What does not fit together, as the key and the reason.
pub fn errors_of(queue: &Queue) -> Vec<(&'static str, String)> {
    let mut errors = Vec::new();
    let mut wrong = |key, reason: &str| errors.push((key, reason.to_owned()));
    let is_topic = queue.destination.starts_with("/topic/");
    if !is_topic && !queue.destination.starts_with("/queue/") || queue.destination.len() <= 7 {
        wrong("destination", "must be /queue/NAME or /topic/NAME");
    }
    if queue.destination.contains(['*', '>', ',', '?']) {
        wrong("destination", "must name one queue or topic, without * > , and ?");
    }
    if queue.quarantine.as_ref().is_some_and(|name| !name.starts_with("/queue/") || name.len() <= 7) {
        wrong("quarantine", "must be /queue/NAME; a topic keeps nothing for nobody");
    }
    if queue.identity != Identity::Message && queue.fields.id.is_none() {
        wrong("id", "must be set, as identity needs it");
    }
    if queue.identity == Identity::Sender && queue.fields.kind.is_none() {
        wrong("type", "must be set, as identity = \"sender\" needs the type that the sender's beacons have");
    }
    if queue.durable.is_some() && !is_topic {
        wrong("durable", "is for topics; a queue keeps its messages anyway");
    }
    if queue.durable.is_some() && queue.client_id.is_none() {
        wrong("client_id", "must be set, as a durable subscription belongs to it");
    }
    if matches!(queue.format, Format::Text | Format::Bytes) && queue.fields.has_body_path() {
        wrong("format", "text and bytes have no paths; take the fields from headers or constants");
    }
    if queue.target == Target::Programs && !matches!(queue.format, Format::Json) {
        wrong("format", "must be json, as target = \"programs\" takes core data in JSON");
    }
    errors
}

impl Fields {
    fn has_body_path(&self) -> bool {
        let optional = [&self.kind, &self.id, &self.time].into_iter().flatten();
        let parameters = self.parameters.iter().map(|(_, source)| source);
        optional.chain(parameters).chain([&self.program]).any(|source| matches!(source, Source::Body(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_and_shown_and_a_secret_in_it_is_not_repeated() {
        for text in
            ["stomp://127.0.0.1:61613", "stomp+ssl://b-1.mq.eu-west-1.amazonaws.com:61614", "stomp://[::1]:1"]
        {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp://a:1",
            "stomp://a",
            "stomp://a:0",
            "stomp://:1",
            "stomp://a:x",
            "stomp://a/b:1",
            "stomp://a:b:1",
        ] {
            assert!(text.parse::<Endpoint>().unwrap_err().contains("is not stomp://"), "{text}");
        }
        let error = "stomp://me:s3cret@a:1".parse::<Endpoint>().unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
        let broker = Broker { password: Some("s3cret".into()), ..Broker::default() };
        assert!(!format!("{broker:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_put_aside_waits_in_a_queue_wherever_it_came_from() {
        let of =
            |destination: &str| Queue { destination: destination.into(), ..Queue::default() }.quarantine();
        assert_eq!(of("/queue/a.b"), "/queue/a.b.QUARANTINE");
        assert_eq!(of("/topic/a"), "/queue/a.QUARANTINE");
    }

    #[test]
    fn what_does_not_fit_together_is_said_with_its_key() {
        let fine = Queue { destination: "/queue/a".into(), ..Queue::default() };
        assert_eq!(errors_of(&fine), []);
        let keys = |change: fn(&mut Queue)| {
            let mut queue = fine.clone();
            change(&mut queue);
            errors_of(&queue).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(|queue| queue.destination = "orders".into()), ["destination"]);
        assert_eq!(keys(|queue| queue.destination = "/queue/a.>".into()), ["destination"]);
        assert_eq!(keys(|queue| queue.quarantine = Some("/topic/a".into())), ["quarantine"]);
        assert_eq!(keys(|queue| queue.identity = Identity::Key), ["id"]);
        assert_eq!(keys(|queue| queue.identity = Identity::Sender), ["id", "type"]);
        assert_eq!(keys(|queue| queue.durable = Some("d".into())), ["durable", "client_id"]);
        let body = |queue: &mut Queue| {
            queue.format = Format::Text;
            queue.fields.program = Source::Body("/a".into());
        };
        assert_eq!(keys(body), ["format"]);
        let programs = |queue: &mut Queue| {
            queue.format = Format::Xml;
            queue.target = Target::Programs;
        };
        assert_eq!(keys(programs), ["format"]);
    }
}
