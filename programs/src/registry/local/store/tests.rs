use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::{collection, prelude::*};
use redb::{Builder, StorageBackend, backends::FileBackend, backends::InMemoryBackend};

use super::*;
use crate::program::tests::any_program;

fn in_memory(change_log_max: u64) -> Store {
    let database = Builder::new().create_with_backend(InMemoryBackend::new()).unwrap();
    let store = Store { file: DatabaseFile::new(database, Box::new(|| unreachable!())), change_log_max };
    store.file.with(initialise).unwrap();
    store
}

fn removal(id: &str, revision: u64) -> Edit {
    Edit::remove(id.parse().unwrap(), revision)
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (any_program(), 0..6u64).prop_map(|(mut program, revision)| {
            program.revision = Some(revision);
            Edit::put(program).unwrap()
        }),
        1 => ("[a-e]", 0..6u64).prop_map(|(id, revision)| removal(&id, revision)),
    ]
}

/// What the documentation says, in a map.
#[derive(Default)]
struct Model {
    version: Version,
    known: BTreeMap<ProgramId, (Version, u64, Option<Arc<Program>>)>,
}

impl Model {
    fn apply(&mut self, edit: &Edit) -> Put {
        if let Some((version, stored, program)) = self.known.get(&edit.id) {
            if edit.revision < *stored {
                return Put::OlderRevision { stored: *stored, given: edit.revision };
            }
            if edit.revision == *stored && *program == edit.program {
                return Put::Unchanged { version: *version };
            }
            if edit.revision == *stored {
                return Put::SameRevision { revision: *stored };
            }
        }
        self.version += 1;
        self.known.insert(edit.id.clone(), (self.version, edit.revision, edit.program.clone()));
        Put::Stored { version: self.version }
    }

