//! Reads `null` as absence, for sources that always write every key.

use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = …)]` of a field whose type has no `null`.
pub(crate) fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
