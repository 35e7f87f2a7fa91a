//! The aggregate against Amazon's own, against itself, and damaged.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Made by Amazon's aggregator for Python (aws-kinesis-agg 1.2.3): three records of two keys, one
/// with an explicit hash key, one without data.
fn by_amazon() -> Bytes {
    let hex: String = include_str!("../../golden/kpl_aggregate.hex").split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into()
}

fn aggregate(key: &str, records: &[Vec<u8>]) -> Vec<u8> {
    let mut aggregate = Aggregate::new(key);
    records.iter().for_each(|data| aggregate.push(data));
    aggregate.finish()
}

fn data_of(records: Vec<UserRecord>, key: &str) -> Vec<Vec<u8>> {
    assert!(records.iter().all(|record| record.partition_key == key && record.explicit_hash_key.is_none()));
    records.into_iter().map(|record| record.data.to_vec()).collect()
}

#[test]
fn an_aggregate_of_amazons_aggregator_is_read() {
    let record = |key: &str, hash: Option<&str>, data: &'static [u8]| UserRecord {
        partition_key: key.to_owned(),
        explicit_hash_key: hash.map(str::to_owned),
        data: Bytes::from_static(data),
    };
    let expected = vec![
        record("user-1", None, b"first"),
        record("user-2", Some("170141183460469231731687303715884105728"), b"second \x00\xff"),
        record("user-1", None, b""),
    ];
    assert_eq!(read(&by_amazon()), Some(expected));
}

#[test]
fn our_bytes_are_those_of_the_format_field_by_field() {
    let ours = aggregate("k", &[b"ab".to_vec(), vec![]]);
    let message = b"\x0a\x01k\x1a\x06\x08\x00\x1a\x02ab\x1a\x04\x08\x00\x1a\x00";
    let digest = Md5::digest(message);
    assert_eq!(ours, [&MAGIC[..], message, &digest].concat());
}

#[test]
fn a_record_alone_is_itself_unless_it_could_be_taken_for_an_aggregate() {
    assert_eq!(aggregate("k", &[b"alone".to_vec()]), b"alone");
    for nested in [by_amazon().to_vec(), [&MAGIC[..], b"not one"].concat()] {
        let wrapped = Bytes::from(aggregate("k", std::slice::from_ref(&nested)));
        assert_eq!(data_of(read(&wrapped).unwrap(), "k"), [nested], "it comes out whole, not unpacked twice");
    }
}

#[test]
fn what_is_cut_or_damaged_anywhere_is_a_plain_record() {
    let whole = by_amazon();
    for end in 0..whole.len() {
        assert_eq!(read(&whole.slice(..end)), None, "cut at {end}");
    }
    for at in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[at / 8] ^= 1 << (at % 8);
        assert_eq!(read(&damaged.into()), None, "bit {at}");
    }
}

#[test]
fn an_index_outside_its_table_makes_it_a_plain_record() {
    let with_index = |tag: u8, index: u8| {
        let message = [b"\x0a\x01k\x1a\x07", &[1 << 3, 0][..], &[tag, index], b"\x1a\x01x"].concat();
        Bytes::from([&MAGIC[..], &message, &Md5::digest(&message)].concat())
    };
    // The later one of a field that stands twice holds.
    assert!(read(&with_index(1 << 3, 0)).is_some());
    assert_eq!(read(&with_index(1 << 3, 1)), None, "there is one partition key");
    assert_eq!(read(&with_index(2 << 3, 0)), None, "there is no explicit hash key");
}

#[test]
fn another_key_of_the_same_length_takes_the_place_of_the_first() {
    let records = [b"one".to_vec(), b"two".to_vec()];
    let mut data = aggregate("0123456789abcdef", &records);
    set_partition_key(&mut data, "fedcba9876543210");
    assert_eq!(data, aggregate("fedcba9876543210", &records));
    for not_ours in [b"alone".to_vec(), MAGIC.to_vec(), aggregate("short", &records), vec![]] {
        let mut unchanged = not_ours.clone();
        set_partition_key(&mut unchanged, "fedcba9876543210");
        assert_eq!(unchanged, not_ours);
    }
}

proptest! {
    #[test]
    fn records_come_out_as_they_went_in_and_the_size_is_known_before(
        key in "[a-z0-9]{1,200}",
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
    ) {
        let mut aggregate = Aggregate::new(&key);
        let mut bytes = 0;
        for data in &records {
            bytes = aggregate.bytes_with(data.len());
            aggregate.push(data);
        }
        prop_assert_eq!(aggregate.records(), records.len());
        let data = Bytes::from(aggregate.finish());
        match read(&data) {
            Some(read) => {
                prop_assert_eq!(data.len(), bytes);
                prop_assert_eq!(data_of(read, &key), records);
            }
            None => prop_assert_eq!(vec![data.to_vec()], records),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let data = [&MAGIC[..], &body, &Md5::digest(&body)].concat();
        let _ = read(&data.into());
    }
}
