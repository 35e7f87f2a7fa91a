use std::sync::atomic::Ordering::SeqCst;

use futures_util::{FutureExt, future::join_all};

use super::*;
use crate::testing::{Held, NOW, id, patient, program};
use crate::{Change, LocalRegistry, Program};

fn catalog(registry: &Arc<Held>) -> Catalog {
    catalog_of(registry, patient())
}

fn catalog_of(registry: &Arc<Held>, config: CatalogConfig) -> Catalog {
    Catalog::new(config, Arc::clone(registry), CatalogCounters::new())
}

async fn name(catalog: &Catalog, id: &str) -> String {
    match catalog.find(id, NOW).await {
        Verdict::Known(program) => program.name().to_string(),
        verdict => format!("{verdict:?}"),
    }
}

async fn change(registry: &Held, version: Version, id: &str, program: Option<Program>) -> Change {
    let epoch = registry.state().await.unwrap().epoch;
    Change { epoch, version, id: id.parse().unwrap(), program: program.map(Arc::new) }
}

#[tokio::test]
async fn ten_thousand_misses_of_one_id_are_one_read() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    for (asked, expected) in [("1", "one"), ("2", "Unknown")] {
        registry.forget_reads();
        registry.hold();
        let misses = join_all((0..10_000).map(|_| name(&catalog, asked)));
        let release = async { registry.release() };
        let (names, ()) = tokio::join!(misses, release);
        assert!(names.iter().all(|name| name == expected), "{asked}");
        assert_eq!(registry.reads(), 1, "{asked}");
        assert_eq!(name(&catalog, asked).await, expected, "and it is kept");
        assert_eq!(registry.reads(), 1, "{asked}");
    }
    assert_eq!(catalog.statistics().await.loads, 0);
}

#[tokio::test]
async fn misses_on_several_threads_are_one_read_too() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    registry.hold();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let catalog = catalog.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(join_all((0..500).map(|_| name(&catalog, "1")))).len()
            })
        })
        .collect();
    while registry.reads() == 0 {
        tokio::task::yield_now().await;
    }
    registry.release();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 2_000);
    assert_eq!(registry.reads(), 1);
}

#[tokio::test]
async fn a_miss_that_comes_when_the_read_has_just_ended_does_not_read_again() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    for asked in ["1", "2"] {
        let first = catalog.find(asked, NOW).await;
        // As if it had looked before the first one ended.
        assert_eq!(catalog.shared.read_on_miss(id(asked), NOW).await, first);
        assert_eq!(registry.reads_of(asked), 1);
    }
}

#[tokio::test]
async fn a_registry_that_is_away_or_was_never_filled_is_not_believed_and_not_remembered() {
    let registry = Held::new();
    let catalog = catalog(&registry);
    registry.away.store(true, SeqCst);
    assert_eq!(catalog.find("1", NOW).await, Verdict::Unverified);
    registry.away.store(false, SeqCst);
    registry.unready.store(true, SeqCst);
    assert_eq!(catalog.find("1", NOW).await, Verdict::Unverified);
    registry.unready.store(false, SeqCst);
    assert_eq!(catalog.find("1", NOW).await, Verdict::Unknown);
    assert_eq!(registry.reads(), 3, "neither of the first two was remembered");
}

#[tokio::test]
async fn a_slow_registry_costs_a_hit_no_more_than_the_limit() {
    let registry = Held::new();
    let catalog = catalog_of(&registry, CatalogConfig { registry_timeout_ms: 20, ..patient() });
    registry.hold();
    assert_eq!(catalog.find("1", NOW).await, Verdict::Unverified);
    registry.release();
    assert_eq!(catalog.find("1", NOW).await, Verdict::Unknown);
}

#[tokio::test]
async fn reads_under_way_are_bounded_and_end_when_nobody_waits() {
    let registry = Held::new();
    let config = CatalogConfig { loads_max: 2, registry_timeout_ms: 60_000, ..patient() };
    let catalog = catalog_of(&registry, config);
    registry.hold();
    {
        let mut waiting = join_all(["1", "2"].map(|id| catalog.find(id, NOW))).boxed();
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(catalog.statistics().await.loads, 2);
        assert_eq!(catalog.find("3", NOW).await, Verdict::Unverified, "at once");
    }
    assert_eq!(catalog.statistics().await.loads, 0, "the waiters were dropped");
    registry.release();
    assert_eq!(catalog.find("3", NOW).await, Verdict::Unknown);
}

