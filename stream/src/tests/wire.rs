//! Items on the wire: back as they were, and no bytes that panic.

use bytes::Bytes;
use proptest::prelude::*;
use proto::{BootId, Envelope, Message, TrackingEvent, Uuid};

use crate::wire::{LaneItem, UNREAD_ENVELOPE, WireError};
use crate::*;

const BOOT: BootId = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);

fn of(item: Item) -> LaneItem {
    LaneItem { boot: BOOT, lane: 3, item }
}

fn record(number: Number, kind: RecordKind, payload: Vec<u8>) -> Item {
    Item::Record(Record { number, kind, payload: payload.into() })
}

/// An event that says that it was logged as number 7 of lane 3.
fn event() -> Vec<u8> {
    let boot = BOOT.as_bytes().to_vec();
    TrackingEvent { programid: "p".into(), boot, lane: 3, number: 7, ..TrackingEvent::default() }
        .encode_to_vec()
}

fn item() -> impl Strategy<Value = Item> {
    let payload = || prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        // Any kind, with a payload that need not be what the kind says.
        4 => (any::<u64>(), prop_oneof![any::<u8>(), 0..5u8, Just(255)], payload())
            .prop_map(|(number, code, payload)| record(number, RecordKind::from_code(code), payload)),
        1 => Just(record(7, RecordKind::Event, event())),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(first, count)| Item::Abandoned { first, count }),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(issued, clean)| Item::End { issued, clean }),
    ]
}

proptest! {
    #[test]
    fn every_item_arrives_as_it_was(boot in any::<u128>(), lane in any::<u32>(), item in item()) {
        let sent = LaneItem { boot: Uuid::from_u128(boot), lane, item };
        prop_assert_eq!(LaneItem::from_wire(sent.to_wire()), Ok(sent));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), is_envelope in any::<bool>()) {
        let magic: &[u8] = if is_envelope { &Envelope::MAGIC } else { &[] };
        let bytes = Bytes::from([magic, &bytes].concat());
        if let Ok(read) = LaneItem::from_wire(bytes) {
            // What was read can be sent on.
            prop_assert_eq!(LaneItem::from_wire(read.to_wire()), Ok(read));
        }
    }

    #[test]
    fn an_envelope_that_is_cut_is_no_other_item(item in item(), cut in any::<prop::sample::Index>()) {
        let whole = of(item).to_wire();
        if whole.starts_with(&Envelope::MAGIC) {
            let cut = LaneItem::from_wire(whole.slice(..cut.index(whole.len())));
            prop_assert_ne!(cut, LaneItem::from_wire(whole));
        }
    }
}

#[test]
fn an_event_that_says_its_place_travels_as_it_is_and_any_other_in_an_envelope() {
    let payload = Bytes::from(event());
    let sent = |number, lane| {
        let record = Record { number, kind: RecordKind::Event, payload: payload.clone() };
        LaneItem { boot: BOOT, lane, item: Item::Record(record) }.to_wire()
    };
    assert_eq!(sent(7, 3).as_ptr(), payload.as_ptr(), "nothing is copied");
    for elsewhere in [sent(8, 3), sent(7, 4)] {
        assert!(elsewhere.starts_with(&Envelope::MAGIC));
    }
    assert!(of(record(7, RecordKind::Event, b"\xff".to_vec())).to_wire().starts_with(&Envelope::MAGIC));
}

#[test]
fn an_envelope_of_a_newer_version_is_kept_whole_and_sent_on_as_it_came() {
    // Field 15 of this envelope is a kind that we do not know.
    let known = Envelope { boot: BOOT.as_bytes().to_vec(), lane: 3, number: 9, kind: None };
    let wire = Bytes::from([&known.to_wire()[..], &[15 << 3 | 2, 2, b'h', b'i']].concat());
    let kept = LaneItem::from_wire(wire.clone()).unwrap();
    assert_eq!(kept, of(record(9, UNREAD_ENVELOPE, wire.to_vec())));
    assert_eq!(kept.to_wire(), wire);
}

#[test]
fn what_says_no_lane_is_no_item_of_one() {
    let sample = TrackingEvent { programid: "212313".into(), ..TrackingEvent::default() }.encode_to_vec();
    assert_eq!(LaneItem::from_wire(sample.into()), Err(WireError::NoPlace));
    let nobody = Envelope { boot: vec![1, 2], lane: 0, number: 0, kind: None };
    assert_eq!(LaneItem::from_wire(nobody.to_wire().into()), Err(WireError::NoPlace));
    assert!(matches!(LaneItem::from_wire(Bytes::from_static(b"\xff\xff")), Err(WireError::Malformed(_))));
    let other = proto::OtherRecord { kind: 256, payload: vec![] };
    let large = Envelope {
        boot: BOOT.as_bytes().to_vec(),
        lane: 0,
        number: 0,
        kind: Some(proto::envelope::Kind::Other(other)),
    };
    assert_eq!(LaneItem::from_wire(large.to_wire().into()), Err(WireError::KindTooLarge(256)));
}
