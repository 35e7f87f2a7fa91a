use proptest::{collection, option, prelude::*};
use serde_json::json;

use super::*;
use crate::{
    landing::FallbackUrl,
    rules::{ParameterKind, ParameterRule},
};

pub(crate) fn any_rule() -> impl Strategy<Value = ParameterRule> {
    let number = || option::of(-1e300..1e300);
    let kind = prop_oneof![
        (0..=1_024u32, 0..=1_024u32)
            .prop_map(|(a, b)| ParameterKind::Text { min_bytes: a.min(b), max_bytes: a.max(b) }),
        (any::<i64>(), any::<i64>())
            .prop_map(|(a, b)| ParameterKind::Integer { min: a.min(b), max: a.max(b) }),
        (number(), number()).prop_map(|(a, b)| match (a, b) {
            (Some(a), Some(b)) =>
                ParameterKind::Number { min: Some(f64::min(a, b)), max: Some(f64::max(a, b)) },
            (min, max) => ParameterKind::Number { min, max },
        }),
        collection::vec(".{0,8}", 1..4).prop_map(ParameterKind::OneOf),
    ];
    (any::<bool>(), kind).prop_map(|(required, kind)| ParameterRule { required, kind })
}

/// Any program that JSON can describe; `id` stays in `a` to `e`, so that they meet.
pub(crate) fn any_program() -> impl Strategy<Value = Program> {
    let about = ("[a-e]", ".{0,20}", ".{0,10}", any::<i32>(), ".{0,20}", any::<bool>());
    let window = (0..rfc3339::MS_MAX, 1..=1_000_000_000u64, any::<bool>(), any::<bool>());
    let urls = ("[a-z]{1,10}", option::of("[a-z/?&=]{0,10}"), option::of("[a-z/]{0,10}"), any::<bool>());
    let rules = (collection::btree_map("[a-z]{1,4}", any_rule(), 0..4), any::<bool>(), any::<bool>());
    (about, window, urls, rules, option::of(0..5u64)).prop_map(|(about, window, urls, rules, revision)| {
        let (id, name, checksum, customer_id, customer_name, valid) = about;
        let (start, length, starts, ends) = window;
        let (host, landing, fallback, allow_http) = urls;
        let (parameters, strict, require_checksum) = rules;
        let scheme = if allow_http { "http" } else { "https" };
        let base = format!("{scheme}://{host}.example.com/");
        Program {
            id: id.parse().unwrap(),
            require_checksum: require_checksum && !checksum.is_empty(),
            texts: {
                let landing = landing.map(|rest| format!("{base}{rest}{{click_id}}"));
                let landing = landing.map(|text| LandingUrl::parse_allowing_http(&text).unwrap());
                Texts::new(&name, &checksum, &customer_name, landing.as_ref())
            },
            customer_id,
            valid,
            allow_http,
            strict,
            revision,
            terms: BoxedTerms::from(Terms {
                starts_at: starts.then_some(start),
                ends_at: ends.then_some((start + length).min(rfc3339::MS_MAX)),
                fallback_url: fallback
                    .map(|rest| FallbackUrl::parse_allowing_http(&(base.clone() + &rest)).unwrap()),
                parameters,
                conflicts: if customer_id % 2 == 0 { vec![] } else { vec![vec!["A".into(), "B".into()]] },
            }),
        }
    })
}

/// The sample's program, with `changes` laid over it; `null` takes a key away.
fn read(changes: serde_json::Value) -> Result<Program, String> {
    let mut json = json!({
        "programId": "212313", "programName": "program2", "checksum": "124",
        "customerId": 9124, "customerName": "Customer2", "valid": true,
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            json.as_object_mut().unwrap().remove(key);
        } else {
            json[key] = value.clone();
        }
    }
    serde_json::from_str(&json.to_string()).map_err(|error| error.to_string())
}

