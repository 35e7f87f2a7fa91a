//! A program's rules for the parameters of a hit.
//!
//! No regular expressions: the rules come from many authors and are checked at every
//! hit, so each check takes time bounded by the length of the value.

mod json;

use std::collections::BTreeMap;

pub(crate) use json::{read_conflicts, read_rules};

/// Most rules of one program.
pub const RULES_MAX: usize = 100;
/// Most conflict groups of one program, and most names in one group.
pub const CONFLICTS_MAX: usize = 20;
/// Longest parameter name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest parameter value, in bytes, unless a rule says less.
pub const VALUE_BYTES_MAX: u32 = 1_024;
/// Most values of a `one_of`.
pub const ONE_OF_MAX: usize = 1_000;

/// Rules by parameter name, in the order of the names.
pub type ParameterRules = BTreeMap<String, ParameterRule>;

/// What one parameter must be.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterRule {
    /// A hit without the parameter is refused.
    pub required: bool,
    /// What its value must be.
    pub kind: ParameterKind,
}

/// What a value must be; all bounds are inclusive.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// Any text of so many bytes of UTF-8.
    Text {
        /// Shortest, in bytes; 1 keeps out the empty value.
        min_bytes: u32,
        /// Longest, in bytes; at most [`VALUE_BYTES_MAX`].
        max_bytes: u32,
    },
    /// Decimal digits with an optional `-`.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A decimal number such as `-1.5` or `2e3`.
    Number {
        /// Smallest, if bounded; finite.
        min: Option<f64>,
        /// Largest, if bounded; finite.
        max: Option<f64>,
    },
    /// Exactly one of these texts.
    OneOf(Vec<String>),
}

impl ParameterRule {
    /// Whether `value` is allowed; the name is not checked.
    ///
    /// # Errors
    /// The reason, as a fragment that follows the parameter's name.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > VALUE_BYTES_MAX as usize {
            return Err(format!("has {} bytes, at most {VALUE_BYTES_MAX} are taken", value.len()));
        }
        match &self.kind {
            ParameterKind::Text { min_bytes, max_bytes } => {
                let bytes = value.len();
                if bytes < *min_bytes as usize {
                    return Err(format!("has {bytes} bytes, at least {min_bytes} are needed"));
                }
                if bytes > *max_bytes as usize {
                    return Err(format!("has {bytes} bytes, at most {max_bytes} are taken"));
                }
                Ok(())
            }
            ParameterKind::Integer { min, max } => {
                let number = integer(value).ok_or("is not an integer")?;
                within(number, Some(*min), Some(*max))
            }
            ParameterKind::Number { min, max } => {
                let number = number(value).ok_or("is not a number")?;
                within(number, *min, *max)
            }
            ParameterKind::OneOf(values) => {
                if values.iter().any(|allowed| allowed == value) {
                    Ok(())
                } else {
                    Err("is not one of the allowed values".into())
                }
            }
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Rust reads `inf`, `nan` and `+1` as well; we do not.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = text.parse().ok()?;
    (plain && number.is_finite() && !text.starts_with('+')).then_some(number)
}

fn within<N: PartialOrd + std::fmt::Display>(
    number: N,
    min: Option<N>,
    max: Option<N>,
) -> Result<(), String> {
    match (min, max) {
        (Some(min), _) if number < min => Err(format!("is less than {min}")),
        (_, Some(max)) if number > max => Err(format!("is greater than {max}")),
        _ => Ok(()),
    }
}

/// Two required parameters that exclude each other would refuse every hit.
pub(crate) fn check_satisfiable(rules: &ParameterRules, conflicts: &[Vec<String>]) -> Result<(), String> {
    let required = |name: &&String| rules.get(*name).is_some_and(|rule| rule.required);
    for group in conflicts {
        let mut demanded = group.iter().filter(required);
        if let (Some(one), Some(other)) = (demanded.next(), demanded.next()) {
            return Err(format!("{one} and {other} are both required and exclude each other"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(json: &str) -> ParameterRule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_text_is_bounded_in_bytes_not_in_letters() {
        let rule = rule(r#"{"type": "text", "minLength": 1, "maxLength": 4}"#);
        assert_eq!(rule.check("ab"), Ok(()));
        assert_eq!(rule.check("éé"), Ok(()));
        assert_eq!(rule.check(""), Err("has 0 bytes, at least 1 are needed".into()));
        assert_eq!(rule.check("ééé"), Err("has 6 bytes, at most 4 are taken".into()));
    }

    #[test]
    fn without_a_limit_a_value_ends_at_1024_bytes() {
        let rule = rule("{}");
        assert_eq!(rule.check(&"a".repeat(1_024)), Ok(()));
        assert_eq!(rule.check(&"a".repeat(1_025)), Err("has 1025 bytes, at most 1024 are taken".into()));
    }

    #[test]
    fn an_integer_is_digits_within_its_bounds() {
        let rule = rule(r#"{"type": "integer", "min": -5, "max": 10}"#);
        for good in ["-5", "0", "10", "007"] {
            assert_eq!(rule.check(good), Ok(()), "{good}");
        }
        for bad in ["", "+1", "1.0", "1e1", " 1", "0x1", "９", "99999999999999999999"] {
            assert_eq!(rule.check(bad), Err("is not an integer".into()), "{bad}");
        }
        assert_eq!(rule.check("-6"), Err("is less than -5".into()));
        assert_eq!(rule.check("11"), Err("is greater than 10".into()));
    }

    #[test]
    fn a_number_is_finite_and_decimal() {
        let rule = rule(r#"{"type": "number", "min": 0.5}"#);
        for good in ["0.5", "1", "2e3", "1E2", ".5"] {
            assert_eq!(rule.check(good), Ok(()), "{good}");
        }
        for bad in ["", "inf", "NaN", "infinity", "1e999", "+1", "1,5", "0x1p3", "--1", "e5"] {
            assert_eq!(rule.check(bad), Err("is not a number".into()), "{bad}");
        }
        assert_eq!(rule.check("0.4"), Err("is less than 0.5".into()));
    }

    #[test]
    fn one_of_is_exact() {
        let rule = rule(r#"{"type": "one_of", "values": ["s", "m"]}"#);
        assert_eq!(rule.check("m"), Ok(()));
        assert_eq!(rule.check("M"), Err("is not one of the allowed values".into()));
    }

    #[test]
    fn two_required_parameters_may_not_exclude_each_other() {
        let rules = ParameterRules::from([
            ("a".into(), rule(r#"{"required": true}"#)),
            ("b".into(), rule(r#"{"required": true}"#)),
            ("c".into(), rule("{}")),
        ]);
        let group = |names: [&str; 2]| vec![names.map(String::from).to_vec()];
        assert_eq!(check_satisfiable(&rules, &group(["a", "c"])), Ok(()));
        let reason = "b and a are both required and exclude each other";
        assert_eq!(check_satisfiable(&rules, &group(["b", "a"])), Err(reason.into()));
    }

    proptest! {
        #[test]
        fn no_value_panics_a_check(value in ".{0,60}", digits in "[-+0-9.eE]{0,30}") {
            for json in ["{}", r#"{"type": "integer"}"#, r#"{"type": "number", "max": 1}"#] {
                let _ = rule(json).check(&value);
                let _ = rule(json).check(&digits);
            }
        }
    }
}
