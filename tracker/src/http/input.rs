//! What was read from a connection and not answered yet: the start of its next head.

use std::time::{Duration, Instant};

use super::{
    body::Rest,
    buffers::Buffer,
    malformed::Malformed,
    parse::{BLANK_BYTES_MAX, LINE_BYTES_MAX, head_bytes_max},
};

/// See the module.
pub struct Input {
    /// `None` while nothing is there: an idle connection holds no buffer.
    buffer: Option<Buffer>,
    /// Bytes of the buffer that were answered.
    at: usize,
    /// Line breaks that came before the head.
    blank_bytes: usize,
    /// Whether a head has begun; a connection begins with one.
    is_in_head: bool,
    /// When the wait for it ends.
    until: Instant,
    bytes_max: usize,
}

impl Input {
    /// Of a connection whose first head must be there at `until`.
    pub fn new(until: Instant, header_bytes_max: usize) -> Self {
        let bytes_max = head_bytes_max(header_bytes_max);
        Self { buffer: None, at: 0, blank_bytes: 0, is_in_head: true, until, bytes_max }
    }

    /// The start of the next head.
    pub fn unread(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.at..])
    }

    /// When the wait for more ends.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether a head has begun.
    pub fn is_in_head(&self) -> bool {
        self.is_in_head
    }

    /// Where more is added.
    pub fn buffer(&mut self) -> &mut Option<Buffer> {
        &mut self.buffer
    }

    /// A request with a head of `head_bytes` was answered; the next one has until `until` to begin.
    pub fn advance(&mut self, head_bytes: usize, rest: Rest, until: Instant) {
        match rest {
            Rest::AfterHead(body_bytes) => self.at += head_bytes + body_bytes,
            Rest::In(buffer) => {
                self.buffer = buffer;
                self.at = 0;
            }
        }
        self.release_if_empty();
        self.blank_bytes = 0;
        self.is_in_head = false;
        self.until = until;
    }

    /// If a head has just begun, it has `limit` to become whole.
    pub fn begin_head(&mut self, limit: Duration) {
        if !self.is_in_head && !self.unread().is_empty() {
            self.is_in_head = true;
            self.until = Instant::now() + limit;
        }
    }

    /// Skips line breaks before a request line (RFC 9112, section 2.2). They do not begin a head,
    /// so whoever sends nothing else is closed as an idle client is.
    pub fn skip_blanks(&mut self) -> Result<(), Malformed> {
        if !matches!(self.unread(), [b'\r' | b'\n', ..]) {
            return Ok(());
        }
        let blanks = self.unread().iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.at += blanks;
        self.blank_bytes += blanks;
        self.release_if_empty();
        if self.blank_bytes > BLANK_BYTES_MAX { Err(Malformed::Syntax) } else { Ok(()) }
    }

    /// Makes sure that more can be read.
    pub fn make_room(&mut self) -> Result<(), Malformed> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        if self.at > 0 {
            buffer.forget(self.at);
            self.at = 0;
        }
        if !buffer.is_full() {
            return Ok(());
        }
        if buffer.len() >= self.bytes_max {
            let has_line = memchr::memchr(b'\n', &buffer[..LINE_BYTES_MAX.min(buffer.len())]).is_some();
            return Err(if has_line { Malformed::HeadersTooLarge } else { Malformed::LineTooLong });
        }
        if buffer.grow(self.bytes_max) { Ok(()) } else { Err(Malformed::NoRoom) }
    }

    /// Whether the head can be whole now, or so much has come since the last look at its first
    /// `parsed_bytes` that another one costs little: a client that sends byte by byte must not
    /// have its head parsed for each of them. `known_bytes` were there before the last read.
    pub fn is_worth_parsing(&self, parsed_bytes: usize, known_bytes: usize) -> bool {
        let unread = self.unread();
        if unread.len() >= 2 * parsed_bytes {
            return true;
        }
        let new = &unread[known_bytes.saturating_sub(b"\n\r".len()).min(unread.len())..];
        memchr::memchr_iter(b'\n', new).any(|at| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
    }

    /// Percent-encodes the bytes of the target that are no UTF-8, as a browser would have sent
    /// them; whether there were any.
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
        buffers::{BUFFER_BYTES, Buffers},
    };

    fn input(buffers: &Rc<Buffers>, bytes: &[u8]) -> Input {
        let mut input = Input::new(Instant::now(), 1_024);
        let mut buffer = buffers.take();
        buffer.as_mut().extend_from_slice(bytes);
        input.buffer = Some(buffer);
        input
    }

    #[test]
    fn line_breaks_before_a_head_are_skipped_up_to_a_bound() {
        let buffers = Buffers::new(Budget::new(0));
        let mut few = input(&buffers, b"\r\n\r\n\nGET");
        assert_eq!(few.skip_blanks(), Ok(()));
        assert_eq!(few.unread(), b"GET");
        let mut many = input(&buffers, &[b'\n'; BLANK_BYTES_MAX + 1]);
        assert_eq!(many.skip_blanks(), Err(Malformed::Syntax));
        assert!(many.buffer.is_none());
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_looked_at_seldom_and_at_its_end() {
        let buffers = Buffers::new(Budget::new(0));
        let head = b"GET / HTTP/1.1\r\nHost: t\r\nA: b\r\n\r\n";
        let (mut looks, mut parsed) = (0, 1);
        for known in 1..head.len() {
            let input = input(&buffers, &head[..=known]);
            if input.is_worth_parsing(parsed, known) {
                (looks, parsed) = (looks + 1, known + 1);
            }
        }
        assert_eq!((looks, parsed), (6, head.len()));
        assert!(
            input(&buffers, b"GET\n\nx").is_worth_parsing(100, 4),
            "a line feed alone is looked at as well"
        );
    }

    #[test]
    fn a_head_that_is_too_large_is_told_by_what_is_too_large() {
        let buffers = Buffers::new(Budget::new(1 << 20));
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
        assert_eq!(fill(b"GET /"), (Malformed::LineTooLong, bytes_max));
        assert_eq!(fill(b"GET / HTTP/1.1\r\nA: "), (Malformed::HeadersTooLarge, bytes_max));
        let poor = Buffers::new(Budget::new(BUFFER_BYTES));
        let mut two = [input(&poor, &[b'x'; BUFFER_BYTES]), input(&poor, &[b'x'; BUFFER_BYTES])];
        assert_eq!(two.each_mut().map(Input::make_room), [Ok(()), Err(Malformed::NoRoom)]);
    }

    #[test]
    fn bytes_of_a_legacy_encoding_are_escaped_once() {
        let buffers = Buffers::new(Budget::new(1 << 20));
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
