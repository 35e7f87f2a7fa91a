use proptest::prelude::*;

use super::*;

fn program(id: &str) -> String {
    format!(
        r#"{{"programId": "{id}", "programName": "n", "customerId": 1, "customerName": "c", "valid": true}}"#
    )
}

fn ids(text: &str) -> Vec<String> {
    read_programs(text).unwrap().iter().map(|program| program.id.to_string()).collect()
}

fn errors(text: &str) -> Vec<String> {
    read_programs(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn an_array_one_object_and_one_a_line_are_read() {
    let a = program("a");
    let b = program("b");
    let spread = a.replace(", ", ",\n  ").replace('{', "{\n  ");
    for text in [format!("[{a},\n{b}]"), format!("{a}\n{b}"), format!("\r\n{a}\r\n\r\n  {b}\r\n")] {
        assert_eq!(ids(&text), ["a", "b"], "{text}");
    }
    for text in [a.clone(), spread, format!("\u{feff}{a}\n"), format!("\n[ {a} ]\n")] {
        assert_eq!(ids(&text), ["a"], "{text}");
    }
    assert_eq!(ids("[]"), [""; 0]);
}

#[test]
fn every_bad_entry_is_named_and_nothing_is_read() {
    let text = format!(
        "[\n{},\n{},\n{},\n{}\n]",
        program("a"),
        program("b").replace(": 1,", ": \"x\","),
        program("c").replace("valid", "vaild"),
        program("d").replace('}', r#", "parameters": {"q": {"type": "integer", "min": 1.5}}}"#),
    );
    assert_eq!(
        errors(&text),
        [
            "line 3, column 56: [1].customerId: invalid value: string \"x\", expected an integer of 32 bits, or text \
             that holds one",
            "line 4, column 84: [2].vaild: unknown field `vaild`, expected one of `programId`, `programName`, \
             `checksum`, `customerId`, `customerName`, `valid`, `startsAt`, `endsAt`, `landingUrl`, `fallbackUrl`, \
             `allowHttp`, `strict`, `requireChecksum`, `parameters`, `conflicts`, `revision`, `userAgent`, `messageId`",
            "line 5, column 144: [3].parameters.q: min is 1.5, which is not an integer",
        ]
    );
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    let text = program("a").replace('}', r#", "valid": false}"#);
    assert_eq!(errors(&text), ["line 1, column 99: duplicate field `valid`"]);
}

#[test]
fn a_field_that_is_wrong_beside_another_is_named_too() {
    let text = program("a").replace('}', r#", "landingUrl": "http://a.example/"}"#);
    assert_eq!(
        errors(&format!("[\n {text}]")),
        ["line 2, column 2: [0].landingUrl: byte 0: http is only taken with \"allowHttp\": true; use https"]
    );
}

#[test]
fn a_bad_line_does_not_hide_the_next() {
    let text =
        format!("{}\n{{\"programId\": \n{}\nnull\n", program("a"), program("b").replace("true", "\"no\""));
    let errors = errors(&text);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("line 2, column 13: programId: EOF while parsing"), "{}", errors[0]);
    assert!(errors[1].starts_with("line 3, column 90: valid: invalid value: string \"no\""), "{}", errors[1]);
    assert!(errors[2].starts_with("line 4, column "), "{}", errors[2]);
}

#[test]
fn a_broken_first_line_is_one_error_of_its_own() {
    let errors = errors(&format!("{{\"programId\": \n{}\n", program("b")));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("line 1, "), "{}", errors[0]);
}

#[test]
fn a_broken_object_over_many_lines_is_one_error() {
    let errors = errors("{\n  \"programId\": \"a\",\n  \"programName\" \"n\"\n}\n");
    assert_eq!(errors, ["line 3, column 17: expected `:`"]);
}

#[test]
fn broken_json_is_named_with_its_place() {
    assert_eq!(errors("[\n{},\n}"), ["line 3, column 1: expected value"]);
    assert_eq!(errors(" \n "), ["line 1, column 1: there is no program in it"]);
    assert_eq!(errors("nonsense"), ["line 1, column 2: expected ident"]);
    assert_eq!(errors(&"[".repeat(10_000)), ["line 1, column 10000: EOF while parsing a list"]);
}

#[test]
fn an_id_that_is_given_twice_is_refused_with_both_places() {
    let text = format!("[{},\n{},\n{}]", program("a"), program("b"), program("a"));
    assert_eq!(
        errors(&text),
        ["line 3, column 1: [2].programId: a is given twice, first at line 1, column 2"]
    );
}

#[test]
fn the_hundredth_error_is_the_last() {
    let bad = vec!["{}"; 150];
    assert_eq!(errors(&format!("[{}]", bad.join(","))).len(), IMPORT_ERRORS_MAX);
    assert_eq!(errors(&bad.join("\n")).len(), IMPORT_ERRORS_MAX);
}

#[test]
fn a_program_ends_at_one_mebibyte() {
    let padded = |bytes: usize| {
        let json = program("a");
        json.replace("\"valid\"", &format!("{}\"valid\"", " ".repeat(bytes - json.len())))
    };
    assert_eq!(ids(&padded(PROGRAM_BYTES_MAX)), ["a"]);
    assert_eq!(
        errors(&padded(PROGRAM_BYTES_MAX + 1)),
        ["line 1, column 1: has 1048577 bytes, at most 1048576 are taken"]
    );
}

#[test]
fn the_samples_are_the_aws_samples_programs() {
    let samples = crate::samples();
    let known: Vec<_> = samples
        .iter()
        .map(|p| (p.id.as_str(), p.name(), p.checksum(), p.customer_id, p.customer_name()))
        .collect();
    assert_eq!(
        known,
        [
            ("212312", "program1", "123", 9_123, "Customer1"),
            ("212313", "program2", "124", 9_124, "Customer2"),
            ("212314", "program3", "125", 9_125, "Customer3"),
        ]
    );
    assert!(samples.iter().all(|p| p.valid && p.revision.is_none() && p.landing_url().is_some()));
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"[\[\]{}",:\n a-z0-9.\\é-]{0,200}"#) {
        let _ = read_programs(&text);
    }

    #[test]
    fn no_broken_file_panics_or_names_a_place_outside(cut in 0..400usize, with in ".{0,3}", array in any::<bool>()) {
        let a = program("a");
        let b = program("b");
        let mut text = if array { format!("[{a},\n{b}]") } else { format!("{a}\n{b}") };
        let cut = cut % text.len();
        text.replace_range(cut..=cut, &with);
        if let Err(errors) = read_programs(&text) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{}", error);
                prop_assert!(error.column >= 1 && error.column <= text.len() + 1, "{}", error);
            }
        }
    }
}

#[test]
fn a_revision_ends_at_63_bits() {
    let with = |revision: &str| program("a").replace('}', &format!(r#", "revision": {revision}}}"#));
    assert_eq!(read_programs(&with("9223372036854775807")).unwrap()[0].revision, Some(REVISION_MAX));
    assert_eq!(read_programs(&with("null")).unwrap()[0].revision, None);
    for revision in ["9223372036854775808", "18446744073709551615"] {
        let text = format!("[{},\n{}]", program("b"), with(revision));
        let expected = format!(
            "line 2, column 1: [1].revision: {revision} is more than 9223372036854775807, the highest revision there is"
        );
        assert_eq!(errors(&text), [expected]);
    }
    for revision in ["18446744073709551616", "-1", "1e3", "\"1\""] {
        let said = errors(&with(revision)).concat();
        assert!(
            said.contains("revision: invalid type: ")
                && said.contains("a whole number from 0 to 9223372036854775807"),
            "{said}"
        );
    }
}
