//! The head of a request, and how long its body is.

use std::io;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri, Version, header};
use actix_web::web::BytesMut;
use httparse::{EMPTY_HEADER, Error as Malformed, Status};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::ops::OpError;

/// A request line with its headers.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// From the connection to the end of the head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const HEADERS_MAX: usize = 96;
const READ_BYTES: usize = 4 << 10;

/// A head that is well formed.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    /// Bytes of the body. 0 also if it does not say: see [`says_no_length`].
    pub length: u64,
    pub expects_continue: bool,
    /// Arrived behind the head.
    pub rest: BytesMut,
}

/// Whether there is a body whose length is not known in advance.
pub fn says_no_length(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
}

impl Head {
    /// Waits for a head; `None` if the client is gone without one.
    ///
    /// # Errors
    /// It is too large or too late, or no HTTP that we speak.
    pub async fn read(stream: &TcpStream) -> Result<Option<Self>, OpError> {
        let deadline = Instant::now() + HEAD_WITHIN;
        let mut received = BytesMut::new();
        let mut chunk = [0; READ_BYTES];
        loop {
            let bytes = match timeout_at(deadline, next(stream, &mut chunk)).await {
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Ok(Ok(bytes)) => &chunk[..bytes],
                // Browsers open connections in advance; an answer would be taken for that of the
                // request that comes next.
                Err(_) if received.is_empty() => return Ok(None),
                Err(_) => return Err(refused(408, format!("no request within {} s", HEAD_WITHIN.as_secs()))),
            };
            received.extend_from_slice(bytes);
            // A head ends with a line; so what drips in is not parsed again for each byte.
            if bytes.contains(&b'\n')
                && let Some(head) = Self::parse(&mut received)?
            {
                return Ok(Some(head));
            }
            if received.len() > HEAD_BYTES_MAX {
                return Err(refused(431, format!("the head has more than {HEAD_BYTES_MAX} bytes")));
            }
        }
    }

    /// Takes a whole head off the front of `received`; leaves it as it is if it is not whole yet.
    fn parse(received: &mut BytesMut) -> Result<Option<Self>, OpError> {
        let mut fields = [EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let bytes = match request.parse(received) {
            Ok(Status::Complete(bytes)) => bytes,
            Ok(Status::Partial) => return Ok(None),
            Err(Malformed::Version) => return Err(refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken")),
            Err(Malformed::TooManyHeaders) => {
                return Err(refused(431, format!("the head has more than {HEADERS_MAX} fields")));
            }
            Err(error) => return Err(OpError::invalid(format!("malformed request: {error}"))),
        };
        let method = Method::from_bytes(request.method.unwrap_or("").as_bytes());
        let method = method.map_err(|_| OpError::invalid("malformed request: invalid method"))?;
        let uri = request.path.unwrap_or("").parse();
        let uri = uri.map_err(|error| OpError::invalid(format!("malformed request: {error}")))?;
        let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let headers = headers_of(request.headers)?;
        let hosts = headers.get_all(header::HOST).count();
        if hosts > 1 || (hosts == 0 && version == Version::HTTP_11) {
            return Err(OpError::invalid("malformed request: there must be one Host"));
        }
        let length = body_length(&headers)?;
        let expects_continue = headers.get(header::EXPECT).is_some_and(|value| {
            value.as_bytes().eq_ignore_ascii_case(b"100-continue") && version == Version::HTTP_11
        });
        let rest = received.split_off(bytes);
        Ok(Some(Self { method, uri, version, headers, length, expects_continue, rest }))
    }
}

async fn next(stream: &TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

fn headers_of(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, OpError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        match (name, value) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Err(OpError::invalid("malformed request: invalid header")),
        }
    }
    Ok(headers)
}

/// What cannot be framed in one way only is refused (RFC 9112, 6.3).
fn body_length(headers: &HeaderMap) -> Result<u64, OpError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH);
    let Some(length) = lengths.next() else {
        return Ok(0);
    };
    if lengths.next().is_some() || says_no_length(headers) {
        return Err(OpError::invalid("malformed request: the length of the body is ambiguous"));
    }
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.ok_or_else(|| OpError::invalid("malformed request: invalid Content-Length"))
}

fn refused(status: u16, reason: impl Into<String>) -> OpError {
    OpError::Refused(status, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, u16> {
        Head::parse(&mut BytesMut::from(text.as_bytes())).map_err(|error| error.status())
    }

    const POST: &str = "POST /explain?a=b HTTP/1.1\r\nHost: localhost:9090\r\nContent-Length: 2\r\n\
                        Expect: 100-Continue\r\n\r\n";

    #[test]
    fn a_head_is_taken_off_the_front_wherever_it_was_cut() {
        let whole = format!("{POST}{{}}GET /");
        for cut in 0..whole.len() {
            let mut received = BytesMut::from(&whole.as_bytes()[..cut]);
            match Head::parse(&mut received).unwrap() {
                None => assert!(cut < POST.len() && received.len() == cut, "cut at {cut}"),
                Some(head) => {
                    assert!(cut >= POST.len(), "cut at {cut}");
                    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/explain"));
                    assert_eq!((head.length, head.expects_continue), (2, true));
                    assert_eq!(head.rest, whole.as_bytes()[POST.len()..cut]);
                }
            }
        }
    }

    #[test]
    fn a_length_that_can_be_read_in_two_ways_is_refused() {
        let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(parse(&with(fields)).unwrap_err(), 400, "{fields}");
        }
        let head = parse(&with("Transfer-Encoding: chunked")).unwrap().unwrap();
        assert!(head.length == 0 && says_no_length(&head.headers));
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_status() {
        for (text, status) in [
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("GET / HTTP/1.2\r\n\r\n", 505),
            ("\x16\x03\x01\x02\r\n\r\n", 400),
            ("GET  HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ] {
            assert_eq!(parse(text).unwrap_err(), status, "{text:?}");
        }
        let many = format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parse(&many).unwrap_err(), 431);
        let just = format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX));
        assert!(parse(&just).unwrap().is_some());
    }
}
