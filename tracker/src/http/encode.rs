//! An answer as the bytes of HTTP/1.1.
//!
//! Status line, `content-length`, `connection` where it says something, the answer's fields,
//! `date`. The bytes of the pixel are made once a second, because of its date.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, UNIX_EPOCH},
};

use http::StatusCode;

use crate::edge::answer::{Answer, Reply};

/// What a client that expects it is told before it sends a body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes of an answer's buffer that are kept for the next one.
const KEPT_BYTES_MAX: usize = 16 * 1_024;

/// How a request wants its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// It is the last one of its connection.
    pub is_last: bool,
    /// It says that the connection goes on, which HTTP/1.0 does not take for granted.
    pub says_keep_alive: bool,
    /// It has no body, but says how long it would be: the request was HEAD.
    pub withholds_body: bool,
}

/// One worker's answers.
#[derive(Default)]
pub struct Wire {
    date: Date,
    pixel: RefCell<Pixel>,
    /// For the bytes of an answer, one after the other.
    out: RefCell<Vec<u8>>,
}

#[derive(Default)]
struct Pixel {
    /// Seconds since 1970 in its date.
    at: u64,
    bytes: Vec<u8>,
}

/// `Date` changes once a second.
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

impl Wire {
    /// Gives `take` the bytes of a reply of `now_ms`.
    pub fn with<T>(&self, reply: Reply, form: Form, now_ms: u64, take: impl FnOnce(&[u8]) -> T) -> T {
        let is_plain = !form.is_last && !form.says_keep_alive && !form.withholds_body;
        match reply {
            Reply::Pixel if is_plain => {
                let mut pixel = self.pixel.borrow_mut();
                if pixel.at != now_ms / 1_000 {
                    pixel.at = now_ms / 1_000;
                    pixel.bytes.clear();
                    self.encode(&Reply::Pixel.into(), form, now_ms, &mut pixel.bytes);
                }
                take(&pixel.bytes)
            }
            reply => {
                let mut out = self.out.take();
                out.clear();
                self.encode(&reply.into(), form, now_ms, &mut out);
                let taken = take(&out);
                // One large answer does not keep its memory for ever.
                if out.capacity() <= KEPT_BYTES_MAX {
                    self.out.replace(out);
                }
                taken
            }
        }
    }

    fn encode(&self, answer: &Answer, form: Form, now_ms: u64, out: &mut Vec<u8>) {
        let (status, body) = (answer.status(), answer.body());
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
        if form.is_last {
            line(&[b"connection: close"]);
        } else if form.says_keep_alive {
            line(&[b"connection: keep-alive"]);
        }
        for (name, value) in answer.headers() {
            line(&[name.as_bytes(), b": ", value.as_bytes()]);
        }
        out.extend_from_slice(b"date: ");
        self.date.append(now_ms, out);
        out.extend_from_slice(b"\r\n\r\n");
        if !form.withholds_body && has_length(status) {
            out.extend_from_slice(body);
        }
    }
}

/// 204 has no body and must not say how long it is; 304 need not (RFC 9110, section 8.6).
fn has_length(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::answer;

    fn text(wire: &Wire, reply: Reply, form: Form, now_ms: u64) -> String {
        wire.with(reply, form, now_ms, |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn the_pixel_is_made_anew_when_the_second_changes_and_only_then() {
        let wire = Wire::default();
        let pixel = |now_ms, form| text(&wire, Reply::Pixel, form, now_ms);
        let first = pixel(1_790_000_000_000, Form::default());
        assert!(first.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n"), "{first}");
        assert!(first.contains("\r\ndate: Mon, 21 Sep 2026 14:13:20 GMT\r\n\r\nGIF89a"), "{first}");
        assert_eq!(pixel(1_790_000_000_999, Form::default()), first);
        assert!(pixel(1_790_000_001_000, Form::default()).contains("14:13:21 GMT"));
        let last = Form { is_last: true, ..Form::default() };
        assert!(pixel(1_790_000_001_000, last).contains("\r\nconnection: close\r\n"));
        let old = Form { says_keep_alive: true, ..Form::default() };
        assert!(pixel(1_790_000_001_000, old).contains("\r\nconnection: keep-alive\r\n"));
        let head = pixel(1_790_000_001_000, Form { withholds_body: true, ..Form::default() });
        assert!(head.contains("\r\ncontent-length: 43\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn what_has_no_body_by_its_status_does_not_say_how_long_it_is() {
        let wire = Wire::default();
        let bytes = text(&wire, answer::no_content().into(), Form::default(), 0);
        assert!(!bytes.contains("content-length") && bytes.ends_with("\r\n\r\n"), "{bytes}");
    }

    #[test]
    fn a_large_answer_does_not_keep_its_memory() {
        let wire = Wire::default();
        let large = answer::json(StatusCode::OK, vec![b'x'; 10 * KEPT_BYTES_MAX]);
        assert!(text(&wire, large.into(), Form::default(), 0).len() > 10 * KEPT_BYTES_MAX);
        assert!(wire.out.borrow().capacity() <= KEPT_BYTES_MAX);
    }
}