/// Begins a read of "1", lets `meanwhile` happen, then lets the read end.
async fn while_reading(catalog: &Catalog, registry: &Held, meanwhile: impl Future) -> String {
    registry.hold();
    let read = name(catalog, "1");
    let reads = registry.reads();
    let meanwhile = async {
        while registry.reads() == reads {
            tokio::task::yield_now().await;
        }
        // The value was taken from the store before anything below happens.
        tokio::task::yield_now().await;
        meanwhile.await;
        registry.release();
    };
    tokio::join!(read, meanwhile).0
}

#[tokio::test]
async fn a_read_that_began_before_a_change_does_not_undo_it() {
    let registry = Held::new();
    registry.put(program("1", "old", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    let newer = change(&registry, 2, "1", Some(program("1", "new", 2))).await;
    assert_eq!(while_reading(&catalog, &registry, writer.apply(newer, NOW)).await, "old");
    assert_eq!(name(&catalog, "1").await, "new");
}

#[tokio::test]
async fn a_read_that_began_before_a_removal_does_not_bring_the_program_back() {
    let registry = Held::new();
    registry.put(program("1", "old", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    let removal = change(&registry, 2, "1", None).await;
    while_reading(&catalog, &registry, writer.apply(removal, NOW)).await;
    assert_eq!(name(&catalog, "1").await, "Unknown");
    assert_eq!(registry.reads(), 1);
}

#[tokio::test]
async fn a_read_that_began_before_a_purge_is_not_kept() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let one = id("1");
    while_reading(&catalog, &registry, catalog.purge(&one)).await;
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 2));
    catalog.purge(&one).await;
    while_reading(&catalog, &registry, catalog.purge_all()).await;
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 4));
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 4), "this one is kept");
}

#[tokio::test]
async fn a_read_of_another_store_is_not_kept_beside_ours() {
    let registry = Held::new();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
    let other = LocalRegistry::open(&registry.dir.path().join("other.redb")).unwrap();
    other.put(program("1", "other", 1)).await.unwrap();
    registry.replace(other);
    assert_eq!(name(&catalog, "1").await, "other", "an answer all the same");
    assert_eq!(name(&catalog, "1").await, "other");
    assert_eq!(registry.reads(), 2);
}

#[tokio::test]
async fn of_two_versions_the_higher_stays_whatever_the_order() {
    let registry = Held::new();
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let catalog = catalog(&registry);
        let writer = catalog.writer().unwrap();
        for version in order {
            let program = (version != 2).then(|| program("1", &version.to_string(), version));
            writer.apply(change(&registry, version, "1", program).await, NOW).await;
        }
        assert_eq!(name(&catalog, "1").await, "3", "{order:?}");
    }
}

/// Changes are applied here before the registry that a miss asks knows of them.
#[tokio::test]
async fn an_answer_from_before_a_change_that_was_applied_is_given_and_not_kept() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    writer.apply(change(&registry, 2, "2", Some(program("2", "two", 1))).await, NOW).await;
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 1));
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 2), "asked again");
    registry.put(program("3", "three", 1)).await.unwrap();
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 3));
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", 3), "kept");
}

#[tokio::test]
async fn a_change_that_finds_no_room_ends_a_read_from_before_it() {
    let registry = Held::new();
    registry.import(vec![program("0", "held", 1), program("1", "old", 1)]).await.unwrap();
    let catalog = catalog_of(&registry, CatalogConfig { entries_max: 1, ..patient() });
    let writer = catalog.writer().unwrap();
    writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
    assert_eq!(catalog.statistics().await.entries, 1);
    let newer = change(&registry, 3, "1", Some(program("1", "new", 2))).await;
    assert_eq!(while_reading(&catalog, &registry, writer.apply(newer, NOW)).await, "old");
    registry.put(program("1", "new", 2)).await.unwrap();
    assert_eq!(name(&catalog, "1").await, "new");
    assert_eq!(catalog.statistics().await.entries, 1);
}

