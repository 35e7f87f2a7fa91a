//! A strict, incremental decoder of the chunked transfer coding (RFC 9112, section 7.1).
//!
//! ```text
//! size ─► extensions ─► CR ─► LF ─► data ─► CR ─► LF ─► size …
//!                              └ size 0 ─► trailer line ─► … ─► empty line: the end
//! ```
//!
//! Any leniency would let a second request hide from a stricter reader (request smuggling): a bare
//! LF, whitespace outside the grammar and an extension without a name are errors. Extensions and
//! trailers are checked, bounded and discarded.

use httparse::{EMPTY_HEADER, Status, parse_headers};

/// Bytes of a size line, extensions included.
const SIZE_LINE_BYTES_MAX: usize = 256;
/// Bytes of all trailer lines together.
const TRAILER_BYTES_MAX: usize = 4 * 1_024;
/// Trailer lines.
const TRAILERS_MAX: usize = 32;
/// Hexadecimal digits of a size; leading zeros count.
const SIZE_DIGITS_MAX: usize = 15;

/// The chunked framing of a body is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chunked framing")]
pub struct BadChunk;

/// Decodes one body.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The size line or the trailer, as far as it has arrived.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a size line.
    Size,
    /// In data, with this many bytes to come.
    Data(u64),
    /// In the CRLF after the data of a chunk.
    DataEnd { seen_cr: bool },
    /// In the trailer, after the chunk of size 0.
    Trailer,
    /// After the end.
    End,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Size, line: Vec::new() }
    }
}

impl ChunkedDecoder {
    /// Consumes the front of `input` up to the next piece of data, and returns that; `None` when the
    /// input or the body has ended.
    ///
    /// # Errors
    /// The framing is invalid; nothing after it can be trusted.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<&'i [u8]>, BadChunk> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.state {
                // Data passes through unbuffered, so a chunk of any size costs no memory here.
                State::Data(left) => {
                    let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(bytes);
                    *input = rest;
                    let left = left - bytes as u64;
                    self.state =
                        if left == 0 { State::DataEnd { seen_cr: false } } else { State::Data(left) };
                    return Ok(Some(data));
                }
                State::DataEnd { seen_cr: false } if byte == b'\r' => {
                    self.state = State::DataEnd { seen_cr: true }
                }
                State::DataEnd { seen_cr: true } if byte == b'\n' => self.state = State::Size,
                // A chunk longer than its size is how smuggled requests are hidden.
                State::DataEnd { .. } => return Err(BadChunk),
                State::Size => self.size_byte(byte)?,
                State::Trailer => self.trailer_byte(byte)?,
                // The rest belongs to the next request.
                State::End => return Ok(None),
            }
            *input = rest;
        }
        Ok(None)
    }

    /// Whether the body has ended.
    pub fn has_ended(&self) -> bool {
        self.state == State::End
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.line.push(byte);
        // Bounded before its end is seen, as the client may never send one.
        if byte != b'\n' {
            return if self.line.len() > SIZE_LINE_BYTES_MAX { Err(BadChunk) } else { Ok(()) };
        }
        let line = self.line.strip_suffix(b"\r\n").ok_or(BadChunk)?;
        self.state = match size_of(line).ok_or(BadChunk)? {
            0 => State::Trailer,
            bytes => State::Data(bytes),
        };
        self.line.clear();
        Ok(())
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.line.push(byte);
        if self.line.len() > TRAILER_BYTES_MAX {
            return Err(BadChunk);
        }
        if byte != b'\n' {
            return Ok(());
        }
        // Checked at every LF: `parse_headers` below would accept a bare LF.
        let ends_with_crlf = self.line.ends_with(b"\r\n");
        if !ends_with_crlf {
            return Err(BadChunk);
        }
        // Parsed once, at the empty line, so that trailers cost linear time.
        if self.line == b"\r\n" || self.line.ends_with(b"\r\n\r\n") {
            let mut trailers = [EMPTY_HEADER; TRAILERS_MAX];
            let is_whole = matches!(parse_headers(&self.line, &mut trailers), Ok(Status::Complete(_)));
            self.state = State::End;
            self.line = Vec::new();
            return if is_whole { Ok(()) } else { Err(BadChunk) };
        }
        Ok(())
    }
}

/// `1*HEXDIG` and extensions: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn size_of(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let mut rest = &line[digits..];
    while !rest.is_empty() {
        rest = after_extension(rest)?;
    }
    let text = std::str::from_utf8(&line[..digits]).ok()?;
    // More digits could overflow a reader with a smaller integer; no digits fail to parse.
    if digits > SIZE_DIGITS_MAX { None } else { u64::from_str_radix(text, 16).ok() }
}

fn after_extension(text: &[u8]) -> Option<&[u8]> {
    let name = after_token(trim_bws(trim_bws(text).strip_prefix(b";")?))?;
    let Some(value) = trim_bws(name).strip_prefix(b"=") else { return Some(name) };
    let value = trim_bws(value);
    match value.strip_prefix(b"\"") {
        Some(quoted) => after_quoted(quoted),
        None => after_token(value),
    }
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let is_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().take_while(is_token).count();
    (length > 0).then(|| &text[length..])
}

/// The text after the closing quote (RFC 9110, section 5.6.4).
fn after_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'\t' | b' '..=b'~' | 0x80.., rest @ ..] => rest,
            [b'\\', ..] => return None,
            [b'\t' | b' '..=b'~' | 0x80.., rest @ ..] => rest,
            _ => return None,
        };
    }
}

fn trim_bws(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[spaces..]
}

#[cfg(test)]
mod tests;
