//! The requests that are sent, byte for byte the same by every generator.
//!
//! A load balancer pools its connections to a server and puts whatever comes next onto whichever
//! is free: a pixel, then a beacon, then a health check. The [`mix`] is in a shuffled order for
//! that reason, so that every connection carries every kind of request.

use crate::programs::{PROGRAMS, id};

/// Requests in a sequence; generators repeat it.
pub const REQUESTS: usize = 10_000;
/// Stands for the server's address in [`Request::text`].
pub const HOST: &str = "{host}";
/// Seeds the shuffle, so that the mix is the same in every run.
const SEED: u64 = 0x636c_6963_6b67_6174;

/// The headers of a browser; the same for every kind of request.
const HEADERS: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
     Referer: https://news.example/article/1\r\n";

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    text: String,
    /// Whether the answer has no body although its head may say how long one would be.
    pub is_head: bool,
    /// Whether an answer of 2xx or 3xx acknowledges an event.
    pub makes_event: bool,
}

impl Request {
    /// A GET that acknowledges an event.
    pub fn hit(path: &str) -> Self {
        Self::new("GET", path, true)
    }

    fn new(method: &str, path: &str, makes_event: bool) -> Self {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{HEADERS}\r\n");
        Self { text, is_head: method == "HEAD", makes_event }
    }

    /// As `navigator.sendBeacon` posts it for a page of another origin.
    fn beacon(json: &str) -> Self {
        let bytes = json.len();
        let text = format!(
            "POST /b HTTP/1.1\r\nHost: {HOST}\r\n{HEADERS}Origin: https://news.example\r\n\
             Content-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n{json}"
        );
        Self { text, is_head: false, makes_event: true }
    }

    /// All of it, with [`HOST`] where the server's address is to be.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All of it, for this server.
    pub fn to(&self, host: &str) -> String {
        self.text.replacen(HOST, host, 1)
    }
}

/// Pixels of programs all over the registry.
pub fn pixels() -> Vec<Request> {
    (0..REQUESTS).map(pixel).collect()
}

/// 70 % pixels, 10 % clicks, 15 % beacons, 2 % HEAD of a click, 2 % health checks, 1 % the tag.
pub fn mix() -> Vec<Request> {
    let mut requests: Vec<Request> = (0..REQUESTS)
        .map(|nth| match nth % 100 {
            0..70 => pixel(nth),
            70..80 => Request::hit(&click(nth)),
            80..95 => Request::beacon(&beacon_json(nth)),
            // As link checkers do. wrk cannot HEAD a pixel: it would wait for a body of the stated
            // length, while a redirect has none.
            95..97 => Request::new("HEAD", &click(nth), false),
            97..99 => Request::new("GET", "/health/ready", false),
            _ => Request::new("GET", "/clickgate.js", false),
        })
        .collect();
    shuffle(&mut requests);
    requests
}

fn program(nth: usize) -> String {
    id(nth * 7_919 % PROGRAMS)
}

fn pixel(nth: usize) -> Request {
    Request::hit(&format!("/i/{}.gif?utm_source=news&v=visitor-1", program(nth)))
}

fn click(nth: usize) -> String {
    format!("/c/{}?utm_source=news&v=visitor-1", program(nth))
}

/// What the tag sends for an impression, with the fields in its order.
fn beacon_json(nth: usize) -> String {
    let program = program(nth);
    let uuid = format!("{nth:08x}-7c1d-4f6a-9b2e-5d0c8e4a1f37");
    format!(
        r#"{{"program":"{program}","type":"impression","id":"{uuid}","time_ms":1790000000000,"params":{{"slot":3}},"visitor":"visitor-1"}}"#
    )
}

/// Fisher-Yates, with a 64-bit xorshift.
fn shuffle(requests: &mut [Request]) {
    let mut state = SEED;
    for last in (1..requests.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        requests.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(of: impl Fn(&str) -> bool) -> usize {
        mix().iter().filter(|request| of(request.text())).count() * 100 / REQUESTS
    }

    #[test]
    fn the_mix_has_its_shares() {
        assert_eq!(share(|text| text.starts_with("GET /i/")), 70);
        assert_eq!(share(|text| text.starts_with("GET /c/")), 10);
        assert_eq!(share(|text| text.starts_with("POST /b ")), 15);
        assert_eq!(share(|text| text.starts_with("HEAD ")), 2);
        assert_eq!(share(|text| text.starts_with("GET /health/")), 2);
        assert_eq!(share(|text| text.starts_with("GET /clickgate.js ")), 1);
        assert_eq!(mix().iter().filter(|request| request.makes_event).count() * 100 / REQUESTS, 95);
    }

    #[test]
    fn every_connection_carries_every_kind_whatever_their_number() {
        let mix = mix();
        let kinds = ["GET /i/", "GET /c/", "POST /b", "HEAD /c/", "GET /health", "GET /clickgate.js"];
        for connections in [64, 256] {
            for first in 0..connections {
                // Those that a connection sends in a round if all are answered in turn.
                let of_it = (first..40 * REQUESTS).step_by(connections).map(|nth| &mix[nth % REQUESTS]);
                let texts: Vec<&str> = of_it.map(Request::text).collect();
                let is_missing = |kind: &&&str| !texts.iter().any(|text| text.starts_with(**kind));
                assert_eq!(kinds.iter().find(is_missing), None, "{first} of {connections}");
            }
        }
    }

    #[test]
    fn a_beacon_has_the_size_that_the_tag_sends_and_a_right_content_length() {
        let request = Request::beacon(&beacon_json(7));
        let (head, body) = request.text().split_once("\r\n\r\n").unwrap();
        assert!((140..=170).contains(&body.len()), "{}", body.len());
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        let entry: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(entry["program"], program(7));
        assert!(request.to("127.0.0.1:80").contains("\r\nHost: 127.0.0.1:80\r\n"));
    }
}
