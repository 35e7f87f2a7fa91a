//! What a server must take, and how it must answer it.

use super::build::{bare, bytes, entry, line, pipeline, sized, target, with};
use super::{Case, Ends, Row, answered, hold, refused};

fn requests() -> Vec<Row> {
    let head = line("HEAD /event/212312 HTTP/1.1");
    let get = with("");
    let posted = sized("", entry());
    let length_ahead = pipeline(&[&get, &head, &get, &posted, &get]);
    let cases = |cases: Vec<Case>| answered("200*", Ends::Open, cases);
    let mut rows = cases(vec![
        ("a plain GET", "9110 9.3.1", with("")),
        ("header names in any case", "9110 5.1", bare("hOsT: t\r\nUSER-AGENT: a\r\n")),
        ("no space after a colon", "9112 5.1", bare("Host:t\r\nUser-Agent:a\r\n")),
        ("spaces and tabs around a value", "9112 5.1", bare("Host: \t t \t \r\nX: \t1\t \r\n")),
        ("a tab within a value", "9110 5.5", with("X-Note: a\tb\r\n")),
        ("an empty value", "9110 5.5", with("X-Empty:\r\nX-Blank: \r\n")),
        ("bytes from 0x80 in a value", "9110 5.5", with(b"User-Agent: \xc3\xa9 \xff\x80\r\n")),
        ("a name of all token characters", "9110 5.6.2", with("!#$%&'*+-.^_`|~09Az: 1\r\n")),
        ("100 headers", "9110 5.4", with("X: 1\r\n".repeat(99))),
        ("a name of 30,000 bytes", "9110 5.1", with(format!("{}: 1\r\n", "n".repeat(30_000)))),
        ("a line break before the request", "9112 2.2", bytes(&[b"\r\n", &get])),
        ("16 bytes of line breaks before it", "9112 2.2", bytes(&[&b"\r\n".repeat(8), &get])),
        ("Connection: keep-alive says nothing new", "9112 9.3", with("Connection: keep-alive\r\n")),
        (
            "Connection names a header of no meaning",
            "9110 7.6.1",
            with("Connection: x-note\r\nX-Note: 1\r\n"),
        ),
        ("Content-Length: 0 is no body", "9110 8.6", with("Content-Length: 0\r\n")),
        ("Host with a port", "9110 7.2", bare("Host: t.example:8080\r\n")),
        ("Host as an IPv4 address", "9110 7.2", bare("Host: 127.0.0.1:80\r\n")),
        ("Host as an IPv6 address", "9110 7.2", bare("Host: [::1]\r\n")),
        ("Host as an IPv6 address with a port", "9110 7.2", bare("Host: [2001:db8::1]:8080\r\n")),
        ("Host in capitals with '_' and '-'", "9110 7.2", bare("Host: A_1-b.EXAMPLE\r\n")),
        ("TE says what answers may use", "9110 10.1.4", with("TE: trailers, gzip\r\nConnection: TE\r\n")),
        ("a Trailer header without trailers", "9110 6.6.2", with("Trailer: X-Sum\r\n")),
    ]);
    rows.extend(answered(
        "HEAD:200",
        Ends::Open,
        vec![("HEAD has the length and no body", "9110 9.3.2", head.clone())],
    ));
    rows.extend(answered(
        "200* HEAD:200 200* 204* 200*",
        Ends::Open,
        vec![("each answer of a pipeline has its own framing", "9112 9.3.2", length_ahead)],
    ));
    // The first request of another kind once moved a connection to another parser for good.
    let live = line("GET /health/live HTTP/1.1");
    let preflight = line("OPTIONS /b HTTP/1.1");
    let live_and = |requests: &[&[u8]]| bytes(&[&live, &pipeline(requests)]);
    rows.extend(answered(
        "200 200* HEAD:200 200*",
        Ends::Open,
        vec![("a HEAD takes nothing from the GET before it", "9110 9.3.2", live_and(&[&get, &head, &get]))],
    ));
    rows.extend(answered(
        "200 HEAD:200 200* HEAD:200",
        Ends::Open,
        vec![("a GET gives nothing to the HEAD before it", "9110 9.3.2", live_and(&[&head, &get, &head]))],
    ));
    rows.extend(answered(
        "200 204 200* 204 HEAD:200 204* 204",
        Ends::Open,
        vec![(
            "answers without a body among those with one",
            "9112 6.3",
            live_and(&[&preflight, &get, &preflight, &head, &posted, &preflight]),
        )],
    ));
    rows.extend(answered(
        "204",
        Ends::Open,
        vec![("a preflight has neither length nor body", "9110 8.6", line("OPTIONS /b HTTP/1.1"))],
    ));
    rows
}

