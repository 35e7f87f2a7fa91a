//! Every route and method, as it is on the wire. `CLICKGATE_GOLDEN=write` writes the
//! files anew; look at the difference before you keep it.

use std::{fmt::Write, path::Path};

use crate::world::{World, config};

const PROGRAMS: &str = r#"[
  {"programId": "212312", "programName": "program1", "checksum": "123", "customerId": 9123,
   "customerName": "Customer \"1\"", "valid": true,
   "landingUrl": "https://shop.example.com/spring?click={click_id}&src={p.utm_source}&keep=%2f+%C3%BC#a'b"},
  {"programId": "strict", "programName": "s", "checksum": "7", "customerId": 1, "customerName": "c", "valid": true,
   "strict": true, "requireChecksum": true, "parameters": {"size": {"required": true, "type": "integer"}},
   "fallbackUrl": "https://shop.example.com/sorry", "landingUrl": "https://shop.example.com/"},
  {"programId": "off", "programName": "o", "checksum": "", "customerId": 1, "customerName": "c", "valid": false},
  {"programId": "old", "programName": "o", "checksum": "", "customerId": 1, "customerName": "c", "valid": true,
   "endsAt": "2020-01-01T00:00:00Z"},
  {"programId": "bare", "programName": "b", "checksum": "", "customerId": 1, "customerName": "c", "valid": true}
]"#;

/// The answer with its headers in order and without what differs from run to run.
fn normalised(answer: &[u8]) -> String {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no head in {:?}", String::from_utf8_lossy(answer));
    });
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut text = format!("{}\n", lines.next().unwrap());
    let mut headers: Vec<_> = lines.collect();
    headers.sort_unstable();
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        let value = if name == "date" { "DATE" } else { value };
        writeln!(text, "{name}: {value}").unwrap();
    }
    let body = &answer[end + 4..];
    match std::str::from_utf8(body) {
        Ok("") => text.push_str("(no body)\n"),
        Ok(body) => writeln!(text, "\n{}", body.trim_end_matches('\n')).unwrap(),
        Err(_) => {
            let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "\n{} bytes: {hex}", body.len()).unwrap();
        }
    }
    without_ids(&text)
}