#[tokio::test]
async fn a_reload_may_replace_a_program_by_an_older_version_and_drops_what_is_gone() {
    let registry = Held::new();
    registry.put(program("1", "reloaded", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    for (version, id) in [(8, "1"), (9, "2")] {
        writer.apply(change(&registry, version, id, Some(program(id, "before", version))).await, NOW).await;
    }
    assert_eq!(catalog.find("3", NOW).await, Verdict::Unknown);
    assert!(!catalog.is_loaded());

    let reads = registry.reads();
    let programs = writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
    assert_eq!((programs, catalog.is_loaded(), registry.reads()), (1, true, reads));
    assert_eq!(name(&catalog, "1").await, "reloaded");
    assert_eq!(registry.reads(), reads, "from the snapshot");
    assert_eq!(name(&catalog, "2").await, "Unknown");
    assert_eq!(catalog.find("3", NOW).await, Verdict::Unknown);
    assert_eq!(registry.reads(), reads + 2, "what was unknown before the reload is asked again");
}

#[tokio::test]
async fn a_new_program_is_known_at_once_where_it_was_unknown() {
    let registry = Held::new();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    assert_eq!(name(&catalog, "1").await, "Unknown");
    writer.apply(change(&registry, 1, "1", Some(program("1", "one", 1))).await, NOW).await;
    assert_eq!(name(&catalog, "1").await, "one");
}

#[tokio::test]
async fn random_ids_evict_no_program_and_stay_few() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let config = CatalogConfig { entries_max: 10, unknown_entries_max: 100, ..patient() };
    let catalog = catalog_of(&registry, config);
    assert_eq!(name(&catalog, "1").await, "one");
    for at in 0..1_000 {
        assert_eq!(name(&catalog, &format!("random-{at}")).await, "Unknown");
    }
    assert!(catalog.statistics().await.unknown_entries <= 100);
    let reads = registry.reads();
    assert_eq!((name(&catalog, "1").await.as_str(), registry.reads()), ("one", reads));
}

#[tokio::test]
async fn programs_beyond_the_capacity_are_read_when_they_are_hit() {
    let registry = Held::new();
    let programs = (0..50).map(|at| program(&at.to_string(), "there", 1)).collect();
    registry.import(programs).await.unwrap();
    let catalog = catalog_of(&registry, CatalogConfig { entries_max: 10, ..patient() });
    let writer = catalog.writer().unwrap();
    assert_eq!(writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await, 10);
    for at in 0..50 {
        assert_eq!(name(&catalog, &at.to_string()).await, "there", "{at}");
    }
    assert!(catalog.statistics().await.entries <= 10);
}

#[tokio::test]
async fn there_is_one_writer_and_without_it_the_catalog_is_not_fresh() {
    let catalog = catalog(&Held::new());
    let writer = catalog.writer().unwrap();
    assert!(catalog.writer().is_none());
    writer.set_following(true);
    assert!(catalog.is_fresh());
    drop(writer);
    assert!(!catalog.is_fresh());
    assert!(catalog.writer().is_some());
}

#[tokio::test]
async fn what_a_thread_has_just_found_is_another_as_soon_as_it_changes() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let catalog = catalog(&registry);
    let writer = catalog.writer().unwrap();
    writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
    for version in 2..50 {
        assert_ne!(name(&catalog, "1").await, "Unknown");
        let program = (version % 5 != 0).then(|| program("1", &version.to_string(), version));
        let expected = program.as_ref().map_or("Unknown".to_owned(), |program| program.name().to_string());
        writer.apply(change(&registry, version, "1", program).await, NOW).await;
        for _ in 0..20 {
            assert_eq!(name(&catalog, "1").await, expected);
        }
        if expected == "Unknown" {
            writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
            assert_eq!(name(&catalog, "1").await, "one");
        }
    }
    catalog.purge(&id("1")).await;
    let reads = registry.reads();
    assert_eq!(name(&catalog, "1").await, "one");
    assert_eq!(registry.reads(), reads + 1, "a purge is felt at once");
}

/// Older than ten minutes.
const STALE: u64 = NOW + 600_000;
/// Older than 25.
const EXPIRED: u64 = NOW + 1_500_000;

async fn name_at(catalog: &Catalog, id: &str, now_ms: u64) -> String {
    match catalog.find(id, now_ms).await {
        Verdict::Known(program) => program.name().to_string(),
        verdict => format!("{verdict:?}"),
    }
}

