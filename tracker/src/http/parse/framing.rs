//! The fields of a head that concern the connection and the body.
//!
//! A request whose length two readers could understand differently carries a second one past
//! the first reader (RFC 9112, section 11.2). So everything that leaves a doubt is refused.

use crate::{
    http::{host::is_host, malformed::Malformed},
    request::head::Headers,
};

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// After so many bytes; at least one.
    Length(u64),
    /// After the chunk of size 0.
    Chunked,
}

/// What the fields of a head say.
#[derive(Default)]
pub struct Fields<'b> {
    /// What concerns a hit.
    pub headers: Headers<'b>,
    pub framing: Declared<'b>,
    pub hosts: u32,
    pub expect: Option<&'b [u8]>,
    /// `Connection: close`.
    pub closes: bool,
    /// `Connection: keep-alive`.
    pub keeps_alive: bool,
    pub upgrades: bool,
}

/// What a head says about its body.
#[derive(Default)]
pub struct Declared<'b> {
    length: Option<u64>,
    coding: Coding<'b>,
}

#[derive(Default)]
enum Coding<'b> {
    #[default]
    None,
    One(&'b [u8]),
    /// More than one field: nobody sends that, and readers join them differently.
    Several,
}

impl Fields<'_> {
    pub fn add_host(&mut self, value: &[u8]) -> Result<(), Malformed> {
        self.hosts += 1;
        if self.hosts == 1 && is_host(value) { Ok(()) } else { Err(Malformed::Host) }
    }

    /// A list of options; an unknown one concerns fields that we do not look at.
    pub fn add_connection(&mut self, value: &[u8]) {
        // What nearly everybody sends.
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
    pub fn expects_continue(&self) -> Result<bool, Malformed> {
        match self.expect {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(Malformed::Expectation),
        }
    }
}

impl<'b> Declared<'b> {
    /// Digits only: `+1`, `1, 1` and an empty value have been read as lengths. A second field is
    /// refused also if it says the same.
    pub fn add_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
        match digits.and_then(|digits| digits.parse::<u64>().ok()) {
            Some(length) if self.length.is_none() && length >> 63 == 0 => {
                self.length = Some(length);
                Ok(())
            }
            _ => Err(Malformed::Framing),
        }
    }

    pub fn add_coding(&mut self, value: &'b [u8]) {
        self.coding = match self.coding {
            Coding::None => Coding::One(value),
            Coding::One(_) | Coding::Several => Coding::Several,
        };
    }

    /// Where the body ends.
    pub fn body(&self, is_1_0: bool) -> Result<Framing, Malformed> {
        match (&self.coding, self.length) {
            (Coding::None, None | Some(0)) => Ok(Framing::Nothing),
            (Coding::None, Some(length)) => Ok(Framing::Length(length)),
            // The classic of request smuggling.
            (_, Some(_)) => Err(Malformed::Framing),
            // HTTP/1.0 knows no codings (RFC 9112, section 6.1).
            (_, None) if is_1_0 => Err(Malformed::Framing),
            (Coding::One(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Coding::One(value), None) if ends_chunked_once(value) => Err(Malformed::TransferCoding),
            (Coding::One(_) | Coding::Several, None) => Err(Malformed::Framing),
        }
    }
}

/// A list of codings whose last one, and no other, is `chunked`: its end is known, its content is
/// not (RFC 9112, section 6.1).
fn ends_chunked_once(value: &[u8]) -> bool {
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let is_coding = |coding: &[u8]| coding.trim_ascii().first().is_some_and(u8::is_ascii_alphabetic);
    let mut codings = value.rsplit(|byte| *byte == b',');
    codings.next().is_some_and(is_chunked) && codings.all(|coding| is_coding(coding) && !is_chunked(coding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(lengths: &[&str], codings: &[&str], is_1_0: bool) -> Result<Framing, Malformed> {
        let mut declared = Declared::default();
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
    fn what_leaves_a_doubt_is_refused() {
        for length in ["", "+1", "-1", "1,1", "1, 1", "0x1", "1 1", "1.0", "9223372036854775808", "a"] {
            assert_eq!(body(&[length], &[], false), Err(Malformed::Framing), "{length:?}");
        }
        assert_eq!(body(&["1", "1"], &[], false), Err(Malformed::Framing));
        assert_eq!(body(&["0"], &["chunked"], false), Err(Malformed::Framing));
        assert_eq!(body(&[], &["chunked"], true), Err(Malformed::Framing));
        assert_eq!(body(&[], &["chunked", "chunked"], false), Err(Malformed::Framing));
        for coding in
            ["", "identity", "xchunked", "chunked, chunked", "chunked, gzip", ",chunked", "\"chunked\""]
        {
            assert_eq!(body(&[], &[coding], false), Err(Malformed::Framing), "{coding:?}");
        }
        assert_eq!(body(&[], &["gzip, chunked"], false), Err(Malformed::TransferCoding));
    }
}
