use std::sync::Arc;

use proptest::prelude::*;

use super::explain::Recorder;
use super::*;
use crate::ProgramId;
use crate::testing::NOW;

const RULES: &str = r#"{
    "programId": "1", "programName": "n", "checksum": "123", "customerId": 1, "customerName": "c", "valid": true,
    "strict": true, "requireChecksum": true, "startsAt": 1789999999000, "endsAt": 1790000001000,
    "parameters": {"size": {"required": true, "type": "integer", "min": 1, "max": 9}, "a": {}, "b": {}},
    "conflicts": [["a", "b"]]
}"#;

fn ruled() -> Program {
    crate::read_programs(RULES).unwrap().remove(0)
}

const RESERVED: &str = "cb ord _ t r v sum id click value currency gdpr gdpr_consent gpp gpp_sid us_privacy";
const ALLOWED: &str = "utm_* gclid gbraid wbraid dclid gclsrc fbclid msclkid ttclid twclid li_fat_id \
                       yclid rdt_cid ScCid epik igshid srsltid mc_cid mc_eid _ga _gl";

fn rules(unverified: Unverified) -> Rules {
    let owned = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Rules::new(&owned(RESERVED), &owned(ALLOWED), unverified)
}

/// `target` is a program id as it is after decoding, `?`, and a query.
fn decide_on(
    needs_program: bool,
    target: &str,
    verdict: &Verdict,
    now_ms: u64,
    unverified: Unverified,
) -> Result<String, Refused> {
    let (id, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parameters = Parameters::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters.push(name, value, &ParameterLimits::default());
    }
    let candidate = Candidate {
        program: Some(id).filter(|id| ProgramId::is_valid(id)),
        parameters: &parameters,
        request_line_bytes: target.len(),
        is_oversize: target.len() > 20_480,
        needs_program,
    };
    let rules = rules(unverified);
    let mut recorder = Recorder::default();
    let decision = decide(&candidate, verdict, now_ms, &rules, &mut ());
    let explained = decide(&candidate, verdict, now_ms, &rules, &mut recorder);
    assert_eq!(decision, explained, "looking on changes nothing");

    let steps = recorder.into_steps();
    let (last, before) = steps.split_last().unwrap();
    assert!(before.iter().all(|step| step.passed), "the first broken rule is the last step");
    assert_eq!(last.passed, decision.is_ok());
    if let Err(refused) = &decision {
        assert_eq!(last.detail, refused.detail);
    }
    decision.map(|accepted| match accepted {
        Accepted::Known(program) => program.name().to_string(),
        Accepted::Unverified => "unverified".into(),
    })
}

fn reason(path: &str, verdict: &Verdict, now_ms: u64) -> (&'static str, String) {
    match decide_on(false, path, verdict, now_ms, Unverified::Accept) {
        Ok(_) => ("accepted", String::new()),
        Err(refused) => (refused.reason.name(), refused.detail.into_owned()),
    }
}

#[test]
fn each_rule_has_its_reason_and_says_what_was_wrong() {
    let known = Verdict::Known(Arc::new(ruled()));
    for (path, expected, says) in [
        ("1?size=5&sum=123", "accepted", ""),
        ("1?size=5&sum=123&a=1&utm_x=1&gclid=2&cb=3&_=4", "accepted", ""),
        ("a b?size=5", "malformed_program_id", "1 to 64"),
        ("\u{fffd}", "malformed_program_id", "1 to 64"),
        ("", "malformed_program_id", "1 to 64"),
        ("1?sum=123", "missing_parameter", "\"size\" is required"),
        ("1?size=&sum=123", "invalid_parameter", "\"size\" is not an integer"),
        ("1?size=5&size=10&sum=123", "invalid_parameter", "\"size\" is greater than 9"),
        ("1?size=%ff&sum=123", "invalid_parameter", "\"size\" is not an integer"),
        ("1?size=5&sum=123&x=%", "unexpected_parameter", "has no parameter \"x\""),
        ("1?size=5&sum=123&x=1", "unexpected_parameter", "has no parameter \"x\""),
        ("1?size=5&sum=123&gclid2=1", "unexpected_parameter", "\"gclid2\""),
        ("1?size=5&sum=123&b=1&a=1", "conflicting_parameters", "\"a\" and \"b\" exclude"),
        ("1?size=5", "checksum_mismatch", "\"sum\" is required"),
        ("1?size=5&sum=124", "checksum_mismatch", "not the program's checksum"),
    ] {
        let (reason, detail) = reason(path, &known, NOW);
        assert_eq!(reason, expected, "{path}: {detail}");
        assert!(detail.contains(says), "{path}: {detail}");
    }
}

