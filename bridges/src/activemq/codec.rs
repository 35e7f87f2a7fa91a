//! Bytes to frames and back, without I/O.
//!
//! ```text
//! COMMAND \n  name:value \n …  \n  body \0  \n…
//! ```
//!
//! Incremental: what was searched once is not searched again, so a body that arrives in a thousand
//! pieces costs no more than one that arrives at once. A body is a slice of what was read.
//!
//! | limit | default | beyond it |
//! |---|---|---|
//! | bytes of the first line | [`COMMAND_BYTES_MAX`] | [`BadFrame`], the connection ends |
//! | bytes of all header lines | [`Limits::head_bytes_max`] | the same |
//! | header lines | [`Limits::headers_max`] | the same |
//! | bytes of a body | [`Limits::body_bytes_max`] | the same |
//!
//! A wrong header is no reason to end the connection, since the frame's end is known all the same:
//! such a frame says what is wrong ([`Frame::fault`]), and a message can be put aside by its `ack`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::frame::{Command, Frame, HeadFault, Headers};

mod escape;

/// Longest first line; the longest command has 11 bytes.
pub const COMMAND_BYTES_MAX: usize = 32;

/// Bounds of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all header lines.
    pub head_bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
    /// Bytes of the body.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    /// ActiveMQ takes messages of up to 100 MiB unless it is told otherwise, and 1,000 headers; it adds its own,
    /// and a JMS client may set as many properties as it likes.
    fn default() -> Self {
        Self { head_bytes_max: 256 * 1024, headers_max: 10_000, body_bytes_max: 100 * 1024 * 1024 }
    }
}

/// Bytes that are no frame, so that nothing behind them can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The first line is no command.
    #[error("{0:?} is no STOMP command")]
    Command(String),
    /// The header lines are too long together.
    #[error("the headers have more than {0} bytes")]
    HeadTooLong(usize),
    /// There are too many.
    #[error("a frame has more than {0} headers")]
    TooManyHeaders(usize),
    /// `content-length` is no number.
    #[error("content-length {0:?} is no number")]
    ContentLength(String),
    /// The body is too long.
    #[error("a body has more than {0} bytes")]
    BodyTooLong(usize),
    /// There is no NUL where `content-length` says that the body ends.
    #[error("the body of a {} frame does not end where its content-length says", .0.word())]
    NoEnd(Command),
}

/// Takes frames off the front of what was read.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the blank line; so many bytes hold none.
    Head { searched: usize },
    /// Behind it.
    Body { frame: Box<Frame>, length: Option<usize>, searched: usize },
}

const AT_START: State = State::Head { searched: 0 };

impl Decoder {
    /// At the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: AT_START }
    }

    /// The next frame, or `None` while it is not whole. White space between frames is taken off.
    ///
    /// # Errors
    /// [`BadFrame`]: nothing more can be read of this connection.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, BadFrame> {
        loop {
            match std::mem::replace(&mut self.state, AT_START) {
                State::Head { searched } => {
                    if searched == 0 {
                        skip_line_ends(input);
                    }
                    let Some(end) = head_end(input, searched) else {
                        self.bound_of_head(input)?;
                        // The blank line may have begun: up to "\n\r" of it.
                        self.state = State::Head { searched: input.len().saturating_sub(3) };
                        return Ok(None);
                    };
                    if end.head > self.limits.head_bytes_max + COMMAND_BYTES_MAX {
                        return Err(BadFrame::HeadTooLong(self.limits.head_bytes_max));
                    }
                    let frame = read_head(&input[..end.head], self.limits.headers_max)?;
                    input.advance(end.body);
                    let length = self.body_length(&frame)?;
                    if let Some(length) = length {
                        // Once, instead of by doubling.
                        input.reserve((length + 1).saturating_sub(input.len()));
                    }
                    self.state = State::Body { frame: Box::new(frame), length, searched: 0 };
                }
                State::Body { mut frame, length, searched } => {
                    let length = match length {
                        Some(length) if input.len() <= length => None,
                        Some(length) => Some(length),
                        None => memchr(0, &input[searched..]).map(|at| searched + at),
                    };
                    let Some(end) = length else {
                        let declared = frame_length(&frame);
                        if declared.is_none() && input.len() > self.limits.body_bytes_max {
                            return Err(BadFrame::BodyTooLong(self.limits.body_bytes_max));
                        }
                        self.state = State::Body { frame, length: declared, searched: input.len() };
                        return Ok(None);
                    };
                    if end > self.limits.body_bytes_max {
                        return Err(BadFrame::BodyTooLong(self.limits.body_bytes_max));
                    }
                    if input[end] != 0 {
                        return Err(BadFrame::NoEnd(frame.command));
                    }
                    frame.body = input.split_to(end).freeze();
                    input.advance(1);
                    return Ok(Some(*frame));
                }
            }
        }
    }

    fn bound_of_head(&self, input: &[u8]) -> Result<(), BadFrame> {
        // Before the head is whole: garbage must not be collected up to the limit of a head.
        match memchr(b'\n', input) {
            None if input.len() > COMMAND_BYTES_MAX => {
                Err(BadFrame::Command(shown(&input[..COMMAND_BYTES_MAX])))
            }
            Some(at) if Command::of(without_cr(&input[..at.min(COMMAND_BYTES_MAX)])).is_none() => {
                Err(BadFrame::Command(shown(&input[..at.min(COMMAND_BYTES_MAX)])))
            }
            // The blank line may be here in part.
            _ if input.len() > self.limits.head_bytes_max + COMMAND_BYTES_MAX + 2 => {
                Err(BadFrame::HeadTooLong(self.limits.head_bytes_max))
            }
            _ => Ok(()),
        }
    }

    fn body_length(&self, frame: &Frame) -> Result<Option<usize>, BadFrame> {
        let Some(text) = frame.header("content-length") else { return Ok(None) };
        match frame_length(frame) {
            Some(length) if length <= self.limits.body_bytes_max => Ok(Some(length)),
            Some(_) => Err(BadFrame::BodyTooLong(self.limits.body_bytes_max)),
            None => Err(BadFrame::ContentLength(shown(text.as_bytes()))),
        }
    }
}

