//! Targets: their four forms, and bytes that no RFC allows and browsers send.

use super::build::{bytes, line, target};
use super::{Ends, Row, answered, hold, refused};

fn targets() -> Vec<Row> {
    let mut rows = answered(
        "200*",
        Ends::Open,
        vec![
            ("raw UTF-8 in the query", "3986 2.1", target("/event/212312?row=ROW&a=é💩")),
            ("pipes and braces", "3986 2", target("/event/212312?row=ROW&a={click_id}|{b}")),
            ("quotes and angle brackets", "3986 2", target("/event/212312?row=ROW&a=\"<b>\"")),
            ("a caret, a backtick, a backslash", "3986 2", target("/event/212312?row=ROW&a=^`\\")),
            ("square brackets", "3986 3.4", target("/event/212312?row=ROW&a[]=1")),
            ("a fragment", "9112 3.2", target("/event/212312?row=ROW#top")),
            ("a fragment with a query in it", "9112 3.2", target("/event/212312?row=ROW#?row=999")),
            ("a second question mark", "3986 3.4", target("/event/212312?row=ROW&a=b?c")),
            ("a slash in the query", "3986 3.4", target("/event/212312?row=ROW&a=/../b")),
        ],
    );
    rows.extend(answered(
        "404",
        Ends::Open,
        vec![
            ("bytes that are not UTF-8", "3986 2.1", target(b"/c/none?a=\xff\xfe")),
            ("bytes that are not UTF-8 in the path", "3986 2.1", target(b"/\xc0\xaf/x")),
            ("a path is not decoded", "3986 6.2.2.2", target("/%65vent/212312?row=ROW")),
            ("a path is not put in small letters", "3986 6.2.2.1", target("/EVENT/212312?row=ROW")),
            ("two slashes are not one", "3986 6.2.2", target("//event/212312?row=ROW")),
            ("a dot is not taken out", "3986 6.2.2.3", target("/./event/212312?row=ROW")),
            ("two dots take nothing out", "3986 6.2.2.3", target("/x/../event/212312?row=ROW")),
            ("a backslash is no slash", "3986 2.2", target("/\\event\\212312?row=ROW")),
            ("the root", "9112 3.2.1", target("/")),
            ("a fragment alone behind the root", "9112 3.2", target("/#/event/212312")),
        ],
    ));
    rows
}

fn absolute() -> Vec<Row> {
    let both = |target: &str, host: &str| {
        bytes(&[
            b"GET ",
            target.as_bytes(),
            b"/event/212312?row=ROW HTTP/1.1\r\nHost: ",
            host.as_bytes(),
            b"\r\n\r\n",
        ])
    };
    let mut rows = answered(
        "200*",
        Ends::Open,
        vec![
            ("the absolute form", "9112 3.2.2", both("http://t.example", "t.example")),
            ("https, as TLS ended before us", "9112 3.2.2", both("https://t.example", "t.example")),
            ("a port", "9112 3.2.2", both("http://t.example:8080", "t.example:8080")),
            ("an IPv6 address", "9112 3.2.2", both("http://[::1]:80", "[::1]:80")),
            ("the scheme in capitals", "9110 4.2.3", both("HTTP://t.example", "t.example")),
            ("it wins over Host", "9112 3.2.2", both("http://t.example", "other.example")),
            (
                "HTTP/1.0 too",
                "9112 3.2.2",
                line("GET http://t/event/212312?row=ROW HTTP/1.0\r\nConnection: keep-alive"),
            ),
        ],
    );
    rows.extend(refused(
        "bad_host",
        vec![
            (
                "Host is needed beside it",
                "9112 3.2.2",
                b"GET http://t.example/event/212312 HTTP/1.1\r\n\r\n".to_vec(),
            ),
            ("Host must be well formed beside it", "9112 3.2.2", both("http://t.example", "a@b")),
        ],
    ));
    rows
}

fn bad() -> Vec<Row> {
    refused(
        "bad_target",
        vec![
            ("no slash", "9112 3.2.1", target("event/212312?row=ROW")),
            ("a query alone", "9112 3.2.1", target("?row=ROW")),
            ("a fragment alone", "9112 3.2", target("#/event/212312")),
            ("the asterisk to GET", "9112 3.2.4", target("*")),
            ("the asterisk to POST", "9112 3.2.4", line("POST * HTTP/1.1")),
            ("the asterisk and more", "9112 3.2.4", line("OPTIONS */event HTTP/1.1")),
            ("an authority", "9112 3.2.3", target("t.example:80")),
            ("a host without a scheme", "9112 3.2.2", target("t.example/event/212312")),
            ("a backslash instead of the slash", "9112 3.2.1", target("\\event\\212312")),
            ("an encoded slash", "9112 3.2.1", target("%2fevent/212312")),
            ("a byte from 0x80 instead of the slash", "9112 3.2.1", target(b"\xc3\xa9/event/212312")),
            ("another scheme", "9112 3.2.2", target("ftp://t.example/event/212312")),
            ("a scheme that begins like ours", "9112 3.2.2", target("httpx://t.example/event/212312")),
            ("a scheme without an authority", "9112 3.2.2", target("http:/event/212312")),
            ("an empty authority", "9110 4.2.1", target("http:///event/212312")),
            ("a port without a host", "9110 4.2.1", target("http://:80/event/212312")),
            ("a user", "9110 4.2.4", target("http://user@t.example/event/212312")),
            ("a user and a password", "9110 4.2.4", target("http://user:word@t.example/event/212312")),
            ("a script", "9112 3.2.2", target("javascript:alert(1)")),
        ],
    )
}

#[test]
fn a_target_is_taken_as_it_stands_or_refused() {
    hold([targets(), absolute(), bad()].into_iter().flatten().collect());
}
