//! Requests that are none, each refused under the name of what is wrong with it.

use super::build::{bare, bytes, line, target, with};
use super::{Ends, Row, answered, hold, refused};

const HIT: &[u8] = b"GET /event/212312?row=ROW HTTP/1.1";

fn line_breaks() -> Vec<Row> {
    let hit = |rest: &[u8]| bytes(&[HIT, rest]);
    refused(
        "malformed_request",
        vec![
            ("a bare LF after the request line", "9112 2.2", hit(b"\nHost: t\r\n\r\n")),
            ("a bare LF after a header", "9112 2.2", hit(b"\r\nHost: t\nX: 1\r\n\r\n")),
            ("a bare LF as the empty line", "9112 2.2", hit(b"\r\nHost: t\r\n\n")),
            ("bare LFs alone", "9112 2.2", hit(b"\nHost: t\n\n")),
            ("a bare CR in the request line", "9112 2.2", line(b"GET /event/212312?a=\r1 HTTP/1.1")),
            ("a bare CR after the request line", "9112 2.2", hit(b"\rHost: t\r\n\r\n")),
            ("a bare CR in a value", "9112 2.2", with("X: a\rY: b\r\n")),
            ("a bare CR at the end of a value", "9112 2.2", with("X: a\r\r\n")),
            ("a bare CR in a name", "9112 2.2", with("X\rY: b\r\n")),
            ("a bare CR before the empty line", "9112 2.2", hit(b"\r\nHost: t\r\n\r\r\n")),
            ("18 bytes of line breaks in front", "9112 2.2", bytes(&[&b"\r\n".repeat(9), &with("")])),
            ("line breaks without end", "9112 2.2", b"\r\n".repeat(2_000)),
        ],
    )
}

fn request_lines() -> Vec<Row> {
    refused(
        "malformed_request",
        vec![
            ("two spaces after the method", "9112 3", line("GET  /event/212312 HTTP/1.1")),
            ("two spaces before the version", "9112 3", line("GET /event/212312  HTTP/1.1")),
            ("a space at the start", "9112 3", line(" GET /event/212312 HTTP/1.1")),
            ("a space at the end", "9112 3", line("GET /event/212312 HTTP/1.1 ")),
            ("a tab instead of a space", "9112 3", line("GET\t/event/212312\tHTTP/1.1")),
            ("a space in the target", "9112 3.2", line("GET /event/212312?a= b HTTP/1.1")),
            ("a space in the version", "9112 2.3", line("GET /event/212312 HTTP/ 1.1")),
            ("no method", "9112 3.1", line(" /event/212312 HTTP/1.1")),
            ("no target", "9112 3.2", line("GET HTTP/1.1")),
            ("no version", "9112 3", line("GET /event/212312")),
            ("HTTP/0.9", "9112 C.1", b"GET /event/212312\r\n".to_vec()),
            ("the version in small letters", "9112 2.3", line("GET /event/212312 http/1.1")),
            ("a version of one digit", "9112 2.3", line("GET /event/212312 HTTP/1")),
            ("a version of three digits", "9112 2.3", line("GET /event/212312 HTTP/1.10")),
            ("a version with a zero in front", "9112 2.3", line("GET /event/212312 HTTP/01.1")),
            ("a version with a comma", "9112 2.3", line("GET /event/212312 HTTP/1,1")),
            ("a version that is no number", "9112 2.3", line("GET /event/212312 HTTP/x.y")),
            ("another protocol's name", "9112 2.3", line("GET /event/212312 HTTPS/1.1")),
            ("RTSP", "9112 2.3", line("DESCRIBE /event/212312 RTSP/1.0")),
            ("a method with a separator", "9110 9.1", line("GE(T /event/212312 HTTP/1.1")),
            ("a method with a colon", "9110 9.1", line("GET: /event/212312 HTTP/1.1")),
            ("a method in another alphabet", "9110 9.1", line(b"G\xc3\x89T /event/212312 HTTP/1.1")),
            ("a NUL in the method", "9112 2.2", line(b"G\0T /event/212312 HTTP/1.1")),
            ("a NUL in the target", "9112 3.2", target(b"/event/212312?a=\0")),
            ("an escape in the target", "9112 3.2", target(b"/event/212312?a=\x1b[0m")),
            ("a DEL in the target", "9112 3.2", target(b"/event/212312?a=\x7f")),
            ("a NUL in the version", "9112 2.3", line(b"GET /event/212312 HTTP/1.\0")),
        ],
    )
}

