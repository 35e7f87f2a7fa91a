//! What is in Redis: who fills it, who damaged it, which life it is in.

use std::{collections::BTreeMap, time::Instant};

use programs::{Changes, Entry, Epoch, Notice, Program, Put, Registry, RegistryError};

use crate::{
    config,
    contract::{id, in_time, program},
    redis::{RedisServer, eventually},
    registry,
};

pub const KEYS: [&str; 3] = ["{clickgate}:meta", "{clickgate}:programs", "{clickgate}:versions"];

#[tokio::test]
async fn only_an_import_says_that_a_store_is_filled() {
    let Some(mut server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let empty = registry.state().await.unwrap();
    assert_eq!((empty.version, empty.ready, empty.epoch), (0, false, Epoch::from_u128(0)));
    registry.put(program("a", 1, "n")).await.unwrap();
    registry.remove(&id("b"), 1).await.unwrap();
    assert!(!registry.state().await.unwrap().ready, "one program is not all of them");
    registry.put_all(vec![]).await.unwrap();
    assert!(!registry.state().await.unwrap().ready, "nor are those that were put");
    let report = registry.import(vec![]).await.unwrap();
    assert_eq!((report.stored, report.version), (0, 2));
    let filled = registry.state().await.unwrap();
    assert!(filled.ready);

    server.restart();
    crate::until("back", async || registry.state().await.is_ok()).await;
    assert!(!registry.state().await.unwrap().ready, "a restart emptied it");
    registry.import(vec![]).await.unwrap();
    let again = registry.state().await.unwrap();
    assert!(again.ready && again.version == 0 && again.epoch != filled.epoch);
}

#[tokio::test]
async fn a_registry_that_lost_one_of_its_keys_is_damaged_and_left_as_it_is() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    for lost in KEYS {
        registry.import(vec![program("a", 1, "n")]).await.unwrap();
        assert_eq!(server.command(&["DEL", lost]), "1");
        let left: Vec<_> = KEYS.map(|key| server.command(&["DUMP", key])).to_vec();
        for error in [
            registry.state().await.unwrap_err(),
            registry.get(&id("a")).await.unwrap_err(),
            registry.snapshot().await.unwrap_err(),
            registry.put(program("b", 1, "n")).await.unwrap_err(),
            registry.import(vec![]).await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, RegistryError::Damaged(why) if why.contains("{clickgate}")),
                "{error:?}"
            );
        }
        assert_eq!(KEYS.map(|key| server.command(&["DUMP", key])).to_vec(), left);
        assert_eq!(server.command(&["FLUSHALL"]), "OK");
    }
}

#[tokio::test]
async fn a_format_or_a_key_that_is_not_ours_is_named_and_left_as_it_is() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 1, "n")]).await.unwrap();

    server.command(&["HSET", KEYS[0], "format", "2"]);
    let error = registry.put(program("c", 1, "n")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Newer { found: 2, known: 1 }), "{error:?}");
    server.command(&["HSET", KEYS[0], "format", "x"]);
    assert!(matches!(registry.state().await.unwrap_err(), RegistryError::Damaged(_)));
    server.command(&["FLUSHALL"]);
    server.command(&["SET", KEYS[1], "x"]);
    let error = registry.state().await.unwrap_err();
    assert!(matches!(&error, RegistryError::Damaged(why) if why.contains("WRONGTYPE")), "{error:?}");
}

#[tokio::test]
async fn an_import_that_breaks_off_is_not_ready_and_can_be_repeated() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.state().await.unwrap();
    let name = "n".repeat(250);
    let programs: Vec<_> = (0..20_000).map(|at| program(&format!("p{at}"), 1, &name)).collect();
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "6mb"]), "OK");
    let error = registry.import(programs.clone()).await.unwrap_err();
    let RegistryError::Unavailable(reason) = error else { panic!("{error:?}") };
    assert!(reason.to_string().contains("OOM"), "{reason}");
    let partly = registry.snapshot().await.unwrap();
    assert!(!partly.state.ready && !partly.programs.is_empty() && partly.programs.len() < 20_000);
    assert_eq!(partly.programs.len() as u64, partly.state.version, "each script is whole");

    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    let report = registry.import(programs).await.unwrap();
    assert_eq!((report.unchanged, report.stored + report.unchanged), (partly.state.version, 20_000));
    assert!(registry.state().await.unwrap().ready);
}

