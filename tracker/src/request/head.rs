//! The parts of a request head that the tracker uses.

use std::net::IpAddr;

/// The methods that some route supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: the same answer without its body.
    Head,
    /// POST.
    Post,
    /// OPTIONS.
    Options,
    /// Any other; no route supports it.
    Other,
}

impl Method {
    /// Whether it is GET or HEAD.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// The head of a request, borrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head<'r> {
    /// The method.
    pub method: Method,
    /// Path and query as they were sent.
    pub target: &'r str,
    /// The path, not decoded.
    pub path: &'r str,
    /// The query, not decoded; empty if there is none.
    pub query: &'r str,
    /// Bytes of the request line: method, target, version, line break.
    pub request_line_bytes: usize,
    /// The address of the peer.
    pub peer: Option<IpAddr>,
    /// The headers that the tracker uses.
    pub headers: Headers<'r>,
}

/// The first value of each header that the tracker uses.
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
    /// `X-Purpose`.
    pub x_purpose: Option<&'r [u8]>,
    /// `X-Moz`.
    pub x_moz: Option<&'r [u8]>,
    /// `Origin`.
    pub origin: Option<&'r [u8]>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'r [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'r [u8]>,
    /// All values of `X-Forwarded-For`, in order.
    pub forwarded_for: Vec<&'r [u8]>,
}

impl Head<'_> {
    /// Whether a browser only prefetches or prerenders: the user has not seen or clicked anything
    /// yet.
    pub fn is_speculative(&self) -> bool {
        let headers = &self.headers;
        let purposes = [headers.sec_purpose, headers.purpose, headers.x_purpose, headers.x_moz];
        purposes.into_iter().flatten().any(is_speculative)
    }
}

/// The values that browsers send: `prefetch`, `prefetch;prerender`, and Safari's `preview`.
fn is_speculative(purpose: &[u8]) -> bool {
    let starts_with =
        |word: &[u8]| purpose.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    starts_with(b"prefetch") || starts_with(b"preview") || starts_with(b"prerender")
}
