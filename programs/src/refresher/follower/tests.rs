use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::LocalRegistry;
use crate::{
    catalog::CatalogConfig,
    catalog::CatalogCounters,
    catalog::{Catalog, Verdict},
    snapshot::{SnapshotCounters, SnapshotStatus},
    testing::{Held, NOW, id, patient, program},
};

/// A follower of `registry` and the catalog it fills.
fn follow(registry: &Arc<Held>) -> (Follower<Held>, Catalog) {
    let catalog = Catalog::new(patient(), Arc::clone(registry), CatalogCounters::new());
    let writer = catalog.writer().unwrap();
    (Follower::new(Arc::clone(registry), writer, None), catalog)
}

/// What the catalog holds, without asking the registry.
async fn held(registry: &Held, catalog: &Catalog, id: &str) -> String {
    registry.away.store(true, SeqCst);
    let verdict = catalog.find(id, NOW).await;
    registry.away.store(false, SeqCst);
    match verdict {
        Verdict::Known(program) => program.name().to_string(),
        verdict => format!("{verdict:?}"),
    }
}

async fn hear_all(follower: &mut Follower<Held>, subscription: &mut Subscription, notices: usize) {
    for _ in 0..notices {
        let notice = subscription.next().await;
        follower.handle_notice(notice).await.unwrap();
    }
}

#[tokio::test]
async fn programs_are_loaded_and_changes_followed() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = follower.connect().await.unwrap();
    assert!(catalog.is_loaded() && catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "one");

    registry.put(program("1", "one again", 2)).await.unwrap();
    registry.put(program("2", "two", 1)).await.unwrap();
    registry.remove(&id("2"), 2).await.unwrap();
    hear_all(&mut follower, &mut subscription, 3).await;
    assert_eq!(held(&registry, &catalog, "1").await, "one again");
    assert_eq!(held(&registry, &catalog, "2").await, "Unknown");
}

#[tokio::test]
async fn a_change_between_subscribing_and_loading_is_seen_and_harmless_twice() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("1", "one", 1)).await.unwrap();
    follower.connect().await.unwrap();
    let before = catalog.statistics().await;
    let notice = subscription.next().await;
    follower.handle_notice(notice).await.unwrap();
    assert_eq!(held(&registry, &catalog, "1").await, "one");
    assert_eq!(catalog.statistics().await.generation, before.generation, "nothing was loaded again");
}

#[tokio::test]
async fn a_hole_in_the_versions_is_filled_from_the_change_log() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = follower.connect().await.unwrap();
    for at in 1..=3 {
        registry.put(program(&at.to_string(), "there", 1)).await.unwrap();
    }
    subscription.next().await;
    subscription.next().await;
    let before = catalog.statistics().await;
    hear_all(&mut follower, &mut subscription, 1).await;
    for at in 1..=3 {
        assert_eq!(held(&registry, &catalog, &at.to_string()).await, "there", "{at}");
    }
    assert_eq!(catalog.statistics().await.generation, before.generation, "without a full load");
}

#[tokio::test]
async fn a_follower_that_was_too_slow_catches_up() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = follower.connect().await.unwrap();
    let many = (0..3_000).map(|at| program(&at.to_string(), "there", 1)).collect();
    registry.import(many).await.unwrap();
    let notice = subscription.next().await;
    assert!(matches!(notice, Notice::Lagged { .. }), "{notice:?}");
    follower.handle_notice(notice).await.unwrap();
    for at in [0, 1, 1_500, 2_999] {
        assert_eq!(held(&registry, &catalog, &at.to_string()).await, "there", "{at}");
    }
}

#[tokio::test]
async fn another_store_replaces_what_it_has_newer_also_by_lower_versions() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    for revision in 1..=5 {
        registry.put(program("1", "of the first store", revision)).await.unwrap();
    }
    registry.put(program("2", "of the first store", 1)).await.unwrap();
    let mut subscription = follower.connect().await.unwrap();

    let second = LocalRegistry::open(&registry.dir.path().join("second.redb")).unwrap();
    second.put(program("1", "of the second store", 6)).await.unwrap();
    second.remove(&id("2"), 2).await.unwrap();
    registry.replace(second);
    let notice = subscription.next().await;
    assert!(matches!(follower.handle_notice(notice).await, Err(FollowError::Closed)));
    follower.connect().await.unwrap();
    assert_eq!(held(&registry, &catalog, "1").await, "of the second store");
    assert_eq!(held(&registry, &catalog, "2").await, "Unverified", "not held any more");
}

