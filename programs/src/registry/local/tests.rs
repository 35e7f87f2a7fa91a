use std::fs;

use tempfile::TempDir;

use super::*;
use crate::registry::{Entry, Notice};

fn program(id: &str, revision: u64, name: &str) -> Program {
    let json = serde_json::json!({
        "programId": id, "programName": name, "customerId": 1, "customerName": "c", "valid": true,
        "revision": revision,
    });
    serde_json::from_value(json).unwrap()
}

struct World {
    directory: TempDir,
    registry: LocalRegistry,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let registry = LocalRegistry::open(&directory.path().join("programs.redb")).unwrap();
    World { directory, registry }
}

impl World {
    fn reopened(self) -> Self {
        drop(self.registry);
        let registry = LocalRegistry::open(&self.directory.path().join("programs.redb")).unwrap();
        Self { directory: self.directory, registry }
    }
}

#[tokio::test]
async fn a_new_store_is_empty_and_ready_and_has_an_epoch_of_its_own() {
    let one = world();
    let other = world();
    let state = one.registry.state().await.unwrap();
    assert_eq!((state.version, state.ready), (0, true));
    assert_ne!(state.epoch, other.registry.state().await.unwrap().epoch);
    let read = one.registry.get(&"a".parse().unwrap()).await.unwrap();
    assert_eq!(read, Versioned { state, entry: Entry::Absent });
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let world = world();
    let id: ProgramId = "a".parse().unwrap();
    assert_eq!(world.registry.put(program("a", 5, "spring")).await.unwrap(), Put::Stored { version: 1 });
    assert_eq!(world.registry.remove(&"b".parse().unwrap(), 7).await.unwrap(), Put::Stored { version: 2 });
    let state = world.registry.state().await.unwrap();
    let read = world.registry.get(&id).await.unwrap();

    let world = world.reopened();
    assert_eq!(world.registry.state().await.unwrap(), state);
    assert_eq!(world.registry.get(&id).await.unwrap(), read);
    let entry = Entry::Program { version: 1, program: Arc::new(program("a", 5, "spring")) };
    assert_eq!(read.entry, entry);
    let late = world.registry.put(program("b", 6, "late")).await.unwrap();
    assert_eq!(late, Put::OlderRevision { stored: 7, given: 6 }, "the tombstone outlived the restart");
}

#[tokio::test]
async fn an_import_says_what_became_of_each_program() {
    let World { registry, directory: _directory } = world();
    registry.put(program("newer", 9, "n")).await.unwrap();
    registry.put(program("same", 5, "n")).await.unwrap();
    let report = registry
        .import(vec![
            program("newer", 5, "n"),
            program("same", 5, "n"),
            program("a", 5, "n"),
            program("b", 5, "n"),
        ])
        .await
        .unwrap();
    let refused =
        Refused { id: "newer".parse().unwrap(), reason: Put::OlderRevision { stored: 9, given: 5 } };
    assert_eq!(report, ImportReport { stored: 2, unchanged: 1, refused: vec![refused.clone()], version: 4 });
    assert_eq!(
        serde_json::to_value(&refused).unwrap(),
        serde_json::json!({"id": "newer", "result": "older_revision", "stored": 9, "given": 5})
    );
}

#[tokio::test]
async fn a_subscriber_is_told_of_a_removal_and_not_of_what_was_refused() {
    let World { registry, directory: _directory } = world();
    registry.put(program("a", 5, "before it subscribed")).await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("a", 4, "older")).await.unwrap();
    registry.put(program("a", 5, "before it subscribed")).await.unwrap();
    registry.remove(&"a".parse().unwrap(), 6).await.unwrap();
    drop(registry);

    let Notice::Change(change) = subscription.next().await else { panic!("no hole, not closed") };
    assert_eq!((change.version, change.id.as_str(), change.program), (2, "a", None));
    assert_eq!(subscription.next().await, Notice::Closed);
}

#[tokio::test]
async fn a_subscriber_that_lags_is_told_of_the_hole_and_can_fill_it() {
    let World { registry, directory: _directory } = world();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let many = SUBSCRIPTION_CHANGES_MAX as u64 + 76;
    registry.import((0..many).map(|at| program(&format!("p{at}"), 1, "n")).collect()).await.unwrap();

    assert_eq!(subscription.next().await, Notice::Lagged { missed: 76 });
    let Notice::Change(oldest_kept) = subscription.next().await else { panic!("the rest is kept") };
    assert_eq!(oldest_kept.version, 77);
    let missed = registry.changes_since(before.epoch, before.version).await.unwrap();
    let Changes::List { state, changes } = missed else { panic!("the log reaches back") };
    assert_eq!((state.version, changes.len() as u64), (many, many));
}