#[test]
fn numbers_and_booleans_may_be_text_as_a_redis_hash_has_them() {
    let plain = read(json!({})).unwrap();
    let text = read(json!({"customerId": "9124", "checksum": 124, "valid": "true"})).unwrap();
    assert_eq!(text, plain);
    assert_eq!((plain.customer_id, plain.checksum(), plain.valid), (9_124, "124", true));
}

#[test]
fn the_samples_event_fields_are_ignored() {
    let with = read(json!({"userAgent": "curl/7.54.0", "messageId": "06bc2944-886c-4e56-907c-fa248c8af023"}));
    assert_eq!(with, read(json!({})));
}

#[test]
fn what_is_wrong_is_said() {
    for (changes, reason) in [
        (json!({"customerid": 1}), "unknown field `customerid`"),
        (json!({"customerId": null}), "missing field `customerId`"),
        (json!({"valid": null}), "missing field `valid`"),
        (json!({"customerId": "9124x"}), "invalid value: string \"9124x\", expected an integer of 32 bits"),
        (
            json!({"customerId": 2_147_483_648u64}),
            "invalid type: integer `2147483648`, expected an integer of 32 bits",
        ),
        (json!({"customerId": 1.5}), "invalid type: floating point `1.5`, expected an integer of 32 bits"),
        (json!({"valid": "yes"}), "invalid value: string \"yes\", expected true or false"),
        (json!({"valid": 1}), "invalid type: integer `1`, expected true or false"),
        (json!({"checksum": true}), "invalid type: boolean `true`, expected text or an integer"),
        (json!({"programName": 5}), "invalid type: integer `5`, expected text"),
        (json!({"programName": "n".repeat(257)}), "has 257 bytes, at most 256 are taken"),
        (json!({"programId": "a/b"}), "a program id is 1 to 64 ASCII letters, digits, '-' or '_'"),
        (json!({"programId": 212313}), "invalid type: integer `212313`, expected a program id as text"),
        (json!({"startsAt": "yesterday"}), "\"yesterday\" is not RFC 3339"),
        (json!({"startsAt": -1}), "invalid type: integer `-1`, expected RFC 3339 text or milliseconds"),
        (json!({"startsAt": 253_402_300_800_000u64}), "invalid value: integer `253402300800000`"),
        (
            json!({"startsAt": 1_795_338_000_000u64, "endsAt": "2026-11-22T09:00:00Z"}),
            "endsAt: is not after startsAt",
        ),
        (
            json!({"startsAt": 1_795_338_000}),
            "1795338000 looks like seconds; milliseconds since 1970 are expected",
        ),
        (json!({"endsAt": 99_999_999_999u64}), "99999999999 looks like seconds; milliseconds"),
        (json!({"endsAt": 0}), "0 looks like seconds; milliseconds"),
        (json!({"landingUrl": "https://a@b/"}), "byte 9: a user name before the host"),
        (
            json!({"landingUrl": "http://a.example/"}),
            "landingUrl: byte 0: http is only taken with \"allowHttp\": true",
        ),
        (json!({"fallbackUrl": "http://a.example/"}), "fallbackUrl: byte 0: http is only taken"),
        (json!({"fallbackUrl": "https://a.example/{click_id}"}), "byte 18: a macro in a fallback URL"),
        (json!({"requireChecksum": true, "checksum": ""}), "requireChecksum: needs a checksum"),
        (
            json!({"revision": -1}),
            "invalid type: integer `-1`, expected a whole number from 0 to 9223372036854775807",
        ),
        (json!({"revision": 1.5}), "invalid type: floating point `1.5`, expected a whole number from 0 to"),
        (json!({"revision": "7"}), "invalid type: string \"7\", expected a whole number from 0 to"),
    ] {
        let error = read(changes.clone()).unwrap_err();
        assert!(error.starts_with(reason), "{changes}: {error}");
    }
}

