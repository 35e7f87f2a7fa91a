//! Cluster mode: real nodes, of which one and another dies.

use super::region::{Hits, all_know, edge, import, is_fresh, programs, put, revision};
use super::server::{RedisCluster, RedisServer, eventually as soon};
use crate::world::eventually;

#[test]
fn a_cluster_loses_the_owner_of_the_programs_and_another_node_and_is_followed() {
    let Some(mut cluster) = RedisCluster::start(3, 1) else { return };
    for node in &cluster.nodes {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    // The first node is the one that has a replica.
    let prefix = (0..1_000).map(|at| format!("region-{at}"));
    let prefix = prefix.into_iter().find(|prefix| cluster.owner_of(&format!("{{{prefix}}}:meta")) == Some(0));
    let prefix = prefix.expect("a third of them is there");
    let node = || {
        edge("redis://127.0.0.1:1")
            .with("registry.redis.urls", &cluster.urls().join(","))
            .with("registry.redis.cluster", "true")
            .with("registry.redis.prefix", &prefix)
    };
    let (writer, first, second) = (node(), node(), node());
    import(&writer, &programs(200, 1));
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    put(&writer, "7", 2);
    all_know(&[&a, &b], "7", 2);
    let hits = Hits::on(a.tracker, "7");

    // What is lost with a master is another test's.
    soon("the replica has everything", || is_replicated(&cluster.nodes[0]));
    cluster.nodes[0].kill();
    soon("the replica takes over", || {
        cluster.nodes[3].command(&["INFO", "replication"]).contains("role:master")
    });
    soon("a put is taken", || {
        writer.run(&["programs", "put", &super::region::program("7", 3)]).status.success()
    });
    let took = all_know(&[&a, &b], "7", 3);
    assert_eq!(revision(b.tracker, "199"), Some(1));

    cluster.nodes[1].kill();
    soon("a put is taken", || {
        writer.run(&["programs", "put", &super::region::program("7", 4)]).status.success()
    });
    all_know(&[&a, &b], "7", 4);
    for tracker in [&a, &b] {
        eventually("fresh", || is_fresh(tracker));
    }
    eprintln!("two nodes of a cluster died: {:?}, in step {took:?} after the first", hits.end());
}

/// Whether a master's only replica has acknowledged all that was written.
fn is_replicated(master: &RedisServer) -> bool {
    let info = master.command(&["INFO", "replication"]);
    let after = |mark: &str| {
        let number = info.split_once(mark)?.1;
        number.split(|it: char| !it.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    after("master_repl_offset:").is_some_and(|written| after(",offset=") == Some(written))
}