#[tokio::test]
async fn many_programs_go_on_after_a_restart_that_kept_the_store() {
    let Some(mut server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let first = |many| (0..many).map(|at| program(&format!("p{at}"), 1, "n")).collect::<Vec<_>>();
    registry.import(first(300)).await.unwrap();
    let mut epoch = registry.state().await.unwrap().epoch;
    for many in [1_000, 2_000] {
        assert_eq!(server.command(&["SAVE"]), "OK");
        server.restart();
        crate::until("back", async || registry.state().await.is_ok()).await;
        assert_eq!(registry.state().await.unwrap().epoch, epoch, "there was no write yet");
        // What is stored already fills the first scripts, and is no change.
        let report = match many {
            1_000 => registry.put_all(first(many)).await.unwrap(),
            _ => registry.import(first(many)).await.unwrap(),
        };
        assert_eq!((report.stored + report.unchanged, report.version), (many, many));
        let state = registry.state().await.unwrap();
        assert!(state.ready && state.epoch != epoch, "{state:?}");
        epoch = state.epoch;
    }
    assert_eq!(registry.snapshot().await.unwrap().programs.len(), 2_000);
}

#[tokio::test]
async fn a_write_that_changes_nothing_begins_the_epoch_of_a_server_that_came_back() {
    let Some(mut server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 5, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    assert_eq!(server.command(&["SAVE"]), "OK");
    server.restart();
    crate::until("back", async || registry.state().await.is_ok()).await;
    assert_eq!(registry.put(program("a", 5, "n")).await.unwrap(), Put::Unchanged { version: 1 });
    let state = registry.state().await.unwrap();
    assert_eq!((state.version, state.ready), (1, true));
    assert_ne!(state.epoch, before.epoch);
    registry.put(program("a", 4, "n")).await.unwrap();
    assert_eq!(registry.state().await.unwrap(), state, "once per server is enough");
}

#[tokio::test]
async fn a_lagging_replica_that_is_promoted_is_never_taken_for_its_master() {
    let Some(mut master) = RedisServer::start() else { return };
    let port = master.port().to_string();
    let Some(replica) = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]) else { return };
    let on_master = registry(&master);
    let on_replica = registry(&replica);
    on_master.import((0..5).map(|at| program(&format!("p{at}"), 1, "n")).collect()).await.unwrap();
    eventually("in step", || replica.command(&["HGET", KEYS[0], "version"]) == "5");
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    // These are lost.
    for at in 0..3 {
        on_master.put(program(&format!("p{at}"), 2, "lost")).await.unwrap();
    }
    let followed = on_master.state().await.unwrap();
    master.kill();

    // Before its first change, the promoted one is behind what was followed.
    let promoted = on_replica.state().await.unwrap();
    assert_eq!((promoted.epoch, promoted.version, promoted.ready), (followed.epoch, 5, true));
    let changes = on_replica.changes_since(followed.epoch, followed.version).await.unwrap();
    assert_eq!(changes, Changes::Reload);
    // After as many changes as were lost it would look the same, were it not for the epoch.
    for at in 2..5 {
        on_replica.put(program(&format!("p{at}"), 2, "kept")).await.unwrap();
    }
    let now = on_replica.state().await.unwrap();
    assert_eq!((now.version, now.ready), (followed.version, true));
    assert_ne!(now.epoch, followed.epoch);
    let changes = on_replica.changes_since(followed.epoch, followed.version).await.unwrap();
    assert_eq!(changes, Changes::Reload);
    on_replica.put(program("p0", 2, "n")).await.unwrap();
    assert_eq!(on_replica.state().await.unwrap().epoch, now.epoch, "once per server is enough");
}

#[tokio::test]
async fn a_write_to_a_replica_changes_nothing_and_is_tried_elsewhere_next_time() {
    let Some(master) = RedisServer::start() else { return };
    let port = master.port().to_string();
    let Some(replica) = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]) else { return };
    let on_master = registry(&master);
    let on_replica = registry(&replica);
    on_master.import(vec![program("a", 1, "n")]).await.unwrap();
    eventually("in step", || replica.command(&["HGET", KEYS[0], "version"]) == "1");
    assert!(on_replica.state().await.unwrap().ready, "a replica can be read");
    let error = on_replica.put(program("a", 2, "n")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error:?}");
    on_replica.state().await.unwrap();
    assert_eq!(on_replica.counts().connections, 2, "the name may lead to the master by now");
}

