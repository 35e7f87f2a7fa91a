//! The head of a request: what it asks for, and where its body ends.
//!
//! `httparse` finds the fields. What it takes and another reader on the way might understand
//! differently is refused here: a line that ends without CR, two hosts, two lengths, a length
//! beside a coding. What a target or a value *says* is nobody's business here: browsers, mail
//! clients and ad servers send `|`, `{macro}` and Latin-1, and a person waits behind each click.

use std::{mem::MaybeUninit, net::IpAddr};

use httparse::{Error, Header, Status};

use super::{host::is_host, malformed::Malformed};
use crate::request::head::{Head, Headers, Method};

mod framing;

use framing::Fields;
pub use framing::Framing;

/// Fields of a head; browsers send about 15, a load balancer adds 5.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a request line, beyond which it is not read. What is above
/// `limits.request_line_bytes_max` and below is a hit that is refused as one.
pub const LINE_BYTES_MAX: usize = 64 * 1_024;
/// Line breaks before a request line that are skipped (RFC 9112, section 2.2, asks for one).
pub const BLANK_BYTES_MAX: usize = 16;

/// Bytes of a whole head: a line, names and values of `header_bytes_max`, and what is between them.
pub fn head_bytes_max(header_bytes_max: usize) -> usize {
    LINE_BYTES_MAX + header_bytes_max + HEADERS_MAX * ": \r\n".len() + "\r\n".len()
}

/// A request whose head is whole.
#[derive(Debug)]
pub struct Request<'b> {
    /// What it says.
    pub head: Head<'b>,
    /// Where its body ends.
    pub body: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection ends with its answer.
    pub is_last: bool,
    /// Whether its answer must say that the connection goes on: HTTP/1.0 ends it by default.
    pub says_keep_alive: bool,
    /// Bytes of its head.
    pub bytes: usize,
}

/// Reads the head at the start of `bytes`, which `peer` sent; `None` if it is not whole yet.
///
/// # Errors
/// Why it is refused. The connection cannot go on then.
pub fn parse(
    bytes: &[u8],
    peer: Option<IpAddr>,
    header_bytes_max: usize,
) -> Result<Option<Request<'_>>, Malformed> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) => read(&request, &bytes[..length], peer, header_bytes_max).map(Some),
        Ok(Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(Malformed::HeadersTooLarge),
        Err(Error::Version) if names_a_version(bytes) => Err(Malformed::Version),
        Err(_) => Err(Malformed::Syntax),
    }
}

fn read<'b>(
    request: &httparse::Request<'_, 'b>,
    bytes: &'b [u8],
    peer: Option<IpAddr>,
    header_bytes_max: usize,
) -> Result<Request<'b>, Malformed> {
    if count_of_cr(bytes) != LINES_BESIDE_FIELDS + request.headers.len() {
        return Err(Malformed::Syntax);
    }
    let (name, sent_target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
    let method = match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        "CONNECT" => return Err(Malformed::Method),
        _ => Method::Other,
    };
    let request_line_bytes = name.len() + sent_target.len() + "  HTTP/1.1\r\n".len();
    if request_line_bytes > LINE_BYTES_MAX {
        return Err(Malformed::LineTooLong);
    }
    let is_1_0 = request.version == Some(0);
    let fields = pick(request.headers, header_bytes_max)?;
    if fields.hosts != 1 && !(is_1_0 && fields.hosts == 0) {
        return Err(Malformed::Host);
    }
    let target = target(sent_target, method)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = fields.framing.body(is_1_0)?;
    Ok(Request {
        // Another protocol may follow an Upgrade that we ignore (RFC 9110, section 7.8).
        is_last: fields.closes || fields.upgrades || (is_1_0 && !fields.keeps_alive),
        says_keep_alive: is_1_0,
        // HTTP/1.0 has no interim answers (RFC 9110, section 10.1.1).
        expects_continue: !is_1_0 && fields.expects_continue()?,
        head: Head { method, target, path, query, request_line_bytes, peer, headers: fields.headers },
        body,
        bytes: bytes.len(),
    })
}

/// The request line, and the empty line at the end.
const LINES_BESIDE_FIELDS: usize = 2;

/// A lone LF is a line's end to some readers only, and to `httparse` as well. But that takes a CR
/// before an LF and nowhere else, so there are as many as lines if none ends with an LF alone.
fn count_of_cr(head: &[u8]) -> usize {
    // Sums of a byte let the compiler compare many bytes at a time; a part must not overflow one.
    const PART_BYTES: usize = 240;
    let in_part = |part: &[u8]| part.iter().map(|byte| u8::from(*byte == b'\r')).sum::<u8>();
    head.chunks(PART_BYTES).map(|part| usize::from(in_part(part))).sum()
}

/// Whether the first line ends with `HTTP/` and two digits that are none of ours, so that it is
/// HTTP of another version.
fn names_a_version(bytes: &[u8]) -> bool {
    let line =
        bytes.trim_ascii_start().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let is_ours = matches!(version, b"HTTP/1.0" | b"HTTP/1.1");
    let is_one = matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    is_one && !is_ours
}

/// Path and query of a target (RFC 9112, section 3.2), without its fragment, which is not a part
/// of a request but which some clients send.
fn target(sent: &str, method: Method) -> Result<&str, Malformed> {
    let sent = memchr::memchr(b'#', sent.as_bytes()).map_or(sent, |at| &sent[..at]);
    if sent.starts_with('/') || (sent == "*" && method == Method::Options) {
        return Ok(sent);
    }
    let (scheme, rest) = sent.split_once("://").ok_or(Malformed::Target)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(Malformed::Target);
    }
    let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
    if !is_host(&rest.as_bytes()[..authority_bytes]) {
        return Err(Malformed::Target);
    }
    Ok(&rest[authority_bytes..])
}

/// The fields that concern us.
fn pick<'b>(all: &[Header<'b>], bytes_max: usize) -> Result<Fields<'b>, Malformed> {
    let mut fields = Fields::default();
    let mut bytes = 0;
    for header in all {
        let (name, value) = (header.name, header.value);
        bytes += name.len() + value.len();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let headers: &mut Headers<'b> = &mut fields.headers;
        // By length first: most fields are none of these.
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
    if bytes > bytes_max { Err(Malformed::HeadersTooLarge) } else { Ok(fields) }
}

fn first<'b>(place: &mut Option<&'b [u8]>, value: &'b [u8]) {
    place.get_or_insert(value);
}

#[cfg(test)]
mod tests;