#[test]
fn null_is_as_if_a_key_that_may_be_left_out_were() {
    const NEEDED: [&str; 5] = ["programId", "programName", "customerId", "customerName", "valid"];
    let needed = json!({
        "programId": "212313", "programName": "program2", "customerId": 9124, "customerName": "Customer2",
        "valid": true,
    });
    let without: Program = serde_json::from_value(needed.clone()).unwrap();
    for key in json::KEYS {
        let mut with_null = needed.clone();
        with_null[key] = json!(null);
        let read = serde_json::from_str::<Program>(&with_null.to_string());
        match NEEDED.contains(&key) {
            true => assert!(read.unwrap_err().to_string().contains("null"), "{key}"),
            false => assert_eq!(read.unwrap(), without, "{key}"),
        }
    }
    let rules = |rule: &str| {
        let json = json!({"parameters": {"a": serde_json::from_str::<serde_json::Value>(rule).unwrap()}});
        read(json).unwrap().terms.parameters.clone()
    };
    let all = r#"{"required": null, "type": null, "minLength": null, "maxLength": null, "min": null, "max": null, "values": null}"#;
    assert_eq!(rules(all), rules("{}"));
}

#[test]
fn http_is_taken_when_the_program_says_so() {
    let http =
        json!({"allowHttp": true, "landingUrl": "http://a.example/", "fallbackUrl": "http://b.example/"});
    assert_eq!(read(http).unwrap().landing_url().unwrap().as_str(), "http://a.example/");
}

#[test]
fn a_moment_is_text_or_milliseconds_and_is_written_as_text() {
    let text = read(json!({"startsAt": "2026-11-22T10:00:00+01:00"})).unwrap();
    assert_eq!(text.terms.starts_at, Some(1_795_338_000_000));
    assert_eq!(read(json!({"startsAt": 1_795_338_000_000u64})).unwrap(), text);
    assert_eq!(serde_json::to_value(&text).unwrap()["startsAt"], "2026-11-22T09:00:00Z");
    assert_eq!(read(json!({"startsAt": 100_000_000_000u64})).unwrap().terms.starts_at, Some(100_000_000_000));
    let early = read(json!({"startsAt": "1970-01-01T00:00:01Z"})).unwrap();
    assert_eq!(early.terms.starts_at, Some(1_000), "only a number is ambiguous");
}

#[test]
fn the_sample_is_written_as_it_was_read() {
    let json = json!({
        "programId": "212313", "programName": "program2", "checksum": "124",
        "customerId": 9124, "customerName": "Customer2", "valid": true,
    });
    assert_eq!(serde_json::to_value(read(json!({})).unwrap()).unwrap(), json);
}

#[test]
fn the_window_starts_inclusive_and_ends_exclusive() {
    let window = json!({"startsAt": "1970-01-01T00:00:01Z", "endsAt": "1970-01-01T00:00:02Z"});
    let program = read(window).unwrap();
    assert_eq!(program.validity(999), Err(Invalid::NotStarted { starts_at_ms: 1_000 }));
    assert_eq!(program.validity(1_000), Ok(()));
    assert_eq!(program.validity(1_999), Ok(()));
    assert_eq!(program.validity(2_000), Err(Invalid::Expired { ended_at_ms: 2_000 }));
    assert_eq!(program.validity(2_000).unwrap_err().to_string(), "ended at 1970-01-01T00:00:02Z");
}

#[test]
fn the_switch_comes_before_the_window() {
    let program = read(json!({"valid": false, "endsAt": "1970-01-01T00:00:00.001Z"})).unwrap();
    assert_eq!(program.validity(5), Err(Invalid::Inactive));
}

#[test]
fn a_revision_that_the_source_gave_is_kept() {
    assert_eq!(read(json!({"revision": 7})).unwrap().or_revision(9).revision, Some(7));
    assert_eq!(read(json!({})).unwrap().or_revision(9).revision, Some(9));
}

proptest! {
    #[test]
    fn a_program_is_read_back_as_it_was_written(program in any_program()) {
        let json = serde_json::to_string(&program).unwrap();
        let read: Program = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &program, "{}", json);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}
