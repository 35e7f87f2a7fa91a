//! Tells a plain hit from everything else.
//!
//! A plain hit is a whole head of `GET` + a target in ordinary characters + `HTTP/1.1`, on a
//! tracking route, with one `Host`, with no header that announces a body or changes the
//! protocol, within the limits. The heads that are none go to actix-http, which knows all the rest:
//! so nothing here needs to be lenient, and nothing here refuses.

use std::{mem::MaybeUninit, net::SocketAddr};

use httparse::{Header, Request, Status};

use crate::{
    config::Config,
    head::{Head, Headers, request_line_bytes},
    routes::{HitRoute, Target},
};

/// Headers of a plain hit; browsers send about 15.
const HEADERS_MAX: usize = 48;

/// What a connection sent.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one hit; a box would be an allocation each"
)]
pub enum Read<'b> {
    /// A hit that needs nothing but an answer.
    Hit(Plain<'b>),
    /// The start of a head.
    Part,
    /// Anything else.
    Other,
}

/// A plain hit.
pub struct Plain<'b> {
    pub route: HitRoute,
    /// The program id as it was written.
    pub program: &'b str,
    pub head: Head<'b>,
    /// Whether the client wants the connection closed after it.
    pub last: bool,
    /// Its length in the bytes.
    pub bytes: usize,
}

/// Reads the first request of `bytes`, which `peer` sent.
pub fn read<'b>(bytes: &'b [u8], peer: Option<SocketAddr>, config: &Config) -> Read<'b> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => match plain(&request, length, peer, config) {
            Some(hit) => Read::Hit(hit),
            None => Read::Other,
        },
        Ok(Status::Partial) => Read::Part,
        Err(_) => Read::Other,
    }
}

fn plain<'b>(
    request: &Request<'_, 'b>,
    bytes: usize,
    peer: Option<SocketAddr>,
    config: &Config,
) -> Option<Plain<'b>> {
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let target = request.path.filter(|target| is_ordinary(target))?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Target::Hit(route, program) = Target::of(path, &config.prefixes) else {
        return None;
    };
    let (headers, last) = pick(request.headers, config.limits.header_bytes_max)?;
    let head = Head {
        target,
        path,
        query,
        request_line_bytes: request_line_bytes("GET", target),
        body_withheld: false,
        peer: peer.map(|peer| peer.ip()),
        headers,
    };
    Some(Plain { route, program, head, last, bytes })
}

/// A path and a query in characters that every reader of URIs takes as they are (RFC 3986,
/// without the rare ones).
fn is_ordinary(target: &str) -> bool {
    const ORDINARY: [bool; 256] = {
        let mut ordinary = [false; 256];
        let known = b"-._~:/?@!$&'()*+,;=%";
        let mut at = 0;
        while at < known.len() {
            ordinary[known[at] as usize] = true;
            at += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            if (byte as u8).is_ascii_alphanumeric() {
                ordinary[byte] = true;
            }
            byte += 1;
        }
        ordinary
    };
    target.starts_with('/') && target.bytes().all(|byte| ORDINARY[usize::from(byte)])
}

