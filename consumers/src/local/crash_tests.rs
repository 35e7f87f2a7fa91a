//! A machine that dies at any disk operation. The disk keeps everything that was synced, and any
//! subset of the rest, the last pieces torn.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::{fs, io};

use fastrand::Rng;
use proptest::prelude::*;
use proto::{Message, TrackingEvent, Uuid, ids};
use redb::{Builder, StorageBackend};
use stream::{Batch, Item, Record, RecordKind};
use uuid::Builder as UuidBuilder;

use super::store::Store;
use crate::config::Config;
use crate::decode::WriteBatch;
use crate::table::{PAGE_MAX, Start};

const SECTOR: usize = 512;
const TIME_MS: u64 = 1_790_000_000_000;

#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Op>,
    operations_left: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(at, data) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn act(&mut self, op: Op) -> io::Result<()> {
        self.alive()?;
        op.apply(&mut self.now);
        self.unsynced.push(op);
        Ok(())
    }

    fn alive(&mut self) -> io::Result<()> {
        let dead = || io::Error::other("the machine is off");
        self.operations_left = self.operations_left.checked_sub(1).ok_or_else(dead)?;
        Ok(())
    }

    fn power_loss(&mut self, random: &mut Rng) {
        for op in std::mem::take(&mut self.unsynced) {
            match op {
                Op::Write(at, data) if random.u8(..) < 64 => {
                    let kept = random.usize(..=data.len() / SECTOR) * SECTOR;
                    Op::Write(at, data[..kept].to_vec()).apply(&mut self.synced);
                }
                op if random.bool() => op.apply(&mut self.synced),
                _ => {}
            }
        }
        self.now = self.synced.clone();
    }
}

#[derive(Clone, Debug, Default)]
struct Handle(Arc<Mutex<Disk>>);

impl Handle {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().now.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let disk = self.disk();
        let bytes = disk.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk().act(Op::Length(usize::try_from(len).unwrap()))
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        for op in std::mem::take(&mut disk.unsynced) {
            op.apply(&mut disk.synced);
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk().act(Op::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}

/// Every other event has a sender's id, so that identity entries are part of the transactions.
fn id(number: u64) -> Uuid {
    if number.is_multiple_of(2) {
        UuidBuilder::from_unix_timestamp_millis(TIME_MS, &tail(number)).into_uuid()
    } else {
        ids::from_sender(&["p", "click", &number.to_string()])
    }
}

/// The bits of a UUIDv7 behind its time.
fn tail(number: u64) -> [u8; 10] {
    let mut tail = [0; 10];
    tail[2..].copy_from_slice(&number.to_be_bytes());
    tail
}

fn event(number: u64) -> TrackingEvent {
    TrackingEvent {
        programid: format!("p{}", number % 7),
        message_id: id(number).to_string(),
        received_at_ms: TIME_MS,
        user_agent: "x".repeat(300),
        number,
        ..TrackingEvent::default()
    }
}

fn work(numbers: std::ops::Range<u64>) -> WriteBatch {
    let item = |number| {
        let payload = event(number).encode_to_vec().into();
        Item::Record(Record { number, kind: RecordKind::Event, payload })
    };
    WriteBatch::of(&[Batch::of_lane(Uuid::from_u128(1), 0, numbers.map(item).collect())], 1)
}

/// The events among these that have a sender's id, as their senders say them again.
fn retries(numbers: &BTreeSet<u64>) -> WriteBatch {
    let of_senders = numbers.iter().copied().filter(|number| !number.is_multiple_of(2));
    let item = |(at, number)| {
        let event = TrackingEvent { received_at_ms: TIME_MS + 60_000, ..event(number) };
        Item::Record(Record { number: at, kind: RecordKind::Event, payload: event.encode_to_vec().into() })
    };
    let items = (0..).zip(of_senders).map(item).collect();
    WriteBatch::of(&[Batch::of_lane(Uuid::from_u128(2), 0, items)], 1)
}

/// The numbers of all events, each found by its key and by its id.
fn stored(store: &Store) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    let mut start = Start::Oldest;
    loop {
        let page = store.tail(None, &start, PAGE_MAX).unwrap();
        for (_, event) in &page.items {
            assert!(numbers.insert(event.number), "{} is there twice", event.number);
            let found = store.get(&event.programid, id(event.number)).unwrap();
            assert_eq!(found.as_ref(), Some(event), "its id leads to it");
        }
        if page.items.len() < PAGE_MAX {
            return numbers;
        }
        start = Start::At(page.next.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_a_write_returned_for_survives_the_machine_and_the_rest_is_all_or_nothing(
        lives in prop::collection::vec((1u64..120, 1u64..200), 1..8),
        seed in any::<u64>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { table: directory.path().join("table.redb"), ..Config::default() };
        drop(Store::open(&config).unwrap());
        let handle = Handle::default();
        let created = fs::read(&config.table).unwrap();
        *handle.disk() = Disk { synced: created.clone(), now: created, ..Disk::default() };

        let mut random = Rng::with_seed(seed);
        let mut acknowledged = 0;
        let mut tried = 0;
        for (operations, batch) in lives {
            handle.disk().operations_left = u64::MAX;
            let backend = handle.clone();
            let open = Box::new(move || Builder::new().create_with_backend(backend.clone()));
            let store = Store::open_with(&config, open).unwrap();

            let numbers = stored(&store);
            let end = numbers.len() as u64;
            prop_assert!(end == acknowledged || end == tried, "{} is neither {} nor {}", end, acknowledged, tried);
            prop_assert!(numbers.into_iter().eq(0..end));
            prop_assert_eq!(store.count(None).unwrap().items, end);
            prop_assert_eq!(store.count_by_scan(None).unwrap(), end);
            let ledger = store.ledger().unwrap();
            prop_assert_eq!(ledger.iter().map(|row| row.ledger.fates().stored).sum::<u64>(), end);

            handle.disk().operations_left = operations;
            acknowledged = end;
            loop {
                tried = acknowledged + batch;
                if store.write(&work(acknowledged..tried)).is_err() {
                    break;
                }
                acknowledged = tried;
            }
            drop(store);
            handle.disk().power_loss(&mut random);
        }

        // Every sender says its events again, later and to another process.
        handle.disk().operations_left = u64::MAX;
        let store = Store::open_with(&config, Box::new(move || {
            Builder::new().create_with_backend(handle.clone())
        })).unwrap();
        let before = stored(&store);
        let of_senders = before.iter().filter(|number| !number.is_multiple_of(2)).count() as u64;
        let written = store.write(&retries(&before)).unwrap();
        prop_assert_eq!((written.fates.stored, written.fates.duplicates), (0, of_senders));
        prop_assert_eq!(stored(&store), before);
    }
}
