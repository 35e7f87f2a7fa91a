//! Requests whose length two servers could see differently: each is refused, or ends where we
//! say, so that no part of one becomes another.

use super::build::{bytes, entry, line, pipeline, post, sized, with};
use super::{Case, Ends, Row, answered, hold, refused};

/// What an attacker would have served as a request of its own.
const HIDDEN: &str = "GET /event/212312?row=ROW&canary=1 HTTP/1.1\r\nHost: t\r\nX: ";

fn lengths() -> Vec<Row> {
    let value = |value: &str| post(format!("Content-Length: {value}\r\n"), entry());
    let both = |one: usize, other: usize| {
        post(format!("Content-Length: {one}\r\nContent-Length: {other}\r\n"), entry())
    };
    let length = entry().len();
    refused(
        "bad_framing",
        vec![
            ("two lengths that differ", "9112 6.3", both(length, 0)),
            ("two lengths that differ, the other way", "9112 6.3", both(0, length)),
            ("the same length twice", "9112 6.3", both(length, length)),
            ("two lengths on a GET", "9112 6.3", with("Content-Length: 0\r\nContent-Length: 0\r\n")),
            ("two lengths in different case", "9112 6.3", with("content-length: 0\r\nCONTENT-LENGTH: 5\r\n")),
            ("a list of lengths", "9110 8.6", value("5, 5")),
            ("a list of lengths that differ", "9110 8.6", value("0, 64")),
            ("a length and an empty element", "9110 8.6", value("5,")),
            ("a plus sign", "9110 8.6", value("+5")),
            ("a minus sign", "9110 8.6", value("-5")),
            ("minus zero", "9110 8.6", with("Content-Length: -0\r\n")),
            ("an empty length", "9110 8.6", value("")),
            ("a blank length", "9110 8.6", value(" \t ")),
            ("a length in hex", "9110 8.6", value("0x5")),
            ("hex digits", "9110 8.6", value("1f")),
            ("a fraction", "9110 8.6", value("5.0")),
            ("an exponent", "9110 8.6", value("1e1")),
            ("a space within a length", "9110 8.6", value("5 5")),
            ("a length with a parameter", "9110 8.6", value("5;a=b")),
            ("a quoted length", "9110 8.6", value("\"5\"")),
            ("an underscore in a length", "9110 8.6", value("1_0")),
            ("digits of another alphabet", "9110 8.6", value("\u{665}")),
            ("a length of 2^64", "9112 6.3", value("18446744073709551616")),
            ("a length of 2^64 and 5", "9112 6.3", value("18446744073709551621")),
            ("a length of 40 digits", "9112 6.3", value(&"9".repeat(40))),
        ],
    )
}

