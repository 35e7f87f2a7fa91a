use proptest::prelude::*;
use proto::Uuid;

use super::*;

fn program(id: &str) -> Program {
    programs::samples()
        .into_iter()
        .map(|program| Program { id: id.parse().unwrap(), ..program })
        .next()
        .unwrap()
        .or_revision(7)
}

fn every_op() -> Vec<Op> {
    let id: ProgramId = "212312".parse().unwrap();
    let part = Part { start: Start::At(Cursor::new("a b/41&x=%ü")), limit: 7 };
    let query = Query {
        program: "212312".into(),
        from_ms: 5,
        to_ms: u64::MAX,
        after: Some(Cursor::new("00-9")),
        limit: 1_000,
    };
    let request = ExplainRequest {
        method: "HEAD".into(),
        url: "/c/212312?a=%25&b=ü#x".into(),
        headers: vec![("Sec-GPC".into(), "1".into())],
        at_ms: Some(3),
    };
    vec![
        Op::ProgramsList,
        Op::ProgramsGet(id.clone()),
        Op::ProgramsPut(Box::new(program("212312"))),
        Op::ProgramsRemove(id.clone(), None),
        Op::ProgramsRemove(id.clone(), Some(8)),
        Op::ProgramsImport(vec![program("a"), program("b")]),
        Op::ProgramsStream { text: "{\"programId\": 3}\nnonsense".into(), lines: true },
        Op::ProgramsStream { text: String::new(), lines: false },
        Op::EventsTail(part.clone(), Some("p".parse().unwrap())),
        Op::EventsTail(Part { start: Start::Oldest, limit: 9 }, None),
        Op::EventsTail(Part { start: Start::Newest, limit: 1 }, None),
        Op::EventsGet(id.clone(), Uuid::from_u128(1)),
        Op::EventsQuery(query),
        Op::EventsCount { program: None, scan: false },
        Op::EventsCount { program: Some(id.clone()), scan: true },
        Op::EventsRejected(part.clone(), None),
        Op::EventsRejected(part.clone(), Some("a&b=c d".into())),
        Op::Reconcile,
        Op::LogStatus,
        Op::LogCursorRemove { name: "shipper".into(), force: false },
        Op::LogCursorRemove { name: "../a b/ü%2f?".into(), force: true },
        Op::LogShip("/rescue/a b".into()),
        Op::DeadLettersList(part),
        Op::DeadLettersShow(Cursor::new("3")),
        Op::DeadLettersReplay(Cursor::new("a/b c")),
        Op::DeadLettersDrop(Cursor::new("%2F")),
        Op::Explain(request),
        Op::CacheFill,
        Op::CachePurge(None),
        Op::CachePurge(Some(id)),
    ]
}

fn received(call: &Call) -> Result<Op, OpError> {
    let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    Op::of_call(call.method, path, query, call.body.as_deref().unwrap_or_default().as_bytes())
}

#[test]
fn every_operation_is_the_same_on_the_other_side_of_the_admin_api() {
    for op in every_op() {
        let call = op.to_call();
        assert_eq!(received(&call).unwrap(), op, "{call:?}");
    }
}

#[test]
fn a_body_that_says_something_is_read_and_no_other() {
    for op in every_op() {
        let call = op.to_call();
        let path = call.target.split('?').next().unwrap();
        let says = call.body.as_deref().is_some_and(|body| body != "{}");
        assert_eq!(Op::takes_body(call.method, path), says, "{call:?}");
        if !says {
            let query = call.target.split_once('?').map_or("", |(_, query)| query);
            assert_eq!(Op::of_call(call.method, path, query, b"").unwrap(), op);
        }
    }
    for (method, path) in
        [("GET", "/programs"), ("DELETE", "/programs/1"), ("POST", "/nowhere"), ("PUT", "/")]
    {
        assert!(!Op::takes_body(method, path), "{method} {path}");
    }
}

#[test]
fn what_only_reads_is_a_get_and_what_changes_is_not() {
    for op in every_op() {
        let changes = matches!(
            op,
            Op::ProgramsPut(_)
                | Op::ProgramsRemove(..)
                | Op::ProgramsImport(_)
                | Op::ProgramsStream { .. }
                | Op::LogCursorRemove { .. }
                | Op::LogShip(_)
                | Op::DeadLettersReplay(_)
                | Op::DeadLettersDrop(_)
                | Op::Explain(_)
                | Op::CacheFill
                | Op::CachePurge(_)
        );
        assert_eq!(op.to_call().method != "GET", changes, "{op:?}");
    }
}

