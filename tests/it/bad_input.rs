//! What people and machines get wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::http::{Client, get};
use crate::world::{World, text};

#[test]
fn core_data_with_wrong_types_is_refused_by_file_line_and_field_and_changes_nothing() {
    let world = World::new();
    let up = world.start("up");
    let file = world.write(
        "core.json",
        r#"[
  {"programId": "good", "programName": "G", "checksum": "1", "customerId": 1, "customerName": "C", "valid": true},
  {"programId": "a", "programName": "A", "checksum": "1", "customerId": "x1", "customerName": "C", "valid": true},
  {"programId": "b", "programName": "B", "checksum": "1", "customerId": 1, "customerName": "C", "valid": "maybe"}
]"#,
    );
    let output = world.run(&["programs", "import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = text(&output);
    for part in ["core.json:3", "customerId", "core.json:4", "valid"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(get(up.tracker, "/event/good").status, 404);
}

#[test]
fn unknown_configuration_keys_are_all_listed() {
    let world = World::new();
    let file = world.write(
        "clickgate.toml",
        "[tracker]\nlisten_on = \"127.0.0.1:1\"\nworkers = \"many\"\n[logs]\nx = 1\n",
    );
    let output = world
        .clickgate(&["--config", file.to_str().unwrap(), "config", "check"])
        .env("CLICKGATE__TRACKER__WORKER", "2")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = text(&output);
    for part in ["tracker.listen_on", "tracker.workers", "logs", "CLICKGATE__TRACKER__WORKER"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// Every request line gets an answer or the end of its connection, and the process
/// goes on; what it got is counted.
#[test]
fn ten_thousand_random_request_lines_are_answered_or_closed_and_counted() {
    let world = World::new();
    let up = world.start("up");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let before = requests(&up);
    let mut sent = 0;
    for _ in 0..10_000 {
        let mut stream = TcpStream::connect(up.tracker).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // The peer may have refused and closed before it read all.
        let _ = stream.write_all(&request(&mut random));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
        sent += 1;
    }
    let answer = get(up.tracker, "/event/212313");
    assert_eq!(answer.status, 200);
    assert!(!up.output().contains("panicked"), "{}", up.output());
    let counted = requests(&up) - before;
    assert_eq!(counted, f64::from(sent) + 1.0, "each of them, and the one of the end, is counted once");
}

/// A request line: a plausible one that was damaged, or noise.
fn request(random: &mut fastrand::Rng) -> Vec<u8> {
    let parts: [&[u8]; 12] = [
        b"/event/212313",
        b"/c/212312",
        b"/i/212314.gif",
        b"?",
        b"&a=b",
        b"%00",
        b"%zz",
        b"%ff%fe",
        b"\xff\xc0",
        b"//",
        b"?sum=1&sum=2",
        b"/../",
    ];
    let mut line = [&b"GET "[..], b"HEAD ", b"POST ", b"get ", b"\x00 ", b""][random.usize(..6)].to_vec();
    for _ in 0..random.usize(1..6) {
        line.extend_from_slice(parts[random.usize(..parts.len())]);
    }
    if random.u8(..) < 20 {
        line.extend((0..random.usize(..200)).map(|_| random.u8(..)));
    }
    if random.u8(..) < 5 {
        line.extend_from_slice(&b"&q=1".repeat(101));
    }
    if random.u8(..) < 3 {
        line.extend(vec![b'x'; 30_000]);
    }
    line.extend_from_slice(
        [&b" HTTP/1.1\r\nHost: x\r\n\r\n"[..], b" HTTP/9.9\r\n\r\n", b"\r\n\r\n"][random.usize(..3)],
    );
    line
}

/// All requests that the tracker counted, malformed ones included.
fn requests(up: &crate::world::Process) -> f64 {
    let head = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", up.admin);
    let metrics = Client::open(up.admin).unwrap().send(&head).unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    let counted = |line: &str| {
        let of_requests =
            line.starts_with("clickgate_requests_total") || line.starts_with("clickgate_http_malformed");
        of_requests.then(|| line.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(counted).sum()
}
