//! The bytes that released versions wrote stay readable (rule 5 of `tracking.proto`).

use crate::{
    AbandonedNumbers, BootId, ConsentDecision, Count, DeadLetter, Envelope, EventPlace, EventType, LaneEnd,
    LaneReport, Message, Origin, OtherRecord, Parameter, Rejected, TrackingEvent, envelope, sample,
};

const BOOT: BootId = uuid::uuid!("01920000-0000-7000-8000-000000000001");

fn event() -> TrackingEvent {
    TrackingEvent {
        programid: "212313".into(),
        checksum: "124".into(),
        customer_id: 9124,
        user_agent: "curl/7.54.0".into(),
        program_name: "program2".into(),
        customer_name: "Customer2".into(),
        is_valid: true,
        message_id: "01920000-0000-7000-8000-0000000000ff".into(),
        r#type: EventType::Click.into(),
        custom_name: String::new(),
        received_at_ms: 1_790_000_000_123,
        client_time_ms: 1_790_000_000_100,
        boot: BOOT.as_bytes().to_vec(),
        lane: 1,
        number: 300,
        parameters: vec![
            Parameter { name: "sum".into(), value: "124".into() },
            Parameter { name: "utm_source".into(), value: "zwölf".into() },
        ],
        visitor_id: "v-1".into(),
        ip: "192.0.2.0".into(),
        referrer: "https://example.org/".into(),
        consent: ConsentDecision::Full.into(),
        origin: Some(Origin { route: "/c".into(), ..Origin::default() }),
        payload: vec![],
        payload_type: String::new(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        unverified: false,
        parameters_left_out: 2,
    }
}

fn report() -> LaneReport {
    LaneReport {
        boot: BOOT.as_bytes().to_vec(),
        lane: 1,
        issued: 301,
        abandoned: 2,
        refused: vec![Count { name: "expired".into(), count: 7 }],
        shed: vec![Count { name: "impression".into(), count: 9 }],
        at_ms: 1_790_000_000_123,
        closing: true,
    }
}

fn rejected() -> Rejected {
    Rejected {
        reason: "expired".into(),
        received_at_ms: 1_790_000_000_123,
        route: "/c".into(),
        programid: "212313".into(),
        request: "/c/212313?a=1".into(),
        boot: BOOT.as_bytes().to_vec(),
        lane: 1,
        number: 302,
        detail: "ended at 2026-01-01T00:00:00Z".into(),
    }
}

fn dead_letter() -> DeadLetter {
    DeadLetter {
        stage: crate::Stage::Consumer.into(),
        reason: "not a TrackingEvent".into(),
        failed_at_ms: 1_790_000_000_123,
        boot: BOOT.as_bytes().to_vec(),
        lane: 1,
        number: 303,
        record_kind: 1,
        payload: b"\xff\xff".to_vec(),
        origin: None,
    }
}

fn enveloped(number: u64, kind: envelope::Kind) -> Envelope {
    Envelope { boot: BOOT.as_bytes().to_vec(), lane: 1, number, kind: Some(kind) }
}

fn golden(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn holds<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, hex: &str, message: &M) {
    let written: String = message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(message.encode_to_vec(), golden(hex), "{name} is written as\n{written}\n");
    assert_eq!(M::decode(golden(hex).as_slice()).as_ref(), Ok(message), "{name} is read");
}

#[test]
fn every_released_shape_is_read_and_the_newest_is_written_byte_for_byte() {
    holds("TrackingEvent", include_str!("../golden/tracking_event.v1.hex"), &event());
    holds("LaneReport", include_str!("../golden/lane_report.v1.hex"), &report());
    holds("Rejected", include_str!("../golden/rejected.v1.hex"), &rejected());
    holds("DeadLetter", include_str!("../golden/dead_letter.v1.hex"), &dead_letter());
}

#[test]
fn every_kind_of_envelope_is_read_and_written_byte_for_byte() {
    let rejected = envelope::Kind::Rejected(rejected().encode_to_vec());
    holds("Rejected", include_str!("../golden/envelope_rejected.v1.hex"), &enveloped(302, rejected));
    let report = envelope::Kind::LaneReport(report().encode_to_vec());
    holds("LaneReport", include_str!("../golden/envelope_lane_report.v1.hex"), &enveloped(300, report));
    let abandoned = envelope::Kind::Abandoned(AbandonedNumbers { count: 3 });
    holds("abandoned", include_str!("../golden/envelope_abandoned.v1.hex"), &enveloped(303, abandoned));
    let end = envelope::Kind::LaneEnd(LaneEnd { clean: true });
    holds("the end", include_str!("../golden/envelope_lane_end.v1.hex"), &enveloped(306, end));
    let other = envelope::Kind::Other(OtherRecord { kind: 77, payload: b"newer".to_vec() });
    holds("another kind", include_str!("../golden/envelope_other.v1.hex"), &enveloped(301, other));
}

#[test]
fn an_envelope_is_told_from_an_event_by_its_first_bytes() {
    let envelope = enveloped(306, envelope::Kind::LaneEnd(LaneEnd { clean: false }));
    let wire = envelope.to_wire();
    assert_eq!(wire[..4], [0, b'C', b'G', b'E']);
    assert_eq!(Envelope::from_wire(&wire), Ok(Some(envelope)));
    assert!(TrackingEvent::decode(wire.as_slice()).is_err(), "no reader takes it for an event");
    for event in [event(), TrackingEvent::default()] {
        assert_eq!(Envelope::from_wire(&event.encode_to_vec()), Ok(None));
    }
    assert!(Envelope::from_wire(b"\0CGE\xff").is_err());
}

#[test]
fn the_place_of_an_event_is_read_from_its_bytes_alone() {
    let place = EventPlace { boot: BOOT.as_bytes().to_vec(), lane: 1, number: 300 };
    assert_eq!(EventPlace::decode(event().encode_to_vec().as_slice()), Ok(place));
}

#[test]
fn an_unchanged_consumer_of_the_aws_sample_decodes_our_bytes() {
    let theirs = sample::TrackingEvent::decode(event().encode_to_vec().as_slice()).unwrap();
    let expected = sample::TrackingEvent {
        programid: "212313".into(),
        checksum: "124".into(),
        customer_id: 9124,
        user_agent: "curl/7.54.0".into(),
        program_name: "program2".into(),
        customer_name: "Customer2".into(),
        is_valid: true,
        message_id: "01920000-0000-7000-8000-0000000000ff".into(),
    };
    assert_eq!(theirs, expected);
}

#[test]
fn an_event_of_the_aws_sample_is_an_event_of_ours() {
    let theirs =
        sample::TrackingEvent { programid: "212313".into(), customer_id: 9124, ..Default::default() };
    let ours = TrackingEvent::decode(theirs.encode_to_vec().as_slice()).unwrap();
    assert_eq!(
        (ours.programid.as_str(), ours.customer_id, ours.r#type()),
        ("212313", 9124, EventType::Unspecified)
    );
}

#[test]
fn an_enum_value_of_a_newer_version_reads_as_not_said_and_keeps_its_number() {
    let newer = TrackingEvent { r#type: 99, ..TrackingEvent::default() };
    let read = TrackingEvent::decode(newer.encode_to_vec().as_slice()).unwrap();
    assert_eq!((read.r#type(), read.r#type), (EventType::Unspecified, 99));
}