#[test]
fn a_strict_program_takes_what_is_ours_and_what_platforms_append() {
    let known = Verdict::Known(Arc::new(ruled()));
    let ours = "cb ord _ t r v id click value currency gdpr gdpr_consent gpp gpp_sid us_privacy";
    let theirs = "utm_source utm_id gclid gbraid wbraid dclid gclsrc fbclid msclkid ttclid twclid li_fat_id yclid \
                  rdt_cid ScCid epik igshid srsltid mc_cid mc_eid _ga _gl";
    for name in ours.split_whitespace().chain(theirs.split_whitespace()) {
        let (reason, detail) = reason(&format!("1?size=5&sum=123&{name}=1"), &known, NOW);
        assert_eq!(reason, "accepted", "{name}: {detail}");
    }
    for name in ["sccid", "clicks", "_gac", "utm", "ga"] {
        let (reason, _) = reason(&format!("1?size=5&sum=123&{name}=1"), &known, NOW);
        assert_eq!(reason, "unexpected_parameter", "{name}");
    }
}

#[test]
fn the_window_is_open_from_its_start_until_just_before_its_end() {
    let known = Verdict::Known(Arc::new(ruled()));
    for (now_ms, expected) in [
        (NOW - 1_001, "not_started"),
        (NOW - 1_000, "accepted"),
        (NOW + 999, "accepted"),
        (NOW + 1_000, "expired"),
    ] {
        assert_eq!(reason("1?size=5&sum=123", &known, now_ms).0, expected, "{now_ms}");
    }
}

#[test]
fn the_first_broken_rule_is_the_reason() {
    let mut program = ruled();
    program.valid = false;
    let inactive = Verdict::Known(Arc::new(program));
    let everything_wrong = format!("1?x=%&{}", "y=1&".repeat(101));
    assert_eq!(reason(&everything_wrong, &inactive, 0).0, "inactive_program");
    assert_eq!(reason(&format!("?{}", "y".repeat(20_480)), &inactive, 0).0, "too_large");
    assert_eq!(reason("?x=%", &inactive, 0).0, "malformed_program_id");
    assert_eq!(reason("1?x=%", &Verdict::Unknown, 0).0, "unknown_program");
    assert_eq!(reason("1?x=%", &inactive, 0).0, "inactive_program");
}

#[test]
fn a_program_without_rules_takes_any_parameters() {
    let sample = Verdict::Known(Arc::new(crate::samples().remove(0)));
    assert_eq!(reason("212312?anything=1&sum=wrong&%C3%BC=2", &sample, NOW).0, "accepted");
}

#[test]
fn an_unverified_program_is_taken_or_not_as_configured_and_never_by_event() {
    let decided = |needs_program, unverified| match decide_on(
        needs_program,
        "1?x=%",
        &Verdict::Unverified,
        NOW,
        unverified,
    ) {
        Ok(name) => name,
        Err(refused) => refused.reason.name().to_owned(),
    };
    assert_eq!(decided(false, Unverified::Refuse), "unverified_program");
    assert_eq!(decided(false, Unverified::Accept), "unverified");
    assert_eq!(decided(true, Unverified::Accept), "unverified_program", "`/event` answers with the program");
}

prop_compose! {
    fn any_program()(
        valid in prop::bool::weighted(0.8),
        strict in any::<bool>(),
        require_checksum in any::<bool>(),
        window in prop_oneof![Just((None, None)), (0..3u64, 3..6u64).prop_map(|(a, b)| (Some(a), Some(b)))],
        with_rules in any::<bool>(),
    ) -> Program {
        let mut program = ruled();
        if !with_rules {
            program.terms.parameters.clear();
            program.terms.conflicts.clear();
        }
        (program.terms.starts_at, program.terms.ends_at) = window;
        Program { valid, strict, require_checksum, ..program }
    }
}

proptest! {
    /// `decide_on` asserts that the decision with and without onlooker agree, step by step.
    #[test]
    fn the_explanation_and_the_decision_agree(
        program in any_program(),
        query in prop::collection::vec("(size|sum|a|b|x|utm_x|%|=)(=(5|123|x|%f0|%41)?)?", 0..6),
        id in "(1|2|%|a b)?",
        knowledge in 0..4,
        now_ms in 0..7u64,
        needs_program in any::<bool>(),
        unverified in prop::sample::select(vec![Unverified::Accept, Unverified::Refuse]),
    ) {
        let verdict = match knowledge {
            0 => Verdict::Unknown,
            1 => Verdict::Unverified,
            _ => Verdict::Known(Arc::new(program)),
        };
        let target = format!("{id}?{}", query.join("&"));
        let _ = decide_on(needs_program, &target, &verdict, now_ms, unverified);
    }
}
