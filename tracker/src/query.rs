//! Turns a query into parameters, in the order of the request.
//!
//! Decoding is strict: a `%` without two hex digits and bytes that are not UTF-8 are
//! errors. Guessing would store a value that nobody sent. What needs no decoding is
//! borrowed from the request.

use std::borrow::Cow;

use crate::config::Limits;

/// A request's parameters in their order, repeated names included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'r>(Vec<Parameter<'r>>);

/// One parameter, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'r> {
    /// Its name; never empty.
    pub name: Cow<'r, str>,
    /// Its value; empty for `a=` and for `a`.
    pub value: Cow<'r, str>,
}

/// Why a query was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A limit was passed; the text says which.
    #[error("{0}")]
    TooLarge(String),
    /// A parameter could not be decoded; the text says which and where.
    #[error("{0}")]
    Invalid(String),
}

/// Text that is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// `%` without two hex digits after it, at this byte.
    #[error("'%' without two hex digits at byte {0}")]
    Escape(usize),
    /// The decoded bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
}

impl<'r> Parameters<'r> {
    /// Reads `a=1&b=x+y%21`; empty pairs (`&&`) are skipped.
    ///
    /// # Errors
    /// See [`QueryError`]; a limit is reported before a bad encoding further right.
    pub fn parse(query: &'r str, limits: &Limits) -> Result<Self, QueryError> {
        let mut parameters = Vec::new();
        for (at, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if at == limits.parameters_max {
                return Err(QueryError::TooLarge(format!("more than {at} parameters")));
            }
            parameters.push(parse_pair(pair, at + 1, limits)?);
        }
        Ok(Self(parameters))
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.value.as_ref())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter<'r>> {
        self.0.iter()
    }

    /// Adds a parameter, within the bounds of its name and its value.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn push(
        &mut self,
        name: Cow<'r, str>,
        value: Cow<'r, str>,
        limits: &Limits,
    ) -> Result<(), QueryError> {
        let nth = self.len() + 1;
        check_name(&name, nth, limits)?;
        check_value(&name, &value, limits)?;
        self.0.push(Parameter { name, value });
        Ok(())
    }

    /// Drops all parameters called `name`.
    pub fn withhold(&mut self, name: &str) {
        self.0.retain(|parameter| parameter.name != name);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn parse_pair<'r>(pair: &'r str, nth: usize, limits: &Limits) -> Result<Parameter<'r>, QueryError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = decode_form(name)
        .map_err(|error| QueryError::Invalid(format!("the name of parameter {nth}: {error}")))?;
    check_name(&name, nth, limits)?;
    let value =
        decode_form(value).map_err(|error| QueryError::Invalid(format!("parameter {name:?}: {error}")))?;
    check_value(&name, &value, limits)?;
    Ok(Parameter { name, value })
}

fn check_name(name: &str, nth: usize, limits: &Limits) -> Result<(), QueryError> {
    let (bytes, max) = (name.len(), limits.name_bytes_max);
    if bytes == 0 {
        return Err(QueryError::Invalid(format!("parameter {nth} has no name")));
    }
    if bytes > max {
        return Err(QueryError::TooLarge(format!("the name of parameter {nth} has {bytes} bytes of {max}")));
    }
    Ok(())
}

fn check_value(name: &str, value: &str, limits: &Limits) -> Result<(), QueryError> {
    let (bytes, max) = (value.len(), limits.value_bytes_max);
    if bytes > max {
        return Err(QueryError::TooLarge(format!("parameter {name:?} has {bytes} bytes of {max}")));
    }
    Ok(())
}

/// Decodes `%41` and takes `+` for a space.
///
/// # Errors
/// See [`Undecodable`].
pub fn decode_form(text: &str) -> Result<Cow<'_, str>, Undecodable> {
    decode(text, true)
}

/// Decodes `%41`; a `+` is a plus sign.
///
/// # Errors
/// See [`Undecodable`].
pub fn decode_path(text: &str) -> Result<Cow<'_, str>, Undecodable> {
    decode(text, false)
}

fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Undecodable> {
    let coded = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let bytes = text.as_bytes();
    let Some(plain) = bytes.iter().position(coded) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..plain]);
    let mut at = plain;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let high = bytes.get(at + 1).and_then(hex_digit).ok_or(Undecodable::Escape(at))?;
            let low = bytes.get(at + 2).and_then(hex_digit).ok_or(Undecodable::Escape(at))?;
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(if coded(&byte) { b' ' } else { byte });
            at += 1;
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Undecodable::NotUtf8)
}

fn hex_digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Result<Vec<(String, String)>, QueryError> {
        let parameters = Parameters::parse(query, &Limits::default())?;
        Ok(parameters.iter().map(|p| (p.name.to_string(), p.value.to_string())).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, QueryError> {
        Ok(expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn order_repetition_and_empty_values_are_kept() {
        assert_eq!(
            parse("b=2&a=x+y%21&b=&c&&d=1=2"),
            pairs(&[("b", "2"), ("a", "x y!"), ("b", ""), ("c", ""), ("d", "1=2")])
        );
        assert_eq!(parse(""), pairs(&[]));
        assert_eq!(parse("z%C3%BC=%00"), pairs(&[("zü", "\0")]));
    }

    #[test]
    fn bad_encodings_are_named_and_not_guessed() {
        for (query, says) in [
            ("a=%", "parameter \"a\": '%' without two hex digits at byte 0"),
            ("a=1%4", "parameter \"a\": '%' without two hex digits at byte 1"),
            ("a=%+1", "parameter \"a\": '%' without two hex digits at byte 0"),
            ("a=1&b=%ff", "parameter \"b\": not UTF-8"),
            ("%zz=1", "the name of parameter 1: '%' without two hex digits at byte 0"),
            ("a=1&=2", "parameter 2 has no name"),
        ] {
            assert_eq!(parse(query), Err(QueryError::Invalid(says.into())), "{query}");
        }
    }

    #[test]
    fn each_limit_is_reached_and_passed() {
        let many = |count: usize| (0..count).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(parse(&many(100)).unwrap().len(), 100);
        assert_eq!(parse(&many(101)), Err(QueryError::TooLarge("more than 100 parameters".into())));
        assert!(parse(&format!("{}=1", "n".repeat(64))).is_ok());
        assert!(matches!(parse(&format!("{}=1", "n".repeat(65))), Err(QueryError::TooLarge(_))));
        assert!(parse(&format!("a={}", "%41".repeat(1_024))).is_ok());
        assert!(matches!(parse(&format!("a={}", "v".repeat(1_025))), Err(QueryError::TooLarge(_))));
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus() {
        assert_eq!(decode_path("a+%2B"), Ok(Cow::Borrowed("a++")));
    }

    proptest! {
        #[test]
        fn what_was_encoded_reads_back(sent in prop::collection::vec((".{1,8}", ".{0,12}"), 0..20)) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let query: Vec<_> = sent.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
            prop_assert_eq!(parse(&query.join("&")).unwrap(), sent);
        }

        #[test]
        fn any_text_is_taken_or_refused(query in ".{0,200}") {
            let _ = parse(&query);
        }
    }
}
