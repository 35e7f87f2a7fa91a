//! The elements of an array and the fields of an object, each as the text it was sent as.
//!
//! One element more than `max` is collected, so that the caller sees that there are too
//! many; the others are only checked to be JSON.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Reads all of `json` as `seed` says.
///
/// # Errors
/// What is not JSON, and where.
pub fn scan<'r, S: DeserializeSeed<'r>>(json: &'r str, seed: S) -> Result<S::Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = seed.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// The elements of an array.
pub struct Entries {
    /// Of which so many, and one more, are collected.
    pub max: usize,
}

/// The fields of an object in their order, repeated names included.
pub struct Fields {
    /// Of which so many, and one more, are collected.
    pub max: usize,
}

impl<'r> DeserializeSeed<'r> for Entries {
    type Value = Vec<&'r RawValue>;

    fn deserialize<D: Deserializer<'r>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'r> Visitor<'r> for Entries {
    type Value = Vec<&'r RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'r>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() <= self.max
            && let Some(element) = elements.next_element()?
        {
            found.push(element);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

impl<'r> DeserializeSeed<'r> for Fields {
    type Value = Vec<(Cow<'r, str>, &'r RawValue)>;

    fn deserialize<D: Deserializer<'r>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'r> Visitor<'r> for Fields {
    type Value = Vec<(Cow<'r, str>, &'r RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() <= self.max
            && let Some((Name(name), value)) = fields.next_entry()?
        {
            found.push((name, value));
        }
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// A name, borrowed if it needs no decoding; serde's own `Cow` always copies.
struct Name<'r>(Cow<'r, str>);

impl<'r> Deserialize<'r> for Name<'r> {
    fn deserialize<D: Deserializer<'r>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'r> Visitor<'r> for Text {
            type Value = Name<'r>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'r str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Text)
    }
}
