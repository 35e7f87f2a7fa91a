//! What an operator may set: defaults, then one TOML file, then the environment.
//!
//! Only here are the file and the environment read. The keys are one list ([`keys`]),
//! from which reading, checking, `config keys` and `config print` come; the defaults are
//! those of the crates. A variable is a key in capitals behind `CLICKGATE__`, with two
//! underscores for each dot: `tracker.catalog.fresh_seconds` is
//! `CLICKGATE__TRACKER__CATALOG__FRESH_SECONDS`. All that is wrong is said at once, each
//! with the line of the file or the name of the variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod addresses;
mod environment;
mod field;
mod file;
mod filter;
mod keys;
mod named;
mod show;

pub use filter::LogFilter;
pub use keys::{KEYS, Key};
pub use named::{ActiveMq, NAMED, NamedKey};
pub use show::{keys_json, keys_markdown, keys_table, print};

use crate::registry::RegistryKind;
use crate::similar;
use field::Value;

/// Of a bearer token for an address off loopback.
const TOKEN_CHARS_MIN: usize = 16;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    pub tracker: tracker::Config,
    /// The table `log`: both logs. Their cursors follow from the sinks (module `cursors`).
    pub stream: stream::LogConfig,
    /// Its `table` is set from [`Settings::table`] and the data directory.
    pub shipper: Shipper,
    /// How Kinesis and DynamoDB are reached.
    pub aws: stream::AwsConfig,
    pub consumer: consumers::Config,
    /// How streams are read. Their names and the table of their leases follow from others.
    pub worker: stream::WorkerConfig,
    pub bridge: Bridge,
    pub table: Table,
    pub registry: Registry,
    pub admin: Admin,
    pub drain: Drain,
    /// In the table `log` too: what the process logs on stderr.
    pub log: Diagnostics,
}

/// What brings data from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Bridge {
    pub programs: bridges::programs::Config,
    /// The stream that brings core data to the program bridge; its log `programs` unless set.
    pub programs_stream: Option<String>,
    pub activemq: ActiveMq,
    /// Of what all bridges cannot read.
    pub dead_letters: consumers::GivenLimits,
}

/// What takes the log of events to a stream.
#[derive(Clone, Debug, Default)]
pub struct Shipper {
    pub config: stream::ShipperConfig,
    /// Of what the stream refuses.
    pub dead_letters: consumers::GivenLimits,
}

/// Where events are stored.
#[derive(Clone, Debug)]
pub struct Table {
    pub kind: TableKind,
    /// In the data directory unless it is named.
    pub path: Option<PathBuf>,
    /// Of the one in DynamoDB.
    pub name: String,
    /// How it is used; its `name` is set from the one above.
    pub dynamo: consumers::DynamoConfig,
}

impl Default for Table {
    fn default() -> Self {
        let dynamo = consumers::DynamoConfig::default();
        Self { kind: TableKind::Auto, path: None, name: dynamo.name.clone(), dynamo }
    }
}

/// Which table takes the events of a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// The local one; none where the events go to a stream.
    #[default]
    Auto,
    /// The file of the data directory.
    Local,
    /// A table in DynamoDB: of what the stream holds, or without a stream of what the log holds.
    DynamoDb,
    /// None.
    None,
}

/// Where the programs are.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    pub kind: RegistryKind,
    /// Of the local one.
    pub path: Option<PathBuf>,
    pub redis: programs::RedisConfig,
}

/// The second address.
#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    pub token: Option<String>,
    /// Further names under which it may be asked for.
    pub hosts: Vec<String>,
    pub body_bytes_max: usize,
}

/// How the process ends.
#[derive(Clone, Debug)]
pub struct Drain {
    pub linger_ms: u64,
    pub grace_ms: u64,
    /// The disk of the log ends with this machine, so what is left goes to `rescue`.
    pub log_is_ephemeral: bool,
    pub rescue: Option<PathBuf>,
}

