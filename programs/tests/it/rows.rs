//! Rows that this release did not write: unreadable ones, those of a newer release, and those whose
//! version differs from the log.

use programs::{Changes, Entry, Put, Registry, RegistryError};

use crate::{
    contract::{id, in_time, next_change, program},
    redis::RedisServer,
    registry,
    store::KEYS,
};

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_counted_until_it_is_written_over() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(["a", "b", "c"].map(|id| program(id, 9, "n")).to_vec()).await.unwrap();
    let good = server.command(&["HGET", KEYS[1], "a"]);
    let half = &good[..good.len() - 1];
    let too_much = "1 99999999999999999999 {}";
    for strange in ["", "x", "1 2", "1 2 {}", "99999999999999999999 1 ", half, too_much] {
        server.command(&["HSET", KEYS[1], "a", strange]);
        let state = registry.state().await.unwrap();
        assert!(state.ready, "{strange:?}");
        let unreadable = registry.counts().rows_unreadable;
        let read = registry.get(&id("a")).await.unwrap();
        assert_eq!((read.entry, read.state.ready), (Entry::Absent, false), "{strange:?}");
        let snapshot = registry.snapshot().await.unwrap();
        let ids: Vec<_> = snapshot.programs.iter().map(|(_, program)| program.id.as_str()).collect();
        assert_eq!((ids, snapshot.state), (vec!["b", "c"], state), "{strange:?}");
        let changes = registry.changes_since(state.epoch, 0).await.unwrap();
        assert!(matches!(changes, Changes::List { state: at, changes } if at == state && changes.len() == 2));
        assert_eq!(registry.counts().rows_unreadable, unreadable + 3, "{strange:?}");

        // The revision of the unreadable row was the same, but it cannot be known.
        let report = registry.import(vec![program("c", 9, "n"), program("a", 9, "n")]).await.unwrap();
        assert_eq!((report.refused, report.stored, report.version), (vec![], 1, state.version + 1));
        let read = registry.get(&id("a")).await.unwrap();
        assert!(matches!(read.entry, Entry::Program { version, .. } if version == report.version));
    }
    assert_eq!(server.command(&["HDEL", KEYS[1], "a"]), "1");
    assert_eq!(registry.snapshot().await.unwrap().programs.len(), 2);
    assert!(matches!(registry.put(program("a", 9, "n")).await.unwrap(), Put::Stored { .. }));
    assert_eq!(server.command(&["ZADD", KEYS[2], "1000", "not/an id"]), "1");
    assert_eq!(registry.snapshot().await.unwrap().programs.len(), 3);
}

#[tokio::test]
async fn what_is_json_and_no_program_of_ours_is_not_written_over_by_its_own_revision() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 9, "n")]).await.unwrap();
    let newer = server.command(&["HGET", KEYS[1], "a"]).replace("\"valid\":true", "\"valid\":[\"newer\"]");
    server.command(&["HSET", KEYS[1], "a", &newer]);
    assert_eq!(registry.put(program("a", 9, "n")).await.unwrap(), Put::SameRevision { revision: 9 });
    assert_eq!(server.command(&["HGET", KEYS[1], "a"]), newer);
    assert_eq!(registry.put(program("a", 10, "n")).await.unwrap(), Put::Stored { version: 2 });
}

#[tokio::test]
async fn a_key_of_a_newer_release_is_ignored_in_rows_and_messages() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.import(vec![program("a", 9, "n")]).await.unwrap();
    let newer = server.command(&["HGET", KEYS[1], "a"]).replace('{', "{\"capPerDay\":{\"clicks\":[7]},");
    server.command(&["HSET", KEYS[1], "a", &newer]);
    let kept = std::sync::Arc::new(program("a", 9, "n"));
    let expected = Entry::Program { version: 1, program: kept.clone() };
    assert_eq!(registry.get(&id("a")).await.unwrap().entry, expected);
    let snapshot = registry.snapshot().await.unwrap();
    assert_eq!(snapshot.programs, [(1, kept.clone())]);
    assert_eq!(registry.put(program("a", 9, "n")).await.unwrap(), Put::Unchanged { version: 1 });

    let mut subscription = registry.subscribe().await.unwrap();
    let (_, rest) = newer.split_once(' ').unwrap();
    let message = format!("1 {} 2 a {rest}", snapshot.state.epoch);
    assert_eq!(server.command(&["PUBLISH", "{clickgate}:changes", &message]), "1");
    assert_eq!(next_change(&mut subscription).await.program, Some(kept));
    assert_eq!(registry.counts().rows_unreadable, 0);
}

#[tokio::test]
async fn keys_of_different_moments_are_damaged_and_reading_them_ends() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let all = |revision| (0..2_500).map(|at| program(&format!("p{at}"), revision, "n")).collect::<Vec<_>>();
    registry.import(all(1)).await.unwrap();
    assert_eq!(server.command(&["COPY", KEYS[1], "{clickgate}:old"]), "1");
    registry.import(all(2)).await.unwrap();
    assert_eq!(server.command(&["RENAME", "{clickgate}:old", KEYS[1]]), "OK");
    let error = in_time(registry.snapshot()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Damaged(why) if why.contains("version 1 of p0")), "{error:?}");

    // Versions that no page can go beyond.
    let ids: Vec<_> = (0..2_500).map(|at| format!("p{at}")).collect();
    let log = ids.iter().flat_map(|id| ["0.4", id.as_str()]);
    server.command(&["ZADD", KEYS[2]].into_iter().chain(log).collect::<Vec<_>>());
    let rows = ids.iter().flat_map(|id| [id.as_str(), "x"]);
    server.command(&["HSET", KEYS[1]].into_iter().chain(rows).collect::<Vec<_>>());
    let error = in_time(registry.snapshot()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Damaged(why) if why.contains("do not rise")), "{error:?}");
}
