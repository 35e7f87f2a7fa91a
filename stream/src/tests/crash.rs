//! The log against a model, on a disk that forgets.
//!
//! Any sequence of appends, flushes, syncs, reads, commits, full disks, failing
//! syncs, kills and power losses; after each restart everything that was
//! acknowledged at its level is stored or still in the log, byte for byte, and
//! every number is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use proptest::prelude::*;

use crate::cursor::LaneKey;
use crate::disk::is_no_room;
use crate::disk::simulated::SimulatedDisk;
use crate::lane::core::LaneCore;
use crate::lane::syncer::Syncer;
use crate::*;

#[derive(Clone, Debug)]
enum Act {
    Append {
        lane: usize,
        bytes: usize,
    },
    Flush {
        lane: usize,
    },
    /// The lane's syncer gets a turn, of its own accord or because somebody waits.
    Sync {
        lane: usize,
        waited_for: bool,
    },
    Read,
    /// What was read is stored, then the cursor is committed.
    Commit,
    /// The same for what was read of one lane; the other one's is still being stored.
    CommitOne {
        lane: usize,
    },
    Close {
        lane: usize,
    },
    Kill,
    LosePower {
        seed: u64,
    },
    /// This many bytes of room are left, until there is room again.
    Fill {
        bytes: u64,
    },
    MakeRoom,
    FailSync,
    ShortWrites {
        count: u32,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let lane = || 0..2usize;
    prop_oneof![
        20 => (lane(), prop_oneof![9 => 0..120usize, 1 => 300..700usize]).prop_map(|(lane, bytes)| Act::Append { lane, bytes }),
        10 => lane().prop_map(|lane| Act::Flush { lane }),
        8 => (lane(), any::<bool>()).prop_map(|(lane, waited_for)| Act::Sync { lane, waited_for }),
        3 => Just(Act::Read),
        2 => Just(Act::Commit),
        2 => lane().prop_map(|lane| Act::CommitOne { lane }),
        1 => lane().prop_map(|lane| Act::Close { lane }),
        1 => Just(Act::Kill),
        2 => any::<u64>().prop_map(|seed| Act::LosePower { seed }),
        1 => (0..3_000u64).prop_map(|bytes| Act::Fill { bytes }),
        1 => Just(Act::MakeRoom),
        1 => Just(Act::FailSync),
        1 => (1..3u32).prop_map(|count| Act::ShortWrites { count }),
    ]
}

type Key = (LaneKey, Number);

/// What the world may rely on.
#[derive(Default)]
struct Model {
    /// Every record that was ever given a number, with its payload.
    appended: BTreeMap<Key, Vec<u8>>,
    /// Those that were acknowledged at a level that the last crash cannot undo.
    acknowledged: BTreeSet<Key>,
    /// Read, and not stored yet: lost with the process.
    handed: Vec<(Key, Vec<u8>)>,
    /// Of the batches that were read and are not committed.
    checkpoints: Vec<(LaneKey, Checkpoint)>,
    /// The consumer's own durable storage.
    stored: BTreeMap<Key, Vec<u8>>,
    abandoned: BTreeSet<Key>,
    ended: BTreeMap<LaneKey, Number>,
}

struct World {
    disk: SimulatedDisk,
    log: Log,
    source: LogSource,
    lanes: Vec<Option<(LaneCore, Syncer)>>,
    model: Model,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_500,
        log_bytes_max: 1 << 20,
        lane_bytes_max: 1_000,
        full_pause: std::time::Duration::ZERO,
        room_retry: std::time::Duration::ZERO,
        cursors: vec!["table".into()],
        ..LogConfig::default()
    }
}

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn open(disk: &SimulatedDisk, salvage: bool) -> Result<Log, OpenError> {
    Log::open_on(Arc::new(disk.clone()), dir(), config(), salvage, None)
}

impl World {
    fn new() -> Self {
        let disk = SimulatedDisk::default();
        let log = open(&disk, false).unwrap();
        let source = log.source("table").unwrap();
        let mut world = Self { disk, log, source, lanes: Vec::new(), model: Model::default() };
        world.open_lanes();
        world
    }

