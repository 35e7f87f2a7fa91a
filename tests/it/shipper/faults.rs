//! Everything that may go wrong with a request, all at once and one by one.

use std::time::{Duration, Instant};

use crate::aws_proxy::{FailEntries, Fault, Rule};
use crate::kinesis::consumers::ids;
use crate::world::eventually;

use super::load::Load;
use super::region::{Region, issued};

#[test]
fn under_every_fault_at_once_and_resharding_each_acknowledged_event_is_in_the_stream() {
    let Some(region) = Region::new(2) else { return };
    let region = region.with("shipper.request_timeout_ms", "1000").with("shipper.linger_ms", "5");
    let up = region.world.start("up");
    let throttled = region.proxy.add(Rule::share(0.3, Fault::FailEntries(FailEntries::throttled())));
    let faults = [
        (0.05, Fault::FailEntries(FailEntries::with("InternalFailure"))),
        (0.05, Fault::FailEntries(FailEntries::with("NeverHeardOf"))),
        (0.05, Fault::refuse(500, "InternalFailure")),
        (0.05, Fault::refuse(400, "ProvisionedThroughputExceededException")),
        (0.05, Fault::refuse(400, "ExpiredTokenException")),
        (0.05, Fault::ResetBefore),
        (0.05, Fault::HideAnswer),
        (0.05, Fault::CutAnswer),
        (0.05, Fault::NotJson),
        (0.05, Fault::MoreEntries(-1)),
        (0.05, Fault::MoreEntries(1)),
        (0.03, Fault::Delay(Duration::from_millis(1_100))),
        (0.1, Fault::SlowAnswer { bytes: 50, pause: Duration::from_millis(1) }),
    ];
    let rules = faults.map(|(share, fault)| region.proxy.add(Rule::share(share, fault).on("PutRecords")));
    let load = Load::start(up.tracker, 2);
    eventually("there is load", || load.hits() > 500);
    region.stream.split_shard(&region.stream.open_shards()[0]);
    eventually("there is load after a split", || load.hits() > 1_500);
    let open = region.stream.open_shards();
    region.stream.merge_shards(&open[open.len() - 2], &open[open.len() - 1]);
    // Half of the requests fail, and after each that does the stream is left alone for a while.
    let deadline = Instant::now() + Duration::from_secs(180);
    while load.hits() < 3_000 || rules.iter().any(|rule| region.proxy.count(*rule) < 2) {
        let counts = region.proxy.counts();
        assert!(Instant::now() < deadline, "not each fault has happened twice: {counts:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(region.proxy.count(throttled) > 30);
    let acknowledged = load.stop();
    region.proxy.remove_all();
    let said = region.caught_up(&up);
    let shipper = &said["shipper"];
    println!("{} acknowledged; faults {:?}; {shipper}", acknowledged.len(), region.proxy.counts());
    assert_eq!(shipper["dead_letters"], 0);
    assert!(shipper["outcome_unknown"].as_u64() > Some(0) && shipper["error"].is_null(), "{shipper}");
    for cause in ["throttled", "InternalFailure", "NeverHeardOf", "wrong_length", "ExpiredTokenException"] {
        assert!(shipper["retries"][cause].as_u64() > Some(0), "{cause}: {shipper}");
    }
    // Accepted = acknowledged + in the log + dead letters, with nothing in the log.
    eventually("every number is accounted for", || {
        let said = super::region::log(&up);
        said["shipper"]["acknowledged"].as_u64() == Some(issued(&said))
    });
    assert_eq!(up.stop().code(), Some(0), "the drain left nothing in the log");
    let records = region.assert_each_is_there(&acknowledged);
    region.assert_twice_only_where_an_answer_was_lost(&records);
}

#[test]
fn without_a_fault_each_event_is_there_once() {
    let Some(region) = Region::new(3) else { return };
    let up = region.world.start("up");
    let load = Load::start(up.tracker, 2);
    eventually("there is load", || load.hits() > 1_000);
    let acknowledged = load.stop();
    assert_eq!(up.stop().code(), Some(0), "the drain ships what is left");
    let records = region.assert_each_is_there(&acknowledged);
    assert!(ids(&records).values().all(|times| *times == 1));
    assert_eq!(ids(&records).len(), acknowledged.len());
    let events_per_record = acknowledged.len() as f64 / records.len() as f64;
    assert!(events_per_record > 5.0, "{} records for {} events", records.len(), acknowledged.len());
}

#[test]
fn what_is_left_when_kinesis_is_away_is_said_at_the_end_and_shipped_by_the_next_start() {
    let Some(region) = Region::new(1) else { return };
    let mut region = region.with("drain.grace_ms", "500");
    let up = region.world.start("up");
    region.proxy.go_down(crate::aws_proxy::Outage::Silent);
    let acknowledged: Vec<String> =
        (0..20).map(|_| crate::http::get(up.tracker, "/event/212312").message_id().unwrap()).collect();
    let (status, said) = up.stop_and_read();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("left_records=2"), "20 events and the reports of the lanes: {said}");
    region.proxy.come_back();
    region.world.set("drain.grace_ms", "20000");
    let up = region.world.start("up");
    region.caught_up(&up);
    region.assert_each_is_there(&acknowledged);
}

#[test]
fn the_log_of_a_dead_machine_is_shipped_to_the_stream_of_another() {
    let Some(region) = Region::new(1) else { return };
    let region = region.with("drain.grace_ms", "100");
    let dead = region.world.start("up");
    region.proxy.go_down(crate::aws_proxy::Outage::Refusing);
    let load = Load::start(dead.tracker, 1);
    eventually("there is load", || load.hits() > 200);
    dead.kill();
    let acknowledged = load.stop();
    region.proxy.come_back();
    let other = super::region::machine(region.stream.name(), &region.proxy.url());
    let up = other.start("up");
    let dir = region.world.data().display().to_string();
    let said = other.ok(&["log", "ship", &dir]);
    assert!(said.contains(&format!("records in the stream {}", region.stream.name())), "{said}");
    assert!(said.contains("nothing of") && said.contains("is left to ship"), "{said}");
    assert_eq!(up.stop().code(), Some(0));
    region.assert_each_is_there(&acknowledged);
}
