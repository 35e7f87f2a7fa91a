//! Redis is away: killed, emptied, frozen, or it hangs up.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::region::{Hits, all_know, edge, happened, import, is_fresh, programs, put, revision};
use super::server::RedisServer;
use crate::documents::{scrape, value};
use crate::http;
use crate::world::eventually;

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_makes_no_program_unknown() {
    let Some(mut server) = RedisServer::start() else { return };
    let (writer, first, second) = (edge(&server.url()), edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(500, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    put(&writer, "7", 2);
    all_know(&[&a, &b], "7", 2);
    eventually("the snapshot holds it", || {
        value(&scrape(&b), "clickgate_snapshot_total{result=\"written\"}") >= 2.0
    });
    let hits = Hits::on(a.tracker, "7");

    server.kill();
    eventually("the first is not fresh", || !is_fresh(&a));
    eventually("the log says why", || a.output().contains("Connection refused"));
    assert_eq!(revision(b.tracker, "499"), Some(1));
    let nosuch = http::get(a.tracker, "/event/nosuch");
    assert_eq!((nosuch.status, nosuch.json()["error"].as_str()), (503, Some("unverified_program")));
    assert!(value(&scrape(&a), "clickgate_ready") == 1.0, "losing Redis makes no tracker unready");

    // A tracker that starts now knows what it knew, at its age.
    b.kill();
    let b = second.start("tracker");
    assert_eq!((revision(b.tracker, "7"), is_fresh(&b)), (Some(2), false));
    let scraped = scrape(&b);
    assert_eq!(value(&scraped, "clickgate_snapshot_total{result=\"loaded\"}"), 1.0);
    assert!(value(&scraped, "clickgate_catalog_age_seconds") > 0.0);

    // It comes back with nothing: that is no proof that there is nothing.
    server.restart();
    for tracker in [&a, &b] {
        eventually("the emptied store is seen", || happened(tracker, "not_ready") > 0);
        assert_eq!((revision(tracker.tracker, "499"), is_fresh(tracker)), (Some(1), false));
    }
    assert_eq!(http::get(b.tracker, "/event/nosuch").status, 503, "still no proof");

    // One program does not fill it; its source's import does.
    put(&writer, "7", 3);
    import(&writer, &programs(500, 4));
    let took = all_know(&[&a, &b], "7", 4);
    all_know(&[&a, &b], "499", 4);
    assert_eq!(http::get(a.tracker, "/event/nosuch").status, 404, "now it is proof");
    assert!(happened(&a, "other_store") >= 1 && is_fresh(&a) && is_fresh(&b));
    eprintln!("killed and emptied: {:?}, in step {took:?} after the import", hits.end());
}

#[test]
fn a_tracker_that_was_stopped_starts_without_redis_with_all_that_it_knew() {
    let Some(mut server) = RedisServer::start() else { return };
    let slow = || edge(&server.url()).with("tracker.catalog.snapshot_seconds", "3600");
    let (writer, world) = (slow(), slow());
    import(&writer, &programs(50, 1));
    let tracker = world.start("tracker");
    eventually("the snapshot is there", || {
        value(&scrape(&tracker), "clickgate_snapshot_total{result=\"written\"}") == 1.0
    });
    put(&writer, "7", 2);
    eventually("it is known", || happened(&tracker, "change") == 1);
    tracker.stop();
    server.kill();
    let tracker = world.start("tracker");
    assert_eq!((revision(tracker.tracker, "7"), revision(tracker.tracker, "49")), (Some(2), Some(1)));
    assert!(!is_fresh(&tracker));
}

#[test]
fn a_redis_that_is_frozen_for_30_seconds_is_not_waited_for() {
    let Some(server) = RedisServer::start() else { return };
    let (writer, world) = (edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(100, 1));
    let tracker = world.start("tracker");
    all_know(&[&tracker], "7", 1);
    let hits = Hits::on(tracker.tracker, "7");

    server.pause();
    let frozen = Instant::now();
    eventually("it is noticed", || !is_fresh(&tracker));
    assert!(frozen.elapsed() < Duration::from_secs(15), "{:?}", frozen.elapsed());
    let asked = Instant::now();
    assert_eq!(http::get(tracker.tracker, "/event/nosuch").status, 503);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // The time itself is what is tested.
    std::thread::sleep(Duration::from_secs(30).saturating_sub(frozen.elapsed()));
    assert_eq!(revision(tracker.tracker, "99"), Some(1));

    server.resume();
    put(&writer, "7", 2);
    let took = all_know(&[&tracker], "7", 2);
    eventually("fresh again", || is_fresh(&tracker));
    assert!(happened(&tracker, "lost") > 0);
    eprintln!("frozen for 30 s: {:?}, in step {took:?} after it went on", hits.end());
}

#[test]
fn a_tracker_that_was_frozen_for_longer_than_two_comparisons_goes_on_as_before() {
    let Some(server) = RedisServer::start() else { return };
    let (writer, world) = (edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(500, 1));
    let tracker = world.start("tracker");
    tracker.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(8));
    tracker.signal(Signal::CONT);
    put(&writer, "7", 2);
    all_know(&[&tracker], "7", 2);
    // Its process also must not have panicked; see `Process`.
    assert!(!tracker.output().contains("the refresher is gone"), "{}", tracker.output());
}

#[test]
fn a_subscriber_that_is_cut_off_subscribes_again_and_misses_nothing() {
    let Some(server) = RedisServer::start() else { return };
    let (writer, first, second) = (edge(&server.url()), edge(&server.url()), edge(&server.url()));
    import(&writer, &programs(100, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    let hits = Hits::on(a.tracker, "7");
    for round in 2..6 {
        let lost = happened(&a, "lost");
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "2");
        put(&writer, "7", round);
        all_know(&[&a, &b], "7", round);
        eventually("it was counted", || happened(&a, "lost") > lost);
        eventually("both are subscribed", || {
            server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count() == 2
        });
    }
    eprintln!("cut off four times: {:?}", hits.end());
}
