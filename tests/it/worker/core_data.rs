//! Core data from a stream into the registry.

use super::region::Region;
use crate::aws_proxy::{Fault, Rule};
use crate::redis::region::{all_know, program, revision};
use crate::redis::server::RedisServer;
use crate::shipper::region::log;
use crate::world::{World, eventually};

fn with_registry(world: World, redis: &RedisServer) -> World {
    world.with("registry.kind", "redis").with("registry.redis.urls", &redis.url())
}

#[test]
fn the_program_bridge_reads_core_data_from_a_stream_as_from_the_log() {
    let (Some(region), Some(redis)) = (Region::new(2), RedisServer::start()) else { return };
    let operator = with_registry(region.edge(), &redis);
    crate::redis::region::import(&operator, &program("1", 1));
    let edge = with_registry(World::new(), &redis);
    let tracker = edge.start("tracker");
    let world = with_registry(region.worker(), &redis).with("bridge.programs.stream", region.stream.name());
    let bridge = world.start("bridge programs");

    region.kinesis.add(Rule::next(2, Fault::refuse(500, "InternalFailure")).on("GetRecords"));
    region.stream.put("1", program("1", 5).as_bytes());
    region.stream.put("2", program("2", 7).as_bytes());
    all_know(&[&tracker], "1", 5);
    all_know(&[&tracker], "2", 7);
    // What is no core data is a dead letter, and an older revision changes nothing.
    region.stream.put("1", b"{\"no\": program}");
    region.stream.put("1", program("1", 4).as_bytes());
    region.stream.put("1", program("1", 6).as_bytes());
    all_know(&[&tracker], "1", 6);
    eventually("one dead letter", || log(&bridge)["bridge"]["counts"]["dead"] == 1);
    assert_eq!(log(&bridge)["bridge"]["counts"]["older"], 1);

    // Another goes on where this one was.
    bridge.kill();
    region.stream.put("1", program("1", 8).as_bytes());
    let again = world.start("bridge programs");
    all_know(&[&tracker], "1", 8);
    assert_eq!(revision(tracker.tracker, "2"), Some(7));

    // Into the log it would go unread.
    let file = world.write("change.json", &program("3", 1));
    let refused = world.run(&["programs", "import", "--stream", file.to_str().unwrap()]);
    let said = crate::world::text(&refused);
    assert!(!refused.status.success() && said.contains("bridge.programs.stream"), "{said}");
    assert!(again.stop().success());
}
