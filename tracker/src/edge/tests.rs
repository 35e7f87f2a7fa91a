use std::sync::atomic::Ordering;

use programs::testing::{Held, patient, program};
use stream::{Log, LogConfig};
use supervise::now_ms;
use tempfile::TempDir;
use tokio::task::LocalSet;

use super::*;
use crate::{
    config::Config,
    request::head::Method,
    request::routes::Target,
    testing::{TestHead, head},
};

/// An edge on a log and a registry of its own; the registry knows program `1`.
struct Bench {
    edge: Edge,
    registry: Arc<Held>,
    _dir: TempDir,
}

impl Bench {
    async fn new(config: Config) -> Self {
        let registry = Held::new();
        programs::Registry::put(&*registry, program("1", "one", 1)).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), "events", LogConfig::default()).unwrap();
        let lane = log.open_lane().unwrap();
        let config = Config { catalog: patient(), ..config };
        let site = Site::new(config, log, Arc::clone(&registry));
        Self { edge: Edge::new(Arc::new(site), lane, 1), registry, _dir: dir }
    }

    fn issued(&self) -> u64 {
        self.edge.site.log.lanes()[0].issued
    }

    async fn status(&self, head: &TestHead) -> u16 {
        let head = head.read();
        let target = Target::of(head.path, &self.edge.site.config().prefixes);
        Answer::from(self.edge.answer(target, &head, now_ms()).await).status().as_u16()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_hit_the_log_could_not_keep_is_not_acknowledged_and_a_click_still_redirects() {
    run(async {
        let bench = Bench::new(Config::default()).await;
        let head = head("/x/1", &[]);
        let program = program("1", "one", 1);
        for (route, kept, lost) in [
            (HitRoute::Event, 200, 503),
            (HitRoute::Impression, 200, 503),
            (HitRoute::Click, 302, 302),
            (HitRoute::Conversion, 200, 503),
        ] {
            let hit = Hit::read(route, "1", &head.read(), bench.edge.site.config(), 0);
            let answer = |outcome| bench.edge.acknowledge(&hit, Accepted::Known(&program), "id", outcome);
            for (outcome, status) in [
                (Outcome::Accepted, kept),
                (Outcome::NotCounted, kept),
                (Outcome::Shed, lost),
                (Outcome::NotDurable, lost),
            ] {
                let answer = Answer::from(answer(outcome));
                assert_eq!(answer.status().as_u16(), status, "{route:?} {outcome:?}");
                assert_eq!(answer.header("retry-after").is_some(), status == 503);
                let image = answer.header("content-type") == Some("image/gif");
                assert_eq!(image, route == HitRoute::Impression);
                let not_recorded = answer.header("x-clickgate-recorded") == Some("no");
                let lost = matches!(outcome, Outcome::Shed | Outcome::NotDurable);
                assert_eq!(not_recorded, lost && route == HitRoute::Click, "{route:?} {outcome:?}");
            }
        }
    });
}

#[test]
fn with_the_registry_away_hits_are_taken_as_unverified_or_refused_as_configured() {
    run(async {
        let fallback_url = Some("https://fallback.example.com/".into());
        let accept = Bench::new(Config { fallback_url, ..Config::default() }).await;
        let refuse =
            Bench::new(Config { unverified: programs::decision::Unverified::Refuse, ..Config::default() })
                .await;
        for (bench, statuses, outcomes) in [
            (
                accept,
                [200, 302, 200, 503],
                [Outcome::Accepted, Outcome::Accepted, Outcome::Accepted, Outcome::Refused],
            ),
            (refuse, [200, 404, 503, 503], [Outcome::Refused; 4]),
        ] {
            bench.registry.away.store(true, Ordering::SeqCst);
            let head = head("/x/1", &[]);
            for (at, route) in [HitRoute::Impression, HitRoute::Click, HitRoute::Conversion, HitRoute::Event]
                .into_iter()
                .enumerate()
            {
                let (outcome, reply) = bench.edge.judge(route, "1", &head.read(), now_ms()).await;
                let answer = Answer::from(reply);
                assert_eq!((outcome, answer.status().as_u16()), (outcomes[at], statuses[at]), "{route:?}");
            }
        }
    });
}

#[test]
fn a_tracker_that_never_loaded_its_programs_is_not_ready_but_live() {
    run(async {
        let bench = Bench::new(Config::default()).await;
        assert_eq!(bench.status(&head("/health/ready", &[])).await, 503);
        assert_eq!(bench.status(&head("/health/check", &[])).await, 503);
        assert_eq!(bench.status(&head("/health/live", &[])).await, 200);
        let writer = bench.edge.site.decider.catalog.writer().unwrap();
        writer.replace_all(&programs::Registry::snapshot(&*bench.registry).await.unwrap(), now_ms()).await;
        drop(writer);
        let health = bench.edge.site.health();
        assert!(health.ready && !health.catalog_fresh, "losing the registry does not make it unready");
        assert_eq!(bench.status(&head("/health/ready", &[])).await, 200);
    });
}

#[test]
fn a_hit_that_does_not_count_takes_no_number() {
    run(async {
        let bench = Bench::new(Config::default()).await;
        let before = bench.issued();
        let mut request = head("/i/1", &[]);
        request.method = Method::Head;
        assert_eq!(bench.status(&request).await, 200);
        request.method = Method::Post;
        assert_eq!(bench.status(&request).await, 405);
        assert_eq!(bench.status(&head("/i/1", &[("sec-purpose", b"prefetch")])).await, 200);
        assert_eq!(bench.issued(), before);
        assert_eq!(bench.status(&head("/i/1", &[])).await, 200);
        assert_eq!(bench.issued(), before + 1);
    });
}
