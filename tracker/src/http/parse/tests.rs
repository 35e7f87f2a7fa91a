use super::*;

const HEADER_BYTES_MAX: usize = 40 * 1_024;

fn read_head(head: &str) -> Result<Option<Request<'_>>, RequestError> {
    parse(head.as_bytes(), None, HEADER_BYTES_MAX)
}

fn with(fields: &str) -> String {
    format!("GET /i/1.gif?a=%20&b=c HTTP/1.1\r\nhost: t\r\n{fields}\r\n")
}

#[test]
fn a_head_is_read_with_every_field_that_describes_a_hit() {
    let request = with(
        "User-Agent: a\r\nReferer: b\r\nSec-GPC: 1\r\nPurpose: p\r\nSec-Purpose: s\r\nX-Purpose: x\r\nX-Moz: m\r\n\
         traceparent: t\r\nX-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\nUser-Agent: second\r\nOrigin: o\r\n\
         If-None-Match: \"e\"\r\nContent-Encoding: gzip\r\nConnection: x, Close\r\n",
    );
    let bytes = format!("{request}GET /next");
    let read = parse(bytes.as_bytes(), Some([1, 2, 3, 4].into()), HEADER_BYTES_MAX).unwrap().unwrap();
    assert_eq!((read.bytes, read.body, read.is_last), (request.len(), Framing::Nothing, true));
    let headers = Headers {
        user_agent: Some(b"a"),
        referrer: Some(b"b"),
        gpc: Some(b"1"),
        purpose: Some(b"p"),
        sec_purpose: Some(b"s"),
        x_purpose: Some(b"x"),
        x_moz: Some(b"m"),
        traceparent: Some(b"t"),
        origin: Some(b"o"),
        content_encoding: Some(b"gzip"),
        if_none_match: Some(b"\"e\""),
        forwarded_for: vec![b"1", b"2"],
    };
    let head = Head {
        method: Method::Get,
        target: "/i/1.gif?a=%20&b=c",
        path: "/i/1.gif",
        query: "a=%20&b=c",
        request_line_bytes: "GET /i/1.gif?a=%20&b=c HTTP/1.1\r\n".len(),
        peer: Some([1, 2, 3, 4].into()),
        headers,
    };
    assert_eq!(read.head, head);
}

#[test]
fn a_head_is_incomplete_up_to_its_last_byte() {
    let whole = with("Connection: keep-alive\r\n");
    for cut in 0..whole.len() {
        assert!(matches!(read_head(&whole[..cut]), Ok(None)), "{cut}");
    }
}

#[test]
fn targets_of_every_form_are_read_whatever_they_contain() {
    for (line, target) in [
        ("GET /c/1?u=|{}\"<>^`\\ HTTP/1.1", Ok("/c/1?u=|{}\"<>^`\\")),
        ("GET /c/1?u=ü#x?y HTTP/1.1", Ok("/c/1?u=ü")),
        ("GET http://t/c/1?a HTTP/1.1", Ok("/c/1?a")),
        ("GET HTTPS://T.example:80/c/1 HTTP/1.1", Ok("/c/1")),
        ("GET http://t HTTP/1.1", Ok("")),
        ("GET http://t?a/b HTTP/1.1", Ok("?a/b")),
        ("OPTIONS * HTTP/1.1", Ok("*")),
        ("GET * HTTP/1.1", Err(RequestError::Target)),
        ("GET c/1 HTTP/1.1", Err(RequestError::Target)),
        ("GET t:80 HTTP/1.1", Err(RequestError::Target)),
        ("GET ftp://t/c/1 HTTP/1.1", Err(RequestError::Target)),
        ("GET http:///c/1 HTTP/1.1", Err(RequestError::Target)),
        ("GET http://me@t/c/1 HTTP/1.1", Err(RequestError::Target)),
        ("CONNECT t:80 HTTP/1.1", Err(RequestError::Method)),
        ("GET /c/1 HTTP/1.2", Err(RequestError::Version)),
        ("PRI * HTTP/2.0", Err(RequestError::Version)),
        ("GET /c/1 http/1.1", Err(RequestError::Syntax)),
        ("GET  /c/1 HTTP/1.1", Err(RequestError::Syntax)),
        ("GET /c/1  HTTP/1.1", Err(RequestError::Syntax)),
        ("GET /c/1 /c/2 HTTP/1.1", Err(RequestError::Syntax)),
        ("GET /c/1 HTTP/11", Err(RequestError::Syntax)),
        ("GET /c/1", Err(RequestError::Syntax)),
    ] {
        let head = format!("{line}\r\nHost: t\r\n\r\n");
        let read = read_head(&head).map(|read| read.unwrap().head.target.to_owned());
        assert_eq!(read, target.map(str::to_owned), "{line}");
    }
}

#[test]
fn a_head_that_readers_could_interpret_differently_is_refused() {
    for (head, kind) in [
        (with("").replace("\r\nhost", "\nhost"), RequestError::Syntax),
        (with("a: b\n"), RequestError::Syntax),
        (with("a: b\rc: d\r\n"), RequestError::Syntax),
        (with("a : b\r\n"), RequestError::Syntax),
        (with(" a: b\r\n"), RequestError::Syntax),
        (with(": b\r\n"), RequestError::Syntax),
        (with("a\r\n"), RequestError::Syntax),
        (with("a: \0\r\n"), RequestError::Syntax),
        (with("Host: t\r\n"), RequestError::Host),
        (with("").replace("host: t", "host: a b"), RequestError::Host),
        (with("").replace("host: t", "host:"), RequestError::Host),
        (with("").replace("host: t", "x: t"), RequestError::Host),
        (with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), RequestError::Framing),
        (with("Expect: x\r\n"), RequestError::Expectation),
        (with(&"x: x\r\n".repeat(HEADERS_MAX)), RequestError::HeadersTooLarge),
        (with(&format!("x: {}\r\n", "x".repeat(HEADER_BYTES_MAX))), RequestError::HeadersTooLarge),
    ] {
        assert_eq!(read_head(&head).err(), Some(kind), "{head}");
    }
    assert!(read_head(&with(&"x: x\r\n".repeat(HEADERS_MAX - 1))).is_ok());
    let long = format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "x".repeat(LINE_BYTES_MAX));
    assert_eq!(read_head(&long).err(), Some(RequestError::LineTooLong));
}

#[test]
fn http_1_0_ends_its_connections_unless_it_says_otherwise() {
    let read = |fields: &str| {
        let head = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        read_head(&head).map(|read| read.map(|read| (read.is_last, read.says_keep_alive)))
    };
    assert_eq!(read(""), Ok(Some((true, true))));
    assert_eq!(read("Connection: keep-alive\r\nHost: t\r\n"), Ok(Some((false, true))));
    assert_eq!(read("Connection: keep-alive, close\r\n"), Ok(Some((true, true))));
    assert_eq!(read("Expect: x\r\n"), Ok(Some((true, true))));
    assert_eq!(read("Host: a\r\nHost: b\r\n"), Err(RequestError::Host));
}
