//! Beside the AWS sample: what its updater leaves in Redis is read, and never wins over ours.

use std::sync::Arc;

use programs::{Changes, Entry, Notice, Put, RedisConfig, RedisRegistry, Registry};

use crate::{
    config,
    contract::{id, in_time, next_change, program},
    redis::RedisServer,
};

fn beside_the_sample(server: &RedisServer) -> RedisRegistry {
    RedisRegistry::connect(&RedisConfig { aws_sample: true, ..config(server) }).unwrap()
}

/// What the sample's updater does with a message: a hash, then the message to everybody.
fn update(server: &RedisServer, id: &str, name: &str) {
    let fields = [
        "userAgent",
        "",
        "programId",
        id,
        "programName",
        name,
        "checksum",
        "54",
        "customerId",
        "2",
        "customerName",
        "Example",
        "messageId",
        "",
        "valid",
        "true",
    ];
    let words: Vec<_> = ["HMSET", id].into_iter().chain(fields).collect();
    assert_eq!(server.command(&words), "OK");
    let message = format!("{{\"programId\":\"{id}\",\"programName\":\"{name}\"}}");
    server.command(&["PUBLISH", "channel1", &message]);
}

#[tokio::test]
async fn its_programs_are_read_with_version_and_revision_0() {
    let Some(server) = RedisServer::start() else { return };
    let registry = beside_the_sample(&server);
    assert!(!registry.state().await.unwrap().ready, "an empty redis says nothing");
    update(&server, "212312", "Summer");
    update(&server, "212313", "Winter");
    server.command(&["HSET", "session", "user", "7"]);
    server.command(&["SET", "text", "x"]);
    registry.import(vec![]).await.unwrap();

    let read = registry.get(&id("212312")).await.unwrap();
    let Entry::Program { version: 0, program } = read.entry else { panic!("{:?}", read.entry) };
    assert_eq!((program.name(), program.customer_id, program.revision), ("Summer", 2, Some(0)));
    assert!(program.valid && read.state.ready);
    for strange in ["session", "text", "nothing"] {
        assert_eq!(registry.get(&id(strange)).await.unwrap().entry, Entry::Absent, "{strange}");
    }
    let snapshot = registry.snapshot().await.unwrap();
    let names: Vec<_> = snapshot.programs.iter().map(|(at, program)| (*at, program.name())).collect();
    assert_eq!((names, snapshot.state.ready), (vec![(0, "Summer"), (0, "Winter")], true));

    let without = crate::registry(&server);
    assert_eq!(without.get(&id("212312")).await.unwrap().entry, Entry::Absent);
}

#[tokio::test]
async fn only_our_own_mark_says_that_its_programs_are_complete() {
    let Some(server) = RedisServer::start() else { return };
    let registry = beside_the_sample(&server);
    for _ in 0..2 {
        update(&server, "212312", "Summer");
        server.command(&["SET", "foreign", "x"]);
        let read = registry.get(&id("212313")).await.unwrap();
        assert_eq!((read.entry, read.state.ready), (Entry::Absent, false), "it may lack the others");
        assert!(!registry.state().await.unwrap().ready);
        assert!(!registry.snapshot().await.unwrap().state.ready);
        assert!(matches!(registry.get(&id("212312")).await.unwrap().entry, Entry::Program { .. }));

        update(&server, "212313", "Winter");
        registry.import(vec![]).await.unwrap();
        assert!(registry.state().await.unwrap().ready);
        assert_eq!(registry.snapshot().await.unwrap().programs.len(), 2);
        assert_eq!(server.command(&["FLUSHALL"]), "OK");
    }
}

#[tokio::test]
async fn what_was_once_ours_stays_ours() {
    let Some(server) = RedisServer::start() else { return };
    let registry = beside_the_sample(&server);
    update(&server, "1", "theirs");
    update(&server, "2", "theirs");
    assert_eq!(registry.put(program("1", 1, "ours")).await.unwrap(), Put::Stored { version: 1 });
    registry.remove(&id("2"), 1).await.unwrap();
    update(&server, "1", "theirs again");
    update(&server, "2", "theirs again");
    let expected = Entry::Program { version: 1, program: Arc::new(program("1", 1, "ours")) };
    assert_eq!(registry.get(&id("1")).await.unwrap().entry, expected);
    assert_eq!(registry.get(&id("2")).await.unwrap().entry, Entry::Removed { version: 2, revision: 1 });
    let snapshot = registry.snapshot().await.unwrap();
    assert_eq!(snapshot.programs, [(1, Arc::new(program("1", 1, "ours")))]);
}

#[tokio::test]
async fn its_message_makes_a_follower_load_again_once() {
    let Some(server) = RedisServer::start() else { return };
    let registry = beside_the_sample(&server);
    update(&server, "1", "before");
    let mut subscription = registry.subscribe().await.unwrap();
    let loaded = registry.snapshot().await.unwrap().state;
    assert_eq!(registry.state().await.unwrap(), loaded);

    update(&server, "1", "after");
    assert_eq!(in_time(subscription.next()).await, Notice::Lagged { missed: 1 });
    assert_ne!(registry.state().await.unwrap(), loaded, "the comparison sees it too");
    let changes = registry.changes_since(loaded.epoch, loaded.version).await.unwrap();
    assert_eq!(changes, Changes::Reload);
    let snapshot = registry.snapshot().await.unwrap();
    assert_eq!(snapshot.programs[0].1.name(), "after");
    let state = snapshot.state;
    let changes = registry.changes_since(state.epoch, state.version).await.unwrap();
    assert_eq!(changes, Changes::List { state, changes: vec![] }, "once is enough");

    registry.put(program("2", 1, "ours")).await.unwrap();
    let change = next_change(&mut subscription).await;
    let now = registry.state().await.unwrap();
    assert_eq!((change.version, change.epoch), (1, now.epoch));
}
