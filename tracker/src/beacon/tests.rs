use proptest::prelude::*;

use super::*;

fn parse_text(body: &str) -> Result<Vec<Entry<'_>>, String> {
    parse(body.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
}

fn one(body: &str) -> Entry<'_> {
    parse_text(body).unwrap().remove(0)
}

fn pairs(entry: &Entry) -> Vec<(String, String)> {
    let parameters = entry.parameters.as_ref().unwrap();
    parameters.iter().map(|p| (p.name.to_string(), p.value.to_string())).collect()
}

#[test]
fn an_entry_says_what_was_sent_and_values_keep_their_digits() {
    let body = r#" {"program": "212312", "type": "video.50", "id": "a\u00fc", "time_ms": 1789999999000,
        "visitor": "me", "params": {"n": 12345678901234567890123, "f": 1.10, "e": 1e999, "t": true,
        "s": "a\nb", "z\u00fc": "", "none": null}} "#;
    let entry = one(body);
    assert_eq!((entry.program.as_ref(), entry.sent.time_ms), ("212312", 1_789_999_999_000));
    assert_eq!(entry.sent.kind, Kind::Custom("video.50".into()));
    assert_eq!(entry.sent.id.as_deref(), Some("aü"));
    assert_eq!(entry.sent.json, body.trim());
    let expected = [
        ("v", "me"),
        ("n", "12345678901234567890123"),
        ("f", "1.10"),
        ("e", "1e999"),
        ("t", "true"),
        ("s", "a\nb"),
        ("zü", ""),
    ];
    assert_eq!(pairs(&entry), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn what_is_absent_null_or_an_empty_id_is_none() {
    for body in [
        r#"{"program": 212312, "type": "click"}"#,
        r#"{"type": "click", "program": 212312, "id": null, "time_ms": null, "params": null, "visitor": null}"#,
        r#"{"program": 212312, "type": "click", "id": ""}"#,
    ] {
        let entry = one(body);
        assert_eq!((entry.program.as_ref(), entry.sent.kind.clone()), ("212312", Kind::Click));
        assert_eq!((entry.sent.id.as_ref(), entry.sent.time_ms, pairs(&entry).len()), (None, 0, 0), "{body}");
    }
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    let deep = format!(
        "{{\"program\": \"1\", \"type\": \"click\", \"params\": {{\"a\": {}1{}}}}}",
        "[".repeat(9_999),
        "]".repeat(9_999)
    );
    let long_id = format!(r#"{{"program": "1", "type": "click", "id": "{}"}}"#, "i".repeat(1_025));
    let long_name = format!(r#"{{"program": "1", "type": "{}"}}"#, "n".repeat(65));
    for (body, says) in [
        ("", "body: it is empty"),
        ("  ", "body: it is empty"),
        ("x", "body: expected value at line 1 column 1"),
        ("[]", "body: it holds no entry"),
        ("[1]", "[0]: is not an object"),
        ("\"a\"", "body: is not an object"),
        (r#"{"type": "click"}"#, "program: is missing"),
        (r#"{"program": "1"}"#, "type: is missing"),
        (r#"{"program": "1", "type": "click"} x"#, "body: trailing characters"),
        (
            r#"[{"program": "1", "type": "click"}, {"program": "1", "type": "cl ick"}]"#,
            "[1].type: \"cl ick\" is not",
        ),
        (r#"{"program": "1", "type": ""}"#, "type: \"\" is not"),
        (r#"{"program": "1", "type": 1}"#, "type: is not text"),
        (&long_name, "type: \"nnn"),
        (r#"{"program": true, "type": "click"}"#, "program: is not text"),
        (r#"{"program": {}, "type": "click"}"#, "program: is nested"),
        (r#"{"program": "1", "type": "click", "parms": {}}"#, "parms: is no field; there are program, type"),
        (r#"{"program": "1", "type": "click", "type": "click"}"#, "type: stands there twice"),
        (r#"{"program": "1", "type": "click", "time_ms": -1}"#, "time_ms: -1 is not"),
        (r#"{"program": "1", "type": "click", "time_ms": 1.5}"#, "time_ms: \"1.5\" is not"),
        (
            r#"{"program": "1", "type": "click", "time_ms": 281474976710656}"#,
            "time_ms: 281474976710656 is not",
        ),
        (r#"{"program": "1", "type": "click", "params": []}"#, "params: is not an object"),
        (r#"{"program": "1", "type": "click", "params": {"a": {}}}"#, "params.a: is nested"),
        (r#"{"program": "1", "type": "click", "params": {"a": "\ud800"}}"#, "params.a: "),
        (&deep, "params.a: is nested"),
        (&long_id, "id: has 1025 bytes of 1024"),
    ] {
        let error = parse_text(body).unwrap_err();
        assert!(error.starts_with(says), "{}: {error}", cut(body, 200));
    }
    let error = parse(b"{\"program\": \"\xff\"}", &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "body: not UTF-8 at byte 13");
}

#[test]
fn the_hundredth_entry_is_taken_and_one_more_refuses_all() {
    let entries = |count: usize| {
        let entry = r#"{"program": "1", "type": "click"}"#;
        format!("[{}]", vec![entry; count].join(","))
    };
    assert_eq!(parse_text(&entries(100)).unwrap().len(), 100);
    assert_eq!(parse_text(&entries(101)).unwrap_err(), "body: more than 100 entries");
    assert_eq!(
        parse_text(&format!("[{}1]", "1,".repeat(500_000))).unwrap_err(),
        "body: more than 100 entries"
    );
}

#[test]
fn a_bound_on_parameters_refuses_the_entry_and_not_the_beacon() {
    let with = |params: &str| format!(r#"[{{"program": "1", "type": "click", "params": {{{params}}}}}]"#);
    let many = |count: usize| (0..count).map(|at| format!("\"p{at}\": 1")).collect::<Vec<_>>().join(",");
    assert_eq!(pairs(&one(&with(&many(100)))).len(), 100);
    for params in [
        many(101),
        format!("\"{}\": 1", "n".repeat(65)),
        format!("\"a\": \"{}\"", "v".repeat(1_025)),
        format!("\"a\": {}", "1".repeat(1_025)),
    ] {
        let body = with(&params);
        assert!(matches!(one(&body).parameters, Err(QueryError::TooLarge(_))), "{}", cut(&params, 100));
    }
    assert!(matches!(one(&with("\"\": 1")).parameters, Err(QueryError::Invalid(_))));
}

proptest! {
    #[test]
    fn what_was_written_as_json_reads_back(
        sent in prop::collection::vec(("\\PC{1,8}", ".{0,12}"), 0..20),
        id in ".{1,20}",
        time_ms in 0_u64..1 << 48,
    ) {
        let params: Vec<_> = sent.iter().map(|(name, value)| {
            format!("{}:{}", serde_json::json!(name), serde_json::json!(value))
        }).collect();
        let id_json = serde_json::json!(id);
        let body = format!(
            r#"{{"program":"1","type":"click","id":{id_json},"time_ms":{time_ms},"params":{{{}}}}}"#,
            params.join(",")
        );
        let entry = one(&body);
        prop_assert_eq!(pairs(&entry), sent);
        prop_assert_eq!((entry.sent.id.as_deref(), entry.sent.time_ms), (Some(id.as_str()), time_ms));
    }

    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body, &Limits::default());
    }

    #[test]
    fn any_text_of_json_marks_is_taken_or_refused(body in "[\\[\\]{}:,\"\\\\ue0-9a-c \\.+-]{0,200}") {
        let _ = parse(body.as_bytes(), &Limits::default());
    }
}