/// The headers that concern a hit, and whether one says that the connection ends. `None` if one
/// concerns the connection in another way.
fn pick<'b>(all: &[Header<'b>], bytes_max: usize) -> Option<(Headers<'b>, bool)> {
    let mut picked = Headers::default();
    let (mut bytes, mut hosts, mut last) = (0, 0, false);
    for header in all {
        let (name, value) = (header.name, header.value);
        bytes += name.len() + value.len();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // By length first: most headers are none of these.
        match name.len() {
            4 if is("host") => hosts += 1,
            6 if is("expect") => return None,
            7 if is("referer") => first(&mut picked.referrer, value),
            7 if is("sec-gpc") => first(&mut picked.gpc, value),
            7 if is("purpose") => first(&mut picked.purpose, value),
            7 if is("upgrade") => return None,
            10 if is("user-agent") => first(&mut picked.user_agent, value),
            10 if is("connection") && value.eq_ignore_ascii_case(b"keep-alive") => {}
            10 if is("connection") && value.eq_ignore_ascii_case(b"close") => last = true,
            10 if is("connection") => return None,
            11 if is("traceparent") => first(&mut picked.traceparent, value),
            11 if is("sec-purpose") => first(&mut picked.sec_purpose, value),
            14 if is("content-length") => return None,
            15 if is("x-forwarded-for") => picked.forwarded_for.push(value),
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    (hosts == 1 && bytes <= bytes_max).then_some((picked, last))
}

fn first<'b>(place: &mut Option<&'b [u8]>, value: &'b [u8]) {
    place.get_or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(request: &str) -> bool {
        matches!(read(request.as_bytes(), None, &Config::default()), Read::Hit(_))
    }

    fn with(headers: &str) -> String {
        format!("GET /i/1.gif?a=%20&b=c HTTP/1.1\r\nhost: t\r\n{headers}\r\n")
    }

    #[test]
    fn a_plain_hit_is_read_with_all_that_concerns_it() {
        let request = with(
            "User-Agent: a\r\nReferer: b\r\nSec-GPC: 1\r\nPurpose: p\r\nSec-Purpose: s\r\ntraceparent: t\r\n\
             X-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\nUser-Agent: second\r\nConnection: Close\r\n",
        );
        let bytes = format!("{request}GET /next");
        let Read::Hit(hit) = read(bytes.as_bytes(), Some(([1, 2, 3, 4], 5).into()), &Config::default())
        else {
            panic!("{request}");
        };
        assert_eq!((hit.route, hit.program, hit.last), (HitRoute::Impression, "1", true));
        assert_eq!(hit.bytes, request.len());
        let headers = Headers {
            user_agent: Some(b"a"),
            referrer: Some(b"b"),
            gpc: Some(b"1"),
            purpose: Some(b"p"),
            sec_purpose: Some(b"s"),
            traceparent: Some(b"t"),
            forwarded_for: vec![b"1", b"2"],
        };
        let head = Head {
            target: "/i/1.gif?a=%20&b=c",
            path: "/i/1.gif",
            query: "a=%20&b=c",
            request_line_bytes: "GET /i/1.gif?a=%20&b=c HTTP/1.1\r\n".len(),
            body_withheld: false,
            peer: Some([1, 2, 3, 4].into()),
            headers,
        };
        assert_eq!(hit.head, head);
    }

    #[test]
    fn what_is_not_plain_is_left_to_actix_http_and_a_part_is_a_part() {
        assert!(reads(&with("")) && reads(&with("Connection: keep-alive\r\n")));
        for cut in 0..with("").len() {
            let part = &with("")[..cut];
            assert!(matches!(read(part.as_bytes(), None, &Config::default()), Read::Part), "{cut}");
        }
        for headers in [
            "Host: again\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Upgrade: websocket\r\n",
            "Expect: 100-continue\r\n",
            "Connection: close, x\r\n",
            "no colon\r\n",
            &format!("X: {}\r\n", "x".repeat(41_000)),
            &"X: x\r\n".repeat(HEADERS_MAX),
        ] {
            assert!(!reads(&with(headers)), "{headers}");
        }
        for line in [
            "HEAD /i/1 HTTP/1.1",
            "POST /b HTTP/1.1",
            "GET /b?d=1 HTTP/1.1",
            "GET /health/live HTTP/1.1",
            "GET /i/1 HTTP/1.0",
            "GET http://t/i/1 HTTP/1.1",
            "GET /i/1# HTTP/1.1",
            "GET /i/1?\u{e9} HTTP/1.1",
            "GET /i/1?a|b HTTP/1.1",
            "GET i/1 HTTP/1.1",
        ] {
            assert!(!reads(&format!("{line}\r\nHost: t\r\n\r\n")), "{line}");
        }
        assert!(!reads("GET /i/1 HTTP/1.1\r\n\r\n"), "no host");
    }
}
