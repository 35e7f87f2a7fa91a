//! What an operator may set for the tracker, with the values the design gives.
//!
//! The command reads the file and the environment and fills this; nothing here looks
//! at either, or knows how a setting is written. Units are in the names; [`bounds()`] of a number
//! stand here alone, and [`Config::check`] lists every error at once.

use std::net::SocketAddr;

use ipnet::IpNet;
use programs::FallbackUrl;
use programs::catalog::CatalogConfig;
use programs::decision::{ParameterLimits, Unverified};
use stream::Level;

mod bounds;
mod prefixes;

pub use bounds::bounds;
pub use prefixes::Prefixes;

/// All of the tracker's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where hits arrive. TLS ends before us.
    pub listen: SocketAddr,
    /// Worker threads, each with a lane of its own; 0 means one per core. At most 512.
    pub workers: usize,
    /// Open connections per worker; more wait in the backlog of the kernel.
    pub connections_per_worker_max: usize,
    /// First part of each tracking path. Ad blockers match words, so they can be renamed.
    pub prefixes: Prefixes,
    /// How safe a hit is before it is answered.
    pub levels: Levels,
    /// Peers whose `X-Forwarded-For` we believe: our load balancers.
    pub trusted_proxies: Vec<IpNet>,
    /// Where a refused click goes if its program names no place of its own.
    pub fallback_url: Option<String>,
    /// Parameters that a strict program cannot refuse: they are ours.
    pub reserved_parameters: Vec<String>,
    /// Further parameters that a strict program does not refuse; a `*` at the end means a prefix.
    pub allowed_parameters: Vec<String>,
    /// What becomes of a hit whose program cannot be checked because the registry is away.
    pub unverified: Unverified,
    /// Whether `Sec-GPC: 1` withholds visitor id and IP, and what `/.well-known/gpc.json` says.
    pub honour_gpc: bool,
    /// Whether `/example` shows a page that carries the browser tag.
    pub example_page: bool,
    /// Bounds of one request.
    pub limits: Limits,
    /// The catalog in memory.
    pub catalog: CatalogConfig,
    /// Refused hits that are kept, per reason and second, for the whole process. The log
    /// gives them 5 % of its room besides.
    pub rejected_per_second_max: u32,
    /// An idle connection is kept this long; longer than the load balancer's 60 s.
    pub keep_alive_seconds: u64,
    /// Time for the head of a request to arrive; then 408. Also the longest pause within a body,
    /// and the time that a client has to take an answer.
    pub client_request_timeout_ms: u64,
    /// Time for the body of a beacon to arrive after its head; then 408.
    pub client_body_timeout_ms: u64,
    /// Time for a closing client to take the rest of its answer.
    pub client_disconnect_timeout_ms: u64,
    /// Time for hits in flight to finish once we stop.
    pub shutdown_timeout_seconds: u64,
}

/// How safe a hit of each route is before it is answered.
///
/// | route | in the log, at this level | not taken by the log | refused by a rule |
/// |---|---|---|---|
/// | `/event` | 200 | 503 | 4xx; 503 if the program cannot be checked |
/// | `/i` | 200 and the GIF | 503 and the GIF | 200 and the GIF |
/// | `/c` | 302 | 302 with `X-Clickgate-Recorded: no` | 302 to a fallback, else 404 |
/// | `/v` | 200 | 503 | 4xx; 503 if the program cannot be checked |
/// | `/b` | 204 | 503 if any entry was not | 204: the other entries are in the log |
///
/// A beacon has one answer, at the strictest class and level of its entries: those of a
/// conversion if it holds one. `/b?report=1` says it entry by entry.
///
/// So a pixel's 200 says "in the log, or refused by a rule", and a browser shows the dot
/// whatever the status. A click is sent on even when the log is full or failed, because
/// a person waits behind it; that is counted, and the answer says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// `/event`.
    pub event: Level,
    /// `/i`.
    pub impression: Level,
    /// `/c`.
    pub click: Level,
    /// `/v`, and conversions in a beacon.
    pub conversion: Level,
    /// `/b`.
    pub beacon: Level,
}