/// Digits alone: a sign or a space is no length.
fn frame_length(frame: &Frame) -> Option<usize> {
    let text = frame.header("content-length")?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn skip_line_ends(input: &mut BytesMut) {
    let ends = input.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    input.advance(ends);
}

struct HeadEnd {
    /// Up to and with the line end of the last header.
    head: usize,
    /// Behind the blank line.
    body: usize,
}

/// Lines end with LF or CRLF, so the blank line is LF LF or LF CR LF.
fn head_end(input: &[u8], searched: usize) -> Option<HeadEnd> {
    let mut from = searched;
    loop {
        let at = from + memchr(b'\n', &input[from..])?;
        match input.get(at + 1..) {
            Some([b'\n', ..]) => return Some(HeadEnd { head: at + 1, body: at + 2 }),
            Some([b'\r', b'\n', ..]) => return Some(HeadEnd { head: at + 1, body: at + 3 }),
            _ => from = at + 1,
        }
    }
}

fn read_head(head: &[u8], headers_max: usize) -> Result<Frame, BadFrame> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let word = without_cr(lines.next().unwrap_or_default());
    let Some(command) = Command::of(word) else {
        return Err(BadFrame::Command(shown(&word[..word.len().min(COMMAND_BYTES_MAX)])));
    };
    let rest = &head[head.len().min(memchr(b'\n', head).map_or(head.len(), |at| at + 1))..];
    let text = String::from_utf8_lossy(rest);
    let mut fault = matches!(text, std::borrow::Cow::Owned(_)).then_some(HeadFault::NotUtf8);
    let mut headers = Headers::default();
    for (nth, line) in text.split_terminator('\n').enumerate() {
        if nth >= headers_max {
            return Err(BadFrame::TooManyHeaders(headers_max));
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Err(found) = read_header(line, nth + 1, command, &mut headers) {
            fault = fault.or(Some(found));
        }
    }
    Ok(Frame { command, headers, body: Bytes::new(), fault })
}

fn read_header(line: &str, nth: usize, command: Command, headers: &mut Headers) -> Result<(), HeadFault> {
    let Some((name, value)) = line.split_once(':') else { return Err(HeadFault::NoColon { line: nth }) };
    if !command.is_escaped() || !line.contains('\\') {
        // Colons in a value are taken as they are: ActiveMQ's CONNECTED has them.
        headers.push(name, value);
        return Ok(());
    }
    headers.push_with(|text| {
        escape::unescape(name, text).ok_or(HeadFault::Escape { line: nth })?;
        let name_end = text.len();
        escape::unescape(value, text).ok_or(HeadFault::Escape { line: nth })?;
        Ok(name_end)
    })
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// For a message; short, and without what a terminal would obey.
fn shown(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(COMMAND_BYTES_MAX).collect();
    text.escape_debug().to_string()
}

/// Appends a frame. `content-length` is added to a body unless a header says that it is text
/// without one, since ActiveMQ makes a text message only of a frame without it; such a body must
/// not have a NUL.
pub fn encode(frame: &Frame, out: &mut BytesMut) {
    let word = frame.command.word();
    out.reserve(word.len() + frame.body.len() + 64 * (frame.headers.len() + 1));
    out.put_slice(word.as_bytes());
    out.put_u8(b'\n');
    for (name, value) in frame.headers.iter() {
        if frame.command.is_escaped() {
            escape::escape(name, out);
            out.put_u8(b':');
            escape::escape(value, out);
        } else {
            out.put_slice(name.as_bytes());
            out.put_u8(b':');
            out.put_slice(value.as_bytes());
        }
        out.put_u8(b'\n');
    }
    if !frame.body.is_empty() && frame.header("content-length").is_none() && needs_length(frame) {
        out.put_slice(format!("content-length:{}\n", frame.body.len()).as_bytes());
    }
    out.put_u8(b'\n');
    out.put_slice(&frame.body);
    out.put_u8(0);
}

fn needs_length(frame: &Frame) -> bool {
    frame.header("amq-msg-type") != Some("text") || memmem::find(&frame.body, b"\0").is_some()
}

#[cfg(test)]
mod tests;
