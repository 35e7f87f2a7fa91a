use proptest::prelude::*;

use super::*;
use crate::program::tests::any_rule;

fn error(json: &str) -> String {
    serde_json::from_str::<ParameterRule>(json).unwrap_err().to_string()
}

fn rules(json: &str) -> Result<ParameterRules, String> {
    read_rules(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
}

fn conflicts(json: &serde_json::Value) -> Result<Vec<Vec<String>>, String> {
    read_conflicts(json).map_err(|error| error.to_string())
}

#[test]
fn a_key_of_another_type_is_refused() {
    for (json, reason) in [
        (r#"{"min": 1}"#, "min belongs to a parameter of type integer or number"),
        (
            r#"{"type": "one_of", "values": ["a"], "max": 1}"#,
            "max belongs to a parameter of type integer or number",
        ),
        (r#"{"type": "integer", "maxLength": 1}"#, "maxLength belongs to a parameter of type text"),
        (r#"{"type": "number", "minLength": 1}"#, "minLength belongs to a parameter of type text"),
        (r#"{"type": "number", "values": []}"#, "values belongs to a parameter of type one_of"),
        (r#"{"pattern": ".*"}"#, "unknown field `pattern`"),
        (r#"{"type": "regex"}"#, "unknown variant `regex`"),
    ] {
        assert!(error(json).starts_with(reason), "{json}: {}", error(json));
    }
}

#[test]
fn bounds_that_nothing_can_meet_are_refused() {
    for (json, reason) in [
        (r#"{"minLength": 5, "maxLength": 4}"#, "minLength 5 is greater than maxLength 4"),
        (r#"{"maxLength": 1025}"#, "maxLength is 1025, at most 1024 bytes are taken"),
        (r#"{"type": "integer", "min": 2, "max": 1}"#, "min 2 is greater than max 1"),
        (r#"{"type": "integer", "min": 1.5}"#, "min is 1.5, which is not an integer"),
        (
            r#"{"type": "integer", "max": 18446744073709551615}"#,
            "max is 18446744073709551615, which is not an integer",
        ),
        (r#"{"type": "number", "min": 0.2, "max": 0.1}"#, "min 0.2 is greater than max 0.1"),
        (r#"{"type": "one_of"}"#, "a one_of needs 1 to 1000 values, 0 are given"),
    ] {
        assert!(error(json).starts_with(reason), "{json}: {}", error(json));
    }
}

#[test]
fn the_hundred_and_first_rule_is_refused() {
    let object = |count: usize| {
        let rules: Vec<String> = (0..count).map(|at| format!(r#""p{at}": {{}}"#)).collect();
        format!("{{{}}}", rules.join(","))
    };
    assert_eq!(rules(&object(100)).unwrap().len(), 100);
    assert!(rules(&object(101)).unwrap_err().starts_with("more than 100 rules"));
}

#[test]
fn a_name_has_one_rule_and_1_to_64_bytes() {
    assert!(rules(r#"{"a": {}, "a": {"required": true}}"#).unwrap_err().starts_with("a has two rules"));
    assert!(rules(r#"{"": {}}"#).unwrap_err().starts_with("a parameter name has 1 to 64 bytes"));
    assert!(rules(&format!(r#"{{"{}": {{}}}}"#, "n".repeat(64))).is_ok());
    assert!(rules(&format!(r#"{{"{}": {{}}}}"#, "n".repeat(65))).is_err());
}

#[test]
fn a_conflict_group_names_two_different_parameters_at_least() {
    let groups = |count: usize| serde_json::json!(vec![["a", "b"]; count]);
    assert_eq!(conflicts(&groups(20)).unwrap().len(), 20);
    assert_eq!(conflicts(&groups(21)).unwrap_err(), "21 conflict groups, at most 20 are taken");
    let alone = conflicts(&serde_json::json!([["a"]])).unwrap_err();
    assert_eq!(alone, "a conflict group names 2 to 20 parameters, this one 1");
    let twice = conflicts(&serde_json::json!([["a", "b", "a"]])).unwrap_err();
    assert_eq!(twice, "a is in the same conflict group twice");
}

proptest! {
    #[test]
    fn a_rule_is_read_back_as_it_was_written(rule in any_rule()) {
        let json = serde_json::to_string(&rule).unwrap();
        prop_assert_eq!(serde_json::from_str::<ParameterRule>(&json).unwrap(), rule, "{}", json);
    }
}