    /// A lane that cannot be opened for want of room is absent: its process would
    /// have ended with that error.
    fn open_lanes(&mut self) {
        self.lanes = (0..2).map(|_| self.log.open_core().ok()).collect();
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { lane, bytes } => self.append(*lane, *bytes),
            Act::Flush { lane } => {
                if let Some((core, _)) = &mut self.lanes[*lane] {
                    core.flush();
                }
            }
            Act::Sync { lane, waited_for } => {
                if let Some((core, syncer)) = &mut self.lanes[*lane] {
                    core.shared.handoff.publish(|requests| requests.sync_wanted |= waited_for);
                    syncer.step();
                }
            }
            Act::Read => self.read(),
            Act::Commit => self.commit(|_| true),
            Act::CommitOne { lane } => self.commit(|(_, id)| id as usize % 2 == *lane),
            Act::Close { lane } => {
                if let Some((mut core, mut syncer)) = self.lanes[*lane].take() {
                    core.close();
                    self.acknowledge_of(&core);
                    syncer.step();
                }
            }
            Act::Kill => self.restart(None),
            Act::LosePower { seed } => self.restart(Some(*seed)),
            Act::Fill { bytes } => self.disk.limit_room(Some(self.disk.used_bytes() + bytes)),
            Act::MakeRoom => self.disk.limit_room(None),
            Act::FailSync => self.disk.fail_syncs(1),
            Act::ShortWrites { count } => self.disk.shorten_writes(*count),
        }
        for lane in std::mem::take(&mut self.lanes) {
            if let Some((core, _)) = &lane {
                self.acknowledge_of(core);
            }
            self.lanes.push(lane);
        }
    }

    fn append(&mut self, lane: usize, bytes: usize) {
        let Some((core, _)) = &mut self.lanes[lane] else { return };
        let key = (core.shared.boot, core.shared.id);
        let mut payload = Vec::new();
        let taken = core.append(Class::Click, RecordKind::Event, |number, body| {
            payload = format!("{key:?} {number} ").into_bytes();
            payload.resize(payload.len() + bytes, b'.');
            body.extend_from_slice(&payload);
        });
        if let Ok(number) = taken {
            self.model.appended.insert((key, number), payload);
        }
    }

    /// What a waiter at `synced` would have been told by now.
    fn acknowledge_of(&mut self, core: &LaneCore) {
        if core.shared.is_poisoned() {
            return;
        }
        let key = (core.shared.boot, core.shared.id);
        let synced = core.shared.synced.load(Acquire);
        let told = self.model.appended.range((key, 0)..(key, synced)).map(|(key, _)| *key);
        self.model.acknowledged.extend(told.filter(|(_, number)| !core.is_abandoned(*number)));
    }

    /// What a waiter at `written` would have been told by now: safe from a kill.
    fn written(&self) -> Vec<Key> {
        let mut written = Vec::new();
        for (core, _) in self.lanes.iter().flatten() {
            let key = (core.shared.boot, core.shared.id);
            let end = core.shared.written.load(Acquire);
            let told = self.model.appended.range((key, 0)..(key, end)).map(|(key, _)| *key);
            written.extend(told.filter(|(_, number)| !core.is_abandoned(*number)));
        }
        written
    }

    fn read(&mut self) {
        while let Some(batch) = self.source.read(700).expect("readable") {
            let key = (batch.boot, batch.lane);
            self.model.checkpoints.push((key, batch.checkpoint));
            for item in batch.items {
                match item {
                    Item::Record(record) => {
                        self.model.handed.push(((key, record.number), record.payload.to_vec()))
                    }
                    Item::Abandoned { first, count } => {
                        self.model.abandoned.extend((first..first + count).map(|number| (key, number)));
                    }
                    Item::End { issued, .. } => _ = self.model.ended.insert(key, issued),
                    Item::Foreign(_) => panic!("a log has no foreign records"),
                }
            }
        }
    }

    fn commit(&mut self, is_stored: impl Fn(LaneKey) -> bool) {
        let handed = self.model.handed.extract_if(.., |((lane, _), _)| is_stored(*lane));
        self.model.stored.extend(handed);
        let checkpoints = self.model.checkpoints.extract_if(.., |(lane, _)| is_stored(*lane));
        let checkpoints: Vec<Checkpoint> = checkpoints.map(|(_, checkpoint)| checkpoint).collect();
        // May fail for want of room; then the records come again.
        let _ = self.source.save(&checkpoints);
    }

    fn restart(&mut self, power_loss: Option<u64>) {
        let survivors = if power_loss.is_none() { self.written() } else { Vec::new() };
        self.model.acknowledged.extend(survivors);
        self.lanes.clear();
        match power_loss {
            Some(seed) => self.disk.lose_power(&mut fastrand::Rng::with_seed(seed)),
            None => self.disk.kill(),
        }
        self.disk.fail_syncs(0);
        self.disk.shorten_writes(0);
        self.model.handed.clear();
        self.model.checkpoints.clear();
        self.log = open(&self.disk, false).unwrap_or_else(|error| match error {
            // Torn and full: there must be room to repair it. That start died half-way.
            OpenError::Io { source, .. } if is_no_room(&source) => {
                self.disk.limit_room(None);
                self.disk.kill();
                open(&self.disk, false).unwrap_or_else(|error| panic!("{error}"))
            }
            error => panic!("{error}"),
        });
        self.source = self.log.source("table").unwrap();
        self.read();
        self.model.stored.extend(self.model.handed.drain(..));
        self.check();
        self.open_lanes();
    }

    fn check(&self) {
        let model = &self.model;
        for key in &model.acknowledged {
            assert!(model.stored.contains_key(key), "acknowledged and gone: {key:?}");
        }
        for (key, payload) in &model.stored {
            if let Some(appended) = model.appended.get(key) {
                assert_eq!(payload, appended, "not what was appended: {key:?}");
            }
        }
        for (lane, issued) in &model.ended {
            let unaccounted = (0..*issued).map(|number| (*lane, number));
            let mut missing =
                unaccounted.filter(|key| !model.stored.contains_key(key) && !model.abandoned.contains(key));
            assert_eq!(missing.next(), None, "missing, {issued} were issued");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_whatever_the_disk_forgets(acts in prop::collection::vec(act(), 1..150), seed in any::<u64>()) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        world.act(&Act::Kill);
        world.act(&Act::LosePower { seed });
        world.act(&Act::Commit);
        world.act(&Act::Kill);
    }
}
