//! Parameter rules as JSON: `{"required": true, "type": "integer", "min": 1}`.
//!
//! A key that does not apply to the type is an error, since its author expects it to be enforced.
//! Defaults are omitted when writing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    CONFLICTS_MAX, NAME_BYTES_MAX, ONE_OF_MAX, ParameterKind, ParameterRule, ParameterRules, RULES_MAX,
    VALUE_BYTES_MAX,
};
use crate::absent;

/// The JSON of a rule: the keys of all types.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleJson {
    #[serde(default, deserialize_with = "absent::or_default")]
    required: bool,
    #[serde(rename = "type", default, deserialize_with = "absent::or_default")]
    kind: KindName,
    min_length: Option<u32>,
    max_length: Option<u32>,
    min: Option<serde_json::Number>,
    max: Option<serde_json::Number>,
    values: Option<Vec<String>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindName {
    #[default]
    Text,
    Integer,
    Number,
    OneOf,
}

impl RuleJson {
    fn into_rule(self) -> Result<ParameterRule, String> {
        let kind = self.kind;
        let only = |given: bool, key: &str, suits: bool, of: &str| {
            if given && !suits { Err(format!("{key} belongs to a parameter of type {of}")) } else { Ok(()) }
        };
        let numeric = matches!(kind, KindName::Integer | KindName::Number);
        only(self.min_length.is_some(), "minLength", kind == KindName::Text, "text")?;
        only(self.max_length.is_some(), "maxLength", kind == KindName::Text, "text")?;
        only(self.min.is_some(), "min", numeric, "integer or number")?;
        only(self.max.is_some(), "max", numeric, "integer or number")?;
        only(self.values.is_some(), "values", kind == KindName::OneOf, "one_of")?;

        let kind = match kind {
            KindName::Text => text_kind(self.min_length, self.max_length)?,
            KindName::Integer => integer_kind(self.min.as_ref(), self.max.as_ref())?,
            KindName::Number => number_kind(self.min.as_ref(), self.max.as_ref())?,
            KindName::OneOf => one_of_kind(self.values.unwrap_or_default())?,
        };
        Ok(ParameterRule { required: self.required, kind })
    }
}

fn text_kind(min: Option<u32>, max: Option<u32>) -> Result<ParameterKind, String> {
    let min_bytes = min.unwrap_or(0);
    let max_bytes = max.unwrap_or(VALUE_BYTES_MAX);
    if max_bytes > VALUE_BYTES_MAX {
        return Err(format!("maxLength is {max_bytes}, at most {VALUE_BYTES_MAX} bytes are taken"));
    }
    if min_bytes > max_bytes {
        return Err(format!("minLength {min_bytes} is greater than maxLength {max_bytes}"));
    }
    Ok(ParameterKind::Text { min_bytes, max_bytes })
}

fn integer_kind(
    min: Option<&serde_json::Number>,
    max: Option<&serde_json::Number>,
) -> Result<ParameterKind, String> {
    let bound = |given: Option<&serde_json::Number>, key: &str, default: i64| match given {
        None => Ok(default),
        Some(number) => number.as_i64().ok_or_else(|| format!("{key} is {number}, which is not an integer")),
    };
    let min = bound(min, "min", i64::MIN)?;
    let max = bound(max, "max", i64::MAX)?;
    if min > max {
        return Err(format!("min {min} is greater than max {max}"));
    }
    Ok(ParameterKind::Integer { min, max })
}

fn number_kind(
    min: Option<&serde_json::Number>,
    max: Option<&serde_json::Number>,
) -> Result<ParameterKind, String> {
    let min = min.and_then(serde_json::Number::as_f64);
    let max = max.and_then(serde_json::Number::as_f64);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(format!("min {min} is greater than max {max}"));
    }
    Ok(ParameterKind::Number { min, max })
}