#[tokio::test]
async fn writers_of_two_processes_neither_lose_nor_reorder_a_version() {
    let Some(server) = RedisServer::start() else { return };
    let registries = [registry(&server), registry(&server)];
    let reader = registry(&server);
    let mut subscription = reader.subscribe().await.unwrap();
    let writers: Vec<_> = (0..16)
        .map(|writer: u64| {
            let registry = registries[writer as usize % 2].clone();
            tokio::spawn(async move {
                let mut stored = 0;
                for at in 0..25 {
                    // Four programs, on which all of them meet.
                    let put = registry.put(program(&format!("p{}", at % 4), at * 16 + writer, "n")).await;
                    stored += u64::from(matches!(put.unwrap(), Put::Stored { .. }));
                }
                stored
            })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        stored += in_time(writer).await.unwrap();
    }
    let mut last: BTreeMap<_, Program> = BTreeMap::new();
    for version in 1..=stored {
        let Notice::Change(change) = in_time(subscription.next()).await else { panic!("a hole") };
        assert_eq!(change.version, version);
        let program = Program::clone(&change.program.unwrap());
        if let Some(before) = last.insert(change.id, program.clone()) {
            assert!(before.revision < program.revision, "an older revision won");
        }
    }
    let snapshot = reader.snapshot().await.unwrap();
    assert_eq!(snapshot.state.version, stored);
    let kept: Vec<_> = snapshot.programs.iter().map(|(_, program)| Program::clone(program)).collect();
    assert_eq!(kept, last.into_values().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_snapshot_that_is_taken_while_everything_changes_is_of_one_moment() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let all = |revision| (0..5_000).map(move |at| program(&format!("p{at}"), revision, "n")).collect();
    registry.import(all(1)).await.unwrap();
    let writer = registry.clone();
    let writing = tokio::spawn(async move {
        for revision in 2..6 {
            writer.import(all(revision)).await.unwrap();
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let snapshot = in_time(registry.snapshot()).await.unwrap();
        // Programs change in the order of their numbers, so at one version the first ones have
        // the newer revision, and the versions follow from it.
        assert_eq!(snapshot.programs.len(), 5_000);
        let newest = snapshot.programs.iter().map(|(version, _)| *version).max().unwrap();
        assert_eq!(newest, snapshot.state.version);
        for (version, program) in &snapshot.programs {
            let at: u64 = program.id.as_str()[1..].parse().unwrap();
            assert_eq!(*version, (program.revision.unwrap() - 1) * 5_000 + at + 1);
            assert!(*version > newest - 5_000, "{} is older than the moment", program.id);
        }
        seen += 1;
    }
    in_time(writing).await.unwrap();
    assert!(seen > 0);
}

#[tokio::test]
async fn a_hundred_thousand_programs_are_imported_and_read_in_a_few_seconds() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let programs: Vec<_> = (0..100_000).map(|at| program(&format!("p{at}"), 1, "spring sale")).collect();
    let began = Instant::now();
    let report = registry.import(programs).await.unwrap();
    let imported = began.elapsed();
    assert_eq!((report.stored, report.version), (100_000, 100_000));
    let began = Instant::now();
    let snapshot = registry.snapshot().await.unwrap();
    let read = began.elapsed();
    assert_eq!(snapshot.programs.len(), 100_000);
    let longest = server.command(&["SLOWLOG", "GET", "1"]);
    let memory = server.command(&["INFO", "memory"]);
    let memory = memory.lines().find(|line| line.starts_with("used_memory_human")).unwrap_or_default();
    println!("100,000 programs: imported in {imported:?}, read in {read:?}, {memory}");
    println!("longest command:\n{}", longest.lines().take(3).collect::<Vec<_>>().join(" "));

    // The log reaches back 100,000 changes and no more.
    let epoch = snapshot.state.epoch;
    let Changes::List { changes, .. } = registry.changes_since(epoch, 0).await.unwrap() else {
        panic!("it reaches back")
    };
    assert_eq!(changes.len(), 100_000);
    registry.put(program("p0", 2, "n")).await.unwrap();
    assert_eq!(registry.changes_since(epoch, 0).await.unwrap(), Changes::Reload);
    assert!(matches!(registry.changes_since(epoch, 1).await.unwrap(), Changes::List { .. }));
}

#[tokio::test]
async fn registries_of_different_prefixes_do_not_see_each_other() {
    let Some(server) = RedisServer::start() else { return };
    let one = registry(&server);
    let config = programs::RedisConfig { prefix: "other".to_owned(), ..config(&server) };
    let other = programs::RedisRegistry::connect(&config).unwrap();
    let mut subscription = other.subscribe().await.unwrap();
    one.put(program("a", 1, "n")).await.unwrap();
    assert_eq!(other.get(&id("a")).await.unwrap().entry, Entry::Absent);
    other.put(program("b", 1, "n")).await.unwrap();
    assert_eq!(crate::contract::next_change(&mut subscription).await.id, id("b"));
    assert_eq!(one.snapshot().await.unwrap().programs.len(), 1);
}
