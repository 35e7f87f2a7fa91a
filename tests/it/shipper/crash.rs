//! `kill -9` of the process that ships, and a cursor that is lost.

use std::time::Duration;

use crate::aws_proxy::{FailEntries, Fault, Rule};
use crate::kinesis::consumers::ids;
use crate::world::eventually;

use super::load::Load;
use super::region::Region;

const ROUNDS: usize = 20;

#[test]
fn a_process_that_is_killed_again_and_again_under_load_ships_everything() {
    let Some(region) = Region::new(2) else { return };
    let region = region.with("log.segment_bytes", "262144").with("log.lane_bytes_max", "131072");
    let region = region.with("shipper.commit_ms", "50").with("shipper.linger_ms", "5");
    region.proxy.add(Rule::share(0.2, Fault::FailEntries(FailEntries::throttled())));
    let mut random = fastrand::Rng::with_seed(fastrand::u64(..));
    println!("{ROUNDS} rounds with seed {}", random.get_seed());
    let mut acknowledged = Vec::new();
    for _ in 0..ROUNDS {
        let process = region.world.start("up");
        let load = Load::start(process.tracker, 3);
        // The random moment.
        std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        process.kill();
        acknowledged.extend(load.stop());
    }
    let last = region.world.start("up");
    region.caught_up(&last);
    assert_eq!(last.stop().code(), Some(0), "the drain left nothing in the log");
    let records = region.assert_each_is_there(&acknowledged);
    let twice = ids(&records).values().filter(|times| **times > 1).count();
    println!("{} acknowledged, all in the stream, {twice} of them more than once", acknowledged.len());
    assert!(acknowledged.len() > ROUNDS * 10, "there was load: {}", acknowledged.len());
}

#[test]
fn a_cursor_that_is_lost_or_older_makes_events_come_again_and_loses_none() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("shipper.commit_ms", "20");
    let cursor = region.world.data().join("log/events/cursors/shipper.cursor");
    let mut acknowledged = Vec::new();
    let mut older = None;
    for lost in [false, true, false] {
        let process = region.world.start("up");
        let load = Load::start(process.tracker, 1);
        eventually("there is load", || load.hits() > 100);
        acknowledged.extend(load.stop());
        region.caught_up(&process);
        process.kill();
        match (lost, &older) {
            (true, _) => std::fs::remove_file(&cursor).unwrap(),
            (false, Some(older)) => std::fs::write(&cursor, older).unwrap(),
            (false, None) => older = Some(std::fs::read(&cursor).unwrap()),
        }
    }
    let last = region.world.start("up");
    region.caught_up(&last);
    assert_eq!(last.stop().code(), Some(0));
    let records = region.assert_each_is_there(&acknowledged);
    assert!(ids(&records).values().any(|times| *times > 1), "the cursor was believed");
}
