//! What the worlds with Redis share.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::documents::{scrape, value};
use crate::http::{self, Client};
use crate::world::{Process, World};

/// How stale a tracker may be once Redis is back.
pub const STALE_MAX: Duration = Duration::from_secs(5);

/// A world whose programs are in this Redis.
pub fn edge(url: &str) -> World {
    World::new()
        .with("registry.kind", "redis")
        .with("registry.redis.urls", url)
        .with("tracker.workers", "1")
        .with("tracker.catalog.registry_timeout_ms", "1000")
        .with("tracker.catalog.snapshot_seconds", "1")
}

/// A program as its source writes it; the name says the revision.
pub fn program(id: &str, revision: u64) -> String {
    json!({
        "programId": id, "programName": format!("rev {revision}"), "checksum": "1", "customerId": 7,
        "customerName": "Customer", "valid": true, "landingUrl": format!("https://shop.example/{id}"),
        "revision": revision,
    })
    .to_string()
}

/// Programs "0" to this many, of this revision, a line each.
pub fn programs(count: usize, revision: u64) -> String {
    let mut lines = String::new();
    for at in 0..count {
        writeln!(lines, "{}", program(&at.to_string(), revision)).unwrap();
    }
    lines
}

/// Puts a program as another process, on no data directory, and returns when it is stored.
pub fn put(writer: &World, id: &str, revision: u64) {
    writer.ok(&["programs", "put", &program(id, revision)]);
}

/// Imports as another process.
pub fn import(writer: &World, lines: &str) {
    let file = writer.write("core-data.jsonl", lines);
    writer.ok(&["programs", "import", &file.display().to_string()]);
    assert!(!writer.data().exists(), "a shared registry needs no data directory");
}

/// The revision that a tracker answers with; `None` if it does not know the program.
pub fn revision(tracker: SocketAddr, id: &str) -> Option<u64> {
    let answer = http::get(tracker, &format!("/event/{id}"));
    (answer.status == 200).then(|| revision_of(&answer))
}

fn revision_of(answer: &http::Answer) -> u64 {
    let name = answer.json()["programName"].as_str().unwrap().to_owned();
    name.strip_prefix("rev ").unwrap().parse().unwrap()
}

/// Every tracker knows this revision, within the time that it may be stale; the longest took this.
pub fn all_know(trackers: &[&Process], id: &str, expected: u64) -> Duration {
    let began = Instant::now();
    for tracker in trackers {
        loop {
            let known = revision(tracker.tracker, id);
            if known == Some(expected) {
                break;
            }
            assert!(began.elapsed() < STALE_MAX, "{id} is {known:?}, not {expected}, after {STALE_MAX:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    began.elapsed()
}

/// How often something happened to a tracker that follows the registry.
pub fn happened(tracker: &Process, event: &str) -> u64 {
    value(&scrape(tracker), &format!("clickgate_registry_total{{event=\"{event}\"}}")) as u64
}

pub fn is_fresh(tracker: &Process) -> bool {
    value(&scrape(tracker), "clickgate_catalog_fresh") == 1.0
}

/// Hits one program all the time, and sees to it that each is answered as it should be: an
/// event or a redirect, never of a revision before one that was seen.
pub struct Hits {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Hits {
    pub fn on(tracker: SocketAddr, id: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, id) = (Arc::clone(&stop), id.to_owned());
        let thread = std::thread::spawn(move || hit(tracker, &id, &stopped));
        Self { stop, thread: Some(thread) }
    }

    /// Ends, and says how many there were and how long they took.
    pub fn end(mut self) -> Figures {
        self.stop.store(true, SeqCst);
        let mut took =
            self.thread.take().unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        took.sort_unstable();
        let figures = Figures { hits: took.len(), p99: took[took.len() * 99 / 100] };
        assert!(figures.hits > 20, "{figures:?}");
        figures
    }
}

impl Drop for Hits {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

/// How hits were answered meanwhile.
#[derive(Debug)]
#[expect(dead_code, reason = "printed for people")]
pub struct Figures {
    hits: usize,
    p99: Duration,
}

fn hit(tracker: SocketAddr, id: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = Client::open(tracker).unwrap();
    let (mut took, mut newest) = (Vec::new(), 0);
    while !stop.load(SeqCst) {
        let began = Instant::now();
        let event = client.get(&format!("/event/{id}")).unwrap();
        took.push(began.elapsed());
        assert_eq!(event.status, 200, "hit {}: {event:?}", took.len());
        let revision = revision_of(&event);
        assert!(revision >= newest, "revision {revision} after {newest}");
        newest = revision;
        let began = Instant::now();
        let click = client.get(&format!("/c/{id}")).unwrap();
        took.push(began.elapsed());
        assert_eq!((click.status, click.header("x-clickgate-recorded")), (302, None), "{click:?}");
        assert_eq!(click.header("location"), Some(&*format!("https://shop.example/{id}")));
        std::thread::sleep(Duration::from_millis(2));
    }
    took
}
