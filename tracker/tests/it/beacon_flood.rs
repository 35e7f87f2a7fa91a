//! Ten thousand hostile beacons: never a panic, always counted, and a 2xx only where it is true.

use std::collections::HashMap;

use serde::de::IgnoredAny;

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");
const BEACONS: u64 = 10_000;

/// A piece of JSON, or of what stands where JSON should.
fn value(random: &mut fastrand::Rng, depth: usize) -> String {
    let odd = [
        "1e999",
        "-0",
        "00",
        "0x1",
        "NaN",
        "123456789012345678901234567890",
        "-1.5e-400",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"\\x\"",
        "\"open",
        "nul",
        "true",
        "false",
        "null",
        "\"\"",
        "'a'",
        "\"\u{1}\"",
        "/**/",
    ];
    match random.u8(0..14) {
        0..5 => (*random.choice(&odd).unwrap()).to_owned(),
        5 => format!("\"{}\"", "é💩".repeat(random.usize(0..300))),
        6 => {
            let deep = random.usize(1..20_000);
            format!("{}1{}", "[".repeat(deep), "]".repeat(deep - random.usize(0..2)))
        }
        7 => "{\"a\":".repeat(random.usize(1..5_000)),
        8 if depth < 3 => format!("[{}]", value(random, depth + 1)),
        9 => "1".repeat(random.usize(1..3_000)),
        _ => format!("\"{}\"", random.u32(..)),
    }
}

fn entry(random: &mut fastrand::Rng) -> String {
    let mut fields = Vec::new();
    let programs = ["\"212312\"", "212313", "\"none\"", "\"a b\"", "\"\""];
    let types = ["\"impression\"", "\"click\"", "\"conversion\"", "\"own.name\"", "\"no name\"", "\"\""];
    for (name, fine) in [("program", &programs[..]), ("type", &types[..])] {
        match random.u8(0..20) {
            0 => {}
            1 => fields.push(format!("\"{name}\": {}", value(random, 0))),
            2 => fields.push(format!("\"{name}\": {0}, \"{name}\": {0}", random.choice(fine).unwrap())),
            _ => fields.push(format!(
                "\"{name}\": {}",
                fine[random.usize(0..fine.len()).min(random.usize(0..fine.len()))]
            )),
        }
    }
    for name in ["id", "time_ms", "visitor", "params", "unknown"] {
        let fine = match name {
            "time_ms" => format!("{}", random.u64(..1 << 49)),
            "params" => format!("{{\"a\": {}}}", random.u8(..)),
            _ => format!("\"{}\"", random.u8(..)),
        };
        match random.u8(0..24) {
            0 if name == "params" => fields.push(format!("\"params\": {{\"a\": {}}}", value(random, 0))),
            0 => fields.push(format!("\"{name}\": {}", value(random, 0))),
            1..8 if name != "unknown" => fields.push(format!("\"{name}\": {fine}")),
            1 => fields.push("\"unknown\": 1".into()),
            _ => {}
        }
    }
    format!("{{{}}}", fields.join(","))
}

fn body(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = match random.u16(0..1_000) {
        0..2 => "x".repeat((1 << 20) + random.usize(0..3)).into_bytes(),
        2..12 => {
            format!("[{}]", vec![r#"{"program":"212312","type":"click"}"#; random.usize(99..103)].join(","))
                .into_bytes()
        }
        12..40 => (0..random.usize(0..300)).map(|_| random.u8(..)).collect(),
        40..90 => value(random, 0).into_bytes(),
        90..400 => {
            let entries: Vec<_> = (0..random.usize(0..8)).map(|_| entry(random)).collect();
            format!("[{}]", entries.join(",")).into_bytes()
        }
        _ => entry(random).into_bytes(),
    };
    for _ in 0..random.usize(0..40).saturating_sub(36) {
        if !body.is_empty() {
            let at = random.usize(0..body.len());
            body[at] = random.u8(..);
        }
    }
    body
}

fn sum(counters: &HashMap<String, u64>, part: &str) -> u64 {
    counters.iter().filter(|(name, _)| name.starts_with(part)).map(|(_, count)| count).sum()
}

#[test]
fn ten_thousand_random_beacons_are_answered_truly_and_each_is_counted_once() {
    let world = World::start(config(), SAMPLES);
    let threads = 4;
    let said: Vec<HashMap<&str, u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|thread| {
                let world = &world;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    let mut said = HashMap::new();
                    for _ in 0..BEACONS / threads {
                        one(world, &body(&mut random), random.bool(), &mut said);
                    }
                    said
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let total = |what: &str| said.iter().filter_map(|said| said.get(what)).sum::<u64>();
    let counters = world.counters();
    assert_eq!(sum(&counters, "clickgate_requests_total{route=beacon"), BEACONS);
    assert_eq!(counters["clickgate_requests_total{route=beacon,outcome=malformed}"], total("malformed"));
    assert_eq!(
        counters["clickgate_refused_total{reason=malformed_beacon}"],
        total("malformed") - total("413")
    );
    for what in ["204", "report", "malformed", "413", "accepted", "refused"] {
        assert!(total(what) > 0, "{what} was never reached");
    }
    let accepted = counters["clickgate_beacon_entries_total{outcome=accepted}"];
    let logged = world.stop();
    assert_eq!(logged.events.len() as u64, accepted, "what was accepted is in the log, and nothing more");
}

/// Sends one beacon and holds its answer against what it claims.
fn one(world: &World, body: &[u8], report: bool, said: &mut HashMap<&'static str, u64>) {
    let shown = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    let mut count = |what| *said.entry(what).or_default() += 1;
    let answer = world.post(if report { "/b?report=1" } else { "/b" }, body);
    let (head, text) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{:?} got {answer:?}", shown()));
    match &head[9..12] {
        "204" if !report => count("204"),
        "200" if report => {
            count("report");
            // Serde is the other opinion on what JSON is.
            let entries = match serde_json::from_slice::<Vec<IgnoredAny>>(body) {
                Ok(entries) => entries.len(),
                Err(_) => usize::from(serde_json::from_slice::<IgnoredAny>(body).is_ok()),
            };
            let lines: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
            assert_eq!(lines.len(), entries, "{}", shown());
            for line in &lines {
                match line["outcome"].as_str() {
                    Some("accepted") => assert!(line["messageId"].is_string()),
                    Some("refused") => assert!(line["reason"].is_string()),
                    other => panic!("{other:?}: {}", shown()),
                }
                count(if line["outcome"] == "accepted" { "accepted" } else { "refused" });
            }
        }
        "400" => {
            count("malformed");
            let error: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(error["error"], "malformed_beacon");
            assert!(error["detail"].as_str().unwrap().contains(": "), "{error} names no place");
        }
        "413" => {
            count("malformed");
            count("413");
            assert!(body.len() > 1 << 20);
        }
        other => panic!("{other}: {:?} got {answer}", shown()),
    }
}
