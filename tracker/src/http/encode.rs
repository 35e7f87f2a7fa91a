//! An answer as the bytes of HTTP/1.1.
//!
//! As actix-http writes it: `content-length`, `connection: close` where it is the last, the
//! headers, `date`. The bytes of the pixel are made once per second, because of its date.

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use actix_http::StatusCode;
use bytes::Bytes;

use crate::answer::{Answer, Reply};

/// One worker's answers.
#[derive(Default)]
pub struct Wire {
    pixel: RefCell<Pixel>,
}

#[derive(Default)]
struct Pixel {
    /// Seconds since 1970 in its date.
    at: u64,
    bytes: Vec<u8>,
}

impl Wire {
    /// Gives `take` the bytes of a reply of `now_ms`, the `last` one of its connection or not.
    pub fn with<T>(&self, reply: Reply, last: bool, now_ms: u64, take: impl FnOnce(&[u8]) -> T) -> T {
        match reply {
            Reply::Pixel if !last => {
                let mut pixel = self.pixel.borrow_mut();
                if pixel.at != now_ms / 1_000 {
                    *pixel = Pixel { at: now_ms / 1_000, bytes: encode(&Reply::Pixel.into(), false, now_ms) };
                }
                take(&pixel.bytes)
            }
            reply => take(&encode(&reply.into(), last, now_ms)),
        }
    }

    /// To a client that connected and sent no request in time; as actix-http says it.
    pub fn slow(&self, now_ms: u64) -> Vec<u8> {
        encode(&Answer::with_body(StatusCode::REQUEST_TIMEOUT, Bytes::new()), true, now_ms)
    }
}

fn encode(answer: &Answer, last: bool, now_ms: u64) -> Vec<u8> {
    let (status, body) = (answer.status(), answer.body());
    let mut out = Vec::with_capacity(512 + body.len());
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    let reason = status.canonical_reason().unwrap_or("");
    line(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    line(&[b"content-length: ", body.len().to_string().as_bytes()]);
    if last {
        line(&[b"connection: close"]);
    }
    for (name, value) in answer.headers() {
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now_ms));
    line(&[b"date: ", date.as_bytes()]);
    line(&[]);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pixel_is_made_anew_when_the_second_changes_and_only_then() {
        let wire = Wire::default();
        let text = |now_ms, last| {
            wire.with(Reply::Pixel, last, now_ms, |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let first = text(1_790_000_000_000, false);
        assert!(first.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n"), "{first}");
        assert!(first.contains("\r\ndate: Mon, 21 Sep 2026 14:13:20 GMT\r\n\r\nGIF89a"), "{first}");
        assert_eq!(text(1_790_000_000_999, false), first);
        assert!(text(1_790_000_001_000, false).contains("14:13:21 GMT"));
        assert!(text(1_790_000_001_000, true).contains("\r\nconnection: close\r\n"));
    }
}
