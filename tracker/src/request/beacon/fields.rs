//! The elements of an array and the fields of an object, each as the text it was sent as.
//!
//! What is beyond a bound is checked to be JSON, and counted, but not collected: the sender must
//! not be able to make us hold much more than was sent.

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
    /// Of which so many are collected.
    pub max: usize,
    /// Whether those that are `null` are as good as absent.
    pub skips_null: bool,
}

/// What was found in an object.
pub struct Found<'r> {
    /// Names and values.
    pub fields: Vec<(Cow<'r, str>, &'r RawValue)>,
    /// How many fields there are besides.
    pub more: u32,
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
    type Value = Found<'r>;

    fn deserialize<D: Deserializer<'r>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'r> Visitor<'r> for Fields {
    type Value = Found<'r>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found { fields: Vec::new(), more: 0 };
        while let Some((Text(name), value)) = map.next_entry::<Text<'r>, &'r RawValue>()? {
            if self.skips_null && value.get() == "null" {
                continue;
            }
            if found.fields.len() < self.max {
                found.fields.push((name, value));
            } else {
                found.more += 1;
            }
        }
        Ok(found)
    }
}

/// What a JSON text says, if `raw` is one; borrowed if it needs no decoding.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<Text>(json).ok().map(|Text(text)| text)
}

/// A text, borrowed if it needs no decoding; serde's own `Cow` always copies, and refuses a lone
/// surrogate.
struct Text<'r>(Cow<'r, str>);

impl<'r> Deserialize<'r> for Text<'r> {
    fn deserialize<D: Deserializer<'r>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'r> Visitor<'r> for Bytes {
            type Value = Text<'r>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'r [u8]) -> Result<Self::Value, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(without_surrogates(bytes))))
            }
        }

        // As bytes serde_json lets a lone surrogate pass, in the form that UTF-8 would have for it.
        from.deserialize_bytes(Bytes)
    }
}

/// Replaces each surrogate, `ED A0..BF xx`, by one U+FFFD; the rest is UTF-8.
fn without_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid_bytes = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
        let (valid, invalid) = rest.split_at(valid_bytes);
        text.push_str(std::str::from_utf8(valid).unwrap_or_default());
        rest = match invalid {
            [] => invalid,
            [0xed, 0xa0..=0xbf, _, after @ ..] | [_, after @ ..] => {
                text.push('\u{fffd}');
                after
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Vec<(String, String)> {
        let fields = scan(json, Fields { max: 10, skips_null: false }).unwrap();
        fields
            .fields
            .iter()
            .map(|(name, value)| (name.to_string(), text(value).unwrap().into_owned()))
            .collect()
    }

    #[test]
    fn half_an_emoji_is_one_replacement_in_names_and_values() {
        for (json, said) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\udca9b""#, "a\u{fffd}b"),
            (r#""\ud83d\ud83d\udca9""#, "\u{fffd}💩"),
            (r#""\udca9\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83dx\n""#, "\u{fffd}x\n"),
            (r#""\ud83d\\udca9""#, "\u{fffd}\\udca9"),
            (r#""\ud83d\udca9""#, "💩"),
            (r#""ü\"""#, "ü\""),
        ] {
            assert_eq!(texts(&format!("{{{json}: {json}}}")), [(said.to_owned(), said.to_owned())], "{json}");
        }
    }

    #[test]
    fn what_is_no_json_stays_an_error() {
        for json in
            [r#"{"a": "\ud83"}"#, "{\"a\": \"\u{1}\"}", r#"{"\x": 1}"#, r#"{"a": "\u+123"}"#, "{1: 2}"]
        {
            assert!(scan(json, Fields { max: 10, skips_null: false }).is_err(), "{json}");
        }
    }
}
