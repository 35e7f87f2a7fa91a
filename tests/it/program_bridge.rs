//! Core data through the log `programs`: command → log → bridge → registry → hits.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use stream::RecordKind;

use crate::documents::{scrape, value};
use crate::http;
use crate::world::{Process, World, eventually, text};

const LINES: usize = 1_000;

/// Program `n` in its first state (revision 1) or its second: every tenth is switched off,
/// every fifth of the others is removed.
fn line(n: usize, revision: u64) -> String {
    if revision == 2 && n.is_multiple_of(5) && !n.is_multiple_of(10) {
        return json!({ "programId": format!("p{n}"), "removed": true, "revision": 2 }).to_string();
    }
    json!({
        "programId": format!("p{n}"), "programName": format!("r{revision}"), "customerId": 7,
        "customerName": "Shop", "valid": !(revision == 2 && n.is_multiple_of(10)), "revision": revision,
    })
    .to_string()
}

/// 1,000 lines, of which the third, the 500th and the last are bad.
fn lines(revision: u64) -> String {
    let bad = |number: usize| match number {
        3 => Some("{\"programId\": \"p2\", \"programName\": 5}".to_owned()),
        500 => Some("not even JSON".to_owned()),
        LINES => Some("{\"programId\": \"p0\", \"removed\": \"yes\"}".to_owned()),
        _ => None,
    };
    let all = (0..LINES).map(|n| bad(n + 1).unwrap_or_else(|| line(n, revision)) + "\n");
    all.collect()
}

fn import(world: &World, file: &str, input: Option<&str>) -> Output {
    let mut child = world
        .clickgate(&["--json", "programs", "import", "--stream", file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Of an import of `lines`: what it said and how it ended.
fn expect_three_refused(output: &Output, name: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    let said = String::from_utf8_lossy(&output.stderr);
    for place in [
        format!("{name}:3:"),
        format!("{name}:500:"),
        format!("{name}:1000:"),
        "programName: ".to_owned(),
        "3 lines were refused".to_owned(),
    ] {
        assert!(said.contains(&place), "{place:?} is not in {said}");
    }
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(997), &json!(3)), "{answer}");
    let numbers: Vec<u64> =
        answer["refused_first"].as_array().unwrap().iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 500, 1000]);
}

fn core_data_lag(world: &World) -> u64 {
    let status = world.json(&["log", "cursor"]);
    let cursors = status["cursors"].as_array().unwrap();
    cursors.iter().find(|cursor| cursor["name"] == "programs").unwrap()["lag"].as_u64().unwrap()
}

