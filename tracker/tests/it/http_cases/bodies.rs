//! Bodies of known and unknown length, and what is said of them before they are read.

use super::build::{entry, line, post, sized, with};
use super::{Ends, Row, answered, hold, refused};

fn bodies() -> Vec<Row> {
    let limit = 1 << 20;
    let padded = |length: usize| format!("{}{}", entry(), " ".repeat(length - entry().len()));
    let in_chunks = |length: usize| {
        let chunks: String = padded(length)
            .as_bytes()
            .chunks(60_000)
            .map(|chunk| format!("{:X}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
            .collect();
        post("Transfer-Encoding: chunked\r\n", format!("{chunks}0\r\n\r\n"))
    };
    let mut rows = answered(
        "204*",
        Ends::Open,
        vec![
            ("a beacon", "9110 9.3.3", sized("", entry())),
            (
                "a length with zeros in front",
                "9110 8.6",
                post(format!("Content-Length: 00{}\r\n", entry().len()), entry()),
            ),
            ("a beacon of exactly the limit", "9110 15.5.14", sized("", padded(limit))),
            ("chunks of exactly the limit", "9110 15.5.14", in_chunks(limit)),
            ("Content-Encoding: identity", "9110 8.4", sized("Content-Encoding: identity\r\n", entry())),
        ],
    );
    rows.extend(answered(
        "413",
        Ends::Closed,
        vec![
            ("a length of one byte too many", "9110 15.5.14", post("Content-Length: 1048577\r\n", "")),
            ("the largest length there is", "9110 8.6", post("Content-Length: 9223372036854775807\r\n", "")),
            (
                "a large length that waits to be let in",
                "9110 10.1.1",
                post("Content-Length: 1048577\r\nExpect: 100-continue\r\n", ""),
            ),
            ("chunks of one byte too many", "9110 15.5.14", in_chunks(limit + 1)),
        ],
    ));
    rows.extend(answered(
        "415",
        Ends::Closed,
        vec![
            ("Content-Encoding: gzip", "9110 8.4", sized("Content-Encoding: gzip\r\n", entry())),
            (
                "Content-Encoding: br, waiting to be let in",
                "9110 10.1.1",
                post("Content-Length: 9\r\nContent-Encoding: br\r\nExpect: 100-continue\r\n", ""),
            ),
        ],
    ));
    rows.extend(answered(
        "405",
        Ends::Closed,
        vec![
            (
                "a body where GET is due",
                "9110 10.1.1",
                line("POST /i/212312 HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue"),
            ),
            (
                "chunks where GET is due",
                "9112 9.6",
                line("POST /i/212312 HTTP/1.1\r\nTransfer-Encoding: chunked"),
            ),
        ],
    ));
    rows.extend(refused(
        "unsupported_expectation",
        vec![
            ("an unknown expectation", "9110 10.1.1", with("Expect: 200-ok\r\n")),
            ("an expectation of a beacon", "9110 10.1.1", sized("Expect: the-worst\r\n", entry())),
        ],
    ));
    rows
}

#[test]
fn a_body_is_read_where_one_is_taken_and_to_its_limit() {
    hold(bodies());
}