/// The programs of `registry`, loaded at [`NOW`] and not followed since.
async fn loaded(registry: &Arc<Held>, config: CatalogConfig) -> (Catalog, CatalogWriter) {
    let catalog = catalog_of(registry, config);
    let writer = catalog.writer().unwrap();
    writer.replace_all(&registry.snapshot().await.unwrap(), NOW).await;
    (catalog, writer)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < end, "never {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn in_step_nothing_ages_and_nothing_is_read() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (catalog, writer) = loaded(&registry, patient()).await;
    writer.set_in_step(NOW);
    for now_ms in [NOW, STALE, EXPIRED, EXPIRED * 2] {
        for _ in 0..200 {
            assert_eq!(name_at(&catalog, "1", now_ms).await, "one");
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(registry.reads(), 0);
    writer.set_out_of_step();
    writer.set_in_step(EXPIRED);
    writer.set_out_of_step();
    assert_eq!(name_at(&catalog, "1", EXPIRED + 599_999).await, "one");
    assert_eq!(registry.reads(), 0, "it is as old as the moment at which we were last in step");
}

#[tokio::test]
async fn out_of_step_what_is_old_is_served_and_read_once() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (catalog, _writer) = loaded(&registry, patient()).await;
    registry.put(program("1", "two", 2)).await.unwrap();
    assert_eq!((name_at(&catalog, "1", STALE - 1).await.as_str(), registry.reads()), ("one", 0));
    registry.hold();
    for _ in 0..1_000 {
        assert_eq!(name_at(&catalog, "1", STALE).await, "one");
    }
    until("read", || registry.reads() == 1).await;
    registry.release();
    while name_at(&catalog, "1", STALE).await != "two" {
        tokio::task::yield_now().await;
    }
    for _ in 0..200 {
        assert_eq!(name_at(&catalog, "1", STALE + 599_999).await, "two");
    }
    assert_eq!(registry.reads(), 1, "it is as old as its read");
    assert_eq!(catalog.statistics().await.loads, 0);
}

#[tokio::test]
async fn a_program_that_is_gone_from_the_registry_is_given_up_when_it_is_read_again() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (catalog, _writer) = loaded(&registry, patient()).await;
    registry.remove(&id("1"), 2).await.unwrap();
    assert_eq!(name_at(&catalog, "1", STALE).await, "one");
    until("read", || registry.reads() == 1).await;
    while name_at(&catalog, "1", STALE).await != "Unknown" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_background_read_that_fails_leaves_the_program_and_another_begins_a_second_later() {
    let registry = Held::new();
    registry.import(["1", "2"].map(|id| program(id, "there", 1)).into()).await.unwrap();
    let (catalog, _writer) = loaded(&registry, patient()).await;
    registry.away.store(true, SeqCst);
    for _ in 0..1_000 {
        assert_eq!(name_at(&catalog, "1", STALE).await, "there");
        tokio::task::yield_now().await;
    }
    until("read", || registry.reads() == 1).await;
    for _ in 0..1_000 {
        assert_eq!(name_at(&catalog, "2", STALE + 999).await, "there");
        tokio::task::yield_now().await;
    }
    assert_eq!(registry.reads_of("2"), 0, "a registry that is away is not asked for each program");
    registry.away.store(false, SeqCst);
    for id in ["1", "2"] {
        let before = registry.reads_of(id);
        assert_eq!(name_at(&catalog, id, STALE + 1_000).await, "there");
        until("read again", || registry.reads_of(id) == before + 1).await;
    }
}

#[tokio::test]
async fn no_background_read_begins_when_there_are_as_many_reads_as_may_be() {
    let registry = Held::new();
    registry.import(["1", "2", "3"].map(|id| program(id, "there", 1)).into()).await.unwrap();
    let (catalog, _writer) = loaded(&registry, CatalogConfig { loads_max: 1, ..patient() }).await;
    registry.hold();
    assert_eq!(name_at(&catalog, "1", STALE).await, "there");
    until("read", || registry.reads() == 1).await;
    for id in ["2", "3"] {
        assert_eq!(name_at(&catalog, id, STALE).await, "there");
    }
    assert_eq!(catalog.statistics().await.loads, 1);
    registry.release();
    until("ended", || catalog.shared.loads.len() == 0).await;
    assert_eq!(registry.reads(), 1);
    assert_eq!(name_at(&catalog, "2", STALE + 1_000).await, "there");
    until("read", || registry.reads_of("2") == 1).await;
}

#[tokio::test]
async fn what_is_too_old_is_read_before_it_is_served_and_unverified_when_that_fails() {
    let registry = Held::new();
    registry.put(program("1", "one", 1)).await.unwrap();
    let (catalog, _writer) = loaded(&registry, patient()).await;
    registry.away.store(true, SeqCst);
    assert_eq!(name_at(&catalog, "1", EXPIRED - 1).await, "one");
    assert_eq!(name_at(&catalog, "1", EXPIRED).await, "Unverified");
    registry.away.store(false, SeqCst);
    registry.put(program("1", "two", 2)).await.unwrap();
    assert_eq!(name_at(&catalog, "1", EXPIRED).await, "two");
    let reads = registry.reads();
    assert_eq!((name_at(&catalog, "1", EXPIRED + 1).await.as_str(), registry.reads()), ("two", reads));
}

#[test]
fn without_a_runtime_what_is_old_is_served_and_not_read() {
    let registry = Held::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let catalog = runtime.block_on(async {
        registry.put(program("1", "one", 1)).await.unwrap();
        let (catalog, _writer) = loaded(&registry, patient()).await;
        assert_eq!(name(&catalog, "1").await, "one");
        catalog
    });
    let recalled = (0..10).filter_map(|_| catalog.recall("1", STALE)).count();
    assert!(recalled > 0);
    assert_eq!(registry.reads(), 0);
}
