//! The header fields that govern the connection and the body.
//!
//! A request whose length two readers interpret differently can smuggle a second request past the
//! first reader (RFC 9112, section 11.2). So anything ambiguous is refused.

use crate::{http::host::is_host, request::error::RequestError, request::head::Headers};

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Nothing,
    /// After this many bytes; at least one.
    Length(u64),
    /// After the chunk of size 0.
    Chunked,
}

/// The fields of a head.
#[derive(Default)]
pub struct Fields<'b> {
    /// Those that describe a hit.
    pub headers: Headers<'b>,
    pub framing: BodyHeaders<'b>,
    pub hosts: u32,
    pub expect: Option<&'b [u8]>,
    /// `Connection: close`.
    pub closes: bool,
    /// `Connection: keep-alive`.
    pub keeps_alive: bool,
    pub upgrades: bool,
}

/// The fields that say how long the body is.
#[derive(Default)]
pub struct BodyHeaders<'b> {
    length: Option<u64>,
    coding: Coding<'b>,
}

#[derive(Default)]
enum Coding<'b> {
    #[default]
    None,
    One(&'b [u8]),
    /// More than one field: real clients do not send that, and readers combine them differently.
    Several,
}

impl Fields<'_> {
    pub fn add_host(&mut self, value: &[u8]) -> Result<(), RequestError> {
        self.hosts += 1;
        if self.hosts == 1 && is_host(value) { Ok(()) } else { Err(RequestError::Host) }
    }

    /// A list of options; unknown ones are ignored, as are the fields they refer to.
    pub fn add_connection(&mut self, value: &[u8]) {
        // What nearly all clients send.
        if value == b"keep-alive" {
            self.keeps_alive = true;
            return;
        }
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether `100 Continue` is expected.
    pub fn expects_continue(&self) -> Result<bool, RequestError> {
        match self.expect {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(RequestError::Expectation),
        }
    }
}

impl<'b> BodyHeaders<'b> {
    /// Digits only: some readers accept `+1`, `1, 1` or an empty value as a length. A second field
    /// is refused even if it repeats the first.
    pub fn add_length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
        match digits.and_then(|digits| digits.parse::<u64>().ok()) {
            Some(length) if self.length.is_none() && length >> 63 == 0 => {
                self.length = Some(length);
                Ok(())
            }
            _ => Err(RequestError::Framing),
        }
    }

    pub fn add_coding(&mut self, value: &'b [u8]) {
        self.coding = match self.coding {
            Coding::None => Coding::One(value),
            Coding::One(_) | Coding::Several => Coding::Several,
        };
    }

    /// Where the body ends.
    pub fn body(&self, is_1_0: bool) -> Result<Framing, RequestError> {
        match (&self.coding, self.length) {
            (Coding::None, None | Some(0)) => Ok(Framing::Nothing),
            (Coding::None, Some(length)) => Ok(Framing::Length(length)),
            // A length together with a coding: the classic request smuggling.
            (_, Some(_)) => Err(RequestError::Framing),
            // HTTP/1.0 has no transfer codings (RFC 9112, section 6.1), so readers disagree.
            (_, None) if is_1_0 => Err(RequestError::Framing),
            (Coding::One(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            // Well framed, but in a coding that we do not decode: 501 instead of 400.
            (Coding::One(value), None) if ends_chunked_once(value) => Err(RequestError::TransferCoding),
            (Coding::One(_) | Coding::Several, None) => Err(RequestError::Framing),
        }
    }
}

/// Whether `chunked` is the last coding of the list and only that: the end of the body can be found,
/// though its content cannot be decoded (RFC 9112, section 6.1).
fn ends_chunked_once(value: &[u8]) -> bool {
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let is_coding = |coding: &[u8]| coding.trim_ascii().first().is_some_and(u8::is_ascii_alphabetic);
    let mut codings = value.rsplit(|byte| *byte == b',');
    codings.next().is_some_and(is_chunked) && codings.all(|coding| is_coding(coding) && !is_chunked(coding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(lengths: &[&str], codings: &[&str], is_1_0: bool) -> Result<Framing, RequestError> {
        let mut declared = BodyHeaders::default();
        lengths.iter().try_for_each(|length| declared.add_length(length.as_bytes()))?;
        codings.iter().for_each(|coding| declared.add_coding(coding.as_bytes()));
        declared.body(is_1_0)
    }

    #[test]
    fn a_body_ends_where_its_one_length_or_its_one_coding_says() {
        assert_eq!(body(&[], &[], false), Ok(Framing::Nothing));
        assert_eq!(body(&["0"], &[], false), Ok(Framing::Nothing));
        assert_eq!(body(&["007"], &[], true), Ok(Framing::Length(7)));
        assert_eq!(body(&["9223372036854775807"], &[], false), Ok(Framing::Length(u64::MAX >> 1)));
        assert_eq!(body(&[], &["Chunked"], false), Ok(Framing::Chunked));
    }

    #[test]
    fn an_ambiguous_length_is_refused() {
        for length in ["", "+1", "-1", "1,1", "1, 1", "0x1", "1 1", "1.0", "9223372036854775808", "a"] {
            assert_eq!(body(&[length], &[], false), Err(RequestError::Framing), "{length:?}");
        }
        assert_eq!(body(&["1", "1"], &[], false), Err(RequestError::Framing));
        assert_eq!(body(&["0"], &["chunked"], false), Err(RequestError::Framing));
        assert_eq!(body(&[], &["chunked"], true), Err(RequestError::Framing));
        assert_eq!(body(&[], &["chunked", "chunked"], false), Err(RequestError::Framing));
        for coding in
            ["", "identity", "xchunked", "chunked, chunked", "chunked, gzip", ",chunked", "\"chunked\""]
        {
            assert_eq!(body(&[], &[coding], false), Err(RequestError::Framing), "{coding:?}");
        }
        assert_eq!(body(&[], &["gzip, chunked"], false), Err(RequestError::TransferCoding));
    }
}