#[tokio::test]
async fn a_writer_that_goes_away_half_way_leaves_no_hole() {
    let World { registry, directory: _directory } = world();
    let mut subscription = registry.subscribe().await.unwrap();
    for at in 1..=10 {
        let writer = registry.clone();
        let task = tokio::spawn(async move { writer.put(program(&format!("p{at}"), 1, "n")).await });
        tokio::task::yield_now().await;
        task.abort();
    }
    let Put::Stored { version: last } = registry.put(program("last", 1, "n")).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(registry.snapshot().await.unwrap().programs.len() as u64, last);
    for version in 1..=last {
        assert!(matches!(subscription.next().await, Notice::Change(change) if change.version == version));
    }
}

#[tokio::test]
async fn a_second_owner_of_the_file_is_refused() {
    let world = world();
    let path = world.directory.path().join("programs.redb");
    let error = LocalRegistry::open(&path).unwrap_err();
    assert!(
        matches!(&error, RegistryError::InUse { place } if place.ends_with("programs.redb")),
        "{error:?}"
    );
}

#[test]
fn a_file_that_is_no_registry_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("programs.redb");
    for content in [b"programId,name\n".repeat(1_000), vec![0; 8_192], b"redb".to_vec(), Vec::new()] {
        fs::write(&path, &content).unwrap();
        let error = LocalRegistry::open(&path).unwrap_err();
        assert!(matches!(error, RegistryError::Damaged(_)), "{} bytes: {error:?}", content.len());
        assert!(fs::read(&path).unwrap() == content, "it was changed");
    }
    let missing = LocalRegistry::open(&directory.path().join("no/such/directory")).unwrap_err();
    assert!(matches!(missing, RegistryError::Unavailable(_)), "{missing:?}");
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_creates_the_file_leaves_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("programs.redb");
    let killed = super::file::create_if_missing(&path, |_| Err(super::fault::damaged("killed".to_owned())));
    assert!(killed.is_err() && !path.exists());
    // One that was killed indeed leaves its unfinished file; that of the same number is replaced.
    let unfinished = directory.path().join(format!("programs.redb.{}.new", std::process::id()));
    fs::write(&unfinished, b"half of it").unwrap();
    let registry = LocalRegistry::open(&path).unwrap();
    assert!(registry.state().await.unwrap().ready);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["programs.redb"]);
}

#[test]
fn processes_that_create_the_file_at_once_end_with_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("programs.redb");
    let other = directory.path().join("other.redb");
    super::file::create_if_missing(&path, |_| {
        // Somebody was faster.
        fs::write(&other, b"theirs").unwrap();
        fs::rename(&other, &path).unwrap();
        Ok(())
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"theirs", "what has the name is not replaced");
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let path = world.directory.path().join("programs.redb");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_was_cut_or_has_a_flipped_byte_is_refused_or_still_whole() {
    let world = world();
    let programs = (0..200).map(|at| program(&format!("p{at}"), 1, "n")).collect();
    world.registry.import(programs).await.unwrap();
    let whole = world.registry.snapshot().await.unwrap();
    drop(world.registry);
    let good = fs::read(world.directory.path().join("programs.redb")).unwrap();

    let path = world.directory.path().join("damaged.redb");
    let mut refused = 0;
    for step in 0..200 {
        let at = good.len() * step / 200;
        let mut bad = good.clone();
        if step % 10 == 9 {
            bad.truncate(at);
        } else {
            bad[at + step % 7] ^= 0x41;
        }
        fs::write(&path, &bad).unwrap();
        match LocalRegistry::open(&path) {
            Err(_) => refused += 1,
            Ok(registry) => match registry.snapshot().await {
                Err(_) => refused += 1,
                Ok(snapshot) => assert_eq!(snapshot, whole, "damage at byte {at} was believed"),
            },
        }
    }
    assert!(refused > 0, "no damage was noticed");
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file_that_a_killed_process_leaves() {
    let world = world();
    let left = world.directory.path().join("left.redb");
    for revision in 1..=5 {
        world.registry.put(program("a", revision, "n")).await.unwrap();
        fs::copy(world.directory.path().join("programs.redb"), &left).unwrap();
        let expected = world.registry.snapshot().await.unwrap();
        assert_eq!(LocalRegistry::open(&left).unwrap().snapshot().await.unwrap(), expected);
    }
}