/// What the process logs on stderr.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    pub level: LogFilter,
    pub json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tracker: tracker::Config::default(),
            stream: stream::LogConfig::default(),
            shipper: Shipper::default(),
            aws: stream::AwsConfig::default(),
            consumer: consumers::Config::default(),
            worker: stream::WorkerConfig::default(),
            bridge: Bridge::default(),
            table: Table::default(),
            registry: Registry::default(),
            admin: Admin {
                listen: ([127, 0, 0, 1], 9090).into(),
                token: None,
                hosts: Vec::new(),
                body_bytes_max: 256 << 20,
            },
            drain: Drain { linger_ms: 0, grace_ms: 20_000, log_is_ephemeral: false, rescue: None },
            log: Diagnostics { level: LogFilter::default(), json: false },
        }
    }
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1, of the configuration file.
    Line(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// Nobody set it; it is the default, which does not fit something that was set.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{reason}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The key, or nothing if it is about the whole file.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// Everything that is wrong, and what may explain it.
    #[error("{}", lines(errors, warnings))]
    Wrong { errors: Vec<ConfigError>, warnings: Vec<String> },
}

fn lines(errors: &[ConfigError], warnings: &[String]) -> String {
    let errors = errors.iter().map(ToString::to_string);
    let warnings = warnings.iter().map(|warning| format!("warning: {warning}"));
    errors.chain(warnings).collect::<Vec<_>>().join("\n")
}

/// Settings that can be used.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Of variables that are not read and were perhaps meant to be.
    pub warnings: Vec<String>,
}

/// Reads `file`, if there is one, and the environment of the process over it.
///
/// # Errors
/// See [`LoadError`].
pub fn load(file: Option<&Path>) -> Result<Loaded, LoadError> {
    let text = match file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
            Some((path, text))
        }
    };
    let text = text.as_ref().map(|(path, text)| (*path, text.as_str()));
    let warnings = environment::warnings(std::env::vars_os().map(|(name, _)| name));
    match read(text, std::env::vars_os()) {
        Ok(settings) => Ok(Loaded { settings, warnings }),
        Err(errors) => Err(LoadError::Wrong { errors, warnings }),
    }
}

/// A value that was set, and where.
struct Given {
    key: String,
    place: Place,
    /// Or why it cannot be a value.
    value: Result<Value, String>,
}

