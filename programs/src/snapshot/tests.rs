use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::testing::{NOW, id, program};
use crate::{Change, ProgramId};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/programs.v1.snapshot")
}

fn state(version: Version) -> State {
    State { epoch: Epoch::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001), version, ready: true }
}

fn known(version: Version, id: &str) -> (Version, Arc<Program>) {
    (version, Arc::new(program(id, &format!("name {version}"), version)))
}

fn changed(version: Version, id: &str, program: Option<Program>) -> Change {
    Change { epoch: state(0).epoch, version, id: id.parse().unwrap(), program: program.map(Arc::new) }
}

/// Two programs, and what changed since.
fn small(path: &Path) -> Saved {
    let all = [known(1, "1"), known(2, "2")];
    let removed = HashMap::from([(id("2"), (3, None))]);
    write::whole(path, state(3), NOW, &all, &removed).unwrap();
    Saved { state: state(3), in_step_at_ms: NOW, programs: vec![known(1, "1")] }
}

fn started(path: &Path, every: Duration) -> LastGood {
    LastGood::start(path, every, SnapshotStatus::default(), SnapshotCounters::new()).unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "never {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_at(path: &Path, version: Version) -> bool {
    matches!(read(path, 100), Ok(Some(saved)) if saved.state.version == version)
}

#[test]
fn the_file_of_the_first_format_is_read_and_written_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let saved = small(&path);
    let written = std::fs::read(&path).unwrap();
    assert_eq!(written, std::fs::read(golden()).unwrap(), "another format needs another number");
    assert_eq!(read(&golden(), 100).unwrap(), Some(saved));
}

#[test]
fn a_file_that_is_cut_anywhere_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let bytes = std::fs::read(golden()).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(read(&path, 100), Err(SnapshotError::Damaged(_))), "of {length} bytes");
    }
}

#[test]
fn a_file_with_any_byte_changed_says_nothing_or_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let whole = std::fs::read(golden()).unwrap();
    let saved = read(&golden(), 100).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&path, &bytes).unwrap();
        match read(&path, 100) {
            // The later moment and what fills up behind it; the earlier moment holds.
            Ok(read) => assert!((STAMP_AT..RECORDS_AT).contains(&at) && read == saved, "byte {at}"),
            Err(SnapshotError::Io(error)) => panic!("byte {at}: {error}"),
            Err(_) => assert!(!(STAMP_AT..RECORDS_AT).contains(&at), "byte {at}"),
        }
    }
}

#[test]
fn a_newer_file_and_a_foreign_one_are_told_apart_and_no_file_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    assert_eq!(read(&path, 100).unwrap(), None);
    let mut bytes = std::fs::read(golden()).unwrap();
    bytes[8] = 2;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(read(&path, 100), Err(SnapshotError::Newer(2))));
    std::fs::write(&path, [b'#'; 4_096]).unwrap();
    assert!(matches!(read(&path, 100), Err(SnapshotError::Foreign)));
}

#[test]
fn a_file_is_as_young_as_it_was_last_known_to_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    small(&path);
    write::stamp(&path, state(3), NOW + 5_000).unwrap();
    assert_eq!(read(&path, 100).unwrap().unwrap().in_step_at_ms, NOW + 5_000);
    assert!(write::stamp(&path, state(4), NOW + 9_000).is_err(), "the file is not of that version");
    assert_eq!(read(&path, 100).unwrap().unwrap().in_step_at_ms, NOW + 5_000);
}

#[test]
fn no_more_programs_are_read_than_memory_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let all: Vec<_> = (1..=50).map(|at| known(at, &at.to_string())).collect();
    write::whole(&path, state(50), NOW, &all, &HashMap::new()).unwrap();
    assert_eq!(read(&path, 7).unwrap().unwrap().programs.len(), 7);
}

#[test]
fn what_changed_goes_into_the_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let kept = started(&path, Duration::ZERO);
    kept.replaced(state(2), vec![known(1, "1"), known(2, "2")], NOW);
    eventually("written", || is_at(&path, 2));
    kept.changed(&changed(3, "3", Some(program("3", "three", 3))));
    eventually("merged", || is_at(&path, 3));
    kept.changed(&changed(4, "1", None));
    kept.in_step(state(4), NOW + 1_000);
    eventually("stamped", || read(&path, 100).is_ok_and(|saved| saved.unwrap().in_step_at_ms == NOW + 1_000));
    let mut ids: Vec<_> = read(&path, 100).unwrap().unwrap().programs;
    ids.sort_by_key(|(version, _)| *version);
    let ids: Vec<_> = ids.iter().map(|(version, program)| (*version, program.id.as_str())).collect();
    assert_eq!(ids, [(2, "2"), (3, "3")]);
    assert!(!kept.needs_all());
}

