use super::*;
use crate::activemq::config::Fields;
use crate::activemq::frame::Command;

fn message(headers: &[(&str, &str)], body: &[u8]) -> Frame {
    let mut message = Frame::new(Command::Message, headers);
    message.body = Bytes::copy_from_slice(body);
    message
}

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn queue(format: Format) -> Queue {
    let parameters =
        vec![("amount".to_owned(), source("/total")), ("shop".to_owned(), source("header:shop"))];
    let fields = Fields {
        program: source("/program"),
        kind: Some(source("=conversion")),
        id: Some(source("/id")),
        time: Some(source("/at")),
        parameters,
    };
    Queue { format, fields, ..Queue::default() }
}

fn mapped(message: &Frame, queue: &Queue) -> Result<Draft, Unmappable> {
    map(message, queue, &mut ())
}

#[test]
fn each_format_gives_the_same_event() {
    let bodies: [(Format, &[u8], &str); 4] = [
        (
            Format::Json,
            br#"{"program": "212313", "id": 77, "at": 1790000000000, "total": 12.50}"#,
            "application/json",
        ),
        (
            Format::Map,
            br#"{"map":{"entry":[{"string":["program",212313]},{"string":"id","int":77},{"string":"at","long":1790000000000},{"string":["total","12.50"]}]}}"#,
            "application/json",
        ),
        (
            Format::Xml,
            b"<program>212313</program>",
            "application/xml",
        ),
        (
            Format::Pairs,
            b"program=212313\nid = 77\nat=2026-09-21T14:13:20Z\ntotal=12.50\n",
            "application/x-www-form-urlencoded",
        ),
    ];
    for (format, body, payload_type) in bodies {
        let mut queue = queue(format);
        if format == Format::Xml {
            queue.fields.id = Some(source("header:id"));
            queue.fields.time = Some(source("header:at"));
            queue.fields.parameters[0].1 = source("=12.50");
        }
        let message = message(&[("shop", "berlin"), ("id", "77"), ("at", "1790000000000")], body);
        let draft = mapped(&message, &queue).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!(draft.program.as_str(), "212313");
        assert_eq!((draft.kind.name(), draft.id.as_deref()), ("conversion", Some("77")), "{format:?}");
        assert_eq!(draft.time_ms, 1_790_000_000_000, "{format:?}");
        assert_eq!(
            (draft.parameters.get("amount"), draft.parameters.get("shop")),
            (Some("12.50"), Some("berlin"))
        );
        assert_eq!((&draft.payload[..], draft.payload_type), (body, payload_type));
    }
}

#[test]
fn text_and_bytes_go_along_whole_whatever_is_in_them() {
    let mut queue = Queue::default();
    let bodies: [(Format, &[u8], &str); 4] = [
        (Format::Text, "grüße \u{1f600}".as_bytes(), "text/plain; charset=utf-8"),
        (Format::Text, b"\xed\xa0\xbd\xed\xb8\x80", "text/plain; charset=modified-utf-8"),
        (Format::Text, b"\xff\0", "text/plain; charset=unknown"),
        (Format::Bytes, b"\0\xff", "application/octet-stream"),
    ];
    for (format, body, payload_type) in bodies {
        queue.format = format;
        let draft = mapped(&message(&[("program", "1"), ("timestamp", "5")], body), &queue).unwrap();
        assert_eq!((&draft.payload[..], draft.payload_type), (body, payload_type));
        assert_eq!((draft.kind.event_type(), draft.time_ms), (EventType::Legacy, 5));
    }
    queue.payload = false;
    let draft = mapped(&message(&[("program", "1")], b"x"), &queue).unwrap();
    assert_eq!((draft.payload.len(), draft.payload_type), (0, ""));
}

#[test]
fn what_cannot_be_mapped_says_why() {
    let fine = br#"{"program": "1", "id": "a", "at": 1}"#;
    let queue = queue(Format::Json);
    let reason = |body: &[u8]| mapped(&message(&[], body), &queue).unwrap_err();
    assert!(mapped(&message(&[], fine), &queue).is_ok());
    for (body, name, said) in [
        (&b""[..], "suspect_empty", "empty without a content-length"),
        (b"\xff", "body", "neither UTF-8"),
        (b"{", "body", "no JSON: EOF"),
        (b"{}", "field", "program: there is nothing at /program"),
        (br#"{"program": {}}"#, "field", "program: /program is an object"),
        (br#"{"program": "a b"}"#, "field", "program: a program id is"),
        (br#"{"program": "1"}"#, "field", "id: there is nothing at /id"),
        (br#"{"program": "1", "id": ""}"#, "field", "id: has not 1 to 1024"),
    ] {
        let reason = reason(body);
        assert_eq!(reason.name(), name, "{reason}");
        assert!(reason.to_string().contains(said), "{reason}");
        assert!(Unmappable::NAMES.contains(&name));
    }
    let broken = Frame { fault: Some(HeadFault::NoColon { line: 3 }), ..message(&[], fine) };
    assert_eq!(mapped(&broken, &queue).unwrap_err().to_string(), "header line 3 has no colon");
    let mut queue = queue.clone();
    queue.fields.kind = Some(source("=not a name"));
    assert!(mapped(&message(&[], fine), &queue).unwrap_err().to_string().starts_with("type: "));
}

#[test]
fn an_empty_body_is_taken_where_the_configuration_or_its_length_says_so() {
    let mut queue = Queue { format: Format::Text, ..Queue::default() };
    assert_eq!(mapped(&message(&[("program", "1")], b""), &queue), Err(Unmappable::SuspectEmpty));
    assert!(mapped(&message(&[("program", "1"), ("content-length", "0")], b""), &queue).is_ok());
    queue.empty = Empty::Accept;
    assert!(mapped(&message(&[("program", "1")], b""), &queue).is_ok());
}

#[test]
fn a_time_that_cannot_be_read_costs_no_event_and_is_counted() {
    let body = br#"{"program": "1", "id": "a", "at": "soon"}"#;
    let draft = mapped(&message(&[], body), &queue(Format::Json)).unwrap();
    assert_eq!((draft.time_ms, draft.parameters.left_out()), (0, 1));
}

#[test]
fn a_source_is_read_as_it_is_shown() {
    for text in ["/a/b", "header:shop", "=", "=a constant"] {
        assert_eq!(source(text).to_string(), text);
    }
    for text in ["", "/", "header:", "a/b"] {
        assert!(text.parse::<Source>().is_err(), "{text}");
    }
}
