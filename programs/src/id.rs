//! The id of a program, checked once.
//!
//! # Why not `Arc<str>`?
//!
//! The catalog holds each id as its key, and 100,000 times the block behind an `Arc` is
//! 3 MB. An id of up to 14 bytes, as is usual in core data, is stored inline: a
//! look-up finds it without following a pointer, and a clone counts no references.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    str::{self, FromStr},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest id, in bytes.
pub const PROGRAM_ID_BYTES_MAX: usize = 64;

/// One to 64 ASCII letters, digits, `-` or `_`.
///
/// A value of this type has been checked, so it can be a cache key or a partition
/// key without another check. A clone copies or shares the text and allocates
/// nothing; a map keyed by it can be asked with a `&str`.
#[derive(Clone)]
pub struct ProgramId(Text);

/// Bytes that fit into two words beside a length and a tag.
const INLINE_BYTES_MAX: usize = 14;

#[derive(Clone)]
enum Text {
    Inline { length: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Shared(Arc<Long>),
}

/// Behind a thin pointer, so that inline ids get the space of a fat one.
struct Long(Box<str>);

/// The text is not a program id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a program id is 1 to 64 ASCII letters, digits, '-' or '_'")]
pub struct InvalidProgramId;

impl ProgramId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("an id was checked to be ASCII")
    }

    /// The id's ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Text::Shared(long) => long.0.as_bytes(),
        }
    }

    /// `text` was checked.
    fn new(text: &str) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                let length = u8::try_from(text.len()).expect("it fits into 14 bytes");
                Self(Text::Inline { length, bytes })
            }
            None => Self(Text::Shared(Arc::new(Long(text.into())))),
        }
    }

    /// Whether `text` is a valid id; does not allocate.
    pub fn is_valid(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !text.is_empty() && text.len() <= PROGRAM_ID_BYTES_MAX && text.bytes().all(allowed)
    }
}

impl FromStr for ProgramId {
    type Err = InvalidProgramId;

    fn from_str(text: &str) -> Result<Self, InvalidProgramId> {
        if Self::is_valid(text) { Ok(Self::new(text)) } else { Err(InvalidProgramId) }
    }
}

impl TryFrom<&str> for ProgramId {
    type Error = InvalidProgramId;

    fn try_from(text: &str) -> Result<Self, InvalidProgramId> {
        text.parse()
    }
}

impl TryFrom<String> for ProgramId {
    type Error = InvalidProgramId;

    fn try_from(text: String) -> Result<Self, InvalidProgramId> {
        text.parse()
    }
}

impl AsRef<str> for ProgramId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for ProgramId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ProgramId {}

impl PartialOrd for ProgramId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProgramId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for ProgramId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Equal texts are equal, ordered and hashed like their ids.
impl Borrow<str> for ProgramId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for ProgramId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProgramId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = ProgramId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program id as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ProgramId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_ends_at_64_and_starts_at_1() {
        assert!(ProgramId::is_valid(&"a".repeat(64)));
        assert!(!ProgramId::is_valid(&"a".repeat(65)));
        assert!(!ProgramId::is_valid(""));
    }

    #[test]
    fn what_would_change_a_path_or_a_key_is_refused() {
        for text in ["a/b", "a#b", "a b", "..", "a%2f", "é", "a\n", "a\0", "{a}", "a.b"] {
            assert_eq!(text.parse::<ProgramId>(), Err(InvalidProgramId), "{text:?}");
        }
    }

    #[test]
    fn a_map_of_ids_is_asked_with_plain_text() {
        for length in 1..=PROGRAM_ID_BYTES_MAX {
            let text = "spring-26_A".repeat(6)[..length].to_owned();
            let map = HashMap::from([(text.parse::<ProgramId>().unwrap(), length)]);
            assert_eq!(map.get(text.as_str()), Some(&length));
        }
    }

    #[test]
    fn an_id_takes_two_words_and_so_does_none() {
        assert_eq!(size_of::<ProgramId>(), 16);
        assert_eq!(size_of::<Option<ProgramId>>(), 16);
    }

    proptest! {
        #[test]
        fn ids_are_ordered_as_their_texts(one in "[A-Za-z0-9_-]{1,20}", other in "[A-Za-z0-9_-]{1,20}") {
            let ids: [ProgramId; 2] = [one.parse().unwrap(), other.parse().unwrap()];
            prop_assert_eq!(ids[0].cmp(&ids[1]), one.cmp(&other));
            prop_assert_eq!(ids[0] == ids[1], one == other);
            prop_assert_eq!(ids[0].as_str(), one);
        }

        #[test]
        fn an_id_reads_back_as_it_was_written(text in ".{0,70}") {
            match text.parse::<ProgramId>() {
                Ok(id) => {
                    let json = serde_json::to_string(&id).unwrap();
                    prop_assert_eq!(serde_json::from_str::<ProgramId>(&json).unwrap(), id);
                }
                Err(_) => prop_assert!(serde_json::from_value::<ProgramId>(text.into()).is_err()),
            }
        }
    }
}
