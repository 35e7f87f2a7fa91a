//! The owner's second address: the operations over HTTP, and metrics.
//!
//! One worker; it never touches a hit. Whoever may send what is decided by the [`guard`]
//! before a body is read. Bodies are bounded by `admin.body_bytes_max`, answers by the pages
//! of the operations (a list of all programs is the one exception).

mod guard;
mod metrics;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::ops::{Op, OpError};
use crate::owner::Owner;
use guard::{Asked, Guard};

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

    /// As it is reached from this machine.
    pub fn address(&self) -> SocketAddr {
        let mut address = self.address;
        match address {
            SocketAddr::V4(_) if address.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
            SocketAddr::V6(_) if address.ip().is_unspecified() => {
                address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
            }
            _ => {}
        }
        address
    }

    /// Serves `owner`, inside an actix system; the server is to be spawned.
    ///
    /// # Errors
    /// The worker cannot be started.
    pub fn serve(
        self,
        owner: Arc<Owner>,
        prometheus: PrometheusHandle,
    ) -> std::io::Result<(Server, ServerHandle)> {
        let guard = Guard::new(self.address, &owner.settings.admin.hosts, self.token);
        let site = web::Data::new(Site { owner, guard, prometheus });
        let server =
            HttpServer::new(move || App::new().app_data(site.clone()).default_service(web::to(answer)))
                .workers(1)
                .shutdown_timeout(2)
                .disable_signals()
                .listen(self.listener)?
                .run();
        let handle = server.handle();
        Ok((server, handle))
    }
}

struct Site {
    owner: Arc<Owner>,
    guard: Guard,
    prometheus: PrometheusHandle,
}

async fn answer(request: HttpRequest, payload: web::Payload, site: web::Data<Site>) -> HttpResponse {
    let asked = Asked {
        method: request.method().as_str(),
        host: header(request.headers(), "host"),
        origin: header(request.headers(), "origin"),
        content_type: header(request.headers(), "content-type"),
        authorization: header(request.headers(), "authorization"),
    };
    if let Err(refused) = site.guard.check(&asked) {
        return json(&refused);
    }
    match (request.method().as_str(), request.path()) {
        ("GET" | "HEAD", "/") => {
            let line = format!("clickgate {}: the admin address\n", crate::cli::VERSION);
            respond(StatusCode::OK).content_type("text/plain; charset=utf-8").body(line)
        }
        ("GET" | "HEAD", "/metrics") => {
            let text = metrics::render(&site.owner, &site.prometheus).await;
            respond(StatusCode::OK).content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
        }
        _ => match operate(&request, payload, &site).await {
            Ok(answer) => respond(StatusCode::OK).json(answer),
            Err(error) => json(&error),
        },
    }
}

async fn operate(
    request: &HttpRequest,
    payload: web::Payload,
    site: &Site,
) -> Result<serde_json::Value, OpError> {
    let limit = site.owner.settings.admin.body_bytes_max;
    let body = match payload.to_bytes_limited(limit).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(OpError::invalid(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let reason = format!("the body is larger than admin.body_bytes_max, {limit} bytes");
            return Err(OpError::Refused(413, reason));
        }
    };
    let method = match request.method().as_str() {
        "HEAD" => "GET",
        method => method,
    };
    Op::of_call(method, request.path(), request.query_string(), &body)?.run(&site.owner).await
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

fn json(error: &OpError) -> HttpResponse {
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
