//! Who may do what: a wrong password and a missing right are named, and nothing is half done.

use programs::{Put, RedisConfig, RedisRegistry, Registry, RegistryError};

use crate::{
    config,
    contract::{id, in_time, next_change, program},
    redis::RedisServer,
    store::KEYS,
};

async fn denied(registry: &RedisRegistry) -> String {
    let error = in_time(registry.state()).await.unwrap_err();
    let RegistryError::Denied(reason) = error else { panic!("{error:?}") };
    reason
}

#[tokio::test]
async fn a_wrong_password_is_named_and_does_not_show() {
    let Some(server) = RedisServer::start_with_password("right", &[]) else { return };
    let with = |password: Option<&str>| {
        let password = password.map(str::to_owned);
        RedisRegistry::connect(&RedisConfig { password, ..config(&server) }).unwrap()
    };
    let wrong = with(Some("s3cret"));
    for _ in 0..5 {
        // Also in the pause between two attempts.
        let reason = denied(&wrong).await;
        assert!(reason.to_lowercase().contains("auth") && !reason.contains("s3cret"), "{reason}");
    }
    let error = in_time(wrong.subscribe()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)), "{error:?}");
    let reason = denied(&with(None)).await;
    assert!(reason.contains("NOAUTH") || reason.to_lowercase().contains("auth"), "{reason}");
    with(Some("right")).state().await.unwrap();
}

/// The users of the module's documentation.
const WRITER: &str = "writer on >w ~{clickgate}:* &{clickgate}:changes +eval +evalsha +eval_ro +evalsha_ro +hmget +hget +hset +hlen +zcard \
    +zadd +zrangebyscore +info +publish +subscribe +ping";
const READER: &str = "reader on >r %R~{clickgate}:* &{clickgate}:changes +eval_ro +evalsha_ro +hmget +hget +hlen +zcard \
    +zrangebyscore +subscribe +ping";

#[tokio::test]
async fn users_with_the_documented_rights_can_do_their_work_and_no_more() {
    let Some(server) = RedisServer::start_with_password("admin", &[]) else { return };
    for user in [WRITER, READER] {
        let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(user.split_whitespace()).collect();
        assert_eq!(server.command(&words), "OK");
    }
    let as_user = |name: &str, password: &str| {
        let username = Some(name.to_owned());
        let password = Some(password.to_owned());
        RedisRegistry::connect(&RedisConfig { username, password, ..config(&server) }).unwrap()
    };
    let writer = as_user("writer", "w");
    let reader = as_user("reader", "r");
    let mut subscription = reader.subscribe().await.unwrap();
    writer.import(vec![program("a", 1, "n"), program("b", 1, "n")]).await.unwrap();
    writer.remove(&id("b"), 2).await.unwrap();
    for version in 1..=3 {
        assert_eq!(next_change(&mut subscription).await.version, version);
    }
    let state = reader.state().await.unwrap();
    assert_eq!((state.version, state.ready), (3, true));
    assert_eq!(reader.snapshot().await.unwrap().programs.len(), 1);

    let error = reader.put(program("c", 1, "n")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Denied(why) if why.contains("permission")), "{error:?}");
    assert_eq!(reader.state().await.unwrap(), state, "nothing was written");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_nothing_is_written() {
    let Some(server) = RedisServer::start_with_password("admin", &[]) else { return };
    let allow = |words: &str| {
        let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(words.split_whitespace()).collect();
        assert_eq!(server.command(&words), "OK");
    };
    allow(WRITER);
    let username = Some("writer".to_owned());
    let password = Some("w".to_owned());
    let user = RedisConfig { username, password, ..config(&server) };
    let writer = RedisRegistry::connect(&user).unwrap();
    writer.import(vec![program("a", 1, "n")]).await.unwrap();
    let other = RedisConfig { channel: Some("elsewhere".to_owned()), ..user };
    let other = RedisRegistry::connect(&other).unwrap();
    let stored = || KEYS.map(|key| server.command(&["DUMP", key]));
    let before = stored();

    for (without, registry, named) in [
        ("-hset", &writer, "HSET {clickgate}:meta"),
        ("-zadd", &writer, "ZADD {clickgate}:versions"),
        ("-publish", &writer, "PUBLISH {clickgate}:changes"),
        ("resetchannels", &writer, "PUBLISH {clickgate}:changes"),
        ("-info", &writer, "INFO server"),
        ("resetkeys ~{clickgate}:meta %R~{clickgate}:*", &writer, "one of the keys"),
        ("-hmget", &writer, "user executing the script"),
        ("-evalsha", &writer, "evalsha"),
        ("+ping", &other, "PUBLISH elsewhere"),
    ] {
        allow(&format!("writer {without}"));
        for error in [
            registry.put(program("b", 1, "n")).await.unwrap_err(),
            registry
                .import((0..30).map(|at| program(&format!("p{at}"), 1, "n")).collect())
                .await
                .unwrap_err(),
        ] {
            assert!(
                matches!(&error, RegistryError::Denied(why) if why.contains(named)),
                "{without}: {error:?}"
            );
        }
        assert_eq!(stored(), before, "{without}");
        allow(WRITER);
    }
    // Once the right is granted, calls succeed without a restart.
    assert_eq!(writer.put(program("b", 1, "n")).await.unwrap(), Put::Stored { version: 2 });
}