fn hit(up: &Process, n: usize) -> (u16, String) {
    let answer = http::get(up.tracker, &format!("/event/p{n}"));
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn expect_revision(up: &Process, revision: u64) {
    for n in [0, 1, 5, 10, 498, 500, 995, 997] {
        let (status, body) = hit(up, n);
        match revision {
            2 if n % 10 == 0 => {
                assert!((400..500).contains(&status) && body.contains("inactive"), "p{n}: {body}")
            }
            2 if n % 5 == 0 => assert_eq!(status, 404, "p{n}: {body}"),
            _ => {
                assert_eq!(status, 200, "p{n}: {body}");
                assert!(body.contains(&format!("\"r{revision}\"")), "p{n}: {body}");
            }
        }
    }
    for n in [2, 499, 999] {
        assert_eq!(hit(up, n).0, 404, "the bad lines brought nothing");
    }
}

fn expect_drained(up: Process) {
    let (status, said) = up.stop_and_read();
    assert_eq!(status.code(), Some(0), "{said}");
}

fn dead_letter_count(world: &World) -> usize {
    world.json(&["dead-letters", "list"])["items"].as_array().unwrap().len()
}

#[test]
fn streamed_core_data_is_obeyed_and_a_kill_in_between_changes_nothing_of_its_end() {
    let world = World::new();
    let up = world.start("up");
    let file = world.write("first.jsonl", &lines(1));
    let file = file.to_str().unwrap();
    expect_three_refused(&import(&world, file, None), file);
    eventually("hits obey the first state", || hit(&up, 997).0 == 200 && core_data_lag(&world) == 0);
    expect_revision(&up, 1);

    // The second state, and a kill while the bridge is about to take it up.
    expect_three_refused(&import(&world, "-", Some(&lines(2))), "stdin");
    up.kill();
    let before = world.json(&["programs", "list"]);
    let up = world.start("up");
    eventually("the log is through", || core_data_lag(&world) == 0);
    eventually("hits obey the second state", || hit(&up, 5).0 == 404 && hit(&up, 995).0 == 404);
    expect_revision(&up, 2);
    let state = world.json(&["programs", "list"]);
    assert!(before.as_array().unwrap().len() >= state.as_array().unwrap().len());

    // All of it again, the older one last: nothing comes back.
    import(&world, file, None);
    import(&world, "-", Some(&lines(2)));
    import(&world, file, None);
    eventually("the log is through", || core_data_lag(&world) == 0);
    expect_revision(&up, 2);
    assert_eq!(world.json(&["programs", "list"]), state);
    let scraped = scrape(&up);
    assert!(value(&scraped, "clickgate_core_data_total{outcome=\"older\"}") >= 1_994.0, "{scraped}");
    assert_eq!(value(&scraped, "clickgate_core_data_total{outcome=\"dead\"}"), 0.0);
    assert!(world.run(&["reconcile"]).status.success(), "core data is no event");
    expect_drained(up);
    assert_eq!(world.json(&["programs", "list"]), state, "and without an owner it is the same");
}

#[test]
fn core_data_that_comes_without_an_owner_waits_for_the_bridge() {
    let world = World::new();
    let output = import(&world, "-", Some(&line(1, 1)));
    assert!(output.status.success(), "{}", text(&output));
    assert!(core_data_lag(&world) > 0);
    assert_eq!(world.json(&["programs", "list"]), json!([]));

    let bridge = world.start("bridge programs");
    let refused = world.run(&["up"]);
    assert!(text(&refused).contains("clickgate bridge programs"), "{}", text(&refused));
    eventually("the bridge took it up", || world.json(&["programs", "list"])[0]["programName"] == "r1");
    let output = import(&world, "-", Some(&(line(2, 1) + "\n" + &line(1, 2))));
    assert!(output.status.success(), "{}", text(&output));
    let (status, said) = bridge.stop_and_read();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(core_data_lag(&world), 0, "the drain left nothing");
    let ids: Vec<Value> = world
        .json(&["programs", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["programName"].clone())
        .collect();
    assert_eq!(ids, [json!("r2"), json!("r1")]);
}

#[test]
fn a_posted_message_is_checked_at_the_door_and_one_that_a_reader_cannot_read_is_a_dead_letter() {
    let world = World::new();
    let up = world.start("up");
    let post = |body: &str| {
        let run: Value =
            serde_json::from_slice(&std::fs::read(world.data().join("run.json")).unwrap()).unwrap();
        let head = format!(
            "POST /programs HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            up.admin,
            run["token"].as_str().unwrap(),
            body.len()
        );
        http::Client::open(up.admin).and_then(|mut client| client.send(&head)).unwrap()
    };
    let refused = post("{\n \"programId\": 5\n}");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(refused.json()["details"][0]["line"], 2, "{refused:?}");
    let accepted = post(&format!("[{},\n{}]", line(1, 1), line(2, 1)));
    assert_eq!((accepted.status, &accepted.json()["accepted"]), (200, &json!(2)), "{accepted:?}");
    eventually("hits obey it", || hit(&up, 1).0 == 200 && hit(&up, 2).0 == 200);
    expect_drained(up);

    // Another writer's record, which nobody checked.
    append_unchecked(
        &world,
        RecordKind::CoreData,
        b"{\"programId\": \"p3\", \"programName\": \"later a field\"}",
    );
    append_unchecked(&world, RecordKind::Other(77), line(5, 1).as_bytes());
    append_unchecked(&world, RecordKind::CoreData, line(4, 1).as_bytes());
    let up = world.start("up");
    eventually("what is behind it is obeyed", || hit(&up, 4).0 == 200);
    // Programs are put before letters are kept; the cursor moves last.
    eventually("the batch is through", || core_data_lag(&world) == 0);
    assert_eq!(dead_letter_count(&world), 2);
    let letter = world.json(&["dead-letters", "show", "0"]);
    assert_eq!(letter["stage"], "bridge-programs");
    assert!(letter["reason"].as_str().unwrap().contains("missing field"), "{letter}");
    let replayed = world.run(&["dead-letters", "replay", "0"]);
    assert!(text(&replayed).contains("cannot be read still"), "{}", text(&replayed));
    world.ok(&["dead-letters", "drop", "0"]);

    // One that this version can read goes back into the log.
    assert!(world.json(&["dead-letters", "show", "1"])["reason"].as_str().unwrap().contains("kind 77"));
    assert_eq!(hit(&up, 5).0, 404);
    assert_eq!(world.json(&["dead-letters", "replay", "1"])["result"], "in_log");
    eventually("it is obeyed", || hit(&up, 5).0 == 200);
    assert_eq!(dead_letter_count(&world), 0);
    assert_eq!(value(&scrape(&up), "clickgate_core_data_total{outcome=\"dead\"}"), 2.0);
    assert!(world.run(&["reconcile"]).status.success());
    expect_drained(up);
}

#[test]
fn a_replayed_letter_stands_at_its_own_place_and_undoes_nothing_that_was_accepted_behind_it() {
    let world = World::new();
    let said = |name: &str| {
        let mut program: Value = serde_json::from_str(&line(6, 1)).unwrap();
        program["programName"] = name.into();
        program.as_object_mut().unwrap().remove("revision");
        program.to_string()
    };
    // First what a newer release writes, then a change; nobody carries either on for a while.
    append_unchecked(&world, RecordKind::Other(77), said("first").as_bytes());
    let output = import(&world, "-", Some(&said("second")));
    assert!(output.status.success(), "{}", text(&output));
    let up = world.start("up");
    eventually("hits obey the change", || hit(&up, 6).0 == 200 && core_data_lag(&world) == 0);
    assert!(hit(&up, 6).1.contains("second"), "{:?}", hit(&up, 6));
    assert_eq!(dead_letter_count(&world), 1);

    assert_eq!(world.json(&["dead-letters", "replay", "0"])["result"], "in_log");
    eventually("the bridge has seen it", || core_data_lag(&world) == 0);
    let older = || value(&scrape(&up), "clickgate_core_data_total{outcome=\"older\"}");
    eventually("it came late", || older() == 1.0);
    assert_eq!(world.json(&["programs", "get", "p6"])["programName"], "second");
    assert!(hit(&up, 6).1.contains("second"), "{:?}", hit(&up, 6));
    expect_drained(up);
}

/// Appends to the log `programs` of a directory that nobody owns.
fn append_unchecked(world: &World, kind: RecordKind, payload: &[u8]) {
    let config = stream::LogConfig { cursors: vec!["programs".to_owned()], ..stream::LogConfig::default() };
    let log = stream::Log::open(&world.data().join("log"), "programs", config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let lane = log.open_lane().unwrap();
        let number =
            lane.append(stream::Class::Conversion, kind, |_, to| to.extend_from_slice(payload)).unwrap();
        lane.reached(stream::Level::Synced, number).await.unwrap();
    });
    log.close();
}
