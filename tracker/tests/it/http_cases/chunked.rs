//! Chunked bodies of beacons (RFC 9112 7.1): the grammar and nothing beside it.

use super::build::{bytes, chunked, entry, pipeline, post, with};
use super::{Ends, Row, answered, hold, refused};

fn taken() -> Vec<Row> {
    let first = &entry()[..10];
    let rest = &entry()[10..];
    let parts = format!("a\r\n{first}\r\n{:X}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    // All but the number of the row, which is put in later.
    let (before, after) = entry().split_once("ROW").unwrap();
    let each = |text: &str| -> String { text.chars().map(|c| format!("1\r\n{c}\r\n")).collect() };
    let single = format!("{}3\r\nROW\r\n{}", each(before), each(after));
    let mut rows = answered(
        "204*",
        Ends::Open,
        vec![
            ("one chunk", "9112 7.1", chunked("SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("two chunks", "9112 7.1", chunked(&parts)),
            ("a chunk for nearly each byte", "9112 7.1", chunked(&format!("{single}0\r\n\r\n"))),
            (
                "hex digits in capitals",
                "9112 7.1",
                chunked(&format!("SIZE\r\nJSON\r\nA\r\n{}\r\n0\r\n\r\n", " ".repeat(10))),
            ),
            (
                "hex digits in small letters",
                "9112 7.1",
                chunked(&format!("SIZE\r\nJSON\r\n1f\r\n{}\r\n0\r\n\r\n", " ".repeat(31))),
            ),
            ("zeros in front of a size", "9112 7.1", chunked("0000SIZE\r\nJSON\r\n000\r\n\r\n")),
            (
                "line breaks within the data",
                "9112 7.1",
                chunked("SIZE\r\nJSON\r\n8\r\n \r\n\r\n\r\n \r\n0\r\n\r\n"),
            ),
            ("an extension that is a name", "9112 7.1.1", chunked("SIZE;name\r\nJSON\r\n0\r\n\r\n")),
            ("an extension with a value", "9112 7.1.1", chunked("SIZE;name=value\r\nJSON\r\n0\r\n\r\n")),
            (
                "an extension with a quoted value",
                "9112 7.1.1",
                chunked("SIZE;name=\"a; b=c\"\r\nJSON\r\n0\r\n\r\n"),
            ),
            (
                "an extension with quoted pairs",
                "9112 7.1.1",
                chunked("SIZE;name=\"a\\\"\\\\b\"\r\nJSON\r\n0\r\n\r\n"),
            ),
            ("an empty quoted value", "9112 7.1.1", chunked("SIZE;name=\"\"\r\nJSON\r\n0\r\n\r\n")),
            ("several extensions", "9112 7.1.1", chunked("SIZE;a;b=c;d=\"e\"\r\nJSON\r\n0\r\n\r\n")),
            ("spaces around ; and =", "9112 7.1.1", chunked("SIZE ; name = value\r\nJSON\r\n0\r\n\r\n")),
            ("an extension of the last chunk", "9112 7.1.1", chunked("SIZE\r\nJSON\r\n0;last\r\n\r\n")),
            (
                "an extension of 200 bytes",
                "9112 7.1.1",
                chunked(&format!("SIZE;a={}\r\nJSON\r\n0\r\n\r\n", "x".repeat(200))),
            ),
            ("a trailer", "9112 7.1.2", chunked("SIZE\r\nJSON\r\n0\r\nX-Sum: 1\r\n\r\n")),
            ("several trailers", "9112 7.1.2", chunked("SIZE\r\nJSON\r\n0\r\nA: 1\r\nB:\r\nC: \t2 \r\n\r\n")),
            (
                "trailers of 3,000 bytes",
                "9112 7.1.2",
                chunked(&format!("SIZE\r\nJSON\r\n0\r\nX: {}\r\n\r\n", "x".repeat(3_000))),
            ),
            (
                "trailers that say what only a head may say",
                "9110 6.5.1",
                chunked(
                    "SIZE\r\nJSON\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: evil\r\nConnection: close\r\n\r\n",
                ),
            ),
            (
                "chunked in capitals",
                "9112 7",
                post(
                    "TRANSFER-ENCODING: \t CHUNKED \r\n",
                    format!("{:x}\r\n{}\r\n0\r\n\r\n", entry().len(), entry()),
                ),
            ),
        ],
    );
    let whole = chunked("SIZE\r\nJSON\r\n0\r\n\r\n");
    let trailed = chunked("SIZE\r\nJSON\r\n0\r\nX: 1\r\n\r\n");
    rows.extend(answered(
        "204* 200* 204* 200*",
        Ends::Open,
        vec![(
            "a pipeline knows where chunks end",
            "9112 7.1",
            pipeline(&[&whole, &with(""), &trailed, &with("")]),
        )],
    ));
    rows.extend(answered(
        "400",
        Ends::Either,
        vec![("no chunk but the last", "9112 7.1", chunked("0\r\n\r\n"))],
    ));
    rows.extend(answered(
        "413",
        Ends::Closed,
        vec![(
            "a chunk larger than a body may be",
            "9110 15.5.14",
            chunked(&format!("200000\r\n{}", " ".repeat(1_100_000))),
        )],
    ));
    rows
}

fn sizes() -> Vec<Row> {
    refused(
        "bad_chunk",
        vec![
            ("no size", "9112 7.1", chunked("\r\nJSON\r\n0\r\n\r\n")),
            ("a size that is not hex", "9112 7.1", chunked("g\r\nJSON\r\n0\r\n\r\n")),
            ("a size with 0x", "9112 7.1", chunked("0xSIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a size with a plus sign", "9112 7.1", chunked("+SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a size with a minus sign", "9112 7.1", chunked("-SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a size with an underscore", "9112 7.1", chunked("0_SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a space before a size", "9112 7.1", chunked(" SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a space behind a size", "9112 7.1", chunked("SIZE \r\nJSON\r\n0\r\n\r\n")),
            ("a comma behind a size", "9112 7.1", chunked("SIZE,1\r\nJSON\r\n0\r\n\r\n")),
            ("a NUL behind a size", "9112 7.1", chunked("SIZE\0\r\nJSON\r\n0\r\n\r\n")),
            ("a size of 2^64", "9112 7.1", chunked("10000000000000000\r\nJSON\r\n0\r\n\r\n")),
            ("a size of 2^64 and a little", "9112 7.1", chunked("100000000000000SIZE\r\nJSON\r\n0\r\n\r\n")),
            ("a size of 20 digits", "9112 7.1", chunked("ffffffffffffffffffff\r\nJSON\r\n0\r\n\r\n")),
            (
                "a size line of 300 zeros",
                "9112 7.1.1",
                chunked(&format!("{}SIZE\r\nJSON\r\n0\r\n\r\n", "0".repeat(300))),
            ),
            ("a size line without an end", "9112 7.1.1", chunked(&"0".repeat(5_000))),
            ("a bare LF behind a size", "9112 7.1", chunked("SIZE\nJSON\r\n0\r\n\r\n")),
            ("a bare CR behind a size", "9112 7.1", chunked("SIZE\rJSON\r\n0\r\n\r\n")),
            (
                "a size that is a request",
                "9112 7.1",
                chunked("GET /event/212312?row=ROW&canary=1 HTTP/1.1\r\nHost: t\r\n\r\n"),
            ),
        ],
    )
}

fn extensions() -> Vec<Row> {
    refused(
        "bad_chunk",
        vec![
            ("a semicolon and nothing", "9112 7.1.1", chunked("SIZE;\r\nJSON\r\n0\r\n\r\n")),
            ("two semicolons", "9112 7.1.1", chunked("SIZE;;a\r\nJSON\r\n0\r\n\r\n")),
            ("an extension without a name", "9112 7.1.1", chunked("SIZE;=a\r\nJSON\r\n0\r\n\r\n")),
            ("an extension without a value", "9112 7.1.1", chunked("SIZE;a=\r\nJSON\r\n0\r\n\r\n")),
            ("a quoted name", "9112 7.1.1", chunked("SIZE;\"a\"\r\nJSON\r\n0\r\n\r\n")),
            ("a quoted value that is not closed", "9112 7.1.1", chunked("SIZE;a=\"b\r\nJSON\r\n0\r\n\r\n")),
            ("a line break in a quoted value", "9112 7.1.1", chunked("SIZE;a=\"\r\n\"\r\nJSON\r\n0\r\n\r\n")),
            ("something behind a quoted value", "9112 7.1.1", chunked("SIZE;a=\"b\"c\r\nJSON\r\n0\r\n\r\n")),
            ("a space within a value", "9112 7.1.1", chunked("SIZE;a=b c\r\nJSON\r\n0\r\n\r\n")),
            ("a bare LF in an extension", "9112 7.1.1", chunked("SIZE;a\nJSON\r\n0\r\n\r\n")),
            ("a bare CR in an extension", "9112 7.1.1", chunked("SIZE;a\rb\r\nJSON\r\n0\r\n\r\n")),
            ("a NUL in an extension", "9112 7.1.1", chunked("SIZE;a=\0\r\nJSON\r\n0\r\n\r\n")),
            (
                "an extension of 300 bytes",
                "9112 7.1.1",
                chunked(&format!("SIZE;a={}\r\nJSON\r\n0\r\n\r\n", "x".repeat(300))),
            ),
            (
                "an extension without an end",
                "9112 7.1.1",
                chunked(&format!("SIZE;a={}", "x".repeat(100_000))),
            ),
            ("a bad extension of the last chunk", "9112 7.1.1", chunked("SIZE\r\nJSON\r\n0;\r\n\r\n")),
        ],
    )
}

fn data() -> Vec<Row> {
    let longer = format!("{:x}\r\nJSON\r\n0\r\n\r\n", entry().len() - 1);
    refused(
        "bad_chunk",
        vec![
            ("no line break behind the data", "9112 7.1", chunked("SIZE\r\nJSON0\r\n\r\n")),
            ("a bare LF behind the data", "9112 7.1", chunked("SIZE\r\nJSON\n0\r\n\r\n")),
            ("a bare CR behind the data", "9112 7.1", chunked("SIZE\r\nJSON\r0\r\n\r\n")),
            ("more data than the size", "9112 7.1", chunked(&longer)),
            ("two line breaks behind the data", "9112 7.1", chunked("SIZE\r\nJSON\r\n\r\n0\r\n\r\n")),
        ],
    )
}

fn trailers() -> Vec<Row> {
    let trailed = |trailer: &str| chunked(&format!("SIZE\r\nJSON\r\n0\r\n{trailer}\r\n"));
    let mut rows = refused(
        "bad_chunk",
        vec![
            (
                "a request line as a trailer",
                "9112 7.1.2",
                trailed("GET /event/212312?row=ROW&canary=1 HTTP/1.1\r\nHost: t\r\n"),
            ),
            ("a bare LF behind a trailer", "9112 7.1.2", trailed("X: 1\n")),
            (
                "a bare LF, and then a request",
                "9112 7.1.2",
                trailed("X: 1\nGET /event/212312?row=ROW&canary=1 HTTP/1.1\r\nHost: t\r\n"),
            ),
            ("a bare LF instead of trailers", "9112 7.1.2", chunked("SIZE\r\nJSON\r\n0\r\n\n")),
            ("a bare CR in a trailer", "9112 7.1.2", trailed("X: a\rb\r\n")),
            ("a bare LF behind the last chunk", "9112 7.1", chunked("SIZE\r\nJSON\r\n0\n\r\n")),
            ("a space before the colon of a trailer", "9112 5.1", trailed("X : 1\r\n")),
            ("a trailer without a colon", "9112 5", trailed("nothing\r\n")),
            ("a trailer without a name", "9110 5.1", trailed(": 1\r\n")),
            ("a folded trailer", "9112 5.2", trailed("X: a\r\n b\r\n")),
            ("a NUL in a trailer", "9110 5.5", trailed("X: \0\r\n")),
            ("trailers of 5,000 bytes", "9112 7.1.2", trailed(&format!("X: {}\r\n", "x".repeat(5_000)))),
            ("many trailers", "9112 7.1.2", trailed(&"X: 1\r\n".repeat(1_000))),
            ("trailers without an end", "9112 7.1.2", trailed(&"x".repeat(100_000))),
        ],
    );
    rows.extend(answered(
        "204*",
        Ends::Refused("malformed_request"),
        vec![(
            "one line break too many and noise",
            "9112 7.1",
            bytes(&[&chunked("SIZE\r\nJSON\r\n0\r\n\r\n"), b"\r\n\0"]),
        )],
    ));
    rows
}

#[test]
fn a_chunked_beacon_is_read_by_the_letter() {
    hold([taken(), sizes(), extensions(), data(), trailers()].into_iter().flatten().collect());
}