#[test]
fn a_wrong_call_is_told_what_is_wrong() {
    let cases: [(&str, &str, &str, &str, u16, &str); 16] = [
        ("GET", "/nowhere", "", "", 404, "there is no GET /nowhere"),
        ("POST", "/programs/1", "", "{}", 404, "there is no POST /programs/1"),
        ("GET", "/programs/%FF", "", "", 400, "the path is not UTF-8"),
        ("GET", "/programs/a%20b", "", "", 400, "program id \"a b\""),
        ("GET", "/events", "", "", 400, "the parameter program is missing"),
        ("GET", "/events", "program=1&from=yesterday", "", 400, "from \"yesterday\""),
        (
            "GET",
            "/events",
            "program=1&from=2026-11-23&to=2026-11-22",
            "",
            400,
            "from 2026-11-23T00:00:00Z is after to",
        ),
        (
            "GET",
            "/events",
            "program=1&from=2026-11-23&to=2026-11-23",
            "",
            400,
            "from and to are both 2026-11-23T",
        ),
        ("GET", "/events/tail", "limit=0", "", 400, "limit 0 is not between 1 and 1000"),
        ("GET", "/events/tail", "oldest=true&after=1", "", 400, "after and oldest exclude"),
        ("GET", "/events/tail", "limits=1", "", 400, "unknown parameter \"limits\""),
        ("GET", "/events/1/x", "", "", 400, "message id \"x\""),
        (
            "DELETE",
            "/programs/1",
            "revision=9223372036854775808",
            "",
            400,
            "revision 9223372036854775808 is not between",
        ),
        ("PUT", "/programs/1", "", "[]", 400, "the body must be one program"),
        ("POST", "/cache/purge", "", "{\"id\":\"1\"}", 400, "the body: only the field \"program\""),
        ("POST", "/explain", "", "{\"url\":1}", 400, "the body: invalid type"),
    ];
    for (method, path, query, body, status, reason) in cases {
        let error = Op::of_call(method, path, query, body.as_bytes()).unwrap_err();
        assert_eq!(error.status(), status, "{method} {path}");
        assert!(error.to_string().starts_with(reason), "{error} does not start with {reason}");
    }
}

#[test]
fn a_program_under_another_path_is_refused() {
    let body = json!(program("1")).to_string();
    let error = Op::of_call("PUT", "/programs/2", "", body.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("is 1, but the path says 2"), "{error}");
}

#[test]
fn core_data_with_errors_lists_every_place() {
    let body = "[{\"programId\": 1},\n {\"programId\": \"b\", \"customerId\": \"x\"}]";
    let OpError::Invalid(reason, details) =
        Op::of_call("POST", "/programs/import", "", body.as_bytes()).unwrap_err()
    else {
        panic!("it is invalid");
    };
    assert!(reason.starts_with("nothing was stored: 2 errors"), "{reason}");
    let lines: Vec<_> = details.iter().map(|detail| detail["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn a_moment_is_a_time_a_day_or_a_number() {
    assert_eq!(moment_ms("1970-01-01T00:00:01Z"), Ok(1_000));
    assert_eq!(moment_ms("1970-01-02"), Ok(86_400_000));
    assert_eq!(moment_ms("1790000000123"), Ok(1_790_000_000_123));
    for wrong in ["", "now", "1970-13-01", "99999999999999999999"] {
        assert!(moment_ms(wrong).is_err(), "{wrong}");
    }
    assert_eq!((moment_ms("0"), moment_ms("100000000000")), (Ok(0), Ok(100_000_000_000)));
    for seconds in ["1", "1795338000", "99999999999"] {
        let reason = moment_ms(seconds).unwrap_err();
        assert!(reason.contains("looks like seconds; milliseconds"), "{reason}");
    }
}

proptest! {
    #[test]
    fn any_text_arrives_as_it_was_sent(
        reason in ".{0,20}",
        url in ".{0,40}",
        header in (".{0,9}", ".{0,9}"),
        at_ms in proptest::option::of(any::<u64>()),
    ) {
        let start = at_ms.map_or(Start::Newest, |at_ms| Start::At(Cursor::new(at_ms.to_string())));
        let part = Part { start, limit: 1 };
        let request = ExplainRequest { method: "GET".into(), url, headers: vec![header], at_ms };
        for op in [Op::EventsRejected(part.clone(), Some(reason)), Op::Explain(request)] {
            prop_assert_eq!(received(&op.to_call()).unwrap(), op);
        }
    }

    #[test]
    fn no_call_panics(path in "(/[a-z%0-9-]{0,9}){0,4}", query in "[a-z=&%0-9+]{0,30}", body in ".{0,40}") {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let _ = Op::of_call(method, &path, &query, body.as_bytes());
        }
    }
}
