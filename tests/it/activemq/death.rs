//! A bridge that panics, beside a tracker in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bridges::activemq::{Broker, Plan, Queue, RunningBridge, Sink, StatusHandle, Target};
use futures_util::FutureExt;
use programs::{LocalRegistry, Registry};
use serde_json::json;
use stream::{Log, LogConfig};
use tracker::Tracker;

use super::broker::ActiveMq;
use super::clients::publish;
use crate::http;

#[test]
fn a_bridge_that_panics_does_not_disturb_the_pixels_and_starts_again() {
    let Some(broker) = ActiveMq::start() else { return };
    let body = r#"{"programId": "spring", "removed": true}"#;
    publish(broker.port, &[json!({ "to": "/queue/campaigns", "text": body })]);
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { cursors: vec!["table".to_owned()], ..LogConfig::default() };
    let log = Log::open(dir.path(), "events", config).unwrap();
    let registry = Arc::new(LocalRegistry::open(&dir.path().join("registry.redb")).unwrap());
    let deaths = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::new(AtomicBool::new(false));
    let accept = {
        let (deaths, accepted) = (Arc::clone(&deaths), Arc::clone(&accepted));
        move |_changes| {
            let (deaths, accepted) = (Arc::clone(&deaths), Arc::clone(&accepted));
            async move {
                assert!(deaths.fetch_add(1, SeqCst) >= 2, "the first two deaths are part of the test");
                accepted.store(true, SeqCst);
                Ok(())
            }
            .boxed_local()
        }
    };
    let sink = Sink {
        log: log.clone(),
        judge: None,
        core_data: Some(Arc::new(accept)),
        letters: Arc::new(|_letters| async { Ok(0) }.boxed_local()),
    };
    let queue = Queue {
        broker: "main".into(),
        destination: "/queue/campaigns".into(),
        target: Target::Programs,
        ..Queue::default()
    };
    let urls = vec![format!("stomp://127.0.0.1:{}", broker.port).parse().unwrap()];
    let broker_config = Broker { urls, ..Broker::default() };
    let dir_of_attempts = dir.path().join("activemq");
    let plan = Plan { name: "campaigns".into(), broker: broker_config, queue, sink, dir: dir_of_attempts };

    actix_rt::System::new().block_on(async {
        let samples = programs::samples().into_iter().map(|program| program.or_revision(0)).collect();
        registry.import(samples).await.unwrap();
        let settings =
            tracker::Config { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..tracker::Config::default() };
        let tracker = Tracker::bind(settings, log.clone(), Arc::clone(&registry)).unwrap();
        let (address, handle) = (tracker.admin().address(), tracker.handle());
        let serving = actix_rt::spawn(tracker.run());
        let status = StatusHandle::new();
        let bridge = RunningBridge::start(plan, status.clone());

        // On a thread, as its client blocks: pixels all the time until the bridge works.
        let done = Arc::clone(&accepted);
        let hits = actix_rt::task::spawn_blocking(move || {
            let mut served = 0;
            while !done.load(SeqCst) || served < 100 {
                let answer = http::get(address, "/i/212312.gif");
                assert_eq!((answer.status, answer.body.len()), (200, 43));
                served += 1;
            }
            served
        });
        let served =
            tokio::time::timeout(Duration::from_secs(60), hits).await.expect("it starts again").unwrap();
        assert!(served >= 100);
        assert_eq!(deaths.load(SeqCst), 3);
        assert_eq!(status.get().restarts, 2);
        // The message is acknowledged in the turn behind that.
        let acknowledged = async {
            while status.get().counts.acknowledged < 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), acknowledged).await.expect("it is acknowledged");
        bridge.drain(Duration::from_secs(5)).await;
        handle.stop();
        serving.await.unwrap().unwrap();
        log.close();
    });
}
