use std::sync::{Arc, atomic::Ordering::SeqCst};

use actix::{Addr, Arbiter, Supervisor};
use supervise::lifeline;

use super::*;
use crate::{
    catalog::CatalogConfig,
    catalog::CatalogCounters,
    catalog::{Catalog, Verdict},
    testing::{Held, NOW, patient, program},
};

struct Following {
    registry: Arc<Held>,
    catalog: Catalog,
    actor: Addr<Refresher<Held>>,
    arbiter: Arbiter,
}

impl Following {
    fn start(registry: &Arc<Held>, config: CatalogConfig) -> (Self, impl Future<Output = ()>) {
        let mailbox_max = config.refresh_queue_max;
        let catalog = Catalog::new(config, Arc::clone(registry), CatalogCounters::new());
        let (line, snapped) = lifeline();
        let follower = Follower::new(Arc::clone(registry), catalog.writer().unwrap(), None);
        let refresher = Refresher::new(follower, mailbox_max, line);
        let arbiter = Arbiter::new();
        let actor = Supervisor::start_in_arbiter(&arbiter.handle(), move |_| refresher);
        catalog.set_refresher(actor.clone().recipient());
        (Self { registry: Arc::clone(registry), catalog, actor, arbiter }, snapped)
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(std::time::Instant::now() < end, "never {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns when everything that was to be read again is read.
    async fn settle(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while self.catalog.statistics().await.refreshes > 0 {
            assert!(std::time::Instant::now() < end, "never settled");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn name(&self, id: &str, now_ms: u64) -> String {
        match self.catalog.find(id, now_ms).await {
            Verdict::Known(program) => program.name.to_string(),
            verdict => format!("{verdict:?}"),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

#[test]
fn a_registry_that_comes_late_or_goes_away_is_followed_once_it_is_there() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.away.store(true, SeqCst);
        let (following, _snapped) = Following::start(&registry, patient());
        assert!(!following.catalog.is_loaded());
        registry.away.store(false, SeqCst);
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;

        registry.away.store(true, SeqCst);
        registry.replace(crate::LocalRegistry::open(&registry.dir.path().join("next.redb")).unwrap());
        following.eventually("not fresh", |following| !following.catalog.is_fresh()).await;
        registry.away.store(false, SeqCst);
        following.eventually("fresh again", |following| following.catalog.is_fresh()).await;

        registry.put(program("1", "one", 1)).await.unwrap();
        while following.catalog.statistics().await.entries == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((following.name("1", NOW).await.as_str(), registry.reads()), ("one", 0));
    });
}

#[test]
fn a_program_that_has_become_old_is_read_again_once_and_served_meanwhile() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.put(program("1", "one", 1)).await.unwrap();
        let (following, _snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;

        let old = supervise::now_ms() + 661_000;
        registry.hold();
        for _ in 0..100 {
            assert_eq!(following.name("1", old).await, "one");
        }
        following.eventually("read", |following| following.registry.reads() == 1).await;
        registry.let_go();
        following.settle().await;
        assert_eq!(registry.reads_of("1"), 1, "a hundred hits asked once");
    });
}

#[test]
fn a_full_queue_drops_the_request_and_a_later_hit_asks_again() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        let ids: Vec<_> = (0..50).map(|at| at.to_string()).collect();
        registry.import(ids.iter().map(|id| program(id, "there", 1)).collect()).await.unwrap();
        let config = CatalogConfig { refresh_queue_max: 2, registry_timeout_ms: 60_000, ..patient() };
        let (following, _snapped) = Following::start(&registry, config);
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;

        let old = supervise::now_ms() + 661_000;
        registry.hold();
        for id in &ids {
            assert_eq!(following.name(id, old).await, "there");
        }
        registry.let_go();
        following.settle().await;
        assert!(registry.reads() < 10, "{} of 50 had room", registry.reads());
        for id in &ids {
            assert_eq!(following.name(id, old).await, "there");
            following.settle().await;
        }
        assert!(ids.iter().all(|id| registry.reads_of(id) > 0));
    });
}

#[test]
fn filling_loads_what_no_notice_told() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.import((0..7).map(|at| program(&at.to_string(), "there", 1)).collect()).await.unwrap();
        let (following, _snapped) = Following::start(&registry, patient());
        assert_eq!(following.actor.send(Fill).await.unwrap().unwrap(), 7);
        following.catalog.purge_all().await;
        assert_eq!(following.actor.send(Fill).await.unwrap().unwrap(), 7);
        assert_eq!(following.name("3", NOW).await, "there");
        assert_eq!(registry.reads(), 0);
    });
}

