//! Explains step by step why a request is accepted or refused.
//!
//! The steps come from the function that decides on hits, so the explanation cannot differ from the
//! decision. Nothing is recorded or counted.
//!
//! A beacon is explained in its form as a pixel, `GET /b?d={…}`, one entry at a time.

use programs::decision::{self, Decision, Step};
use programs::rfc3339;
use serde::{Deserialize, Serialize};
use supervise::now_ms;

use crate::{
    edge::beacon::data_of,
    edge::decider::Decider,
    http::parse::parse as parse_head,
    request::beacon::parse,
    request::error::RequestError,
    request::hit::{Client, Hit},
    request::routes::Target,
};

/// The request to explain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Defaults to `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// A path with its query, or a whole URL. The query need not be escaped.
    pub url: String,
    /// Names and values, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The time to decide for, in milliseconds since 1970; defaults to now.
    #[serde(default)]
    pub at_ms: Option<u64>,
}

fn get() -> String {
    "GET".into()
}

/// The decision on a request, and how it comes about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `event`, `impression`, `click`, `conversion` or `beacon`.
    pub route: &'static str,
    /// The time it was decided for.
    pub at: String,
    /// The checks in their order, up to the first that failed.
    pub steps: Vec<Step>,
    /// Whether an event would be appended to the log.
    pub recorded: bool,
    /// The result of the steps.
    #[serde(flatten)]
    pub decision: Decision,
}

/// Why a request cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// It is not a request.
    #[error("{field} {value:?} cannot be used: {reason}")]
    NotARequest {
        /// `method`, `url` or `headers`.
        field: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// It is a request, but not to a tracking route.
    #[error("{0:?} is not a path of /event, /i, /c, /v or /b")]
    NotAHit(String),
}

impl Decider {
    /// Explains step by step why the edge would accept or refuse `request`. Records nothing.
    ///
    /// # Errors
    /// It is not a request to a tracking route.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
        let bytes = bytes_of(request)?;
        let wrong = |field, reason: &str| {
            let value = if field == "url" { request.url.clone() } else { String::new() };
            ExplainError::NotARequest { field, value, reason: reason.to_owned() }
        };
        let head = match parse_head(&bytes, None, self.config.limits.header_bytes_max) {
            Ok(Some(request)) => request.head,
            Ok(None) => return Err(wrong("url", "it is not one line")),
            Err(error @ (RequestError::HeadersTooLarge | RequestError::Host)) => {
                return Err(wrong("headers", error.name()));
            }
            Err(error) => return Err(wrong("url", error.name())),
        };
        let at_ms = request.at_ms.unwrap_or_else(now_ms);
        let data;
        let hit = match Target::of(head.path, &self.config.prefixes) {
            Target::Hit(route, program) => Hit::read(route, program, &head, &self.config, at_ms),
            Target::Beacon => {
                data = data_of(&head).map_err(|reason| wrong("url", reason))?;
                let entries = parse(&data, &self.config.limits);
                let mut entries = entries.map_err(|error| wrong("url", &error.to_string()))?;
                let entry = entries.pop().filter(|_| entries.is_empty());
                let entry = entry.ok_or_else(|| wrong("url", "d: one entry can be explained at a time"))?;
                Hit::of_entry(entry, &head, Client::read(&head, &self.config), at_ms)
            }
            _ => return Err(ExplainError::NotAHit(head.path.to_owned())),
        };
        let verdict = self.verdict(&hit, now_ms()).await;
        let (steps, decision) = decision::explain(&hit.candidate(), &verdict, at_ms, &self.rules);
        Ok(Explanation {
            route: hit.route.name(),
            at: rfc3339::format_ms(at_ms),
            steps,
            recorded: hit.client.counted && decision == Decision::Accepted,
            decision,
        })
    }
}

/// Escapes the query as a browser does, so that a beacon's JSON can be typed unescaped.
fn escape_query(url: &str) -> String {
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let mut sent = path.to_owned();
    for byte in query.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                sent.push_str(&format!("%{byte:02X}"))
            }
            b'!'..=b'~' => sent.push(byte.into()),
            _ => sent.push_str(&format!("%{byte:02X}")),
        }
    }
    sent
}

/// The bytes of the request.
fn bytes_of(request: &ExplainRequest) -> Result<Vec<u8>, ExplainError> {
    let wrong = |field, value: &str, reason: &str| ExplainError::NotARequest {
        field,
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(wrong("method", &request.method, "the tracking routes take GET and HEAD"));
    }
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, escape_query(&request.url)).into_bytes();
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        bytes.extend_from_slice(b"host: explained\r\n");
    }
    for (name, value) in &request.headers {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(wrong("headers", name, "it is not the name of a header"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(wrong("headers", value, "a header holds no control characters"));
        }
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}
