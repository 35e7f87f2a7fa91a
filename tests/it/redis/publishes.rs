//! Publishes that are lost, garbled, too many, repeated or late.

use rustix::process::Signal;

use super::region::{Hits, all_know, edge, happened, import, is_fresh, program, programs, put};
use super::server::RedisServer;
use crate::fault_proxy::FaultProxy;
use crate::world::eventually;

#[test]
fn a_publish_that_is_lost_is_made_good_by_the_next_one_or_by_comparing() {
    let Some(server) = RedisServer::start() else { return };
    let proxy = FaultProxy::to(server.port());
    let (writer, world) = (edge(&server.url()), edge(&proxy.url()));
    import(&writer, &programs(10, 1));
    let tracker = world.start("tracker");
    let hits = Hits::on(tracker.tracker, "7");

    proxy.drop_one_of(3);
    for revision in 2..20 {
        put(&writer, "7", revision);
        put(&writer, "8", revision);
    }
    all_know(&[&tracker], "7", 19);
    all_know(&[&tracker], "8", 19);
    assert_eq!(proxy.dropped(), 12);
    assert!(happened(&tracker, "hole") > 0);

    // With none behind it, only a comparison finds it.
    proxy.drop_one_of(1);
    let missed = happened(&tracker, "missed");
    put(&writer, "7", 20);
    let took = all_know(&[&tracker], "7", 20);
    assert!(happened(&tracker, "missed") > missed);
    assert!(is_fresh(&tracker), "the subscription was never lost");
    eprintln!("publishes lost: {:?}, the last one found after {took:?}", hits.end());
}

#[test]
fn a_subscriber_that_cannot_follow_is_cut_off_by_a_small_buffer_and_recovers() {
    let limit = ["--client-output-buffer-limit", "pubsub 262144 131072 1"];
    let Some(server) = RedisServer::start_with(&limit) else { return };
    let (writer, first, second) = (edge(&server.url()), edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(100, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    let hits = Hits::on(a.tracker, "7");

    // The second reads nothing while more is published than the kernel and Redis keep for it;
    // garbage besides, which must not hurt those who read it.
    b.signal(Signal::STOP);
    let subscribers = || server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count();
    let garbage = "x".repeat(100_000);
    eventually("Redis cuts it off", || {
        for _ in 0..20 {
            server.command(&["PUBLISH", "{clickgate}:changes", &garbage]);
        }
        put(&writer, "7", 2);
        subscribers() < 2
    });
    b.signal(Signal::CONT);
    put(&writer, "7", 3);
    let took = all_know(&[&a, &b], "7", 3);
    eventually("counted", || happened(&b, "lost") > 0);
    eventually("the garbage was counted", || {
        let scraped = crate::documents::scrape(&a);
        crate::documents::value(&scraped, "clickgate_redis_total{event=\"message_unreadable\"}") > 0.0
    });
    eprintln!("burst of garbage: {:?}, in step {took:?} after it", hits.end());
}

#[test]
fn core_data_that_is_replayed_or_comes_out_of_order_rolls_nothing_back() {
    let Some(server) = RedisServer::start() else { return };
    let (writer, world) = (edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(20, 1));
    let tracker = world.start("tracker");
    let hits = Hits::on(tracker.tracker, "7");
    let mut newest = 1;
    for revision in [3, 2, 3, 5, 4, 4, 6, 1, 9, 7, 8, 9] {
        let stored = writer.run(&["programs", "put", &program("7", revision)]);
        assert_eq!(stored.status.success(), revision >= newest, "{revision} over {newest}: {stored:?}");
        newest = newest.max(revision);
        all_know(&[&tracker], "7", newest);
    }
    // The whole feed again, as a source does that lost its place: nothing is stored.
    let file = writer.write("again.jsonl", &programs(20, 1));
    let again = writer.run(&["--json", "programs", "import", &file.display().to_string()]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((report["stored"].as_u64(), report["unchanged"].as_u64()), (Some(0), Some(19)));
    assert_eq!(report["refused"].as_array().map(Vec::len), Some(1));
    hits.end();
    writer.ok(&["programs", "rm", "7", "--revision", "10"]);
    eventually("the removal is known", || super::region::revision(tracker.tracker, "7").is_none());
    assert!(!writer.run(&["programs", "put", &program("7", 9)]).status.success(), "a late older one");
    put(&writer, "8", 2);
    all_know(&[&tracker], "8", 2);
    assert_eq!(super::region::revision(tracker.tracker, "7"), None, "it stays removed");
    assert_eq!((happened(&tracker, "fell_back"), happened(&tracker, "other_store")), (0, 0));
}