/// Replaces each message id, a UUIDv7, by `MESSAGE-ID`.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 36
            && word.as_bytes()[14] == b'7'
            && word.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..36).is_some_and(is_id) {
            out.push_str("MESSAGE-ID");
            rest = &rest[36..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Asks for each `request` (`METHOD target`, then headers, an empty line and a body) and compares with `golden/{file}`.
fn compare(world: &World, file: &str, requests: &[&str]) {
    let mut found = String::new();
    for request in requests {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
        if !body.is_empty() {
            write!(headers, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        let bytes = format!("{line} HTTP/1.1\r\nHost: t.example\r\n{headers}Connection: close\r\n\r\n{body}");
        let shown = if request.len() > 200 { &request[..60] } else { request };
        writeln!(found, "> {}\n\n{}", shown.replace('\n', "\n> "), normalised(&world.raw(bytes.as_bytes())))
            .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("CLICKGATE_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (at, (found, golden)) in found.split("\n> ").zip(golden.split("\n> ")).enumerate() {
        assert_eq!(found, golden, "answer {at} of {file}");
    }
    assert_eq!(found.len(), golden.len(), "{file} has other answers");
}

#[test]
fn the_event_route_answers_as_it_always_did() {
    let world = World::start(config(), PROGRAMS);
    let long = format!("GET /event/212312?a={}", "x".repeat(20_480));
    let requests = [
        "GET /event/212312\nUser-Agent: curl/7.54.0",
        "GET /event/212312?utm_source=a%20b&x=1\nUser-Agent: \"quoted\" \u{fc}",
        "HEAD /event/212312\nUser-Agent: curl/7.54.0",
        "GET /event/212312\nSec-Purpose: prefetch;prerender",
        "GET /event/1",
        "HEAD /event/1",
        "GET /event/",
        "GET /event/a/b",
        "GET /event/%ff",
        "GET /event/212312?a=%zz",
        "GET /event/off",
        "GET /event/old",
        "GET /event/strict",
        "GET /event/strict?size=1",
        "GET /event/strict?size=x&sum=7",
        "GET /event/strict?size=1&sum=7&colour=red",
        "GET /event/strict?size=1&sum=7&utm_medium=mail&cb=17",
        &long,
        "POST /event/212312",
        "OPTIONS /event/212312",
        "DELETE /event/212312",
    ];
    compare(&world, "event.txt", &requests);
    let logged = world.stop();
    assert_eq!(logged.events.len(), 4, "HEAD and the prefetch left none");
}

#[test]
fn the_pixel_is_always_an_image_and_never_cached() {
    let world = World::start(config(), PROGRAMS);
    let requests = [
        "GET /i/212312",
        "GET /i/212312.gif?cb=123",
        "HEAD /i/212312.gif",
        "GET /i/1.gif",
        "GET /i/old.gif",
        "GET /i/%zz.gif",
        "GET /i/212312.gif\nPurpose: prefetch",
        "POST /i/212312.gif",
        "OPTIONS /i/212312.gif",
    ];
    compare(&world, "impression.txt", &requests);
    assert_eq!(world.stop().events.len(), 2);
}

#[test]
fn the_click_goes_where_the_program_says_byte_for_byte() {
    let world = World::start(config(), PROGRAMS);
    let requests = [
        "GET /c/212312?utm_source=news%26letter%20%C3%BC",
        "GET /c/212312",
        "HEAD /c/212312?utm_source=a",
        "GET /c/212312?utm_source=https://evil.example/%0d%0aSet-Cookie:%20a=b",
        "GET /c/212312?v=me&utm_source=a\nSec-GPC: 1\nCookie: a=b",
        "GET /c/strict?size=1",
        "GET /c/strict?size=1&sum=7",
        "GET /c/bare",
        "GET /c/1",
        "GET /c/old",
        "GET /c/off\nSec-Purpose: prefetch",
        "POST /c/212312",
        "OPTIONS /c/212312",
    ];
    compare(&world, "click.txt", &requests);
    assert_eq!(world.stop().events.len(), 6);
}

#[test]
fn a_refused_click_goes_to_the_configured_place_if_the_program_names_none() {
    let fallback_url = Some("https://fallback.example.com/?from=us".into());
    let world = World::start(tracker::Config { fallback_url, ..config() }, PROGRAMS);
    compare(&world, "fallback.txt", &["GET /c/1", "GET /c/strict", "GET /c/%zz", "GET /c/bare", "GET /i/1"]);
    assert_eq!(world.stop().events.len(), 1);
}

#[test]
fn the_conversion_is_honest_whatever_it_is_asked_by() {
    let world = World::start(config(), PROGRAMS);
    let requests = [
        "GET /v/212312",
        "GET /v/212312?id=order-1&t=1789999999000&value=9.5",
        "GET /v/212312.gif?id=order-1&t=1789999999000",
        "GET /v/212312?id=",
        "HEAD /v/212312?id=order-1",
        "HEAD /v/212312.gif",
        "GET /v/212312\nPurpose: prefetch",
        "GET /v/1",
        "GET /v/1.gif",
        "HEAD /v/1",
        "GET /v/%ff",
        "GET /v/old",
        "GET /v/off.gif",
        "GET /v/strict?size=x&sum=7",
        "GET /v/212312?id=%zz",
        "POST /v/212312",
        "OPTIONS /v/212312",
        "DELETE /v/212312",
    ];
    compare(&world, "conversion.txt", &requests);
    assert_eq!(world.stop().events.len(), 5);
}

#[test]
fn the_beacon_answers_once_for_all_of_its_entries() {
    let world = World::start(config(), PROGRAMS);
    let entry = r#"{"program": "212312", "type": "impression"}"#;
    let known = r#"{"program": "212312", "type": "conversion", "id": "order-1", "time_ms": 1789999999000}"#;
    let requests = [
        format!("POST /b\n\n{entry}"),
        format!("POST /b\nOrigin: https://shop.example\nContent-Type: text/plain\n\n[{entry}, {known}]"),
        format!("POST /b\nOrigin: null\nContent-Type: application/json\n\n{entry}"),
        format!("POST /b?report=1\nOrigin: https://shop.example\n\n[{known}, {{\"program\": \"old\", \"type\": \"click\"}}]"),
        "POST /b\n\n{\"program\": \"none\", \"type\": \"click\"}".into(),
        format!("POST /b?report=1\nSec-Purpose: prefetch\n\n{entry}"),
        "POST /b\nOrigin: https://shop.example\n\n{\"program\": \"1\", \"type\": \"click\", \"params\": {\"a\": [1]}}".into(),
        "POST /b\n\nnot JSON".into(),
        "POST /b".into(),
        "POST /b\n\n[]".into(),
        "OPTIONS /b".into(),
        "OPTIONS /b\nOrigin: https://shop.example\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Headers: content-type".into(),
        "OPTIONS /b\nOrigin: null\nAccess-Control-Request-Method: POST".into(),
        "GET /b?d=%7B%22program%22:%22212312%22,%22type%22:%22video.50%22%7D".into(),
        "HEAD /b?d=%7B%22program%22:%22212312%22,%22type%22:%22video.50%22%7D".into(),
        "GET /b?d=%7B".into(),
        "GET /b?d=%zz".into(),
        "GET /b\nOrigin: https://shop.example".into(),
        "HEAD /b".into(),
        format!("GET /b?d={}", "x".repeat(20_480)),
        "PUT /b\nOrigin: https://shop.example".into(),
        "DELETE /b".into(),
        "GET /b/212312".into(),
    ];
    compare(&world, "beacon.txt", &requests.each_ref().map(String::as_str));
    assert_eq!(world.stop().events.len(), 6);
}

#[test]
fn the_tag_is_served_with_its_page() {
    let world = World::start(config(), PROGRAMS);
    let etag = |target| {
        let answer = world.get(target);
        answer.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned()
    };
    // Without the bodies: those are files of their own.
    let requests = [
        "HEAD /clickgate.js",
        "POST /clickgate.js",
        "OPTIONS /clickgate.js",
        "HEAD /example",
        "POST /example",
        "GET /clickgate.js/x",
    ];
    compare(&world, "tag.txt", &requests);
    for target in ["/clickgate.js", "/example"] {
        let known = format!("If-None-Match: {}", etag(target));
        let answer = world.request("GET", target, &[&known]);
        assert!(answer.starts_with("HTTP/1.1 304") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(world.request("GET", target, &["If-None-Match: \"old\""]).starts_with("HTTP/1.1 200"));
    }
    world.stop();
    let without = World::start(tracker::Config { example_page: false, ..config() }, PROGRAMS);
    assert!(without.get("/example").starts_with("HTTP/1.1 404"));
    without.stop();
}

#[test]
fn the_other_pages_answer_as_they_always_did() {
    let world = World::start(config(), PROGRAMS);
    world.eventually("fresh", |world| world.admin.health().catalog_fresh);
    let pages = [
        "GET /health/live",
        "HEAD /health/live",
        "GET /health/ready",
        "HEAD /health/ready",
        "GET /health/check",
        "POST /health/check",
        "GET /robots.txt",
        "HEAD /robots.txt",
        "OPTIONS /robots.txt",
        "GET /.well-known/gpc.json",
        "HEAD /.well-known/gpc.json",
        "GET /",
        "GET /favicon.ico",
        "POST /unknown",
        "OPTIONS *",
        "GET http://t.example/robots.txt",
    ];
    compare(&world, "pages.txt", &pages);
    world.handle.drain();
    compare(
        &world,
        "draining.txt",
        &["GET /health/live", "GET /health/ready", "GET /health/check", "GET /i/212312"],
    );
    assert_eq!(world.stop().events.len(), 1, "hits are served while draining");
}
