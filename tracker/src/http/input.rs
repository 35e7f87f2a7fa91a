//! Bytes read from a connection and not yet answered: the start of its next head.

use std::time::{Duration, Instant};

use super::{
    body::Rest,
    buffers::Buffer,
    parse::{BLANK_BYTES_MAX, LINE_BYTES_MAX, head_bytes_max},
};
use crate::request::error::RequestError;

/// The unanswered input of one connection.
pub struct Input {
    /// `None` while empty: an idle connection holds no buffer.
    buffer: Option<Buffer>,
    /// Bytes of the buffer that have been answered.
    at: usize,
    /// Bytes of line breaks skipped before the head.
    blank_bytes: usize,
    /// Whether a head has begun; a new connection counts as having begun one.
    is_in_head: bool,
    /// When the head must be complete or, between requests, must have begun.
    deadline: Instant,
    bytes_max: usize,
}

impl Input {
    /// For a connection whose first head must be complete by `deadline`.
    pub fn new(deadline: Instant, header_bytes_max: usize) -> Self {
        let bytes_max = head_bytes_max(header_bytes_max);
        Self { buffer: None, at: 0, blank_bytes: 0, is_in_head: true, deadline, bytes_max }
    }

    /// The start of the next head.
    pub fn unread(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.at..])
    }

    /// When the wait for more bytes ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a head has begun.
    pub fn is_in_head(&self) -> bool {
        self.is_in_head
    }

    /// The buffer that reads append to.
    pub fn buffer(&mut self) -> &mut Option<Buffer> {
        &mut self.buffer
    }

    /// Moves past an answered request with a head of `head_bytes`; the next one must begin by
    /// `deadline`.
    pub fn advance(&mut self, head_bytes: usize, rest: Rest, deadline: Instant) {
        match rest {
            Rest::AfterHead(body_bytes) => self.at += head_bytes + body_bytes,
            // The body did not end in this buffer, so all of the buffer has been answered.
            Rest::In(buffer) => {
                self.buffer = buffer;
                self.at = 0;
            }
        }
        self.release_if_empty();
        self.blank_bytes = 0;
        self.is_in_head = false;
        self.deadline = deadline;
    }

    /// Gives a head that has just begun `limit` to be completed.
    pub fn begin_head(&mut self, limit: Duration) {
        // Once per head, or a client could extend its deadline byte by byte.
        if !self.is_in_head && !self.unread().is_empty() {
            self.is_in_head = true;
            self.deadline = Instant::now() + limit;
        }
    }

    /// Skips line breaks before a request line (RFC 9112, section 2.2). They do not begin a head, so
    /// a client that sends nothing else is closed as idle.
    pub fn skip_blanks(&mut self) -> Result<(), RequestError> {
        if !matches!(self.unread(), [b'\r' | b'\n', ..]) {
            return Ok(());
        }
        let blanks = self.unread().iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.at += blanks;
        self.blank_bytes += blanks;
        self.release_if_empty();
        // Counted over all reads: an endless run of line breaks is not an idle connection.
        if self.blank_bytes > BLANK_BYTES_MAX { Err(RequestError::Syntax) } else { Ok(()) }
    }

    /// Makes room for at least one more byte.
    pub fn make_room(&mut self) -> Result<(), RequestError> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        // Reclaim the answered bytes before claiming memory from the budget.
        if self.at > 0 {
            buffer.discard(self.at);
            self.at = 0;
        }
        if !buffer.is_full() {
            return Ok(());
        }
        if buffer.len() >= self.bytes_max {
            // A complete request line means that the headers are what is too large.
            let has_line = memchr::memchr(b'\n', &buffer[..LINE_BYTES_MAX.min(buffer.len())]).is_some();
            return Err(if has_line { RequestError::HeadersTooLarge } else { RequestError::LineTooLong });
        }
        if buffer.grow(self.bytes_max) { Ok(()) } else { Err(RequestError::NoRoom) }
    }

    /// Whether the head may be complete, or has doubled since its first `parsed_bytes` were parsed:
    /// a client that sends byte by byte must not make us parse the head for every byte.
    /// `known_bytes` were there before the last read.
    pub fn is_worth_parsing(&self, parsed_bytes: usize, known_bytes: usize) -> bool {
        let unread = self.unread();
        // Doubling bounds the total cost, and finds errors in a head that never completes.
        if unread.len() >= 2 * parsed_bytes {
            return true;
        }
        // The empty line that ends a head may straddle two reads.
        let new = &unread[known_bytes.saturating_sub(b"\n\r".len()).min(unread.len())..];
        memchr::memchr_iter(b'\n', new).any(|at| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
    }

    /// Percent-encodes the bytes of the target that are not UTF-8, as a browser would; returns
    /// whether there were any.
    pub fn escape_target(&mut self) -> bool {
        let at = self.at;
        let Some(buffer) = &mut self.buffer else { return false };
        let line = buffer[at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut spaces = memchr::memchr_iter(b' ', line);
        let (Some(start), Some(end)) = (spaces.next(), spaces.next()) else { return false };
        let target = &line[start + 1..end];
        if std::str::from_utf8(target).is_ok() {
            return false;
        }
        let mut escaped = Vec::with_capacity(2 * target.len());
        for chunk in target.utf8_chunks() {
            escaped.extend_from_slice(chunk.valid().as_bytes());
            chunk
                .invalid()
                .iter()
                .for_each(|byte| escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()));
        }
        buffer.replace(at + start + 1..at + end, &escaped, self.bytes_max)
    }

    fn release_if_empty(&mut self) {
        if self.unread().is_empty() {
            self.buffer = None;
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::http::{
        budget::Budget,
        buffers::{BUFFER_BYTES, BufferPool},
    };

    fn input(buffers: &Rc<BufferPool>, bytes: &[u8]) -> Input {
        let mut input = Input::new(Instant::now(), 1_024);
        let mut buffer = buffers.take();
        buffer.as_mut().extend_from_slice(bytes);
        input.buffer = Some(buffer);
        input
    }

    #[test]
    fn line_breaks_before_a_head_are_skipped_up_to_a_bound() {
        let buffers = BufferPool::new(Budget::new(0));
        let mut few = input(&buffers, b"\r\n\r\n\nGET");
        assert_eq!(few.skip_blanks(), Ok(()));
        assert_eq!(few.unread(), b"GET");
        let mut many = input(&buffers, &[b'\n'; BLANK_BYTES_MAX + 1]);
        assert_eq!(many.skip_blanks(), Err(RequestError::Syntax));
        assert!(many.buffer.is_none());
    }

    #[test]
    fn a_head_that_arrives_byte_by_byte_is_parsed_rarely_and_at_its_end() {
        let buffers = BufferPool::new(Budget::new(0));
        let head = b"GET / HTTP/1.1\r\nHost: t\r\nA: b\r\n\r\n";
        let mut parses = 0;
        let mut parsed = 1;
        for known in 1..head.len() {
            let input = input(&buffers, &head[..=known]);
            if input.is_worth_parsing(parsed, known) {
                parses += 1;
                parsed = known + 1;
            }
        }
        assert_eq!((parses, parsed), (6, head.len()));
        assert!(input(&buffers, b"GET\n\nx").is_worth_parsing(100, 4), "a bare line feed is parsed as well");
    }

    #[test]
    fn the_error_names_the_part_of_the_head_that_is_too_large() {
        let buffers = BufferPool::new(Budget::new(1 << 20));
        let fill = |start: &[u8]| {
            let mut input = input(&buffers, start);
            loop {
                if let Err(malformed) = input.make_room() {
                    return (malformed, input.unread().len());
                }
                let buffer = input.buffer.as_mut().unwrap().as_mut();
                buffer.resize(buffer.capacity(), b'x');
            }
        };
        let bytes_max = head_bytes_max(1_024);
        assert_eq!(fill(b"GET /"), (RequestError::LineTooLong, bytes_max));
        assert_eq!(fill(b"GET / HTTP/1.1\r\nA: "), (RequestError::HeadersTooLarge, bytes_max));
        let poor = BufferPool::new(Budget::new(BUFFER_BYTES));
        let mut two = [input(&poor, &[b'x'; BUFFER_BYTES]), input(&poor, &[b'x'; BUFFER_BYTES])];
        assert_eq!(two.each_mut().map(Input::make_room), [Ok(()), Err(RequestError::NoRoom)]);
    }

    #[test]
    fn bytes_of_a_legacy_encoding_are_escaped_once() {
        let buffers = BufferPool::new(Budget::new(1 << 20));
        let mut legacy = input(&buffers, b"GET /c/1?a=\xfc%20\xc3\xbc\xe9&b HTTP/1.1\r\n");
        assert!(legacy.escape_target());
        assert_eq!(legacy.unread(), "GET /c/1?a=%FC%20ü%E9&b HTTP/1.1\r\n".as_bytes());
        assert!(!legacy.escape_target());
        for fine in [&b"GET /c/1 HTTP/1.1\r\nA: \xff\r\n"[..], b"GET /\xff", b"\xff", b""] {
            assert!(!input(&buffers, fine).escape_target());
        }
        let mut long = input(&buffers, &[b"GET /", &[0xff; 5_000][..], b" HTTP/1.1\r\n"].concat());
        assert!(long.escape_target());
        assert_eq!(long.unread().len(), 16 + 3 * 5_000);
    }
}
