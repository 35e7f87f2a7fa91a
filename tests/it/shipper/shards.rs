//! A shard that throttles everything, for longer than any retry lasts.

use crate::aws_proxy::{FailEntries, Fault, Rule};
use crate::http;
use crate::kinesis::consumers::ids;
use crate::kinesis::stream::hash;
use crate::world::{PROGRAMS, eventually};

use super::load::Load;
use super::region::Region;

#[test]
fn a_shard_that_throttles_holds_up_no_lane_where_chance_decides() {
    let Some(region) = Region::new(2) else { return };
    let region = region.with("shipper.linger_ms", "5");
    let up = region.world.start("up");
    let shard = region.stream.open_shards().remove(0);
    let rule = region.proxy.add(Rule::always(Fault::FailEntries(FailEntries::throttled().of(&shard))));
    let load = Load::start(up.tracker, 2);
    eventually("it throttles under load", || load.hits() > 1_000 && region.proxy.count(rule) > 20);
    let acknowledged = load.stop();
    let said = region.caught_up(&up);
    assert!(said["shipper"]["throttled"][&shard.id].as_u64() > Some(20), "{said}");
    let records = region.assert_each_is_there(&acknowledged);
    region.assert_twice_only_where_an_answer_was_lost(&records);
}

#[test]
fn a_shard_that_throttles_holds_up_no_other_bucket() {
    let Some(region) = Region::new(2) else { return };
    let region = region.with("shipper.partition_by", "program").with("shipper.linger_ms", "5");
    let up = region.world.start("up");
    region.caught_up(&up);
    // Each program has one key for ever; the shard of the first one's throttles.
    let key = |program: &str| {
        http::get(up.tracker, &format!("/event/{program}"));
        region.caught_up(&up);
        let records = region.stream.records();
        let of_program =
            |id: &String| records.iter().any(|record| ids(std::slice::from_ref(record)).contains_key(id));
        assert!(ids(&records).keys().all(of_program));
        records
            .iter()
            .rev()
            .find(|record| record.partition_key.starts_with("bucket-"))
            .unwrap()
            .partition_key
            .clone()
    };
    let keys = PROGRAMS.map(key);
    let only = hash(&keys[0])..=hash(&keys[0]);
    let others: Vec<&str> =
        PROGRAMS.iter().zip(&keys).filter(|(_, key)| **key != keys[0]).map(|(program, _)| *program).collect();
    assert!(!others.is_empty(), "{keys:?}");
    let rule = region.proxy.add(Rule::always(Fault::FailEntries(FailEntries::throttled().of_hashes(only))));
    let mut client = http::Client::open(up.tracker).unwrap();
    let mut held = Vec::new();
    let mut free = Vec::new();
    for _ in 0..100 {
        held.push(client.get(&format!("/event/{}", PROGRAMS[0])).unwrap().message_id().unwrap());
        free.push(client.get(&format!("/event/{}", others[0])).unwrap().message_id().unwrap());
    }
    eventually("the other bucket's are there", || {
        let stored = ids(&region.stream.records());
        free.iter().all(|id| stored.contains_key(id))
    });
    eventually("it was asked again and again", || region.proxy.count(rule) > 5);
    let shipper = region.shipper(&up);
    assert!(shipper["bytes_held_back"].as_u64() > Some(0), "{shipper}");
    let stored = ids(&region.stream.records());
    assert!(held.iter().all(|id| !stored.contains_key(id)));
    region.proxy.remove(rule);
    region.caught_up(&up);
    held.extend(free);
    let records = region.assert_each_is_there(&held);
    region.assert_twice_only_where_an_answer_was_lost(&records);
}
