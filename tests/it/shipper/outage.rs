//! Kinesis is away for a minute, under load.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aws_proxy::Outage;
use crate::world::{Process, eventually};

use super::load::Load;
use super::region::{Region, issued, log};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(60);
/// Memory that the process may take beside what it has at its start.
const GROWTH_MIB_MAX: u64 = 64;

/// The default of `shipper.in_flight_bytes_max`; what is read at once may go over it.
const IN_FLIGHT_BYTES_MAX: u64 = 16 << 20;

fn resident_mib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Numbers below which a lane is acknowledged, all lanes together.
fn streamed(log: &Value) -> u64 {
    log["lanes"].as_array().unwrap().iter().map(|lane| lane["streamed"].as_u64().unwrap()).sum()
}

#[test]
fn an_outage_of_a_minute_under_load_costs_no_event_no_answer_and_bounded_memory() {
    let Some(region) = Region::new(2) else { return };
    let up = region.world.start("up");
    let load = Load::start(up.tracker, 2);
    eventually("something was shipped", || region.shipper(&up)["acknowledged"].as_u64() > Some(100));
    let at_start = resident_mib(&up);
    let mut most = at_start;
    let mut in_flight_most = 0;
    for (outage, until) in [(Outage::Refusing, AWAY / 2), (Outage::Silent, AWAY)] {
        let began = Instant::now();
        region.proxy.go_down(outage);
        let before = load.hits();
        while began.elapsed() < until - (until - AWAY / 2) {
            most = most.max(resident_mib(&up));
            let said = log(&up);
            in_flight_most = in_flight_most.max(said["shipper"]["bytes_in_flight"].as_u64().unwrap());
            assert!(said["shipper"]["bytes_in_flight"].as_u64() <= Some(IN_FLIGHT_BYTES_MAX + (1 << 20)));
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(load.hits() > before + 1_000, "hits are taken meanwhile: {}", load.hits() - before);
        let said = log(&up);
        let shipper = &said["shipper"];
        assert!(shipper["error"]["reason"].is_string(), "{shipper}");
        assert!(shipper["oldest_received_at_ms"].as_u64() > Some(0), "{shipper}");
        // Accepted = acknowledged + in the log + dead letters. Of pieces that were half
        // acknowledged when it went away a part is counted twice.
        let in_log = issued(&said) - streamed(&said);
        assert!(shipper["acknowledged"].as_u64().unwrap() + in_log >= issued(&said), "{said}");
        assert!(in_log > 1_000, "{in_log}");
        region.proxy.come_back();
    }
    assert!(in_flight_most > IN_FLIGHT_BYTES_MAX / 2, "the bound was not tried: {in_flight_most}");
    let acknowledged = load.stop();
    let said = region.caught_up(&up);
    most = most.max(resident_mib(&up));
    println!("{} acknowledged; {at_start} MiB at the start, {most} at most", acknowledged.len());
    assert!(most <= at_start + GROWTH_MIB_MAX, "{at_start} MiB at the start, {most} at most");
    assert_eq!(said["shipper"]["error"], Value::Null);
    eventually("every number is accounted for", || {
        let said = log(&up);
        said["shipper"]["acknowledged"].as_u64() == Some(issued(&said))
    });
    assert_eq!(up.stop().code(), Some(0));
    let records = region.assert_each_is_there(&acknowledged);
    region.assert_twice_only_where_an_answer_was_lost(&records);
}
