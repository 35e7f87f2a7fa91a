//! What of a request's head concerns a hit.
//!
//! Two parsers read requests: our own, for the hits that make up nearly all of the load (see
//! [`crate::http::connection`]), and actix-http, for everything else. Both fill this, so that a hit
//! is the same hit whoever read it.

use std::net::IpAddr;

use actix_http::{
    Method, RequestHead,
    header::{HeaderMap, HeaderName, REFERER, USER_AGENT},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The head of a request, borrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head<'r> {
    /// Path and query as they were sent.
    pub target: &'r str,
    /// The path, not decoded.
    pub path: &'r str,
    /// The query, not decoded; empty if there is none.
    pub query: &'r str,
    /// Bytes of the request line: method, target, version.
    pub request_line_bytes: usize,
    /// Whether it is HEAD: the same answer without its body.
    pub body_withheld: bool,
    /// Who is at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// The headers that say something about a hit.
    pub headers: Headers<'r>,
}

/// The first value of each header that says something about a hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers<'r> {
    /// `User-Agent`.
    pub user_agent: Option<&'r [u8]>,
    /// `Referer`.
    pub referrer: Option<&'r [u8]>,
    /// `traceparent`.
    pub traceparent: Option<&'r [u8]>,
    /// `Sec-GPC`.
    pub gpc: Option<&'r [u8]>,
    /// `Sec-Purpose`.
    pub sec_purpose: Option<&'r [u8]>,
    /// `Purpose`.
    pub purpose: Option<&'r [u8]>,
    /// All values of `X-Forwarded-For`, in their order.
    pub forwarded_for: Vec<&'r [u8]>,
}

impl<'r> Head<'r> {
    /// What actix-http read.
    pub fn of(head: &'r RequestHead) -> Self {
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        Self {
            target,
            path: head.uri.path(),
            query: head.uri.query().unwrap_or(""),
            request_line_bytes: request_line_bytes(head.method.as_str(), target),
            body_withheld: head.method == Method::HEAD,
            peer: head.peer_addr.map(|peer| peer.ip()),
            headers: Headers::of(&head.headers),
        }
    }
}

impl<'r> Headers<'r> {
    fn of(headers: &'r HeaderMap) -> Self {
        let first = |name: HeaderName| headers.get(name).map(|value| value.as_bytes());
        Self {
            user_agent: first(USER_AGENT),
            referrer: first(REFERER),
            traceparent: first(TRACEPARENT),
            gpc: first(SEC_GPC),
            sec_purpose: first(SEC_PURPOSE),
            purpose: first(PURPOSE),
            forwarded_for: headers.get_all(FORWARDED_FOR).map(|value| value.as_bytes()).collect(),
        }
    }
}

/// Bytes of `METHOD target HTTP/1.1` and its line break.
pub fn request_line_bytes(method: &str, target: &str) -> usize {
    method.len() + target.len() + "  HTTP/1.1\r\n".len()
}
