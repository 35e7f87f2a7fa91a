//! Scalars that core data writes in more than one way.

use std::fmt;

use serde::{Deserializer, Serializer, de};

use super::{REVISION_MAX, TEXT_BYTES_MAX};
use crate::rfc3339;

/// Text of at most [`TEXT_BYTES_MAX`] bytes.
pub(super) fn short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    deserializer.deserialize_str(Text { numbers: false })
}

/// Text, or an integer that is kept as its digits; `null` is the empty text.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    deserializer.deserialize_any(Text { numbers: true })
}

struct Text {
    numbers: bool,
}

impl de::Visitor<'_> for Text {
    type Value = Box<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.numbers { "text or an integer" } else { "text" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Box<str>, E> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(E::custom(format!("has {} bytes, at most {TEXT_BYTES_MAX} are taken", text.len())));
        }
        Ok(text.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Box<str>, E> {
        if self.numbers { Ok(number.to_string().into()) } else { Err(wrong_type(number, &self)) }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Box<str>, E> {
        if self.numbers { Ok(number.to_string().into()) } else { Err(wrong_type(number, &self)) }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Box<str>, E> {
        if self.numbers { Ok(Box::default()) } else { Err(E::invalid_type(de::Unexpected::Unit, &self)) }
    }
}

fn wrong_type<E: de::Error>(number: impl fmt::Display, expected: &dyn de::Expected) -> E {
    E::invalid_type(de::Unexpected::Other(&format!("integer `{number}`")), expected)
}

/// A 32-bit integer, or text that holds one.
pub(super) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    struct Number;

    impl de::Visitor<'_> for Number {
        type Value = i32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of 32 bits, or text that holds one")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i32, E> {
            i32::try_from(number).map_err(|_| wrong_type(number, &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i32, E> {
            i32::try_from(number).map_err(|_| wrong_type(number, &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<i32, E> {
            text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Number)
}

/// `true`, `false`, or one of them as text.
pub(super) fn bool_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Bool;

    impl de::Visitor<'_> for Bool {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, flag: bool) -> Result<bool, E> {
            Ok(flag)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Bool)
}

/// RFC 3339 text or milliseconds since 1970; `null` is `None`.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Moment;

    impl de::Visitor<'_> for Moment {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("RFC 3339 text or milliseconds since 1970, up to the year 9999")
        }

        fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Option<u64>, E> {
            if ms > rfc3339::MS_MAX {
                return Err(E::invalid_value(de::Unexpected::Unsigned(ms), &self));
            }
            if ms < rfc3339::SECONDS_BELOW {
                return Err(E::custom(format!(
                    "{ms} looks like seconds; milliseconds since 1970 are expected"
                )));
            }
            Ok(Some(ms))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
            rfc3339::parse_ms(text).map(Some).map_err(|reason| E::custom(format!("{text:?} {reason}")))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Moment)
}

/// A whole number; `null` is `None`.
///
/// One above [`REVISION_MAX`](super::REVISION_MAX) is refused in user input (see
/// [`read_programs`](crate::read_programs)), but earlier releases stored them.
pub(super) fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Revision;

    impl de::Visitor<'_> for Revision {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from 0 to {REVISION_MAX}")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<u64>, E> {
            Ok(Some(number))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Revision)
}

/// As RFC 3339 text; `None` is left out before this is asked.
pub(super) fn write_moment<S: Serializer>(moment: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(ms) => serializer.serialize_str(&rfc3339::format_ms(*ms)),
        None => serializer.serialize_none(),
    }
}