#[tokio::test]
async fn a_change_with_an_old_version_shows_that_the_store_fell_back() {
    let registry = Held::new();
    registry.put(program("1", "saved", 1)).await.unwrap();
    let place = registry.dir.path().join("restored.redb");
    std::fs::copy(registry.dir.path().join("0.redb"), &place).unwrap();
    let (mut follower, catalog) = follow(&registry);
    registry.put(program("1", "lost", 2)).await.unwrap();
    registry.put(program("2", "lost", 1)).await.unwrap();
    follower.connect().await.unwrap();

    registry.replace(LocalRegistry::open(&place).unwrap());
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("3", "after the restore", 1)).await.unwrap();
    hear_all(&mut follower, &mut subscription, 1).await;
    assert_eq!(held(&registry, &catalog, "1").await, "lost", "kept until its source says it again");
    assert_eq!(held(&registry, &catalog, "3").await, "after the restore");
}

#[tokio::test]
async fn a_store_that_was_never_filled_takes_nothing_away() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog) = follow(&registry);
    follower.connect().await.unwrap();
    registry.replace(LocalRegistry::open(&registry.dir.path().join("empty.redb")).unwrap());
    registry.unready.store(true, SeqCst);
    assert!(matches!(follower.connect().await, Err(FollowError::NotReady { .. })));
    assert!(!catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "one");

    registry.unready.store(false, SeqCst);
    follower.connect().await.unwrap();
    assert_eq!(held(&registry, &catalog, "1").await, "one", "it never heard of it");
}

#[tokio::test]
async fn without_the_registry_the_catalog_stays_readable_and_is_not_fresh() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog) = follow(&registry);
    follower.connect().await.unwrap();
    registry.away.store(true, SeqCst);
    assert!(matches!(follower.compare().await, Err(FollowError::Registry(_))));
    assert!(follower.connect().await.is_err());
    assert!(!catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "one");
}

#[tokio::test]
async fn a_lost_notice_is_found_by_comparing() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    follower.connect().await.unwrap();
    registry.put(program("1", "one", 1)).await.unwrap();
    follower.compare().await.unwrap();
    assert_eq!(held(&registry, &catalog, "1").await, "one");
}

/// A follower with a file, and the catalog it fills.
fn follow_with_file(registry: &Arc<Held>, path: &std::path::Path) -> (Follower<Held>, Catalog, LastGood) {
    let catalog = Catalog::new(patient(), Arc::clone(registry), CatalogCounters::new());
    let status = SnapshotStatus::default();
    let counters = SnapshotCounters::new();
    let last_good = LastGood::start(path, Duration::ZERO, status, counters).unwrap();
    let writer = catalog.writer().unwrap();
    (Follower::new(Arc::clone(registry), writer, Some(last_good.clone())), catalog, last_good)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < end, "never {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_a_store_that_fell_back_has_lost_is_kept_until_its_source_says_it_again() {
    let registry = Held::new();
    for at in ["1", "2", "3"] {
        registry.put(program(at, "first", 1)).await.unwrap();
    }
    let place = registry.dir.path().join("replica.redb");
    std::fs::copy(registry.dir.path().join("0.redb"), &place).unwrap();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = follower.connect().await.unwrap();
    registry.put(program("1", "lost", 2)).await.unwrap();
    registry.remove(&id("2"), 2).await.unwrap();
    registry.put(program("4", "lost", 1)).await.unwrap();
    hear_all(&mut follower, &mut subscription, 3).await;

    registry.replace(LocalRegistry::open(&place).unwrap());
    let mut subscription = follower.connect().await.unwrap();
    assert!(catalog.is_fresh());
    for (at, name) in [("1", "lost"), ("2", "Unknown"), ("3", "first"), ("4", "lost")] {
        assert_eq!(held(&registry, &catalog, at).await, name, "{at}");
    }

    registry.put(program("1", "lost", 2)).await.unwrap();
    registry.put(program("4", "newer", 2)).await.unwrap();
    registry.put(program("2", "back", 3)).await.unwrap();
    hear_all(&mut follower, &mut subscription, 3).await;
    for (at, name) in [("1", "lost"), ("2", "back"), ("3", "first"), ("4", "newer")] {
        assert_eq!(held(&registry, &catalog, at).await, name, "{at}");
    }
}

