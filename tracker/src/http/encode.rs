//! Encodes answers as HTTP/1.1.
//!
//! Status line, `content-length`, `connection` where it is not the default, the answer's fields,
//! `date`. The pixel is encoded once a second, for its date, and then reused.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, UNIX_EPOCH},
};

use http::StatusCode;

use crate::edge::answer::{Answer, Reply};

/// The interim answer to a client that expects it before it sends a body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Capacity up to which the output buffer is kept for the next answer.
const OUT_BYTES_MAX: usize = 16 * 1_024;

/// How an answer depends on its request and connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodeOptions {
    /// The connection closes after it.
    pub closes: bool,
    /// It says `connection: keep-alive`, which HTTP/1.0 does not assume.
    pub says_keep_alive: bool,
    /// It leaves its body out but states its length: the request was HEAD.
    pub omits_body: bool,
}

/// The encoder of one worker.
#[derive(Default)]
pub struct Encoder {
    date: Date,
    pixel: RefCell<Pixel>,
    /// Reused from answer to answer.
    out: RefCell<Vec<u8>>,
}

#[derive(Default)]
struct Pixel {
    /// Seconds since 1970 in its date.
    at: u64,
    bytes: Vec<u8>,
}

/// The value of `Date`, formatted once a second.
#[derive(Default)]
struct Date {
    at: Cell<u64>,
    text: RefCell<String>,
}

impl Date {
    fn append(&self, now_ms: u64, out: &mut Vec<u8>) {
        let mut text = self.text.borrow_mut();
        if text.is_empty() || self.at.get() != now_ms / 1_000 {
            self.at.set(now_ms / 1_000);
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now_ms));
        }
        out.extend_from_slice(text.as_bytes());
    }
}

impl Encoder {
    /// Encodes `reply`, dated `now_ms`, and passes its bytes to `take`.
    pub fn with<T>(
        &self,
        reply: Reply,
        options: EncodeOptions,
        now_ms: u64,
        take: impl FnOnce(&[u8]) -> T,
    ) -> T {
        let is_default = !options.closes && !options.says_keep_alive && !options.omits_body;
        match reply {
            Reply::Pixel if is_default => {
                let mut pixel = self.pixel.borrow_mut();
                if pixel.at != now_ms / 1_000 {
                    pixel.at = now_ms / 1_000;
                    pixel.bytes.clear();
                    self.encode(&Reply::Pixel.into(), options, now_ms, &mut pixel.bytes);
                }
                take(&pixel.bytes)
            }
            reply => {
                let mut out = self.out.take();
                out.clear();
                self.encode(&reply.into(), options, now_ms, &mut out);
                let taken = take(&out);
                // One large answer must not hold its memory for ever.
                if out.capacity() <= OUT_BYTES_MAX {
                    self.out.replace(out);
                }
                taken
            }
        }
    }

    fn encode(&self, answer: &Answer, options: EncodeOptions, now_ms: u64, out: &mut Vec<u8>) {
        let status = answer.status();
        let body = answer.body();
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        let reason = status.canonical_reason().unwrap_or("");
        line(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes()]);
        if has_length(status) {
            let mut digits = itoa::Buffer::new();
            line(&[b"content-length: ", digits.format(body.len()).as_bytes()]);
        }
        if options.closes {
            line(&[b"connection: close"]);
        } else if options.says_keep_alive {
            line(&[b"connection: keep-alive"]);
        }
        for (name, value) in answer.headers() {
            line(&[name.as_bytes(), b": ", value.as_bytes()]);
        }
        out.extend_from_slice(b"date: ");
        self.date.append(now_ms, out);
        out.extend_from_slice(b"\r\n\r\n");
        if !options.omits_body && has_length(status) {
            out.extend_from_slice(body);
        }
    }
}

/// A 204 must not have a `content-length`, and a 304 need not (RFC 9110, section 8.6).
fn has_length(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::answer;

    fn text(wire: &Encoder, reply: Reply, options: EncodeOptions, now_ms: u64) -> String {
        wire.with(reply, options, now_ms, |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn the_pixel_is_encoded_again_only_when_the_second_changes() {
        let wire = Encoder::default();
        let pixel = |now_ms, options| text(&wire, Reply::Pixel, options, now_ms);
        let first = pixel(1_790_000_000_000, EncodeOptions::default());
        assert!(first.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n"), "{first}");
        assert!(first.contains("\r\ndate: Mon, 21 Sep 2026 14:13:20 GMT\r\n\r\nGIF89a"), "{first}");
        assert_eq!(pixel(1_790_000_000_999, EncodeOptions::default()), first);
        assert!(pixel(1_790_000_001_000, EncodeOptions::default()).contains("14:13:21 GMT"));
        let last = EncodeOptions { closes: true, ..EncodeOptions::default() };
        assert!(pixel(1_790_000_001_000, last).contains("\r\nconnection: close\r\n"));
        let old = EncodeOptions { says_keep_alive: true, ..EncodeOptions::default() };
        assert!(pixel(1_790_000_001_000, old).contains("\r\nconnection: keep-alive\r\n"));
        let head = pixel(1_790_000_001_000, EncodeOptions { omits_body: true, ..EncodeOptions::default() });
        assert!(head.contains("\r\ncontent-length: 43\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn a_status_without_a_body_has_no_content_length() {
        let wire = Encoder::default();
        let bytes = text(&wire, answer::no_content().into(), EncodeOptions::default(), 0);
        assert!(!bytes.contains("content-length") && bytes.ends_with("\r\n\r\n"), "{bytes}");
    }

    #[test]
    fn a_large_answer_does_not_keep_its_memory() {
        let wire = Encoder::default();
        let large = answer::json(StatusCode::OK, vec![b'x'; 10 * OUT_BYTES_MAX]);
        assert!(text(&wire, large.into(), EncodeOptions::default(), 0).len() > 10 * OUT_BYTES_MAX);
        assert!(wire.out.borrow().capacity() <= OUT_BYTES_MAX);
    }
}