fn methods() -> Vec<Row> {
    let mut rows = answered(
        "405",
        Ends::Open,
        vec![
            ("a method in small letters is another one", "9110 9.1", line("get /event/212312 HTTP/1.1")),
            ("DELETE", "9110 15.5.6", line("DELETE /i/212312 HTTP/1.1")),
            ("TRACE", "9110 9.3.8", line("TRACE /c/212312 HTTP/1.1")),
            ("PRI on a path of ours", "9113 3.4", line("PRI /i/212312 HTTP/1.1")),
            ("an unknown method", "9110 9.1", line("M-SEARCH /health/live HTTP/1.1")),
            ("all token characters as a method", "9110 5.6.2", line("!#$%&'*+-.^_`|~0 /robots.txt HTTP/1.1")),
            ("a method of 60 letters", "9110 9.1", line(format!("{} /v/212312 HTTP/1.1", "M".repeat(60)))),
            ("PUT on the beacon's path", "9110 15.5.6", line("PUT /b HTTP/1.1")),
            ("POST without a body where GET is due", "9110 15.5.6", line("POST /i/212312 HTTP/1.1")),
        ],
    );
    rows.extend(answered(
        "404",
        Ends::Open,
        vec![
            ("no such path", "9110 15.5.5", target("/nowhere")),
            ("no such path, whatever the method", "9110 15.5.5", line("BREW /nowhere HTTP/1.1")),
            ("OPTIONS of the server as a whole", "9112 3.2.4", line("OPTIONS * HTTP/1.1")),
        ],
    ));
    rows.extend(refused(
        "unsupported_method",
        vec![("CONNECT", "9110 9.3.6", line("CONNECT t.example:443 HTTP/1.1"))],
    ));
    rows
}

fn versions() -> Vec<Row> {
    let mut rows = refused(
        "unsupported_version",
        vec![
            ("HTTP/2.0", "9110 15.6.6", line("GET /event/212312 HTTP/2.0")),
            ("HTTP/1.2", "9110 15.6.6", line("GET /event/212312 HTTP/1.2")),
            ("HTTP/3.0", "9110 15.6.6", line("GET /event/212312 HTTP/3.0")),
            ("the preface of HTTP/2", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ],
    );
    let old =
        |headers: &str| bytes(&[b"GET /event/212312?row=ROW HTTP/1.0\r\n", headers.as_bytes(), b"\r\n"]);
    rows.extend(answered(
        "200*",
        Ends::Closed,
        vec![
            ("HTTP/1.0 without a host", "9112 3.2", old("")),
            ("HTTP/1.0 with a host", "9112 9.3", old("Host: t\r\n")),
            ("HTTP/1.0, close and keep-alive", "9112 9.3", old("Connection: keep-alive, close\r\n")),
            ("HTTP/1.0 has no expectations", "9110 10.1.1", old("Expect: 100-continue\r\n")),
            ("HTTP/1.0 with an unknown expectation", "9110 10.1.1", old("Expect: x\r\n")),
        ],
    ));
    rows.extend(answered(
        "200*",
        Ends::KeptAlive,
        vec![
            ("HTTP/1.0 with keep-alive", "9112 9.3", old("Connection: keep-alive\r\n")),
            ("HTTP/1.0 with keep-alive in a list", "9112 9.3", old("Connection: x, Keep-Alive\r\n")),
        ],
    ));
    rows
}

fn ends() -> Vec<Row> {
    answered(
        "200*",
        Ends::Closed,
        vec![
            ("close", "9112 9.6", with("Connection: close\r\n")),
            ("close in capitals", "9110 7.6.1", with("Connection: CLOSE\r\n")),
            ("close at the end of a list", "9110 7.6.1", with("Connection: keep-alive ,\tclose\r\n")),
            ("close at the start of a list", "9110 7.6.1", with("Connection: close, x-note\r\n")),
            ("close among empty elements", "9110 5.6.1", with("Connection: , close,,\r\n")),
            ("close in the second line", "9110 5.3", with("Connection: x-note\r\nConnection: close\r\n")),
            (
                "close and keep-alive in two lines",
                "9112 9.3",
                with("Connection: close\r\nConnection: keep-alive\r\n"),
            ),
            ("an upgrade to websocket", "9110 7.8", with("Connection: Upgrade\r\nUpgrade: websocket\r\n")),
            (
                "an upgrade to HTTP/2",
                "9110 7.8",
                with(
                    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                ),
            ),
            ("an unread body", "9112 9.6", bytes(&[&with("Content-Length: 5\r\n"), b"hello"])),
            (
                "an unread chunked body",
                "9112 9.6",
                bytes(&[&with("Transfer-Encoding: chunked\r\n"), b"0\r\n\r\n"]),
            ),
        ],
    )
}

fn last_of_a_pipeline() -> Vec<Row> {
    let live = line("GET /health/live HTTP/1.1");
    let last = with("Connection: close\r\n");
    let head = line("HEAD /event/212312 HTTP/1.1\r\nConnection: close");
    let mut rows = answered(
        "200 200*",
        Ends::Closed,
        vec![("close behind another request", "9112 9.6", pipeline(&[&live, &last, &with("")]))],
    );
    rows.extend(answered(
        "200* HEAD:200",
        Ends::Closed,
        vec![("close on a HEAD", "9112 9.6", pipeline(&[&with(""), &head, &with("")]))],
    ));
    rows.extend(answered(
        "200 204*",
        Ends::Closed,
        vec![(
            "close on a beacon",
            "9112 9.6",
            pipeline(&[&live, &sized("Connection: close\r\n", entry()), &with("")]),
        )],
    ));
    rows
}

#[test]
fn what_the_rfcs_allow_is_answered_as_they_say() {
    hold([requests(), methods(), versions(), ends(), last_of_a_pipeline()].into_iter().flatten().collect());
}