/// CL.TE and TE.CL: whichever field a server in front uses, we accept neither.
fn both() -> Vec<Row> {
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", entry().len(), entry());
    let request = |headers: &str, body: &str| post(headers, body);
    refused(
        "bad_framing",
        vec![
            (
                "CL.TE",
                "9112 6.1",
                request(
                    "Content-Length: 90\r\nTransfer-Encoding: chunked\r\n",
                    &format!("0\r\n\r\n{HIDDEN}"),
                ),
            ),
            (
                "TE.CL",
                "9112 6.1",
                request(
                    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                    &format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len()),
                ),
            ),
            (
                "both and they agree",
                "9112 6.1",
                request(
                    &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunk.len()),
                    &chunk,
                ),
            ),
            (
                "both with length 0",
                "9112 6.1",
                request("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &chunk),
            ),
            ("both on a GET", "9112 6.1", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
            (
                "both, with an unknown coding",
                "9112 6.1",
                request("Content-Length: 5\r\nTransfer-Encoding: x\r\n", "hello"),
            ),
            (
                "both, with other headers between",
                "9112 6.1",
                request("Transfer-Encoding: chunked\r\nX: 1\r\nContent-Length: 5\r\n", &chunk),
            ),
            (
                "both, and Connection names the length",
                "9110 7.6.1",
                request(
                    "Connection: content-length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                    &chunk,
                ),
            ),
            (
                "both on HTTP/1.0",
                "9112 6.1",
                line("POST /b HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
            ),
        ],
    )
}

/// TE.TE: codings that one server takes for `chunked` and another does not.
fn codings() -> Vec<Row> {
    let body = format!("0\r\n\r\n{HIDDEN}");
    let coded = |value: &str| post(format!("Transfer-Encoding: {value}\r\n"), &body);
    let lines = |one: &str, other: &str| {
        post(format!("Transfer-Encoding: {one}\r\nTransfer-Encoding: {other}\r\n"), &body)
    };
    let raw = |headers: &[u8]| post(headers, &body);
    let mut rows = refused(
        "bad_framing",
        vec![
            ("identity", "9112 7", coded("identity")),
            ("chunked twice", "9112 6.1", coded("chunked, chunked")),
            ("chunked twice, in two lines", "9112 6.1", lines("chunked", "chunked")),
            ("two lines, whatever they add up to", "9112 6.1", lines("gzip", "chunked")),
            ("xchunked", "9112 7", coded("xchunked")),
            ("chunkedx", "9112 7", coded("chunkedx")),
            ("chunk", "9112 7", coded("chunk")),
            ("chunked is not the last", "9112 6.3", coded("chunked, identity")),
            ("chunked is not the last, in two lines", "9112 6.3", lines("chunked", "identity")),
            ("chunked before gzip", "9112 6.3", coded("chunked, gzip")),
            ("gzip alone", "9112 6.3", coded("gzip")),
            ("an empty coding", "9112 6.1", coded("")),
            ("chunked and then an unknown coding", "9112 6.1", lines("chunked", "x")),
            ("a parameter of chunked", "9112 7", coded("chunked;q=1")),
            ("chunked in quotes", "9112 7", coded("\"chunked\"")),
            ("chunked in single quotes", "9112 7", coded("'chunked'")),
            ("two words", "9112 7", coded("x chunked")),
            ("chunked and a word", "9112 7", coded("chunked x")),
            ("bytes from 0x80 before chunked", "9112 7", raw(b"Transfer-Encoding: \xa0chunked\r\n")),
            ("on a GET", "9112 6.1", with("Transfer-Encoding: identity\r\n")),
            ("chunked on HTTP/1.0", "9112 6.1", line("POST /b HTTP/1.0\r\nTransfer-Encoding: chunked")),
        ],
    );
    rows.extend(refused(
        "malformed_request",
        vec![
            ("a space before its colon", "9112 5.1", raw(b"Transfer-Encoding : chunked\r\n")),
            ("a tab before its colon", "9112 5.1", raw(b"Transfer-Encoding\t: chunked\r\n")),
            ("a fold before its value", "9112 5.2", raw(b"Transfer-Encoding:\r\n chunked\r\n")),
            ("a fold within its list", "9112 5.2", raw(b"Transfer-Encoding: gzip,\r\n\tchunked\r\n")),
            ("a vertical tab before its value", "9110 5.5", raw(b"Transfer-Encoding: \x0bchunked\r\n")),
            ("a NUL behind its value", "9110 5.5", raw(b"Transfer-Encoding: chunked\0\r\n")),
            ("a bare CR before it", "9112 2.2", raw(b"X: y\rTransfer-Encoding: chunked\r\n")),
            ("a bare LF before it", "9112 2.2", raw(b"X: y\nTransfer-Encoding: chunked\r\n")),
            ("a space before it", "9112 5.2", raw(b"X: y\r\n Transfer-Encoding: chunked\r\n")),
            ("a length with a space before its colon", "9112 5.1", raw(b"Content-Length : 90\r\n")),
            ("a length behind a bare CR", "9112 2.2", raw(b"X: y\rContent-Length: 90\r\n")),
        ],
    ));
    rows.extend(refused(
        "unsupported_transfer_coding",
        vec![
            ("gzip and then chunked", "9112 6.1", coded("gzip, chunked")),
            ("an unknown coding before chunked", "9112 6.1", coded("x-mine , Chunked")),
        ],
    ));
    rows
}

/// What stands behind a request whose connection ends or whose length is known.
fn behind() -> Vec<Row> {
    let hit = with("");
    let posted = sized("", entry());
    let hidden = format!("{HIDDEN}\r\n\r\n");
    let of_length = format!("Content-Length: {}\r\n", hidden.len());
    let unread = |start: &str| {
        let head = format!("{start} HTTP/1.1\r\nHost: t\r\n{of_length}\r\n");
        bytes(&[head.as_bytes(), hidden.as_bytes()])
    };
    let closed: fn(&str, Vec<Case>) -> Vec<Row> = |answers, cases| answered(answers, Ends::Closed, cases);
    let mut rows = closed(
        "200*",
        vec![
            ("a request as the body of a GET", "9112 6", bytes(&[&with(&of_length), hidden.as_bytes()])),
            ("a request behind close", "9112 9.6", bytes(&[&with("Connection: close\r\n"), &hit])),
            (
                "a request behind an upgrade",
                "9110 7.8",
                bytes(&[&with("Connection: Upgrade\r\nUpgrade: h2c\r\n"), &hit]),
            ),
            (
                "a request as the chunks of a GET",
                "9112 6",
                bytes(&[&with("Transfer-Encoding: chunked\r\n"), b"0\r\n\r\n", hidden.as_bytes()]),
            ),
        ],
    );
    rows.extend(closed(
        "HEAD:200",
        vec![("a request as the body of a HEAD", "9112 6", unread("HEAD /event/212312"))],
    ));
    rows.extend(closed(
        "204",
        vec![("a request as the body of a preflight", "9112 6", unread("OPTIONS /b"))],
    ));
    rows.extend(closed(
        "404",
        vec![("a request as the body of no path of ours", "9112 6", unread("POST /x"))],
    ));
    rows.extend(closed(
        "200* 204*",
        vec![(
            "close in the middle",
            "9112 9.6",
            pipeline(&[&hit, &sized("Connection: close\r\n", entry()), &hit]),
        )],
    ));
    rows.extend(answered(
        "400",
        Ends::Open,
        vec![("a request as a beacon is a body", "9112 6", sized("", &hidden))],
    ));
    rows.extend(answered(
        "204* 200* 204*",
        Ends::Open,
        vec![("beacons and a hit in one segment", "9112 9.3.2", pipeline(&[&posted, &hit, &posted]))],
    ));
    rows.extend(answered(
        "204*",
        Ends::Refused("malformed_request"),
        vec![
            ("a body longer than its length", "9112 6.3", bytes(&[&posted, b"{}\r\n\r\n"])),
            ("a beacon with line breaks behind it and noise", "9112 2.2", bytes(&[&posted, b"\r\n\r\n\0"])),
        ],
    ));
    rows.extend(answered(
        "400",
        Ends::Refused("malformed_request"),
        vec![
            (
                "an underscore is no hyphen: a coding",
                "9110 5.1",
                post("Transfer_Encoding: chunked\r\n", "\0"),
            ),
            ("an underscore is no hyphen: a length", "9110 5.1", post("Content_Length: 2\r\n", "{}")),
        ],
    ));
    rows
}

#[test]
fn no_part_of_a_request_becomes_another_one() {
    hold([lengths(), both(), codings(), behind()].into_iter().flatten().collect());
}
