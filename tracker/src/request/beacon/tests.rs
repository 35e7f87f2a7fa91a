use proptest::prelude::*;

use super::*;

fn parse_text(body: &str) -> Result<Vec<Entry<'_>>, String> {
    parse(body, &Limits::default()).map_err(|error| error.to_string())
}

fn one(body: &str) -> Entry<'_> {
    parse_text(body).unwrap().remove(0)
}

fn pairs(entry: &Entry) -> Vec<(String, String)> {
    entry.parameters.iter().map(|p| (p.name.to_string(), p.value.to_string())).collect()
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
        ("\u{c}{\"program\": \"1\", \"type\": \"click\"}", "body: expected value at line 1 column 1"),
        ("{\"program\": \"1\", \"type\": \"click\"}\u{c}", "body: trailing characters at line 1"),
        ("[]", "body: it holds no entry"),
        ("[1]", "[0]: is not an object"),
        ("\"a\"", "body: is not an object"),
        (r#"{"type": "click"}"#, "program: is missing"),
        (r#"{"program": "1"}"#, "type: is missing"),
        (r#"{"program": "1", "type": "click"} x"#, "body: trailing characters"),
        (
            r#"[{"program": "1", "type": "click"}, {"program": "1", "type": "cl ick"}]"#,
            "[1].type: of 6 bytes is not impression,",
        ),
        (r#"{"program": "1", "type": ""}"#, "type: of 0 bytes is not"),
        (r#"{"program": "1", "type": 1}"#, "type: is not text"),
        (&long_name, "type: of 65 bytes is not"),
        (r#"{"program": true, "type": "click"}"#, "program: is not text"),
        (r#"{"program": {}, "type": "click"}"#, "program: is nested"),
        (
            r#"{"program": "1", "type": "click", "parms": {}}"#,
            "field 3 (of 5 bytes): is unknown; there are program, type",
        ),
        (r#"{"program": "1", "type": "click", "type": "click"}"#, "type: is given twice"),
        (r#"{"program": "1", "type": "click", "params": []}"#, "params: is not an object"),
        (r#"{"program": "1", "type": "click", "params": {"a": {}}}"#, "params, parameter 1: is nested"),
        (
            r#"{"program": "1", "type": "click", "params": {"b": 1, "a": []}}"#,
            "params, parameter 2: is nested",
        ),
        (&deep, "params, parameter 1: is nested"),
        (&long_id, "id: has 1025 bytes of 1024"),
    ] {
        let error = parse_text(body).unwrap_err();
        assert!(error.starts_with(says), "{body:.200}: {error}");
    }
}

#[test]
fn what_is_wrong_is_told_without_a_byte_of_the_senders() {
    let secret = "jane.doe-at-example";
    for body in [
        format!(r#"{{"{secret}": 1}}"#),
        format!(r#"{{"program": "1", "type": "{secret}!"}}"#),
        format!(r#"{{"program": ["{secret}"], "type": "click"}}"#),
        format!(r#"{{"program": "1", "type": ["{secret}"]}}"#),
        format!(r#"{{"program": "1", "type": "click", "id": {{"{secret}": 1}}}}"#),
        format!(r#"{{"program": "1", "type": "click", "visitor": ["{secret}"]}}"#),
        format!(r#"{{"program": "1", "type": "click", "params": "{secret}"}}"#),
        format!(r#"{{"program": "1", "type": "click", "params": {{"{secret}": []}}}}"#),
        format!(r#"{{"program": "1", "type": "click", "params": {{"a": ["{secret}"]}}}}"#),
        format!(r#"{{"program": "1", "type": "click", "id": "{}"}}"#, secret.repeat(100)),
        format!(r#"["{secret}"]"#),
        format!(r#""{secret}""#),
        format!("{secret}: 1"),
        format!(r#"{{"program": "1", "type": "click"}} {secret}"#),
        format!(r#"{{"program": "1", {secret}: 1}}"#),
        format!(r#"{{"program": "{secret}\u{{1}}"}}"#),
    ] {
        let error = parse_text(&body).unwrap_err();
        assert!(!error.contains("jane") && !error.contains("example"), "{body}: {error}");
    }
}

#[test]
fn no_text_fails_an_entry_for_what_it_says() {
    let half = r#"{"program": "\ud83d1", "type": "click", "id": "a\udca9", "visitor": "\ud83d",
        "params": {"\ud83d": "\udca9\ud83d", "b": "\ud83d\udca9"}}"#;
    let entry = one(half);
    assert_eq!((entry.program.as_ref(), entry.sent.id.as_deref()), ("\u{fffd}1", Some("a\u{fffd}")));
    let expected = [("v", "\u{fffd}"), ("\u{fffd}", "\u{fffd}\u{fffd}"), ("b", "💩")];
    assert_eq!(pairs(&entry), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let kind = parse_text(r#"{"program": "1", "type": "\ud83d"}"#).unwrap_err();
    assert!(kind.starts_with("type: of 3 bytes is not"), "{kind}");

    let latin_1 = b"\xef\xbb\xbf{\"program\": \"1\", \"type\": \"click\", \"params\": {\"\xfc\": \"\xe9\"}}";
    let text = decode(latin_1);
    assert_eq!(pairs(&one(&text)), [("\u{fffd}".to_owned(), "\u{fffd}".to_owned())]);
    assert!(matches!(decode("{\"ü\": 1}".as_bytes()), Cow::Borrowed("{\"ü\": 1}")));
    assert_eq!(decode("\u{feff}\u{feff}1".as_bytes()), "\u{feff}1", "one mark is skipped");
}

#[test]
fn a_time_that_is_none_is_left_out_and_counted() {
    for (time, said, left_out) in [
        ("1789999999000", 1_789_999_999_000, 0),
        ("\"1789999999000\"", 1_789_999_999_000, 0),
        ("281474976710655", (1 << 48) - 1, 0),
        ("null", 0, 0),
        ("281474976710656", 0, 1),
        ("-1", 0, 1),
        ("1.5", 0, 1),
        ("1e3", 0, 1),
        ("true", 0, 1),
        ("\"soon\"", 0, 1),
        ("\"\"", 0, 1),
        ("[1]", 0, 1),
        ("{\"ms\": 1}", 0, 1),
    ] {
        let body = format!(r#"{{"program": "1", "type": "click", "time_ms": {time}}}"#);
        let entry = one(&body);
        assert_eq!((entry.sent.time_ms, entry.parameters.left_out()), (said, left_out), "{time}");
    }
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
fn a_parameter_beyond_a_bound_is_left_out_and_counted() {
    let with = |params: &str| format!(r#"[{{"program": "1", "type": "click", "params": {{{params}}}}}]"#);
    let many = |count: usize| (0..count).map(|at| format!("\"p{at}\": 1")).collect::<Vec<_>>().join(",");
    assert_eq!(pairs(&one(&with(&many(100)))).len(), 100);
    for count in [101, 250] {
        let body = with(&many(count));
        let entry = one(&body);
        assert_eq!((pairs(&entry).len(), entry.parameters.left_out() as usize), (100, count - 100));
    }
    let nulls = with(&format!("{}, \"a\": 1", vec!["\"n\": null"; 300].join(",")));
    assert_eq!((pairs(&one(&nulls)).len(), one(&nulls).parameters.left_out()), (1, 0));
    for params in [
        "\"\": 1".to_owned(),
        format!("\"{}\": 1", "n".repeat(65)),
        format!("\"a\": \"{}\"", "v".repeat(1_025)),
        format!("\"a\": {}", "1".repeat(1_025)),
    ] {
        let body = with(&format!("\"b\": 1, {params}, \"c\": 2"));
        let entry = one(&body);
        assert_eq!((pairs(&entry).len(), entry.parameters.left_out()), (2, 1), "{params:.100}");
    }
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
        let _ = parse(&decode(&body), &Limits::default());
    }

    #[test]
    fn any_text_of_json_marks_is_taken_or_refused(body in "[\\[\\]{}:,\"\\\\ue0-9a-c \\.+-]{0,200}") {
        let _ = parse(&body, &Limits::default());
    }
}
