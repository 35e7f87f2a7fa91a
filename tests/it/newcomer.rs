//! The first ten minutes.

use std::time::{Duration, Instant};

use crate::http::get;
use crate::world::{World, eventually};

#[test]
fn a_click_is_redirected_and_seen_by_tail_within_a_second_and_is_there_once_after_a_kill() {
    let world = World::new();
    let up = world.start("up");
    let answer = get(up.tracker, "/c/212313?utm_source=readme");
    let answered = Instant::now();
    assert_eq!(answer.status, 302, "{answer:?}");
    let id = answer.message_id().unwrap();
    let tail = || world.ok(&["--json", "events", "tail", "--no-follow"]);
    eventually("the click is in the tail", || tail().contains(&id));
    assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());

    let last = get(up.tracker, "/event/212313").message_id().unwrap();
    up.kill();
    let _up = world.start("up");
    eventually("both are stored", || world.count() == 2);
    for id in [&id, &last] {
        let event = world.json(&["events", "get", id, "--program", "212313"]);
        assert_eq!(event["messageId"], id.as_str());
    }
}

#[test]
fn a_program_put_beside_a_running_up_is_obeyed_by_the_next_hit() {
    let world = World::new();
    let up = world.start("up");
    assert_eq!(get(up.tracker, "/event/spring").status, 404);
    let program = |valid: bool| {
        format!(
            r#"{{"programId":"spring","programName":"Spring","checksum":"9","customerId":7,
                "customerName":"C","valid":{valid},"landingUrl":"https://shop.example/?click={{click_id}}"}}"#
        )
    };
    for _ in 0..10 {
        let file = world.write("spring.json", &program(true));
        world.ok(&["programs", "put", file.to_str().unwrap()]);
        let answer = get(up.tracker, "/event/spring");
        assert_eq!((answer.status, answer.json()["programName"].as_str()), (200, Some("Spring")));

        let file = world.write("spring.json", &program(false));
        world.ok(&["programs", "put", file.to_str().unwrap()]);
        let answer = get(up.tracker, "/event/spring");
        assert_eq!(answer.json()["error"], "inactive_program");
    }
    eventually("the refused hit can be seen with its reason", || {
        world.ok(&["--json", "events", "rejected"]).contains("inactive_program")
    });
    world.ok(&["programs", "rm", "spring"]);
    assert_eq!(get(up.tracker, "/event/spring").status, 404);
    assert!(world.ok(&["programs", "list"]).contains("212314"));
    assert!(up.stop().success());
}

#[test]
fn the_sample_answers_as_the_aws_sample_does() {
    let world = World::new();
    let up = world.start("up");
    let answer = get(up.tracker, "/event/212313");
    let mut json = answer.json();
    let id = json["messageId"].take();
    assert_eq!(id.as_str().map(str::len), Some(36));
    let expected = serde_json::json!({
        "userAgent": "it/1", "programId": "212313", "programName": "program2", "checksum": "124",
        "customerId": 9124, "customerName": "Customer2", "messageId": null, "valid": true,
    });
    assert_eq!(json, expected);
    let unknown = get(up.tracker, "/event/1");
    assert_eq!((unknown.status, unknown.json()), (404, serde_json::json!("ProgramId not found")));
}