#[test]
fn a_panic_snaps_the_lifeline_and_leaves_the_catalog_not_fresh_and_writable() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.put(program("1", "one", 1)).await.unwrap();
        let (following, snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        registry.panics.store(true, SeqCst);
        following.name("1", supervise::now_ms() + 661_000).await;
        snapped.await;
        following.eventually("not fresh", |following| !following.catalog.is_fresh()).await;
        assert!(following.catalog.writer().is_some());
    });
}

/// A read is under way and more wait for it; `meanwhile` happens; the reads get their answers.
/// All are read in the end, and the refresher does not panic.
fn while_reading(meanwhile: impl AsyncFnOnce(&Following)) {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        let ids: Vec<_> = (0..10).map(|at| at.to_string()).collect();
        registry.import(ids.iter().map(|id| program(id, "there", 1)).collect()).await.unwrap();
        let (following, snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        registry.hold();
        let old = supervise::now_ms() + 661_000;
        for id in &ids {
            assert_eq!(following.name(id, old).await, "there");
        }
        following.eventually("reading", |following| following.registry.reads() == 1).await;
        meanwhile(&following).await;
        registry.let_go();
        let all_read = async {
            following.eventually("read", |_| ids.iter().all(|id| registry.reads_of(id) > 0)).await;
            following.settle().await;
        };
        futures_util::pin_mut!(snapped, all_read);
        let first = futures_util::future::select(snapped, all_read).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)), "the refresher panicked");
    });
}

#[test]
fn a_change_is_heard_between_two_reads() {
    while_reading(async |following| {
        following.registry.put(program("new", "new", 1)).await.unwrap();
    });
}

#[test]
fn everything_is_loaded_between_two_reads_while_a_change_is_there_to_be_heard() {
    while_reading(async |following| {
        following.actor.try_send(Fill).unwrap();
        following.registry.put(program("new", "new", 1)).await.unwrap();
    });
}

#[test]
fn a_subscription_may_end_between_two_reads() {
    while_reading(async |following| {
        let next = following.registry.dir.path().join("next.redb");
        following.registry.replace(crate::LocalRegistry::open(&next).unwrap());
    });
}

#[test]
fn a_comparison_that_was_due_twice_is_made_between_two_reads() {
    while_reading(async |following| {
        let compared = following.registry.states();
        // Time itself is what happens here; the refresher's thread has a clock of its own.
        tokio::time::sleep(COMPARE_EVERY * 2 + Duration::from_millis(500)).await;
        assert_eq!(following.registry.states(), compared, "the read comes first");
    });
}

#[test]
fn what_nobody_can_read_again_becomes_no_older_while_comparing_finds_nothing_new() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.put(program("1", "there", 1)).await.unwrap();
        // Served for 6 s after it was read, and a read takes for ever.
        let config = CatalogConfig {
            fresh_seconds: 3,
            jitter_percent: 0,
            stale_seconds: 3,
            ..CatalogConfig::default()
        };
        let (following, _snapped) = Following::start(&registry, config);
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        registry.hold();
        // Time itself is what happens here; two renewals, after two comparisons.
        let began = std::time::Instant::now();
        while began.elapsed() < COMPARE_EVERY * 2 + Duration::from_secs(1) {
            assert_eq!(following.name("1", supervise::now_ms()).await, "there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        registry.let_go();
    });
}

#[test]
fn changes_do_not_wait_for_a_queue_of_programs_to_be_read_again() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        let ids: Vec<_> = (0..1_000).map(|at| at.to_string()).collect();
        registry.import(ids.iter().map(|id| program(id, "there", 1)).collect()).await.unwrap();
        let (following, _snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        let old = supervise::now_ms() + 661_000;
        registry.hold();
        for id in &ids {
            assert_eq!(following.name(id, old).await, "there");
        }
        following.eventually("reading", |following| following.registry.reads() == 1).await;
        registry.put(program("1", "changed", 2)).await.unwrap();
        // The read under way gets its answer, and none after it.
        registry.let_one_go();
        while following.name("1", NOW).await != "changed" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(registry.reads() <= 2, "{} reads came before the change", registry.reads());
        registry.let_go();
    });
}

#[test]
fn a_program_that_could_not_be_read_again_is_asked_for_later() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.import(["1", "2"].map(|id| program(id, "there", 1)).into()).await.unwrap();
        let (following, _snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        let old = supervise::now_ms() + 661_000;
        registry.away.store(true, SeqCst);
        for id in ["1", "2"] {
            assert_eq!(following.name(id, old).await, "there");
            following.settle().await;
        }
        // As a rule the second is not even tried, so soon after the first.
        assert_eq!(registry.reads_of("1"), 1);
        registry.away.store(false, SeqCst);
        for id in ["1", "2"] {
            let before = registry.reads_of(id);
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while registry.reads_of(id) == before {
                assert!(std::time::Instant::now() < end, "{id} is never asked for again");
                // A fake clock for the catalog; the refresher's pause is by its own.
                assert_eq!(following.name(id, old + 10_000).await, "there");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
}