#[tokio::test]
async fn a_loss_that_shows_as_another_epoch_takes_no_newer_program_away_either() {
    let registry = Held::new();
    let (mut follower, catalog) = follow(&registry);
    let mut subscription = follower.connect().await.unwrap();
    for at in ["1", "2", "3"] {
        registry.put(program(at, "first", 1)).await.unwrap();
    }
    registry.put(program("1", "lost", 2)).await.unwrap();
    registry.remove(&id("2"), 2).await.unwrap();
    registry.put(program("4", "lost", 1)).await.unwrap();
    registry.put(program("5", "removed since", 1)).await.unwrap();
    hear_all(&mut follower, &mut subscription, 7).await;

    let promoted = LocalRegistry::open(&registry.dir.path().join("promoted.redb")).unwrap();
    for at in ["1", "2", "3"] {
        promoted.put(program(at, "first", 1)).await.unwrap();
    }
    promoted.put(program("3", "second", 2)).await.unwrap();
    promoted.remove(&id("5"), 2).await.unwrap();
    registry.replace(promoted);
    // Twice, as a failover shows first as an older version and then as another epoch.
    for _ in 0..2 {
        follower.connect().await.unwrap();
        follower.reload().await.unwrap();
        for (at, name) in [("1", "lost"), ("2", "Unknown"), ("3", "second"), ("4", "lost")] {
            assert_eq!(held(&registry, &catalog, at).await, name, "{at}");
        }
        assert_eq!(held(&registry, &catalog, "5").await, "Unverified", "not held any more");
        registry.put(program("4", "lost", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_lacks_too_many_programs_is_another_one() {
    let registry = Held::new();
    let many = (0..=LACKING_MAX).map(|at| program(&at.to_string(), "there", 1)).collect();
    registry.import(many).await.unwrap();
    let (mut follower, catalog) = follow(&registry);
    follower.connect().await.unwrap();
    let other = LocalRegistry::open(&registry.dir.path().join("other.redb")).unwrap();
    other.put(program("other", "there", 1)).await.unwrap();
    registry.replace(other);
    follower.connect().await.unwrap();
    assert_eq!(held(&registry, &catalog, "other").await, "there");
    assert_eq!(held(&registry, &catalog, "7").await, "Unverified", "not held any more");
    assert_eq!(registry.reads_of("7"), 1, "by this test alone");
}

/// As [`follow`], with programs that are fresh for a second.
fn follow_with_a_second(registry: &Arc<Held>) -> (Follower<Held>, Catalog) {
    let config = CatalogConfig { fresh_seconds: 1, ..patient() };
    let catalog = Catalog::new(config, Arc::clone(registry), CatalogCounters::new());
    let writer = catalog.writer().unwrap();
    (Follower::new(Arc::clone(registry), writer, None), catalog)
}

#[tokio::test]
async fn what_a_store_lost_and_its_source_never_repeats_is_given_up_at_once_after_its_time() {
    let registry = Held::new();
    registry.put(program("1", "first", 1)).await.unwrap();
    let place = registry.dir.path().join("replica.redb");
    std::fs::copy(registry.dir.path().join("0.redb"), &place).unwrap();
    let (mut follower, catalog) = follow_with_a_second(&registry);
    registry.put(program("1", "lost", 2)).await.unwrap();
    registry.put(program("2", "lost", 1)).await.unwrap();
    follower.connect().await.unwrap();
    registry.replace(LocalRegistry::open(&place).unwrap());
    follower.connect().await.unwrap();
    let began = std::time::Instant::now();
    let expected = |lost| if lost { ["lost", "lost"] } else { ["first", "Unverified"] };
    loop {
        follower.compare().await.unwrap();
        let names = [held(&registry, &catalog, "1").await, held(&registry, &catalog, "2").await];
        if names == expected(false) {
            break;
        }
        assert_eq!(names, expected(true), "all at once");
        assert!(began.elapsed() < Duration::from_secs(10), "never given up");
        // Somebody asks for a load: that keeps nothing for longer.
        follower.reload().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn another_loss_before_the_first_is_given_up_has_its_time_too() {
    let registry = Held::new();
    registry.put(program("1", "first", 1)).await.unwrap();
    let copies = ["a.redb", "b.redb"].map(|name| registry.dir.path().join(name));
    for copy in &copies {
        std::fs::copy(registry.dir.path().join("0.redb"), copy).unwrap();
    }
    let (mut follower, catalog) = follow_with_a_second(&registry);
    registry.put(program("1", "lost", 2)).await.unwrap();
    follower.connect().await.unwrap();
    for copy in &copies {
        registry.replace(LocalRegistry::open(copy).unwrap());
        follower.connect().await.unwrap();
        let again = Instant::now() + Duration::from_millis(800);
        while Instant::now() < again {
            follower.compare().await.unwrap();
            assert_eq!(held(&registry, &catalog, "1").await, "lost");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        registry.put(program("2", "in between", 1)).await.unwrap();
        follower.compare().await.unwrap();
    }
}

#[tokio::test]
async fn without_versions_comparing_proves_nothing_and_what_is_old_is_read_again() {
    let registry = Held::new();
    registry.unversioned.store(true, SeqCst);
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog) = follow(&registry);
    follower.connect().await.unwrap();
    assert!(catalog.is_fresh(), "its messages are followed all the same");
    let loaded_at_ms = catalog.statistics().await.in_step_at_ms;
    tokio::time::sleep(Duration::from_millis(5)).await;
    follower.compare().await.unwrap();
    assert_eq!(catalog.statistics().await.in_step_at_ms, loaded_at_ms);

    assert!(matches!(catalog.find("1", loaded_at_ms + 599_999).await, Verdict::Known(_)));
    assert_eq!(registry.reads(), 0);
    assert!(matches!(catalog.find("1", loaded_at_ms + 600_000).await, Verdict::Known(_)));
    until("read", || registry.reads() == 1).await;
}

#[tokio::test]
async fn a_follower_starts_from_the_file_while_the_registry_is_away_and_believes_it_when_it_is_back() {
    let registry = Held::new();
    let path = registry.dir.path().join("programs.snapshot");
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog, last_good) = follow_with_file(&registry, &path);
    follower.connect().await.unwrap();
    until("written", || crate::snapshot::read(&path, 9).is_ok_and(|saved| saved.is_some())).await;
    drop((follower, catalog, last_good));

    registry.put(program("1", "newer", 2)).await.unwrap();
    let (mut follower, catalog, _last_good) = follow_with_file(&registry, &path);
    registry.away.store(true, SeqCst);
    assert!(follower.connect().await.is_err());
    assert!(catalog.is_loaded() && !catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "one");
    assert_eq!(held(&registry, &catalog, "2").await, "Unverified", "the file is no proof of absence");

    registry.away.store(false, SeqCst);
    follower.connect().await.unwrap();
    assert!(catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "newer");
}

#[tokio::test]
async fn an_emptied_registry_at_the_start_is_not_believed_and_the_file_is_served() {
    let registry = Held::new();
    let path = registry.dir.path().join("programs.snapshot");
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog, last_good) = follow_with_file(&registry, &path);
    follower.connect().await.unwrap();
    until("written", || crate::snapshot::read(&path, 9).is_ok_and(|saved| saved.is_some())).await;
    drop((follower, catalog, last_good));

    registry.replace(LocalRegistry::open(&registry.dir.path().join("emptied.redb")).unwrap());
    registry.unready.store(true, SeqCst);
    let (mut follower, catalog, _last_good) = follow_with_file(&registry, &path);
    assert!(matches!(follower.connect().await, Err(FollowError::NotReady { .. })));
    assert!(catalog.is_loaded() && !catalog.is_fresh());
    assert_eq!(held(&registry, &catalog, "1").await, "one");
}

#[tokio::test]
async fn a_file_from_the_past_is_served_no_longer_than_without_a_restart() {
    let registry = Held::new();
    let path = registry.dir.path().join("programs.snapshot");
    registry.put(program("1", "one", 1)).await.unwrap();
    let (mut follower, catalog, last_good) = follow_with_file(&registry, &path);
    follower.connect().await.unwrap();
    until("written", || crate::snapshot::read(&path, 9).is_ok_and(|saved| saved.is_some())).await;
    let in_step_at_ms = crate::snapshot::read(&path, 9).unwrap().unwrap().in_step_at_ms;
    drop((follower, catalog, last_good));

    let (mut follower, catalog, _last_good) = follow_with_file(&registry, &path);
    registry.away.store(true, SeqCst);
    follower.connect().await.unwrap_err();
    let served_ms = (600 + 900) * 1_000;
    let one = catalog.find("1", in_step_at_ms + served_ms - 1).await;
    assert!(matches!(one, Verdict::Known(_)), "{one:?}");
    assert_eq!(catalog.find("1", in_step_at_ms + served_ms).await, Verdict::Unverified);
    assert_eq!(catalog.statistics().await.in_step_at_ms, in_step_at_ms);
}

/// Out of step it would be too old after two seconds.
#[tokio::test]
async fn in_step_nothing_ages_whether_it_can_be_read_or_not() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let config = CatalogConfig { fresh_seconds: 1, stale_seconds: 1, registry_timeout_ms: 20, ..patient() };
    let catalog = Catalog::new(config, Arc::clone(&registry), CatalogCounters::new());
    let mut follower = Follower::new(Arc::clone(&registry), catalog.writer().unwrap(), None);
    follower.connect().await.unwrap();
    registry.hold();
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(matches!(catalog.find("1", now_ms()).await, Verdict::Known(_)));
        tokio::time::sleep(Duration::from_millis(50)).await;
        follower.compare().await.unwrap();
    }
    assert_eq!(registry.reads(), 0);

    follower.stop_following();
    let in_step_at_ms = catalog.statistics().await.in_step_at_ms;
    assert!(matches!(catalog.find("1", in_step_at_ms + 1_999).await, Verdict::Known(_)));
    assert_eq!(catalog.find("1", in_step_at_ms + 2_000).await, Verdict::Unverified);
}

/// What the file says of programs, by name, once it says so.
async fn eventually_saved(last_good: &LastGood, expected: &[&str]) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let saved = last_good.load(now_ms(), u64::MAX, 100).await;
        let mut names: Vec<_> = saved.iter().flat_map(|saved| &saved.programs).collect();
        names.sort_by(|one, other| one.1.id.as_str().cmp(other.1.id.as_str()));
        if names.iter().map(|(_, program)| program.name()).eq(expected.iter().copied()) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{names:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A registry whose failover lost revision 11 of "1", which is at 8 again, and all of "2"; and who
/// had seen it.
async fn after_a_loss(registry: &Arc<Held>) -> (Follower<Held>, Catalog, LastGood, Subscription) {
    registry.put(program("1", "rev 8", 8)).await.unwrap();
    let place = registry.dir.path().join("replica.redb");
    std::fs::copy(registry.dir.path().join("0.redb"), &place).unwrap();
    registry.put(program("1", "rev 11", 11)).await.unwrap();
    registry.put(program("2", "new", 1)).await.unwrap();
    let file = registry.dir.path().join("programs.snapshot");
    let (mut follower, catalog, last_good) = follow_with_file(registry, &file);
    follower.connect().await.unwrap();
    registry.replace(LocalRegistry::open(&place).unwrap());
    let subscription = follower.connect().await.unwrap();
    eventually_saved(&last_good, &["rev 11", "new"]).await;
    (follower, catalog, last_good, subscription)
}

#[tokio::test]
async fn a_source_that_repeats_itself_from_further_back_undoes_nothing() {
    let registry = Held::new();
    let (mut follower, catalog, last_good, mut subscription) = after_a_loss(&registry).await;
    for revision in [9, 10, 11, 12] {
        registry.put(program("1", &format!("rev {revision}"), revision)).await.unwrap();
        hear_all(&mut follower, &mut subscription, 1).await;
        let expected = format!("rev {}", revision.max(11));
        assert_eq!(held(&registry, &catalog, "1").await, expected, "after revision {revision}");
        eventually_saved(&last_good, &[&expected, "new"]).await;
    }
}

#[tokio::test]
async fn a_replay_that_ends_too_early_is_the_truth_when_what_was_kept_is_given_up() {
    let registry = Held::new();
    let (mut follower, catalog, _, mut subscription) = after_a_loss(&registry).await;
    registry.put(program("1", "rev 10", 10)).await.unwrap();
    hear_all(&mut follower, &mut subscription, 1).await;
    assert_eq!(held(&registry, &catalog, "1").await, "rev 11");
    give_up(&mut follower).await;
    assert_eq!(held(&registry, &catalog, "1").await, "rev 10");
}

/// Lets the time pass for which what was lost is kept.
async fn give_up(follower: &mut Follower<Held>) {
    follower.discard_kept_at = Some(Instant::now());
    follower.compare().await.unwrap();
    assert!(follower.discard_kept_at.is_none());
}

#[tokio::test]
async fn what_is_given_up_is_given_up_in_the_file_too() {
    let registry = Held::new();
    let (mut follower, _catalog, last_good, _subscription) = after_a_loss(&registry).await;
    give_up(&mut follower).await;
    eventually_saved(&last_good, &["rev 8"]).await;
    let version = registry.state().await.unwrap().version;
    let saved = last_good.load(now_ms(), u64::MAX, 100).await.unwrap();
    assert_eq!(saved.state.version, version, "the file is no further than the follower");
}
