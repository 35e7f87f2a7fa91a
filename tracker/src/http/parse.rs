//! Parses the head of a request: target, headers, and where the body ends.
//!
//! `httparse` finds the fields. Anything it accepts that another HTTP reader on the path could
//! interpret differently is refused here: a line that ends in a bare LF, two hosts, two lengths, a
//! length together with a transfer coding. The content of targets and values is not judged:
//! browsers, mail clients and ad servers send `|`, `{macro}` and Latin-1, and a user waits behind
//! each click.

use std::{mem::MaybeUninit, net::IpAddr};

use httparse::{Error, Header, Status};

use super::host::is_host;
use crate::{
    request::error::RequestError,
    request::head::{Head, Headers, Method},
};

mod framing;

use framing::Fields;
pub use framing::Framing;

/// Header fields of a request; browsers send about 15, a load balancer adds 5.
pub const HEADERS_MAX: usize = 100;
/// Bytes of the longest request line that is parsed at all. One between
/// `limits.request_line_bytes_max` and this is a hit that is refused as too large.
pub const LINE_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of line breaks skipped before a request line (RFC 9112, section 2.2, asks for one).
pub const BLANK_BYTES_MAX: usize = 16;

/// Bytes of the largest head: the request line, `header_bytes_max` of names and values, and their
/// separators.
pub fn head_bytes_max(header_bytes_max: usize) -> usize {
    LINE_BYTES_MAX + header_bytes_max + HEADERS_MAX * ": \r\n".len() + "\r\n".len()
}

/// A request with a complete head.
#[derive(Debug)]
pub struct Request<'b> {
    /// The head.
    pub head: Head<'b>,
    /// Where its body ends.
    pub body: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection closes after its answer.
    pub is_last: bool,
    /// Whether its answer must say `keep-alive`, as HTTP/1.0 closes by default.
    pub says_keep_alive: bool,
    /// Bytes of the head.
    pub bytes: usize,
}

/// Parses the head at the start of `bytes`, sent by `peer`; `None` while it is incomplete.
///
/// # Errors
/// Why the request is refused. The connection must be closed.
pub fn parse(
    bytes: &[u8],
    peer: Option<IpAddr>,
    header_bytes_max: usize,
) -> Result<Option<Request<'_>>, RequestError> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) => read(&request, &bytes[..length], peer, header_bytes_max).map(Some),
        Ok(Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(RequestError::HeadersTooLarge),
        // A well-formed request of another version deserves a 505, garbage a 400.
        Err(Error::Version) if names_another_version(bytes) => Err(RequestError::Version),
        Err(_) => Err(RequestError::Syntax),
    }
}

fn read<'b>(
    request: &httparse::Request<'_, 'b>,
    bytes: &'b [u8],
    peer: Option<IpAddr>,
    header_bytes_max: usize,
) -> Result<Request<'b>, RequestError> {
    if count_cr(bytes) != LINES_BESIDES_FIELDS + request.headers.len() {
        return Err(RequestError::Syntax);
    }
    let name = request.method.unwrap_or("");
    let sent_target = request.path.unwrap_or("");
    let method = match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        // Its target is not a path, and it would turn the connection into a tunnel.
        "CONNECT" => return Err(RequestError::Method),
        _ => Method::Other,
    };
    let request_line_bytes = name.len() + sent_target.len() + "  HTTP/1.1\r\n".len();
    if request_line_bytes > LINE_BYTES_MAX {
        return Err(RequestError::LineTooLong);
    }
    let is_1_0 = request.version == Some(0);
    let fields = read_fields(request.headers, header_bytes_max)?;
    // HTTP/1.0 predates `Host`.
    if fields.hosts != 1 && !(is_1_0 && fields.hosts == 0) {
        return Err(RequestError::Host);
    }
    let target = target(sent_target, method)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = fields.framing.body(is_1_0)?;
    Ok(Request {
        // A client whose Upgrade we ignore may still go on in another protocol (RFC 9110, section 7.8).
        is_last: fields.closes || fields.upgrades || (is_1_0 && !fields.keeps_alive),
        says_keep_alive: is_1_0,
        // HTTP/1.0 has no interim responses (RFC 9110, section 10.1.1).
        expects_continue: !is_1_0 && fields.expects_continue()?,
        head: Head { method, target, path, query, request_line_bytes, peer, headers: fields.headers },
        body,
        bytes: bytes.len(),
    })
}

