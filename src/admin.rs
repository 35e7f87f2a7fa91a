//! The owner's second address: the operations over HTTP, metrics, and the [`page`] for people.
//!
//! One worker; it never touches a hit. Whoever may send what is decided by the [`guard`]
//! before a body is read; what a client may cost is bounded by its [`connection`]. Bodies are
//! bounded by `admin.body_bytes_max`, answers by the pages of the operations (a list of all
//! programs is the one exception).

mod connection;
mod guard;
pub mod metrics;
mod page;
mod stats;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::web::Bytes;
use actix_web::{App, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::ops::{Op, OpError};
use crate::owner::Owner;
use guard::{Asked, Guard};
#[cfg(test)]
pub use page::POLICY as PAGE_POLICY;
use stats::Stats;

/// On every answer. Event data is never anything but data here.
const HEADERS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

/// The admin address, taken and not yet served.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    token: String,
}

impl Admin {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be taken.
    pub fn bind(listen: SocketAddr, token: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, token })
    }

    /// Its address, as reached from this machine.
    pub fn address(&self) -> SocketAddr {
        from_here(self.address)
    }

    /// Serves `owner`, inside an actix system; the server is to be spawned.
    ///
    /// # Errors
    /// The worker cannot be started.
    pub fn serve(self, owner: Arc<Owner>, prometheus: PrometheusHandle) -> std::io::Result<Server> {
        let guard = Guard::new(self.address, &owner.settings.admin.hosts, self.token);
        let stats = Stats::new(prometheus.clone());
        let site = web::Data::new(Site { owner, guard, prometheus, stats });
        let sampled = site.clone();
        actix_web::rt::spawn(async move { sampled.stats.follow().await });
        let app = move || App::new().app_data(site.clone()).default_service(web::to(answer));
        connection::serve(self.listener, app)
    }
}

struct Site {
    owner: Arc<Owner>,
    guard: Guard,
    prometheus: PrometheusHandle,
    stats: Stats,
}

/// `address` as it is reached from this machine.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => {
            address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
        }
        _ => {}
    }
    address
}

async fn answer(request: HttpRequest, payload: web::Payload, site: web::Data<Site>) -> HttpResponse {
    let asked = Asked {
        method: request.method().as_str(),
        host: host(&request),
        origin: header(request.headers(), "origin"),
        content_type: header(request.headers(), "content-type"),
        authorization: header(request.headers(), "authorization"),
    };
    if let Err(refused) = site.guard.check(&asked) {
        return refusal(&refused);
    }
    let reads = matches!(request.method().as_str(), "GET" | "HEAD");
    if reads && let Some(answer) = page::answer(request.path()) {
        return answer;
    }
    match (request.method().as_str(), request.path()) {
        ("GET" | "HEAD", "/stats") => respond(StatusCode::OK).json(stats(&site).await),
        ("GET" | "HEAD", "/metrics") => {
            let text = metrics::render(&site.owner, &site.prometheus).await;
            respond(StatusCode::OK).content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
        }
        _ => match operate(&request, payload, &site).await {
            Ok(answer) => respond(StatusCode::OK).json(answer),
            Err(error) => refusal(&error),
        },
    }
}

/// What the page shows each second.
async fn stats(site: &Site) -> serde_json::Value {
    let mut stats = site.stats.to_json();
    stats["version"] = json!(crate::cli::VERSION);
    stats["consumes"] = json!(site.owner.runs("consumer"));
    stats["ships"] = json!(site.owner.runs("shipper"));
    let tracker = site.owner.running_tracker();
    stats["hits"] = json!(tracker.map(|tracker| from_here(tracker.address())));
    if let Some(tracker) = tracker {
        stats["health"] = json!(tracker.health());
        stats["catalog"] = json!(tracker.catalog().await);
    }
    stats
}

async fn operate(
    request: &HttpRequest,
    payload: web::Payload,
    site: &Site,
) -> Result<serde_json::Value, OpError> {
    let method = match request.method().as_str() {
        "HEAD" => "GET",
        method => method,
    };
    let body = if Op::takes_body(method, request.path()) {
        read_body(request.headers(), payload, site.owner.settings.admin.body_bytes_max).await?
    } else {
        Bytes::new()
    };
    Op::of_call(method, request.path(), request.query_string(), &body)?.run(&site.owner).await
}

/// Reads the body, if it can be taken at all.
async fn read_body(headers: &HeaderMap, payload: web::Payload, limit: usize) -> Result<Bytes, OpError> {
    if connection::says_no_length(headers) {
        return Err(OpError::Refused(411, "a body needs a Content-Length here".to_owned()));
    }
    let too_large =
        || OpError::Refused(413, format!("the body is larger than admin.body_bytes_max, {limit} bytes"));
    let length = header(headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match payload.to_bytes_limited(limit).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let reason = format!("the body cannot be read: {error}");
            Err(if is_late(&error) { OpError::Refused(408, reason) } else { OpError::invalid(reason) })
        }
        Err(_) => Err(too_large()),
    }
}

/// Whether a body did not arrive in time.
fn is_late(error: &actix_web::Error) -> bool {
    matches!(error.as_error(), Some(PayloadError::Io(error)) if error.kind() == ErrorKind::TimedOut)
}

/// Whom the request is for: an absolute target wins over its Host (RFC 9112, 3.2.2).
fn host(request: &HttpRequest) -> Option<&str> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    target.or_else(|| header(request.headers(), "host"))
}

/// The header's value; what is no text or is given twice fits nothing.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let name = HeaderName::try_from(name).ok()?;
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    Some(value.to_str().unwrap_or(""))
}

fn refusal(error: &OpError) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status).json(error.to_json())
}

fn respond(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    for header in HEADERS {
        response.insert_header(header);
    }
    response
}