    fn programs(&self) -> Vec<(Version, Arc<Program>)> {
        self.known.values().filter_map(|(version, _, program)| Some((*version, program.clone()?))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_does_what_the_model_does(
        transactions in collection::vec(collection::vec(any_edit(), 1..6), 1..8),
    ) {
        let store = in_memory(1_000);
        let mut model = Model::default();
        for edits in transactions {
            let expected: Vec<_> = edits.iter().map(|edit| model.apply(edit)).collect();
            let before = store.state().unwrap().version;
            let applied = store.apply(edits).unwrap();
            prop_assert_eq!(applied.puts, expected);
            prop_assert_eq!(applied.version, model.version);
            let versions: Vec<_> = applied.changes.iter().map(|change| change.version).collect();
            prop_assert_eq!(versions, (before + 1..=model.version).collect::<Vec<_>>(), "one version per change");
        }
        let snapshot = store.snapshot().unwrap();
        prop_assert_eq!(snapshot.state.version, model.version);
        prop_assert_eq!(snapshot.programs, model.programs());
        for (id, (version, revision, program)) in model.known {
            let expected = match program {
                Some(program) => Entry::Program { version, program },
                None => Entry::Removed { version, revision },
            };
            prop_assert_eq!(store.get(&id).unwrap().entry, expected);
        }
    }

    #[test]
    fn a_replay_in_any_order_changes_nothing(
        edits in collection::vec(any_edit(), 1..12),
        order in collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let again = |edit: &Edit| Edit { id: edit.id.clone(), revision: edit.revision, program: edit.program.clone() };
        let store = in_memory(1_000);
        store.apply(edits.iter().map(again).collect()).unwrap();
        let before = store.snapshot().unwrap();
        for index in order {
            store.apply(vec![again(index.get(&edits))]).unwrap();
        }
        prop_assert_eq!(store.snapshot().unwrap(), before);
    }

    #[test]
    fn changes_since_a_snapshot_lead_to_the_next_one(
        first in collection::vec(any_edit(), 0..12),
        second in collection::vec(any_edit(), 0..12),
    ) {
        let store = in_memory(1_000);
        store.apply(first).unwrap();
        let before = store.snapshot().unwrap();
        store.apply(second).unwrap();

        let mut follower: BTreeMap<_, _> = before.programs.into_iter().map(|(v, p)| (p.id.clone(), (v, p))).collect();
        let Changes::List { state, changes } = store.changes_since(before.state.epoch, before.state.version).unwrap()
        else {
            return Err(TestCaseError::fail("the log reaches back"));
        };
        prop_assert!(changes.is_sorted_by(|one, next| one.version < next.version));
        for change in changes {
            match change.program {
                Some(program) => follower.insert(change.id, (change.version, program)),
                None => follower.remove(&change.id),
            };
        }
        let after = store.snapshot().unwrap();
        prop_assert_eq!(state, after.state);
        prop_assert_eq!(follower.into_values().collect::<Vec<_>>(), after.programs);
    }
}

#[test]
fn the_change_log_keeps_its_bound_and_then_asks_for_a_reload() {
    let store = in_memory(3);
    let epoch = store.state().unwrap().epoch;
    for revision in 1..=5 {
        store.apply(vec![removal(&format!("p{revision}"), revision)]).unwrap();
    }
    assert_eq!(store.changes_since(epoch, 1).unwrap(), Changes::Reload);
    let Changes::List { changes, .. } = store.changes_since(epoch, 2).unwrap() else {
        panic!("it reaches back")
    };
    assert_eq!(changes.iter().map(|change| change.version).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn one_transaction_larger_than_the_change_log_keeps_the_last_changes() {
    let store = in_memory(3);
    let state = store.state().unwrap();
    store.apply((1..=5).map(|at| removal(&format!("p{at}"), at)).collect()).unwrap();
    assert_eq!(store.changes_since(state.epoch, state.version).unwrap(), Changes::Reload);
    assert!(
        matches!(store.changes_since(state.epoch, 2).unwrap(), Changes::List { changes, .. } if changes.len() == 3)
    );
}

#[test]
fn another_epoch_or_a_version_ahead_of_the_store_is_a_reload() {
    let store = in_memory(3);
    let State { epoch, version, .. } = store.state().unwrap();
    assert_eq!(store.changes_since(Epoch::random(), version).unwrap(), Changes::Reload);
    assert_eq!(store.changes_since(epoch, version + 1).unwrap(), Changes::Reload);
    assert_eq!(store.changes_since(epoch, u64::MAX).unwrap(), Changes::Reload);
    assert!(
        matches!(store.changes_since(epoch, version).unwrap(), Changes::List { changes, .. } if changes.is_empty())
    );
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let store = in_memory(3);
    let write = |database: &Database| {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert("format", FORMAT + 1)?;
        Ok(transaction.commit()?)
    };
    store.file.with(write).unwrap();
    let error = store.file.with(initialise).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the registry was written by version 2 of its format, this release reads up to 1"
    );
}

#[test]
fn a_stored_program_that_cannot_be_read_is_named() {
    let store = in_memory(3);
    let write = |database: &Database| {
        let transaction = database.begin_write()?;
        let json: Option<&[u8]> = Some(b"{\"programId\":5}");
        transaction.open_table(PROGRAMS)?.insert("a", (1, 1, json))?;
        Ok(transaction.commit()?)
    };
    store.file.with(write).unwrap();
    let error = store.get(&"a".parse().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("the registry is damaged: program a: invalid type: integer `5`"), "{error}");
}

/// A disk that can be made to refuse every write, as a full one does.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
}

#[test]
fn a_full_disk_refuses_changes_until_there_is_room_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("programs.redb");
    let full = Arc::new(AtomicBool::new(false));
    let disk_full = Arc::clone(&full);
    let open = move || {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let disk = Disk { file: FileBackend::new(file)?, full: Arc::clone(&disk_full) };
        Ok(Builder::new().set_check_integrity_on_open(true).create_with_backend(disk)?)
    };
    let store = Store { file: DatabaseFile::new(open().unwrap(), Box::new(open)), change_log_max: 1_000 };
    store.file.with(initialise).unwrap();
    store.apply(vec![removal("before", 1)]).unwrap();
    let before = store.state().unwrap();

    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = store.apply((1..=100).map(|at| removal(&format!("p{at}"), 1)).collect()).unwrap_err();
        assert!(matches!(error, RegistryError::Unavailable(_)), "{error:?}");
    }

    full.store(false, Ordering::SeqCst);
    assert_eq!(store.state().unwrap(), before);
    assert_eq!(store.apply(vec![removal("after", 1)]).unwrap().puts, [Put::Stored { version: 2 }]);
    assert_eq!(
        store.get(&"before".parse().unwrap()).unwrap().entry,
        Entry::Removed { version: 1, revision: 1 }
    );
}