/// The request line and the empty line at the end.
const LINES_BESIDES_FIELDS: usize = 2;

/// Counts the CRs of a head. `httparse` accepts a bare LF as a line ending, which some readers do
/// not. It accepts a CR only before an LF, so there is one CR per line exactly if no line ends in a
/// bare LF.
fn count_cr(head: &[u8]) -> usize {
    // Summing into a `u8` lets the compiler vectorise; a part must be short enough not to overflow it.
    const PART_BYTES: usize = 240;
    let in_part = |part: &[u8]| part.iter().map(|byte| u8::from(*byte == b'\r')).sum::<u8>();
    head.chunks(PART_BYTES).map(|part| usize::from(in_part(part))).sum()
}

/// Whether the first line ends with an HTTP version other than 1.0 and 1.1.
fn names_another_version(bytes: &[u8]) -> bool {
    let line =
        bytes.trim_ascii_start().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let is_supported = matches!(version, b"HTTP/1.0" | b"HTTP/1.1");
    let is_version = matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    is_version && !is_supported
}

/// Path and query of a target (RFC 9112, section 3.2). A fragment does not belong in a request, but
/// some clients send one: it is cut off.
fn target(sent: &str, method: Method) -> Result<&str, RequestError> {
    let sent = memchr::memchr(b'#', sent.as_bytes()).map_or(sent, |at| &sent[..at]);
    // Origin form, or the asterisk form of OPTIONS; anything else must be the absolute form.
    if sent.starts_with('/') || (sent == "*" && method == Method::Options) {
        return Ok(sent);
    }
    let (scheme, rest) = sent.split_once("://").ok_or(RequestError::Target)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(RequestError::Target);
    }
    let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
    if !is_host(&rest.as_bytes()[..authority_bytes]) {
        return Err(RequestError::Target);
    }
    Ok(&rest[authority_bytes..])
}

/// Reads the fields that matter to us.
fn read_fields<'b>(all: &[Header<'b>], bytes_max: usize) -> Result<Fields<'b>, RequestError> {
    let mut fields = Fields::default();
    let mut bytes = 0;
    for header in all {
        let Header { name, value } = *header;
        bytes += name.len() + value.len();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let headers: &mut Headers<'b> = &mut fields.headers;
        // By length first, which rules out most other fields without comparing names.
        match name.len() {
            4 if is("host") => fields.add_host(value)?,
            5 if is("x-moz") => first(&mut headers.x_moz, value),
            6 if is("expect") => first(&mut fields.expect, value),
            6 if is("origin") => first(&mut headers.origin, value),
            7 if is("referer") => first(&mut headers.referrer, value),
            7 if is("sec-gpc") => first(&mut headers.gpc, value),
            7 if is("purpose") => first(&mut headers.purpose, value),
            7 if is("upgrade") => fields.upgrades = true,
            9 if is("x-purpose") => first(&mut headers.x_purpose, value),
            10 if is("user-agent") => first(&mut headers.user_agent, value),
            10 if is("connection") => fields.add_connection(value),
            11 if is("traceparent") => first(&mut headers.traceparent, value),
            11 if is("sec-purpose") => first(&mut headers.sec_purpose, value),
            13 if is("if-none-match") => first(&mut headers.if_none_match, value),
            14 if is("content-length") => fields.framing.add_length(value)?,
            15 if is("x-forwarded-for") => headers.forwarded_for.push(value),
            16 if is("content-encoding") => first(&mut headers.content_encoding, value),
            17 if is("transfer-encoding") => fields.framing.add_coding(value),
            _ => {}
        }
    }
    if bytes > bytes_max { Err(RequestError::HeadersTooLarge) } else { Ok(fields) }
}

fn first<'b>(slot: &mut Option<&'b [u8]>, value: &'b [u8]) {
    slot.get_or_insert(value);
}

#[cfg(test)]
mod tests;
