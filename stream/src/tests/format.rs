//! The segment format: its golden bytes, and damage at every byte.

use bytes::Bytes;
use proptest::prelude::*;

use crate::format::*;
use crate::log::scan::{Scan, Survey, without_zeros};
use crate::record::{Number, RecordKind};

const ID: SegmentId = SegmentId {
    boot: proto::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
    lane: 3,
    sequence: 2,
};

/// A segment as this version writes it: three records in two batches, and numbers
/// 43 to 45 abandoned between them.
fn segment() -> Vec<u8> {
    let header = SegmentHeader { version: FORMAT_VERSION, first: 40, created_at_ms: 1_790_000_000_123 };
    let mut bytes = header.encode(&ID).to_vec();
    push_batch(&mut bytes, BatchKind::Records, 40, &["first", "second", ""], 0);
    push_batch(&mut bytes, BatchKind::Abandoned, 43, &[], 3);
    push_batch(&mut bytes, BatchKind::Records, 46, &["after the abandoned"], 0);
    bytes
}

fn push_batch(bytes: &mut Vec<u8>, kind: BatchKind, first: Number, payloads: &[&str], abandoned: u64) {
    let at = bytes.len();
    bytes.resize(at + BATCH_HEADER_BYTES, 0);
    for payload in payloads {
        push_record(bytes, RecordKind::Event, |body| body.extend_from_slice(payload.as_bytes()));
    }
    let count = payloads.len() as u64 + abandoned;
    seal_batch(bytes, at, &ID, kind, first, count, 41);
}

fn golden(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn payloads(bytes: &[u8]) -> Vec<(Number, String)> {
    let bytes = Bytes::copy_from_slice(bytes);
    let scan = Scan::of(&bytes, &ID).unwrap();
    let batches = scan.batches.iter().filter(|(_, batch)| batch.kind == BatchKind::Records);
    let records = batches.flat_map(|(at, batch)| records(&bytes.slice(at..), batch).unwrap());
    records.map(|record| (record.number, String::from_utf8(record.payload.to_vec()).unwrap())).collect()
}

#[test]
fn every_version_is_read_for_ever_and_the_newest_is_written_byte_for_byte() {
    let expected = [(40, "first"), (41, "second"), (42, ""), (46, "after the abandoned")];
    let expected = expected.map(|(number, text)| (number, text.to_owned()));
    let golden = golden(include_str!("../../golden/segment.v1.hex"));
    let written: String = segment().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(segment(), golden, "it is written as\n{written}\n");
    assert_eq!(payloads(&golden), expected);
    let scan = Scan::of(&golden.into(), &ID).unwrap();
    assert_eq!(scan.damaged_at, None);
    assert_eq!(Survey::of(ID, 0, &scan).synced_to, 41);
    assert_eq!(FORMAT_VERSION, 1, "a new version gets its golden file here");
}

#[test]
fn a_newer_segment_is_refused_with_its_version() {
    let header = SegmentHeader { version: 2, first: 0, created_at_ms: 0 }.encode(&ID);
    let error = Scan::of(&Bytes::copy_from_slice(&header), &ID).unwrap_err();
    assert_eq!(error, WrittenByNewer(2));
    assert!(error.to_string().starts_with("written by version 2"), "{error}");
}

#[test]
fn a_batch_at_home_in_another_segment_does_not_check() {
    let bytes = segment();
    for other in [
        SegmentId { lane: 4, ..ID },
        SegmentId { sequence: 3, ..ID },
        SegmentId { boot: proto::Uuid::nil(), ..ID },
    ] {
        assert_eq!(check_batch(&bytes[SEGMENT_HEADER_BYTES..], &other), None);
        assert_eq!(SegmentHeader::decode(&bytes, &other), Ok(None));
    }
}

#[test]
fn a_segment_cut_at_any_byte_keeps_its_whole_batches_and_knows_where_it_is_torn() {
    let whole = segment();
    let ends: Vec<usize> = {
        let scan = Scan::of(&whole.clone().into(), &ID).unwrap();
        scan.batches.iter().map(|(at, batch)| at + batch.total_bytes()).collect()
    };
    for cut in SEGMENT_HEADER_BYTES..=whole.len() {
        let scan = Scan::of(&Bytes::copy_from_slice(&whole[..cut]), &ID).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count();
        assert!(scan.batches.len() >= kept, "cut at {cut}: {} of {kept}", scan.batches.len());
        assert!(scan.end <= cut, "cut at {cut}");
        let rest = without_zeros(&whole[scan.end..cut]);
        assert_eq!(scan.damaged_at.is_some(), rest > 0, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_loses_its_batch_and_no_other() {
    let whole = segment();
    for at in SEGMENT_HEADER_BYTES..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x04;
        let scan = Scan::of(&flipped.into(), &ID).unwrap();
        assert!(scan.batches.len() >= 2, "byte {at}: {:?}", scan.batches);
    }
}

#[test]
fn a_file_name_is_read_back_and_nothing_else_is() {
    assert_eq!(SegmentId::parse(&ID.file_name()), Some(ID));
    for other in [
        "lock",
        "x.seg",
        "0-0-0.seg",
        "01920000000070008000000000000001-3-2.seg",
        &format!("{}.torn", ID.file_name()),
    ] {
        assert_eq!(SegmentId::parse(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_a_record(mut bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..500usize) {
        let _ = Scan::of(&bytes.clone().into(), &ID);
        // With the magic in place, too.
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(b"CGB\x01");
        }
        let scan = Scan::of(&bytes.into(), &ID).unwrap();
        prop_assert!(scan.batches.is_empty());
    }
}
