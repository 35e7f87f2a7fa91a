//! A client that sends bytes as they are and reads whole answers.
//!
//! It is strict about framing, because half of the faults of an HTTP server are answers whose
//! length is not what they say: 1xx, 204 and 304 have neither length nor body, every other answer
//! has one `content-length`, and only HEAD leaves the body out.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a client waits for bytes that should come.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    pub status: u16,
    /// As they stand, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no further answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Closed between two answers.
    Closed,
    /// Closed within an answer, of which this much came.
    Torn(String),
    /// Reset by the peer, with this much of an answer.
    Reset(String),
    /// Nothing came in time; this much of an answer had.
    Silent(String),
    /// What came is no answer.
    Malformed(String),
}

impl Answer {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `NAME` of a body that is `{"error":"NAME"}` and nothing more.
    pub fn error(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.body).ok()?;
        text.strip_prefix("{\"error\":\"")?.strip_suffix("\"}")
    }

    /// The first answer of `bytes` and its length, `None` if it is not whole.
    pub fn parse(bytes: &[u8], to_head: bool) -> Result<Option<(Self, usize)>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) || bytes.starts_with(b"HTTP/1.") {
                Ok(None)
            } else {
                Err(format!("no status line: {}", shown(bytes)))
            };
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| shown(bytes))?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let (version, rest) = status_line.split_once(' ').ok_or_else(|| shown(bytes))?;
        let status = rest.get(..3).and_then(|status| status.parse().ok()).ok_or_else(|| shown(bytes))?;
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(format!("version {version}"));
        }
        let headers: Option<Vec<_>> = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect();
        let mut answer = Self {
            version: version.to_owned(),
            status,
            headers: headers.ok_or_else(|| shown(bytes))?,
            body: Vec::new(),
        };
        let begin = end + 4;
        // A HEAD says how long the body would be, and leaves it out.
        let length = answer.length()?;
        let length = if to_head { 0 } else { length };
        let Some(body) = bytes.get(begin..begin + length) else {
            return Ok(None);
        };
        answer.body = body.to_vec();
        Ok(Some((answer, begin + length)))
    }

    /// What its headers say of its body.
    fn length(&self) -> Result<usize, String> {
        let lengths: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, value)| value.parse::<usize>())
            .collect();
        if self.header("transfer-encoding").is_some() {
            return Err("an answer with transfer-encoding".into());
        }
        match (self.status, lengths.as_slice()) {
            (100..200 | 204 | 304, []) => Ok(0),
            (100..200 | 204 | 304, _) => Err(format!("{} with a content-length", self.status)),
            (_, [Ok(length)]) => Ok(*length),
            (status, _) => Err(format!("{status} with {} lengths", lengths.len())),
        }
    }
}

/// All answers of `bytes` and what is left of them.
pub fn parse_all(mut bytes: &[u8], mut to_head: impl FnMut(usize) -> bool) -> (Vec<Answer>, Option<End>) {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        match Answer::parse(bytes, to_head(answers.len())) {
            Ok(Some((answer, length))) => {
                answers.push(answer);
                bytes = &bytes[length..];
            }
            Ok(None) => return (answers, Some(End::Torn(shown(bytes)))),
            Err(what) => return (answers, Some(End::Malformed(what))),
        }
    }
    (answers, None)
}

/// Bytes as text that can be pasted into a test, cut to 600 bytes.
pub fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(600)];
    let more = if cut.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", cut.escape_ascii())
}

/// `text` with each message id, 36 characters with hyphens in four places, replaced by `ID`.
pub fn without_ids(text: &str) -> String {
    let is_id = |word: &[u8]| {
        let fits = |(at, byte): (usize, &u8)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        word.iter().enumerate().all(fits)
    };
    match text.as_bytes().windows(36).position(is_id) {
        Some(at) => format!("{}ID{}", &text[..at], without_ids(&text[at + 36..])),
        None => text.to_owned(),
    }
}

/// One connection.
pub struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the tracker listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        // What is sent in pieces also leaves in pieces.
        socket.set_nodelay(true).expect("a TCP socket");
        Self { socket, unread: Vec::new() }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends; the peer may have closed already, which is seen when reading.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Says that nothing more will be sent; what was sent is still answered.
    pub fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next answer; `to_head` if the request was a HEAD.
    pub fn answer(&mut self, to_head: bool) -> Result<Answer, End> {
        loop {
            match Answer::parse(&self.unread, to_head) {
                Ok(Some((answer, length))) => {
                    self.unread.drain(..length);
                    return Ok(answer);
                }
                Ok(None) => self.read_more()?,
                Err(what) => return Err(End::Malformed(what)),
            }
        }
    }

    /// Reads to the end; how the connection ended.
    pub fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.read_more() {
                return end;
            }
        }
    }

    /// Everything until the end of the connection, which may be within an answer.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let end = match self.end() {
            End::Torn(_) => End::Closed,
            end => end,
        };
        (std::mem::take(&mut self.unread), end)
    }

    fn read_more(&mut self) -> Result<(), End> {
        let mut bytes = [0; 16 * 1_024];
        let read = self.socket.read(&mut bytes);
        let rest = shown(&self.unread);
        match read {
            Ok(0) if self.unread.is_empty() => Err(End::Closed),
            Ok(0) => Err(End::Torn(rest)),
            Ok(read) => {
                self.unread.extend_from_slice(&bytes[..read]);
                Ok(())
            }
            Err(error) if is_timeout(&error) => Err(End::Silent(rest)),
            Err(_) => Err(End::Reset(rest)),
        }
    }
}

/// Whether a socket's time ran out, as opposed to its connection.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