#[test]
fn a_file_is_not_written_again_before_its_time_and_then_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let every = Duration::from_millis(300);
    let kept = started(&path, every);
    kept.replaced(state(1), vec![known(1, "1")], NOW);
    eventually("written", || is_at(&path, 1));
    let began = Instant::now();
    for version in 2..50 {
        kept.changed(&changed(version, "1", Some(program("1", "again", version))));
    }
    eventually("written again", || is_at(&path, 49));
    assert!(began.elapsed() > every / 2, "{:?}", began.elapsed());
}

#[test]
fn at_the_end_the_file_gets_what_it_still_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let kept = started(&path, Duration::from_secs(3_600));
    kept.replaced(state(1), vec![known(1, "1")], NOW);
    eventually("written", || is_at(&path, 1));
    kept.changed(&changed(2, "2", Some(program("2", "two", 2))));
    kept.finish(Duration::from_secs(10));
    assert!(is_at(&path, 2));
    kept.finish(Duration::from_secs(10));
}

#[test]
fn a_disk_that_takes_nothing_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later").join("p");
    let kept = started(&path, Duration::from_millis(1));
    kept.replaced(state(1), vec![known(1, "1")], NOW);
    kept.changed(&changed(2, "2", Some(program("2", "two", 2))));
    std::fs::create_dir(dir.path().join("later")).unwrap();
    eventually("written", || is_at(&path, 2));
    assert_eq!(read(&path, 100).unwrap().unwrap().programs.len(), 2);
}

#[test]
fn when_the_file_before_it_is_damaged_everything_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let kept = started(&path, Duration::ZERO);
    kept.replaced(state(1), vec![known(1, "1")], NOW);
    eventually("written", || is_at(&path, 1));
    std::fs::write(&path, b"somebody was here").unwrap();
    kept.changed(&changed(2, "2", Some(program("2", "two", 2))));
    eventually("asks", || kept.needs_all());
    kept.changed(&changed(3, "3", Some(program("3", "three", 3))));
    kept.replaced(state(3), vec![known(1, "1"), known(2, "2"), known(3, "3")], NOW);
    eventually("whole again", || is_at(&path, 3));
    assert!(!kept.needs_all());
}

#[tokio::test]
async fn a_file_that_is_too_old_or_damaged_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let saved = small(&path);
    let kept = started(&path, Duration::ZERO);
    assert_eq!(kept.load(NOW + 1_001, 1_000, 100).await, None);
    assert_eq!(kept.load(NOW + 1_000, 1_000, 100).await, Some(saved));
    std::fs::write(&path, b"somebody was here").unwrap();
    assert_eq!(kept.load(NOW, 1_000, 100).await, None);
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody was here");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_that_follow_each_other_hold_what_a_map_holds(
        rounds in prop::collection::vec(prop::collection::vec((0..8_u8, any::<bool>()), 1..6), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        write::whole(&path, state(0), NOW, &[], &HashMap::new()).unwrap();
        let mut model = BTreeMap::new();
        let mut version = 0;
        for round in rounds {
            let mut changes = HashMap::new();
            for (name, is_there) in round {
                version += 1;
                let name: ProgramId = name.to_string().parse().unwrap();
                let program = is_there.then(|| known(version, name.as_str()).1);
                match &program {
                    Some(program) => drop(model.insert(name.clone(), (version, Arc::clone(program)))),
                    None => drop(model.remove(&name)),
                }
                changes.insert(name, (version, program));
            }
            write::merged(&path, state(version), NOW, &changes).unwrap();
        }
        let saved = read(&path, 100).unwrap().unwrap();
        let found: BTreeMap<_, _> =
            saved.programs.into_iter().map(|(version, program)| (program.id.clone(), (version, program))).collect();
        prop_assert_eq!(found, model);
        prop_assert_eq!(saved.state, state(version));
    }
}