fn one_of_kind(values: Vec<String>) -> Result<ParameterKind, String> {
    if values.is_empty() || values.len() > ONE_OF_MAX {
        return Err(format!("a one_of needs 1 to {ONE_OF_MAX} values, {} are given", values.len()));
    }
    if let Some(long) = values.iter().find(|value| value.len() > VALUE_BYTES_MAX as usize) {
        return Err(format!("a value has {} bytes, at most {VALUE_BYTES_MAX} are taken", long.len()));
    }
    Ok(ParameterKind::OneOf(values))
}

impl<'de> Deserialize<'de> for ParameterRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RuleJson::deserialize(deserializer)?.into_rule().map_err(de::Error::custom)
    }
}

impl Serialize for ParameterRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.required {
            map.serialize_entry("required", &true)?;
        }
        match &self.kind {
            ParameterKind::Text { min_bytes, max_bytes } => {
                map.serialize_entry("type", "text")?;
                if *min_bytes > 0 {
                    map.serialize_entry("minLength", min_bytes)?;
                }
                if *max_bytes < VALUE_BYTES_MAX {
                    map.serialize_entry("maxLength", max_bytes)?;
                }
            }
            ParameterKind::Integer { min, max } => {
                map.serialize_entry("type", "integer")?;
                if *min > i64::MIN {
                    map.serialize_entry("min", min)?;
                }
                if *max < i64::MAX {
                    map.serialize_entry("max", max)?;
                }
            }
            ParameterKind::Number { min, max } => {
                map.serialize_entry("type", "number")?;
                if let Some(min) = min {
                    map.serialize_entry("min", min)?;
                }
                if let Some(max) = max {
                    map.serialize_entry("max", max)?;
                }
            }
            ParameterKind::OneOf(values) => {
                map.serialize_entry("type", "one_of")?;
                map.serialize_entry("values", values)?;
            }
        }
        map.end()
    }
}

/// Reads `parameters`: bounded, and a name that is given twice is an error rather
/// than the last one winning. `null` is no rules.
pub(crate) fn read_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ParameterRules, D::Error> {
    struct Rules;

    impl<'de> de::Visitor<'de> for Rules {
        type Value = ParameterRules;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of rules by parameter name")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<ParameterRules, A::Error> {
            let mut rules = ParameterRules::new();
            while let Some((name, rule)) = map.next_entry::<String, ParameterRule>()? {
                check_name(&name).map_err(de::Error::custom)?;
                if rules.len() == RULES_MAX {
                    return Err(de::Error::custom(format!("more than {RULES_MAX} rules")));
                }
                if rules.contains_key(&name) {
                    return Err(de::Error::custom(format!("{name} has two rules")));
                }
                rules.insert(name, rule);
            }
            Ok(rules)
        }

        fn visit_unit<E: de::Error>(self) -> Result<ParameterRules, E> {
            Ok(ParameterRules::new())
        }
    }
    deserializer.deserialize_any(Rules)
}

/// Reads `conflicts`: each group names at least two different parameters. `null` is none.
pub(crate) fn read_conflicts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Vec<String>>, D::Error> {
    let groups: Vec<Vec<String>> = absent::or_default(deserializer)?;
    check_conflicts(&groups).map_err(de::Error::custom)?;
    Ok(groups)
}

fn check_conflicts(groups: &[Vec<String>]) -> Result<(), String> {
    if groups.len() > CONFLICTS_MAX {
        return Err(format!("{} conflict groups, at most {CONFLICTS_MAX} are taken", groups.len()));
    }
    for group in groups {
        if group.len() < 2 || group.len() > CONFLICTS_MAX {
            return Err(format!(
                "a conflict group names 2 to {CONFLICTS_MAX} parameters, this one {}",
                group.len()
            ));
        }
        for (at, name) in group.iter().enumerate() {
            check_name(name)?;
            if group[..at].contains(name) {
                return Err(format!("{name} is in the same conflict group twice"));
            }
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("a parameter name has 1 to {NAME_BYTES_MAX} bytes, {name:?} has {}", name.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
