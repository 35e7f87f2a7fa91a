//! A replica that lagged is promoted: the store falls back behind what was seen of it.

use super::region::{Hits, all_know, edge, happened, import, is_fresh, program, programs, put, revision};
use super::server::RedisServer;
use crate::fault_proxy::FaultProxy;
use crate::world::eventually;

#[test]
fn what_a_lagging_replica_has_not_is_kept_until_its_source_says_it_again() {
    let Some(mut primary) = RedisServer::start() else { return };
    let Some(replica) = RedisServer::start() else { return };
    let (front, behind) = (FaultProxy::to(primary.port()), FaultProxy::of_replication(primary.port()));
    let (writer, first, second) = (edge(&front.url()), edge(&front.url()), edge(&front.url()));
    import(&writer, &programs(50, 1));
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &behind.port().to_string()]), "OK");
    eventually("replicated", || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up")
            && replica.command(&["HLEN", "{clickgate}:programs"]) == "50"
    });
    let (a, b) = (first.start("tracker"), second.start("tracker"));
    let hits = [Hits::on(a.tracker, "7"), Hits::on(b.tracker, "7")];

    // What is written from now on does not reach the replica.
    behind.hold();
    put(&writer, "7", 2);
    put(&writer, "new", 1);
    writer.ok(&["programs", "rm", "9", "--revision", "2"]);
    all_know(&[&a, &b], "7", 2);
    all_know(&[&a, &b], "new", 1);
    for tracker in [&a, &b] {
        eventually("the removal is known", || revision(tracker.tracker, "9").is_none());
    }
    primary.kill();
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    front.point_to(replica.port());

    for tracker in [&a, &b] {
        eventually("the fall is seen", || happened(tracker, "fell_back") == 1);
        eventually("fresh again", || is_fresh(tracker));
        assert_eq!(revision(tracker.tracker, "7"), Some(2), "the newer one that was seen");
        assert_eq!(revision(tracker.tracker, "new"), Some(1), "not gone");
        assert_eq!(revision(tracker.tracker, "9"), None, "not back");
    }
    // The source goes on, and then finds out that it has to repeat what was lost.
    put(&writer, "8", 2);
    all_know(&[&a, &b], "8", 2);
    let lost = [program("7", 1), program("7", 2), program("new", 1)];
    for program in lost {
        writer.ok(&["programs", "put", &program]);
    }
    writer.ok(&["programs", "rm", "9", "--revision", "2"]);
    put(&writer, "7", 3);
    let took = all_know(&[&a, &b], "7", 3);
    assert_eq!((revision(a.tracker, "new"), revision(b.tracker, "9")), (Some(1), None));
    eprintln!("failed over to a replica that lagged: {:?}, in step {took:?}", hits.map(Hits::end));
}
