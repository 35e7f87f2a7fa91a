//! The chunked coding (RFC 9112, section 7.1), byte by byte and to the letter.
//!
//! ```text
//! size ─► extensions ─► CR ─► LF ─► data ─► CR ─► LF ─► size …
//!                              └ size 0 ─► trailer line ─► … ─► empty line: the end
//! ```
//!
//! What is lenient here lets a second request hide from whoever reads more strictly, so nothing
//! is: no lone LF, no space that the grammar does not have, no extension without a name.
//! Extensions and trailers mean nothing to us; they are checked, bounded and dropped.

use httparse::{EMPTY_HEADER, Status, parse_headers};

/// Bytes of a size with its extensions.
const SIZE_LINE_BYTES_MAX: usize = 256;
/// Bytes of all trailer lines together.
const TRAILER_BYTES_MAX: usize = 4 * 1_024;
/// Trailer lines.
const TRAILERS_MAX: usize = 32;
/// Hexadecimal digits of a size; leading zeros count.
const SIZE_DIGITS_MAX: usize = 15;

/// The framing of a body is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its chunked framing is wrong")]
pub struct BadChunk;

/// Where the decoder is in a body.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// The size line, or the trailer, as far as it has come.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a size line.
    Size,
    /// In data, of which so many bytes are to come.
    Data(u64),
    /// After the data of a chunk: CR, then LF.
    DataEnd { seen_cr: bool },
    /// In the trailer, after the chunk of size 0.
    Trailer,
    /// After the end.
    End,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size, line: Vec::new() }
    }
}

impl Chunks {
    /// Takes what belongs to the body off the front of `input` and returns the next piece of data,
    /// or nothing when the input or the body has ended.
    ///
    /// # Errors
    /// The framing is wrong; nothing after it can be trusted.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<&'i [u8]>, BadChunk> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.state {
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
                State::DataEnd { .. } => return Err(BadChunk),
                State::Size => self.size_byte(byte)?,
                State::Trailer => self.trailer_byte(byte)?,
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
        // The bytes before it are lines that were ended in the same way.
        let ends_with_crlf = self.line.ends_with(b"\r\n");
        if !ends_with_crlf {
            return Err(BadChunk);
        }
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

/// What follows the closing quote (RFC 9110, section 5.6.4).
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