/// Bounds of one request; beyond them the reason is `too_large`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parameters of a query.
    pub parameters_max: usize,
    /// A parameter's name, decoded.
    pub name_bytes_max: usize,
    /// A parameter's value, decoded.
    pub value_bytes_max: usize,
    /// Method, target and version. A line beyond 64 KiB is not read: 414.
    pub request_line_bytes_max: usize,
    /// Names and values of all headers, of which there are 100 at most; beyond it 431.
    pub header_bytes_max: usize,
    /// Body of a beacon.
    pub body_bytes_max: usize,
    /// Bodies, and heads beyond 8 KiB, that a worker holds at one time; beyond it a beacon is
    /// shed, and a head refused with 503.
    pub bodies_bytes_max: usize,
    /// Entries of a beacon.
    pub entries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            workers: 0,
            connections_per_worker_max: 25_000,
            prefixes: Prefixes::default(),
            levels: Levels::default(),
            trusted_proxies: Vec::new(),
            fallback_url: None,
            reserved_parameters: owned(RESERVED),
            allowed_parameters: owned(ALLOWED),
            unverified: Unverified::Accept,
            honour_gpc: true,
            example_page: true,
            limits: Limits::default(),
            catalog: CatalogConfig::default(),
            rejected_per_second_max: 100,
            keep_alive_seconds: 75,
            client_request_timeout_ms: 5_000,
            client_body_timeout_ms: 10_000,
            client_disconnect_timeout_ms: 1_000,
            shutdown_timeout_seconds: 20,
        }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            event: Level::Written,
            impression: Level::Written,
            click: Level::Written,
            conversion: Level::Synced,
            beacon: Level::Synced,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parameters_max: 100,
            name_bytes_max: 64,
            value_bytes_max: 1_024,
            request_line_bytes_max: 20 * 1_024,
            header_bytes_max: 40 * 1_024,
            body_bytes_max: 1_024 * 1_024,
            bodies_bytes_max: 64 * 1_024 * 1_024,
            entries_max: 100,
        }
    }
}

/// Separated by blanks.
const RESERVED: &str = "cb ord _ t r v sum id click value currency gdpr gdpr_consent gpp gpp_sid us_privacy";

/// Campaign parameters, and the click ids and linkers that platforms append on their own: nobody
/// who writes a link can keep them away.
const ALLOWED: &str = "utm_* gclid gbraid wbraid dclid gclsrc fbclid msclkid ttclid twclid li_fat_id \
                       yclid rdt_cid ScCid epik igshid srsltid mc_cid mc_eid _ga _gl";

fn owned(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

impl Limits {
    /// What of them holds for each parameter.
    pub fn of_parameters(&self) -> ParameterLimits {
        ParameterLimits {
            parameters_max: self.parameters_max,
            name_bytes_max: self.name_bytes_max,
            value_bytes_max: self.value_bytes_max,
        }
    }
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tracker.{key} is {value:?}, which is not {expected}")]
pub struct ConfigError {
    /// The setting, with dots, below the table `tracker`.
    pub key: &'static str,
    /// What it is set to.
    pub value: String,
    /// What it should be.
    pub expected: String,
}

impl Config {
    /// The number of workers that [`Config::workers`] stands for.
    pub fn workers_or_cores(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(512),
            workers => workers,
        }
    }

    /// Lists every setting that cannot be used.
    ///
    /// # Errors
    /// At least one of them is wrong.
    pub fn check(&self) -> Result<(), Vec<ConfigError>> {
        let mut errors = bounds::errors(self);
        let mut refuse = |key, value: &str, expected: &str| {
            errors.push(ConfigError { key, value: value.to_owned(), expected: expected.to_owned() });
        };
        for (key, value, expected) in self.prefixes.errors() {
            refuse(key, value, expected);
        }
        if let Some(url) = &self.fallback_url
            && FallbackUrl::parse_allowing_http(url).is_err()
        {
            refuse("fallback_url", url, "an absolute http or https URL with a host name");
        }
        let limits = &self.limits;
        if limits.bodies_bytes_max < limits.body_bytes_max {
            let value = limits.bodies_bytes_max.to_string();
            refuse("limits.bodies_bytes_max", &value, "at least limits.body_bytes_max");
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn all_errors_are_listed_at_once_with_key_and_value() {
        let config = Config {
            workers: 513,
            fallback_url: Some("https://a.example/\r\nX: 1".into()),
            prefixes: Prefixes { event: "/health/x".into(), click: "/i".into(), ..Prefixes::default() },
            catalog: CatalogConfig { loads_max: 0, ..CatalogConfig::default() },
            ..Config::default()
        };
        let errors = config.check().unwrap_err();
        let keys: Vec<_> = errors.iter().map(|error| error.key).collect();
        assert_eq!(
            keys,
            ["workers", "catalog.loads_max", "prefixes.event", "prefixes.click", "fallback_url"]
        );
        assert_eq!(errors[0].to_string(), "tracker.workers is \"513\", which is not 0 to 512");
    }
}