fn headers() -> Vec<Row> {
    refused(
        "malformed_request",
        vec![
            ("a folded value", "9112 5.2", with("X: a\r\n b\r\n")),
            ("a value folded with a tab", "9112 5.2", with("X: a\r\n\tb\r\n")),
            ("a fold that hides a host", "9112 5.2", bare("X: a\r\n Host: t\r\n")),
            ("a space before the first header", "9112 2.2", bare(" Host: t\r\n")),
            ("a space before the colon", "9112 5.1", with("X : 1\r\n")),
            ("a tab before the colon", "9112 5.1", with("X\t: 1\r\n")),
            ("a space before the colon of Host", "9112 5.1", bare("Host : t\r\n")),
            ("a space within a name", "9110 5.1", with("X Y: 1\r\n")),
            ("an empty name", "9110 5.1", with(": 1\r\n")),
            ("no colon", "9112 5", with("nothing\r\n")),
            ("a separator in a name", "9110 5.6.2", with("X(1): 1\r\n")),
            ("a quote in a name", "9110 5.6.2", with("\"X\": 1\r\n")),
            ("a slash in a name", "9110 5.6.2", with("X/1: 1\r\n")),
            ("a name in another alphabet", "9110 5.1", with(b"X\xc3\xa9: 1\r\n")),
            ("a NUL in a name", "9110 5.1", with(b"X\0: 1\r\n")),
            ("a NUL in a value", "9110 5.5", with(b"X: a\0b\r\n")),
            ("a control character in a value", "9110 5.5", with(b"X: a\x01\r\n")),
            ("a DEL in a value", "9110 5.5", with(b"X: a\x7f\r\n")),
            ("an escape in a value", "9110 5.5", with(b"X: \x1b[31m\r\n")),
            ("a vertical tab in a value", "9110 5.5", with(b"X: \x0b1\r\n")),
        ],
    )
}

