//! Core data of which much is wrong.

use serde_json::{Value, json};

use crate::http::Client;
use crate::world::{World, text};

const GOOD: &str =
    r#"{"programId": "good", "customerId": 1, "customerName": "C", "valid": true, "programName": "P"}"#;

#[test]
fn of_many_bad_lines_the_first_are_named_and_all_are_counted() {
    let world = World::new();
    let up = world.start("up");
    let body = format!("{}{GOOD}\n", "{\"programId\": 5}\n".repeat(300));

    let run: Value = serde_json::from_slice(&std::fs::read(world.data().join("run.json")).unwrap()).unwrap();
    let head = format!(
        "POST /programs?lines=true HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        up.admin,
        run["token"].as_str().unwrap(),
        body.len()
    );
    let answer = Client::open(up.admin).unwrap().send(&head).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["refused"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&answer["accepted"], &answer["refused_more"], &answer["refused_lines"]),
        (&json!(1), &json!(200), &json!(300))
    );

    let file = world.write("bad.jsonl", &body);
    let output = world.run(&["--json", "programs", "import", "--stream", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1), &json!(300)), "{answer}");
    let said = String::from_utf8_lossy(&output.stderr);
    for place in ["bad.jsonl:1:", "bad.jsonl:100:", "200 more lines up to line 301", "300 lines were refused"]
    {
        assert!(said.contains(place), "{place:?} is not in {said}");
    }
    assert!(!said.contains("bad.jsonl:101:"), "{said}");
    assert_eq!(up.stop().code(), Some(0));
}
