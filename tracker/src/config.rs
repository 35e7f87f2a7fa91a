//! The tracker's settings and their defaults.
//!
//! The command fills them from file and environment; nothing here reads either, or knows how a
//! setting is written. Units are in the names; the [`bounds()`] of numbers are defined only here,
//! and [`Config::check`] lists every error at once.

use std::net::SocketAddr;

use ipnet::IpNet;
use programs::catalog::CatalogConfig;
use programs::decision::{ParameterLimits, Unverified};
use stream::Level;

mod bounds;
mod check;
mod prefixes;

pub use bounds::bounds;
pub use prefixes::Prefixes;

/// All of the tracker's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The address that hits arrive at. TLS ends at the load balancer.
    pub listen: SocketAddr,
    /// Worker threads, each with a lane of its own; 0 means one per core. At most 512.
    pub workers: usize,
    /// Open connections per worker; more wait in the backlog of the kernel.
    pub connections_per_worker_max: usize,
    /// Prefixes of the tracking paths, configurable because ad blockers match words.
    pub prefixes: Prefixes,
    /// The durability of a hit before it is answered.
    pub levels: Levels,
    /// Peers whose `X-Forwarded-For` is trusted: our load balancers.
    pub trusted_proxies: Vec<IpNet>,
    /// Where a refused click is redirected if its program has no fallback URL.
    pub fallback_url: Option<String>,
    /// Parameters with a meaning to the tracker, which a strict program cannot refuse.
    pub reserved_parameters: Vec<String>,
    /// Further parameters that a strict program accepts; a trailing `*` matches a prefix.
    pub allowed_parameters: Vec<String>,
    /// Whether to accept a hit whose program cannot be checked because the registry is away.
    pub unverified: Unverified,
    /// Whether to drop visitor id and IP under `Sec-GPC: 1`, and to say so in
    /// `/.well-known/gpc.json`.
    pub honour_gpc: bool,
    /// Whether to serve `/example`, a page with the browser tag.
    pub example_page: bool,
    /// Bounds of one request.
    pub limits: Limits,
    /// The catalog in memory.
    pub catalog: CatalogConfig,
    /// Refused hits to keep per reason and second, in the whole process. They also take at most 5 %
    /// of the log.
    pub rejected_per_second_max: u32,
    /// An idle connection is kept this long; longer than the load balancer's 60 s.
    pub keep_alive_seconds: u64,
    /// Time for the head of a request to arrive; then 408. Also the longest pause within a body,
    /// and the time that a client has to take an answer.
    pub client_request_timeout_ms: u64,
    /// Time for the body of a beacon to arrive after its head; then 408.
    pub client_body_timeout_ms: u64,
    /// Longest wait for the stream to acknowledge a hit whose level is [`stream::Level::Stream`]; then
    /// it is answered as one that is not safe. It is in the log and goes to the stream all the same.
    pub stream_timeout_ms: u64,
    /// Time for a closing client to take the rest of its answer.
    pub client_disconnect_timeout_ms: u64,
    /// Time for hits in flight to finish at shutdown.
    pub shutdown_timeout_seconds: u64,
}

/// The durability that a hit of each route reaches before it is answered.
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
/// conversion if it has one. `/b?report=1` answers entry by entry.
///
/// So a pixel's 200 means "in the log, or refused by a rule"; a browser shows the image whatever the
/// status. A click is redirected even when the log is full or has failed, because a user waits for
/// the page; that is counted and noted in the answer.
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

/// Limits of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parameters of a query.
    pub parameters_max: usize,
    /// A parameter's name, decoded.
    pub name_bytes_max: usize,
    /// A parameter's value, decoded.
    pub value_bytes_max: usize,
    /// Method, target and version; beyond it a hit is refused as `too_large`. A line beyond 64 KiB is
    /// not read: 414.
    pub request_line_bytes_max: usize,
    /// Names and values of all headers; beyond it, or beyond 100 headers, 431.
    pub header_bytes_max: usize,
    /// Body of a beacon.
    pub body_bytes_max: usize,
    /// Bodies, and heads beyond 8 KiB, that a worker holds at a time; beyond it a beacon is shed and
    /// a head refused with 503.
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
            stream_timeout_ms: 5_000,
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

/// Separated by spaces.
const RESERVED: &str = "cb ord _ t r v sum id click value currency gdpr gdpr_consent gpp gpp_sid us_privacy";

/// Campaign parameters, and the click ids and linkers that ad platforms append: the author of a link
/// cannot prevent them.
const ALLOWED: &str = "utm_* gclid gbraid wbraid dclid gclsrc fbclid msclkid ttclid twclid li_fat_id \
                       yclid rdt_cid ScCid epik igshid srsltid mc_cid mc_eid _ga _gl";

fn owned(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

impl Limits {
    /// The limits that apply to parameters.
    pub fn of_parameters(&self) -> ParameterLimits {
        ParameterLimits {
            parameters_max: self.parameters_max,
            name_bytes_max: self.name_bytes_max,
            value_bytes_max: self.value_bytes_max,
        }
    }
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tracker.{key} is {value:?}, which is not {expected}")]
pub struct ConfigError {
    /// The dotted key, relative to the table `tracker`.
    pub key: &'static str,
    /// Its value.
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
}
