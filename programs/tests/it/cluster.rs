//! Redis in cluster mode: one slot for a registry, which may be elsewhere in a moment.

use programs::{Notice, Put, RedisConfig, RedisRegistry, Registry, RegistryError};

use crate::{
    contract::{in_time, next_change, program},
    redis::{RedisCluster, eventually},
    until,
};

pub fn config(cluster: &RedisCluster) -> RedisConfig {
    RedisConfig {
        urls: cluster.urls(),
        cluster: true,
        connect_timeout_ms: 2_000,
        response_timeout_ms: 2_000,
        ..RedisConfig::default()
    }
}

fn registry(cluster: &RedisCluster) -> RedisRegistry {
    RedisRegistry::connect(&config(cluster)).unwrap()
}

#[tokio::test]
async fn any_node_leads_to_the_one_that_has_the_registry() {
    let Some(cluster) = RedisCluster::start(3, 0) else { return };
    for node in &cluster.nodes {
        let prefix = format!("at-{}", node.port());
        let urls = vec![format!("redis://127.0.0.1:{}", node.port())];
        let config = RedisConfig { urls, prefix, ..config(&cluster) };
        let registry = RedisRegistry::connect(&config).unwrap();
        let mut subscription = registry.subscribe().await.unwrap();
        registry.import((1..=3).map(|at| program(&format!("p{at}"), 1, "n")).collect()).await.unwrap();
        for version in 1..=3 {
            assert_eq!(next_change(&mut subscription).await.version, version);
        }
        assert_eq!(registry.snapshot().await.unwrap().programs.len(), 3);
    }
    let heard = cluster.nodes.iter().map(|node| {
        let stats = node.command(&["INFO", "commandstats"]);
        (
            stats.contains("cmdstat_ssubscribe"),
            stats.contains("cmdstat_spublish"),
            stats.contains("cmdstat_publish"),
        )
    });
    assert!(heard.clone().any(|(subscribed, published, _)| subscribed && published), "sharded");
    assert!(heard.clone().all(|(_, _, everywhere)| !everywhere), "no message goes to every node");
}

/// The rights of the module's documentation, with those that a cluster needs besides.
const READER: &str = "reader on >r %R~{clickgate}:* &{clickgate}:changes +eval_ro +evalsha_ro +hmget +hget +hlen +zcard \
    +zrangebyscore +subscribe +ping +cluster|slots +ssubscribe";

#[tokio::test]
async fn a_reader_with_the_documented_rights_follows_a_cluster() {
    let Some(cluster) = RedisCluster::start(3, 0) else { return };
    for node in &cluster.nodes {
        let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(READER.split_whitespace()).collect();
        assert_eq!(node.command(&words), "OK");
    }
    let username = Some("reader".to_owned());
    let password = Some("r".to_owned());
    let reader = RedisRegistry::connect(&RedisConfig { username, password, ..config(&cluster) }).unwrap();
    let mut subscription = reader.subscribe().await.unwrap();
    registry(&cluster).import(vec![program("a", 1, "n")]).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 1);
    assert_eq!(reader.snapshot().await.unwrap().programs.len(), 1);
    let error = reader.put(program("a", 2, "n")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)), "it may only read: {error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_denied_by_a_cluster_as_well() {
    let Some(cluster) = RedisCluster::start(1, 0) else { return };
    let denied = async |config: RedisConfig| {
        let registry = RedisRegistry::connect(&config).unwrap();
        for _ in 0..3 {
            let errors = [registry.state().await.unwrap_err(), registry.subscribe().await.unwrap_err()];
            for error in errors {
                let text = error.to_string();
                assert!(
                    matches!(error, RegistryError::Denied(_)) && !text.contains("s3cret"),
                    "{error:?}: {text}"
                );
            }
        }
    };
    let username = Some("nobody".to_owned());
    let password = Some("s3cret".to_owned());
    denied(RedisConfig { username, password, ..config(&cluster) }).await;
    let node = &cluster.nodes[0];
    assert_eq!(node.command(&["ACL", "SETUSER", "default", "resetpass", ">right"]), "OK");
    denied(config(&cluster)).await;
}

#[tokio::test]
async fn a_slot_that_moves_ends_the_subscription_and_no_call() {
    let Some(cluster) = RedisCluster::start(3, 0) else { return };
    let registry = registry(&cluster);
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let key = "{clickgate}:meta";
    let owner = cluster.owner_of(key).unwrap();
    cluster.move_slot_of(key, (owner + 1) % 3);
    assert_eq!(in_time(subscription.next()).await, Notice::Closed);

    assert_eq!(registry.state().await.unwrap(), before, "everything moved with it");
    let mut subscription = registry.subscribe().await.unwrap();
    assert_eq!(registry.put(program("a", 2, "n")).await.unwrap(), Put::Stored { version: 2 });
    let change = next_change(&mut subscription).await;
    assert!(change.version == 2 && change.epoch != before.epoch, "another server writes now");
}

#[tokio::test]
async fn a_master_that_is_killed_is_followed_by_its_replica() {
    let Some(mut cluster) = RedisCluster::start(3, 3) else { return };
    let registry = registry(&cluster);
    registry.import((0..100).map(|at| program(&format!("p{at}"), 1, "n")).collect()).await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let before = registry.state().await.unwrap();
    let owner = cluster.owner_of("{clickgate}:meta").unwrap();
    let replica = owner + 3;
    eventually("in step", || {
        let offset = |at: usize, field: &str| {
            let info = cluster.nodes[at].command(&["INFO", "replication"]);
            info.lines().find_map(|line| line.strip_prefix(field)).map(str::to_owned)
        };
        offset(owner, "master_repl_offset:") == offset(replica, "slave_repl_offset:")
    });

    cluster.nodes[owner].kill();
    assert_eq!(in_time(subscription.next()).await, Notice::Closed);
    assert!(in_time(registry.put(program("p0", 2, "n"))).await.is_err(), "no node has the slot yet");
    until("followed", async || in_time(registry.put(program("p0", 2, "n"))).await.is_ok()).await;
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("p1", 2, "n")).await.unwrap();
    let change = next_change(&mut subscription).await;
    assert_ne!(change.epoch, before.epoch);
    let snapshot = registry.snapshot().await.unwrap();
    assert_eq!((snapshot.programs.len(), snapshot.state.ready), (100, true));
}

#[tokio::test]
async fn a_frozen_node_holds_no_call_for_long() {
    let Some(cluster) = RedisCluster::start(3, 0) else { return };
    let config = RedisConfig { connect_timeout_ms: 300, response_timeout_ms: 300, ..config(&cluster) };
    let registry = RedisRegistry::connect(&config).unwrap();
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    let owner = &cluster.nodes[cluster.owner_of("{clickgate}:meta").unwrap()];
    owner.pause();
    let began = std::time::Instant::now();
    for _ in 0..5 {
        assert!(in_time(registry.state()).await.is_err());
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "took {:?}", began.elapsed());
    owner.resume();
    until("back", async || registry.state().await.is_ok()).await;
}