fn other_protocols() -> Vec<Row> {
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\x5a\x5a\x00\x00\x13\x01\x13\x02\r\n\r\n";
    refused(
        "malformed_request",
        vec![
            ("TLS to a port without it", "9112 3", hello.to_vec()),
            ("SSH", "9112 3", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
            ("SMTP", "9112 3", b"EHLO mail.example\r\n".to_vec()),
            ("Redis", "9112 3", b"*1\r\n$4\r\nPING\r\n".to_vec()),
            ("JSON", "9112 3", b"{\"program\": \"212312\"}\r\n\r\n".to_vec()),
            (
                "the PROXY protocol, version 1",
                "9112 3",
                b"PROXY TCP4 198.51.100.7 192.0.2.1 1 80\r\n".to_vec(),
            ),
            (
                "the PROXY protocol, version 2",
                "9112 3",
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\r\n\r\n".to_vec(),
            ),
            ("an answer", "9112 3", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
            ("noise", "9112 3", b"\x80\xff\x00\x01\xfe\xca\r\n\r\n".to_vec()),
        ],
    )
}

fn hosts() -> Vec<Row> {
    let host = |value: &str| bare(format!("Host: {value}\r\n"));
    refused(
        "bad_host",
        vec![
            ("no host", "9112 3.2", bare("X: 1\r\n")),
            ("two hosts", "9112 3.2", bare("Host: t\r\nHost: u\r\n")),
            ("the same host twice", "9112 3.2", bare("Host: t\r\nhost: t\r\n")),
            ("a second, empty host", "9112 3.2", bare("Host: t\r\nHost:\r\n")),
            ("an empty host", "9112 3.2", host("")),
            ("a space in the host", "9112 3.2", host("t.example u.example")),
            ("a tab in the host", "9112 3.2", host("t\tu")),
            ("a path in the host", "9112 3.2", host("t.example/x")),
            ("a URL as the host", "9112 3.2", host("http://t.example/")),
            ("a user in the host", "9110 4.2.4", host("user@t.example")),
            ("a list as the host", "9112 3.2", host("t.example, u.example")),
            ("a port alone", "9110 7.2", host(":80")),
            ("a port that is no number", "9110 7.2", host("t.example:http")),
            ("a negative port", "9110 7.2", host("t.example:-1")),
            ("a port that is too large", "9110 7.2", host("t.example:65536")),
            ("two ports", "9110 7.2", host("t.example:80:81")),
            ("an IPv6 address without brackets", "9110 7.2", host("2001:db8::1")),
            ("an IPv6 address that is not closed", "9110 7.2", host("[::1")),
            ("an invalid IPv6 address", "9110 7.2", host("[::g]")),
            ("an empty IPv6 address", "9110 7.2", host("[]:80")),
            ("something behind an IPv6 address", "9110 7.2", host("[::1]x")),
        ],
    )
}

fn limits() -> Vec<Row> {
    let query = |bytes: usize| target(format!("/event/212312?a={}", "x".repeat(bytes)));
    // What Host takes of the header's bytes.
    let host = "Host".len() + "t".len();
    let headers = |bytes: usize| with(format!("X: {}\r\n", "x".repeat(bytes - host - 1)));
    let mut rows = refused(
        "line_too_long",
        vec![
            ("a request line of 70,000 bytes", "9112 3", query(70_000)),
            ("a request line without an end", "9112 3", bytes(&[b"GET /", &b"x".repeat(300_000)])),
            ("a method without an end", "9112 3", b"M".repeat(100_000)),
        ],
    );
    rows.extend(refused(
        "headers_too_large",
        vec![
            ("101 headers", "9110 5.4", with("X: 1\r\n".repeat(100))),
            ("1,000 headers", "9110 5.4", with("X: 1\r\n".repeat(1_000))),
            ("one byte of headers too many", "9110 5.4", headers(40_961)),
            ("a value of 300,000 bytes", "9110 5.4", headers(300_000)),
            ("a name of 65,535 bytes", "9110 5.4", with(format!("{}: 1\r\n", "n".repeat(65_535)))),
            ("a name of 65,536 bytes", "9110 5.4", with(format!("{}: 1\r\n", "n".repeat(65_536)))),
            ("a name of 65,537 bytes", "9110 5.4", with(format!("{}: 1\r\n", "n".repeat(65_537)))),
            ("a name without an end", "9110 5.4", bytes(&[HIT, b"\r\n", &b"n".repeat(200_000)])),
        ],
    ));
    let most = answered(
        "200*",
        Ends::Open,
        vec![("as many bytes of headers as there may be", "9110 5.4", headers(40_960))],
    );
    rows.extend(most);
    rows.extend(answered(
        "414",
        Ends::Either,
        vec![
            ("a request line that the HTTP layer takes and /event does not", "9112 3", query(30_000)),
            ("just below what the HTTP layer takes", "9112 3", query(65_000)),
            ("the same on no path of ours", "9112 3", target(format!("/{}", "x".repeat(30_000)))),
        ],
    ));
    rows.extend(answered(
        "200",
        Ends::Either,
        vec![(
            "the pixel is an image whatever the length",
            "9112 3",
            target(format!("/i/212312?a={}", "x".repeat(30_000))),
        )],
    ));
    rows
}

#[test]
fn what_is_no_request_is_refused_by_its_name_counted_and_ends_the_connection() {
    let families = [line_breaks(), request_lines(), headers(), other_protocols(), hosts(), limits()];
    hold(families.into_iter().flatten().collect());
}
