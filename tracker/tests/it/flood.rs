//! Hostile requests: always answered or closed, never a panic, always counted.

use std::collections::HashMap;

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

/// One request: a line out of pieces that parsers have stumbled over, or plain noise.
fn request(random: &mut fastrand::Rng) -> Vec<u8> {
    let methods = ["GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "get", "G\0T", ""];
    let paths = [
        "/event/",
        "/i/",
        "/c/",
        "/event/212312?",
        "/i/212312.gif?",
        "/c/212312?",
        "/health/ready",
        "/c/none?",
        "/",
        "//",
        "*",
        "http://x/c/",
    ];
    let fine: [&[u8]; 18] = [
        b"212312",
        b".gif",
        b"%00",
        b"%zz",
        b"%ff%fe",
        b"%C3%BC",
        b"?",
        b"&",
        b"=",
        b"a=1&",
        b"v=me&",
        b"utm_source=%0d%0a&",
        b"/",
        b"..",
        b"%F0%9F%92%A9",
        b"+",
        b";",
        b"%",
    ];
    let raw: [&[u8]; 8] = [b"\xff\xfe", b"\xc3\xbc", b"\0", b"\x7f", b"<script>", b"{click_id}", b"#", b" "];
    let versions = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "http/1.1"];
    if random.u8(..) < 10 {
        return (0..random.usize(1..200)).map(|_| random.u8(..)).chain(*b"\r\n\r\n").collect();
    }
    let mut bytes =
        format!("{} {}", random.choice(methods).unwrap(), random.choice(paths).unwrap()).into_bytes();
    for _ in 0..random.usize(0..8) {
        let piece =
            if random.u8(..) < 8 { random.choice(raw).unwrap() } else { random.choice(fine).unwrap() };
        bytes.extend_from_slice(piece);
    }
    if random.u8(..) < 8 {
        bytes.push(b'?');
        bytes.extend(b"p=1&".repeat(random.usize(90..110)));
    }
    if random.u8(..) < 4 {
        bytes.extend(std::iter::repeat_n(b'x', random.usize(15_000..70_000)));
    }
    let version = if random.u8(..) < 20 { random.choice(versions).unwrap() } else { "HTTP/1.1" };
    bytes.extend_from_slice(format!(" {}\r\nHost: t\r\n", version).as_bytes());
    if random.u8(..) < 30 {
        let headers: [&[u8]; 6] = [
            b"X-Forwarded-For: \xff, 1.2.3\r\n",
            b"User-Agent: \xff\x80\r\n",
            b"Sec-GPC: 1\r\n",
            b"Content-Length: x\r\n",
            b"no colon\r\n",
            b"traceparent: 00\r\n",
        ];
        bytes.extend_from_slice(random.choice(headers).unwrap());
    }
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    bytes
}

fn sum(counters: &HashMap<String, u64>) -> u64 {
    let whole = ["clickgate_requests_total", "clickgate_http_malformed_total"];
    counters
        .iter()
        .filter(|(name, _)| whole.iter().any(|whole| name.starts_with(whole)))
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn ten_thousand_random_requests_are_answered_and_each_is_counted_once() {
    let world = World::start(config(), SAMPLES);
    let before = sum(&world.counters());
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let world = &world;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..10_000 / threads {
                    let request = request(&mut random);
                    let answer = world.raw(&request);
                    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
                    assert!(
                        answer.starts_with(b"HTTP/1.1 ") || answer.starts_with(b"HTTP/1.0 "),
                        "{shown:?} got {:?}",
                        String::from_utf8_lossy(&answer)
                    );
                    assert!(!answer.starts_with(b"HTTP/1.1 500"), "{shown:?}");
                }
            });
        }
    });
    // A connection that the parser ended is counted when it is closed: after the client's end.
    world.eventually("all counted", |world| sum(&world.counters()) - before == 10_000);
    let counters = world.counters();
    for reason in ["malformed_program_id", "too_large", "unknown_program"] {
        assert!(
            counters.contains_key(&format!("clickgate_refused_total{{reason={reason}}}")),
            "{reason} was never reached"
        );
    }
    let accepted: u64 =
        counters.iter().filter(|(name, _)| name.ends_with("outcome=accepted}")).map(|(_, count)| count).sum();
    let logged = world.stop();
    assert_eq!(logged.events.len() as u64, accepted);
}

#[test]
fn limits_are_kept_to_the_byte() {
    let world = World::start(config(), SAMPLES);
    let many = |count| format!("/event/212312?{}", "a=1&".repeat(count));
    assert!(world.get(&many(100)).starts_with("HTTP/1.1 200"));
    assert!(world.get(&many(101)).starts_with("HTTP/1.1 200"), "what is beyond is left out");
    assert_eq!(world.counters()["clickgate_parameters_left_out_total{}"], 1);
    let line = |bytes: usize| {
        let start = "GET /event/212312?";
        let mut rest = bytes - start.len() - " HTTP/1.1\r\n".len();
        let mut query = String::new();
        while rest > 0 {
            let part = rest.min(1_000);
            query.push_str(&format!("a{}&", "=".repeat(part.saturating_sub(2))));
            rest -= part;
        }
        format!("/event/212312?{}", &query[..bytes - start.len() - " HTTP/1.1\r\n".len()])
    };
    assert!(world.get(&line(20_480)).starts_with("HTTP/1.1 200"));
    assert!(world.get(&line(20_481)).starts_with("HTTP/1.1 414"));
    assert!(world.get(&format!("/{}", "x".repeat(30_000))).starts_with("HTTP/1.1 414"));
    let head = format!("GET / HTTP/1.1\r\nHost: t\r\n{}\r\n", "X-Long: 1\r\n".repeat(200));
    assert!(world.raw(head.as_bytes()).starts_with(b"HTTP/1.1 431"));
    // Counted when the connection is over, which is after the client's end of it.
    world.eventually("counted", |world| {
        world.counters().get("clickgate_http_malformed_total{reason=headers_too_large}") == Some(&1)
    });
    world.stop();
}
