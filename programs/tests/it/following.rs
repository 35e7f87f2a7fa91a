//! A subscription in trouble: whatever happens, the follower is told to look again.

use std::time::{Duration, Instant};

use programs::{Changes, Notice, Registry};

use crate::{
    contract::{id, in_time, next_change, program},
    redis::RedisServer,
    registry, until,
};

#[tokio::test]
async fn a_subscription_that_redis_kills_is_closed_soon_and_the_next_one_hears_again() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("a", 2, "heard")).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 2);

    let began = Instant::now();
    assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
    assert_eq!(in_time(subscription.next()).await, Notice::Closed);
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    assert_eq!(registry.counts().subscriptions_lost, 1);

    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("a", 3, "again")).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 3);
    assert_eq!(registry.counts().connections, 1, "calls have a connection of their own");
}

#[tokio::test]
async fn a_subscription_to_a_frozen_server_is_closed_by_silence() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let mut subscription = registry.subscribe().await.unwrap();
    server.pause();
    let began = Instant::now();
    assert_eq!(in_time(subscription.next()).await, Notice::Closed);
    // Asked after 5 s, given up after 2 more.
    assert!(began.elapsed() < Duration::from_secs(9), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_quiet_subscription_stays_open() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let mut subscription = registry.subscribe().await.unwrap();
    let pings = || server.command(&["INFO", "commandstats"]).matches("cmdstat_ping:").count();
    assert_eq!(server.command(&["CONFIG", "RESETSTAT"]), "OK");
    let quiet = async { subscription.next().await };
    tokio::select! {
        notice = quiet => panic!("nothing happened, heard {notice:?}"),
        () = until("asked for a sign of life", async || pings() == 1) => {}
    }
    registry.put(program("a", 1, "n")).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_hole_and_the_next_one_is_heard() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let mut subscription = registry.subscribe().await.unwrap();
    for garbage in ["", "hello", "{\"programId\":\"a\"}", "9 a b c"] {
        assert_eq!(server.command(&["PUBLISH", "{clickgate}:changes", garbage]), "1");
        assert_eq!(in_time(subscription.next()).await, Notice::Lagged { missed: 1 }, "{garbage:?}");
    }
    registry.put(program("a", 1, "n")).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 1);
    let counts = registry.counts();
    assert_eq!((counts.messages, counts.messages_unreadable), (5, 4));
}

#[tokio::test]
async fn a_program_too_large_for_a_message_is_announced_and_read() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let mut json = serde_json::to_value(program("a", 2, "n")).unwrap();
    let values: Vec<_> = (0..1_000).map(|at| format!("one of many values, number {at}")).collect();
    json["parameters"] = serde_json::json!({"A": {"type": "one_of", "values": values}});
    let large: programs::Program = serde_json::from_value(json).unwrap();
    registry.put(large.clone()).await.unwrap();
    assert_eq!(in_time(subscription.next()).await, Notice::Lagged { missed: 1 });
    let changes = registry.changes_since(before.epoch, before.version).await.unwrap();
    let Changes::List { changes, .. } = changes else { panic!("the log reaches back") };
    assert_eq!(changes[0].program.as_deref(), Some(&large));
}

#[tokio::test]
async fn a_subscriber_that_overflows_the_servers_buffer_is_cut_and_finds_what_it_missed() {
    let options = ["--client-output-buffer-limit", "pubsub 64kb 0 0"];
    let Some(server) = RedisServer::start_with(&options) else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let flood = "x".repeat(1_000_000);
    assert_eq!(server.command(&["PUBLISH", "{clickgate}:changes", &flood]), "1");
    registry.put(program("a", 2, "missed")).await.unwrap();
    loop {
        match in_time(subscription.next()).await {
            Notice::Closed => break,
            Notice::Lagged { .. } | Notice::Change(_) => {}
        }
    }
    let _subscription = registry.subscribe().await.unwrap();
    let changes = registry.changes_since(before.epoch, before.version).await.unwrap();
    assert!(matches!(changes, Changes::List { changes, .. } if changes.len() == 1));
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_holds_up_nobody_and_is_told_how_much_it_missed() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let mut subscription = registry.subscribe().await.unwrap();
    let many = programs::registry::SUBSCRIPTION_CHANGES_MAX as u64 + 100;
    for revision in 1..=many {
        registry.put(program("a", revision, "n")).await.unwrap();
    }
    until("heard", async || registry.counts().messages == many).await;
    assert_eq!(subscription.next().await, Notice::Lagged { missed: 100 });
    assert_eq!(next_change(&mut subscription).await.version, 101);
}

#[tokio::test]
async fn a_change_is_heard_by_another_process_within_milliseconds() {
    let Some(server) = RedisServer::start() else { return };
    let writer = registry(&server);
    let follower = registry(&server);
    writer.import(vec![program("a", 0, "n")]).await.unwrap();
    let mut subscription = follower.subscribe().await.unwrap();
    let mut waits = Vec::new();
    for revision in 1..=1_000 {
        let began = Instant::now();
        let (put, change) =
            tokio::join!(writer.put(program("a", revision, "n")), next_change(&mut subscription));
        put.unwrap();
        assert_eq!(change.program.unwrap().revision, Some(revision));
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    println!(
        "put to heard and answered: median {:?}, p99 {:?}, most {:?}",
        waits[500], waits[990], waits[999]
    );
    // Far above what it takes, and far below what polling would: the machine is shared.
    assert!(waits[500] < Duration::from_millis(50), "median {:?}", waits[500]);
}

#[tokio::test]
async fn a_subscription_that_is_dropped_leaves_no_connection() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    for _ in 0..5 {
        drop(registry.subscribe().await.unwrap());
    }
    let subscribers = || server.command(&["PUBSUB", "NUMSUB", "{clickgate}:changes"]);
    until("gone", async || subscribers().ends_with("\n0")).await;
    assert_eq!(registry.counts().subscriptions_lost, 0, "no subscription was lost");
}

#[tokio::test]
async fn a_store_that_is_emptied_under_a_follower_is_another_store_that_is_not_ready() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 1, "n"), program("b", 1, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    assert_eq!(server.command(&["FLUSHALL"]), "OK");

    let state = registry.state().await.unwrap();
    assert!(state != before && !state.ready && state.epoch != before.epoch);
    assert_eq!(registry.changes_since(before.epoch, before.version).await.unwrap(), Changes::Reload);
    let snapshot = registry.snapshot().await.unwrap();
    assert!(snapshot.programs.is_empty() && !snapshot.state.ready);

    // As many changes as before: the versions alone would say that nothing happened.
    registry.put(program("b", 1, "n")).await.unwrap();
    registry.put(program("c", 1, "n")).await.unwrap();
    let change = next_change(&mut subscription).await;
    assert!(change.epoch != before.epoch);
    let state = registry.state().await.unwrap();
    assert_eq!((state.version, state.ready), (before.version, false));
    assert_eq!(registry.changes_since(before.epoch, before.version).await.unwrap(), Changes::Reload);
    assert!(!registry.get(&id("a")).await.unwrap().state.ready);
}
