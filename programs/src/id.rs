//! The id of a program, checked once.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest id, in bytes.
pub const PROGRAM_ID_BYTES_MAX: usize = 64;

/// One to 64 ASCII letters, digits, `-` or `_`.
///
/// A value of this type has been checked, so it can be a cache key or a partition
/// key without being looked at again. A clone shares the text; a map keyed by it
/// can be asked with a `&str`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(Arc<str>);

/// The text is not a program id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a program id is 1 to 64 ASCII letters, digits, '-' or '_'")]
pub struct InvalidProgramId;

impl ProgramId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` would be taken as an id; allocates nothing.
    pub fn is_valid(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !text.is_empty() && text.len() <= PROGRAM_ID_BYTES_MAX && text.bytes().all(allowed)
    }
}

impl FromStr for ProgramId {
    type Err = InvalidProgramId;

    fn from_str(text: &str) -> Result<Self, InvalidProgramId> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidProgramId) }
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
        &self.0
    }
}

/// Equal texts have equal hashes: `Arc<str>` hashes as `str` does.
impl Borrow<str> for ProgramId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for ProgramId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
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
        let map = HashMap::from([("spring-26_A".parse::<ProgramId>().unwrap(), 1)]);
        assert_eq!(map.get("spring-26_A"), Some(&1));
    }

    proptest! {
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