fn read(
    file: Option<(&Path, &str)>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut given = match file {
        Some((path, text)) => file::read(path, text, &mut errors),
        None => Vec::new(),
    };
    given.extend(environment::read(variables));

    let mut settings = Settings::default();
    let mut places = BTreeMap::new();
    for Given { key, place, value } in given {
        let set = match (Key::find(&key), NamedKey::find(&key)) {
            (Some(known), _) => value.and_then(|value| known.set(&mut settings, value)),
            (None, Some((known, name))) => value.and_then(|value| known.set(&mut settings, name, value)),
            (None, None) => Err(unknown(&key, &place)),
        };
        match set {
            Ok(()) => drop(places.insert(key, place)),
            Err(reason) => errors.push(ConfigError { place, key, reason }),
        }
    }
    let are_addresses_read =
        !errors.iter().any(|error| ["tracker.listen", "admin.listen"].contains(&error.key.as_str()));
    let mut refuse = |key: String, reason: String| {
        // A key that could not be set has been reported already.
        if !errors.iter().any(|error| error.key == key) {
            let place = places.get(&key).cloned().unwrap_or(Place::Default);
            errors.push(ConfigError { place, key, reason });
        }
    };
    for error in settings.tracker.check().err().into_iter().flatten() {
        let reason = format!("{:?} is not {}", error.value, error.expected);
        refuse(format!("tracker.{}", error.key), reason);
    }
    for (key, reason) in settings.stream.errors() {
        refuse(format!("log.{key}"), reason);
    }
    for (key, reason) in settings.shipper.config.errors() {
        refuse(format!("shipper.{key}"), reason);
    }
    for (key, reason) in settings.aws.errors() {
        refuse(format!("aws.{key}"), reason);
    }
    let dynamo =
        consumers::DynamoConfig { name: settings.table.name.clone(), ..settings.table.dynamo.clone() };
    for (key, reason) in dynamo.errors() {
        refuse(format!("table.{key}"), reason);
    }
    if settings.table.kind == TableKind::DynamoDb && settings.table.path.is_some() {
        let reason = "is the file of a local table, and table.kind is \"dynamodb\": leave it out, or set \
                      table.kind to \"local\"";
        refuse("table.path".to_owned(), reason.to_owned());
    }
    if settings.table.kind == TableKind::None && settings.shipper.config.stream.is_none() {
        let reason = "\"none\" leaves events nowhere to go; set shipper.stream too, or leave it out";
        refuse("table.kind".to_owned(), reason.to_owned());
    }
    for error in settings.registry.redis.check() {
        refuse(format!("registry.redis.{}", error.field), error.reason);
    }
    for (key, reason) in named::errors(&settings.bridge.activemq) {
        refuse(key, reason);
    }
    let hits = settings.tracker.listen;
    let admin = settings.admin.listen;
    if are_addresses_read && addresses::clash(hits, admin) {
        let hits = ("tracker.listen", hits);
        let admin = ("admin.listen", admin);
        // The one that somebody set is at fault rather than a default.
        let (at_fault, other) = if places.contains_key(admin.0) { (admin, hits) } else { (hits, admin) };
        let reason =
            format!("{} cannot be bound beside {}, {}; give it another port", at_fault.1, other.0, other.1);
        refuse(at_fault.0.to_owned(), reason);
    }
    if let Some(reason) = weak_token(&settings.admin) {
        refuse("admin.token".to_owned(), reason);
    }
    if settings.drain.log_is_ephemeral && settings.drain.rescue.is_none() {
        let reason = "must name a directory that outlives this machine, as drain.log_is_ephemeral is true";
        refuse("drain.rescue".to_owned(), reason.to_owned());
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// The message for an unknown key, in the spelling of its place.
fn unknown(key: &str, place: &Place) -> String {
    if let Some(nearest) = nearest_named(key) {
        return match place {
            Place::Variable(_) => format!("unknown key; did you mean {}?", keys::variable(&nearest)),
            _ => format!("unknown key; did you mean {nearest}?"),
        };
    }
    let nearest = similar::nearest(key, KEYS.iter().map(|known| known.name)).and_then(Key::find);
    match (nearest, place) {
        (Some(nearest), Place::Variable(_)) => format!("unknown key; did you mean {}?", nearest.variable()),
        (Some(nearest), _) => format!("unknown key; did you mean {}?", nearest.name),
        (None, _) => "unknown key; `clickgate config keys` lists all".to_owned(),
    }
}

/// The nearest key of the broker or queue that `key` names.
fn nearest_named(key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let family = [parts.next()?, parts.next()?, parts.next()?].join(".");
    let name = parts.next()?;
    let of_family = NAMED.iter().filter(|known| known.pattern.starts_with(&format!("{family}.*.")));
    let known: Vec<String> = of_family.map(|known| known.of(name)).collect();
    similar::nearest(key, known.iter().map(String::as_str)).map(str::to_owned)
}

/// Why the token does not protect an address that others reach.
fn weak_token(admin: &Admin) -> Option<String> {
    if admin.listen.ip().is_loopback() {
        return None;
    }
    let is = match admin.token.as_deref().map(|token| token.chars().count()) {
        Some(TOKEN_CHARS_MIN..) => return None,
        Some(chars) => {
            format!("has {chars} characters, which can be guessed; it must have at least {TOKEN_CHARS_MIN}")
        }
        None => "must be set".to_owned(),
    };
    Some(format!(
        "{is}, as admin.listen {} is not loopback. Make one with `openssl rand -hex 32`, or listen on loopback",
        admin.listen
    ))
}

#[cfg(test)]
mod tests;
