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
        let catalog = Catalog::new(config, Arc::clone(registry), CatalogCounters::new());
        let (line, snapped) = lifeline();
        let follower = Follower::new(Arc::clone(registry), catalog.writer().unwrap(), None);
        let refresher = Refresher::new(follower, line);
        let arbiter = Arbiter::new();
        let actor = Supervisor::start_in_arbiter(&arbiter.handle(), move |_| refresher);
        (Self { registry: Arc::clone(registry), catalog, actor, arbiter }, snapped)
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(std::time::Instant::now() < end, "never {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn name(&self, id: &str, now_ms: u64) -> String {
        match self.catalog.find(id, now_ms).await {
            Verdict::Known(program) => program.name().to_string(),
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
        // At the next comparison.
        registry.panics.store(true, SeqCst);
        snapped.await;
        following.eventually("not fresh", |following| !following.catalog.is_fresh()).await;
        assert!(following.catalog.writer().is_some());
        assert_eq!(following.name("1", supervise::now_ms()).await, "one");
    });
}

/// Loads are under way and more wait for them; `meanwhile` happens. All are loaded in the end, the
/// change that comes after them is heard, and the refresher does not panic.
fn while_loading(meanwhile: impl AsyncFnOnce(&Following)) {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.import((0..500).map(|at| program(&at.to_string(), "there", 1)).collect()).await.unwrap();
        let (following, snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        let loads: Vec<_> = (0..MAILBOX_MAX).map(|_| following.actor.send(Fill)).collect();
        let all = async {
            let (loads, ()) = tokio::join!(futures_util::future::join_all(loads), meanwhile(&following));
            for loaded in loads {
                assert!(loaded.unwrap().unwrap() >= 500);
            }
            registry.put(program("after", "after", 1)).await.unwrap();
            while following.name("after", NOW).await != "after" {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        futures_util::pin_mut!(snapped, all);
        let first = futures_util::future::select(snapped, all).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)), "the refresher panicked");
    });
}

#[test]
fn changes_are_heard_between_two_loads() {
    while_loading(async |following| {
        for at in 0..20 {
            following.registry.put(program("new", "new", at)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_comparison_that_was_due_twice_is_made_between_two_loads() {
    while_loading(async |following| {
        // Time itself is what happens here; the refresher's thread has a clock of its own.
        let end = std::time::Instant::now() + COMPARE_EVERY * 2;
        while std::time::Instant::now() < end {
            assert!(following.actor.send(Fill).await.unwrap().is_ok());
        }
    });
}

#[test]
fn a_subscription_may_end_between_two_loads() {
    actix_rt::System::new().block_on(async {
        let registry = Held::new();
        registry.put(program("1", "one", 1)).await.unwrap();
        let (following, snapped) = Following::start(&registry, patient());
        following.eventually("fresh", |following| following.catalog.is_fresh()).await;
        let loads: Vec<_> = (0..MAILBOX_MAX).map(|_| following.actor.send(Fill)).collect();
        let next = registry.dir.path().join("next.redb");
        registry.replace(crate::LocalRegistry::open(&next).unwrap());
        let all = async {
            for load in loads {
                load.await.unwrap().unwrap();
            }
            registry.put(program("after", "after", 1)).await.unwrap();
            while following.name("after", NOW).await != "after" {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        futures_util::pin_mut!(snapped, all);
        let first = futures_util::future::select(snapped, all).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)), "the refresher panicked");
    });
}
