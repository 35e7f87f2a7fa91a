//! A pipeline of everything that clients send, in pieces of every size: nothing depends on how
//! the network cut it.

use std::collections::BTreeMap;

use stream::Level;
use tracker::{Config, Levels};

use crate::http_order::etag;
use crate::wire::{Answer, Client, End, without_ids};
use crate::world::{World, config};

const PROGRAMS: &str = r#"[
  {"programId": "1", "programName": "one", "checksum": "7", "customerId": 1, "customerName": "c", "valid": true,
   "landingUrl": "https://shop.example.com/?src={p.utm_source}"}
]"#;

/// One request of the pipeline.
struct Request {
    bytes: Vec<u8>,
    status: u16,
}

impl Request {
    fn is_head(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }
}

fn requests(etag: &str) -> Vec<Request> {
    let entry = r#"{"program": "1", "type": "impression", "params": {"utm_source": "a"}}"#;
    let (first, rest) = entry.split_at(20);
    let size = rest.len();
    let chunks = format!("14;a=\"b\"\r\n{first}\r\n{size:X}\r\n{rest}\r\n0\r\nX-Sum: 1\r\n\r\n");
    let request = |status, line: &str, rest: String| Request {
        bytes: format!("{line} HTTP/1.1\r\nHost: t\r\n{rest}").into_bytes(),
        status,
    };
    let plain = |status, line: &str| request(status, line, "\r\n".into());
    let headers = "User-Agent: Mozilla/5.0\r\nReferer: https://a.example/\r\nCookie: a=b\r\n\r\n";
    vec![
        request(200, "GET /event/1?utm_source=a", headers.into()),
        plain(200, "HEAD /event/1"),
        plain(200, "GET /i/1.gif?utm_source=b"),
        request(204, "POST /b", format!("Content-Length: {}\r\n\r\n{entry}", entry.len())),
        plain(200, "GET /health/live"),
        request(204, "POST /b", format!("Transfer-Encoding: chunked\r\n\r\n{chunks}")),
        plain(204, "OPTIONS /b"),
        request(304, "GET /clickgate.js", format!("If-None-Match: {etag}\r\n\r\n")),
        plain(302, "GET /c/1?utm_source=c"),
        plain(404, "GET /c/none"),
        request(400, "POST /b", "Content-Length: 4\r\n\r\nnull".into()),
        plain(200, "GET http://t/i/1"),
        plain(200, "HEAD /clickgate.js"),
        plain(405, "DELETE /i/1"),
        request(200, "GET /v/1", "Connection: close\r\n\r\n".into()),
    ]
}

/// An answer without what differs from one time to another.
fn timeless(answer: Answer) -> (u16, Vec<String>, String) {
    let shown = answer.headers.iter().filter(|(name, _)| name != "date");
    let headers = shown.map(|(name, value)| format!("{name}: {}", without_ids(value))).collect();
    (answer.status, headers, without_ids(&answer.text()))
}

/// Sends `first`, reads what it must be answered, sends the rest in `pieces` of that many bytes.
fn run(world: &World, requests: &[Request], first: usize, pieces: usize) -> Vec<(u16, Vec<String>, String)> {
    let all: Vec<u8> = requests.iter().flat_map(|request| request.bytes.clone()).collect();
    let place = || format!("cut at {first}, then in pieces of {pieces}");
    let mut client = Client::connect(world.address);
    let _ = client.send(&all[..first]);
    let mut answers = Vec::new();
    let mut whole = 0;
    let mut begun = all.get(first..).map(|rest| rest.chunks(pieces));
    for request in requests {
        whole += request.bytes.len();
        // What is sent whole is answered without the rest: so the tracker has seen the cut.
        if whole > first {
            for piece in begun.take().into_iter().flatten() {
                let _ = client.send(piece);
            }
        }
        let answer = client.answer(request.is_head());
        answers.push(timeless(answer.unwrap_or_else(|end| panic!("{}: {end:?}", place()))));
    }
    assert_eq!(client.end(), End::Closed, "{}", place());
    answers
}

/// The tracker's counters of what it was asked.
fn counted(world: &World) -> BTreeMap<String, u64> {
    let is_of_requests = |name: &String| name.starts_with("clickgate_") && !name.contains("catalog");
    world.counters().into_iter().filter(|(name, _)| is_of_requests(name)).collect()
}

#[test]
fn a_pipeline_is_answered_alike_wherever_it_is_cut() {
    let levels = Levels { conversion: Level::Written, beacon: Level::Written, ..Levels::default() };
    // What is refused is kept without a limit, so that each time leaves the same.
    let settings = Config { levels, rejected_per_second_max: 1_000_000, ..config() };
    let world = World::start(settings, PROGRAMS);
    let requests = requests(&etag(&world));
    let length = requests.iter().map(|request| request.bytes.len()).sum::<usize>();

    let before = counted(&world);
    let expected = run(&world, &requests, length, 1);
    let statuses: Vec<_> = expected.iter().map(|answer| answer.0).collect();
    assert_eq!(statuses, requests.iter().map(|request| request.status).collect::<Vec<_>>());
    let growth = |since: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        let grown = now.iter().map(|(name, count)| (name.clone(), count - since.get(name).unwrap_or(&0)));
        grown.filter(|(_, count)| *count > 0).collect()
    };
    let total = |counts: &BTreeMap<String, u64>| -> u64 {
        counts.iter().filter(|(name, _)| name.starts_with("clickgate_requests_total")).map(|(_, n)| n).sum()
    };
    world.eventually("the last is counted", |world| {
        total(&growth(&before, &counted(world))) == requests.len() as u64
    });
    let once = growth(&before, &counted(&world));

    let begin = counted(&world);
    let mut times = 0;
    for cut in 1..length {
        assert_eq!(run(&world, &requests, cut, length), expected, "cut at {cut}");
        times += 1;
    }
    for pieces in [1, 3, 7, 13] {
        assert_eq!(run(&world, &requests, 0, pieces), expected, "in pieces of {pieces}");
        times += 1;
    }
    world.eventually("all are counted", |world| {
        total(&growth(&begin, &counted(world))) == times * requests.len() as u64
    });
    let expected: BTreeMap<String, u64> = once.into_iter().map(|(name, n)| (name, n * times)).collect();
    assert_eq!(growth(&begin, &counted(&world)), expected);

    let mut events: BTreeMap<(i32, String), u64> = BTreeMap::new();
    for event in world.stop().events {
        *events.entry((event.r#type, format!("{:?}", event.parameters))).or_default() += 1;
    }
    // The hit, two pixels, a beacon that came in two framings, the click, the conversion.
    let per_time: Vec<u64> = events.values().map(|count| count / (times + 1)).collect();
    assert!(events.values().all(|count| count % (times + 1) == 0), "{events:?}");
    assert_eq!(per_time.iter().sum::<u64>(), 7, "{events:?}");
}
