//! A proxy in front of a server of AWS's JSON protocol that does to requests and answers what a
//! region does on a bad day.
//!
//! ```text
//! client ──► delay ─► reset? ─► refused? ─► entries failed? ─► server
//!        ◄── cut, slow, no JSON, lost? ◄── answer edited? ◄── failed entries put back ◄──┘
//! ```
//!
//! [`Rule`]s say which [`Fault`] happens to which operation, and when; they can be added and
//! taken away while it runs. Chance is seeded: the nth request of an operation meets the same
//! faults with the same seed, which is printed; `CLICKGATE_PROXY_SEED` gives it. The [`trace`]
//! says what became of each request and each entry.
//!
//! What knows PutRecords is in [`put_records`]; all else is for any operation of any service.

mod connection;
mod course;
mod http;
mod link;
pub mod put_records;
pub mod rule;
#[cfg(test)]
mod tests;
pub mod trace;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use link::Link;
pub use link::Outage;
pub use put_records::FailEntries;
use rule::Rules;
pub use rule::{Fault, Rule, RuleId};
use trace::Recorder;
pub use trace::{AnswerFate, EntryFate, Exchange, Trace};

/// A running proxy; its connections are cut when it is dropped.
pub struct AwsProxy {
    shared: Arc<Shared>,
}

struct Shared {
    /// The port of the server, on 127.0.0.1.
    target: u16,
    link: Link,
    rules: Rules,
    recorder: Recorder,
    /// Requests that the server has and has not answered yet.
    forwarding: AtomicUsize,
}

impl AwsProxy {
    /// A proxy of the server on this port of 127.0.0.1, with a seed of its own.
    pub fn to(target: u16) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
        let given = std::env::var("CLICKGATE_PROXY_SEED").ok();
        let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        Self::with_seed(target, seed)
    }

    /// The same, with the seed of a run that failed.
    pub fn with_seed(target: u16, seed: u64) -> Self {
        eprintln!("the proxy of port {target} has the seed {seed}: CLICKGATE_PROXY_SEED={seed}");
        let shared = Arc::new(Shared {
            target,
            link: Link::open(),
            rules: Rules::new(seed),
            recorder: Recorder::new(trace::ENTRIES_MAX),
            forwarding: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            while let Some(client) = serving.link.accept() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(&client));
            }
        });
        Self { shared }
    }

    pub fn port(&self) -> u16 {
        self.shared.link.port()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// From now on this happens, in the order in which rules were added.
    pub fn add(&self, rule: Rule) -> RuleId {
        self.shared.rules.add(rule)
    }

    /// It happens no more.
    pub fn remove(&self, rule: RuleId) {
        self.shared.rules.remove(rule);
    }

    /// Nothing happens any more.
    pub fn remove_all(&self) {
        self.shared.rules.remove_all();
    }

    /// How often it happened: requests, or entries of them.
    pub fn count(&self, rule: RuleId) -> u64 {
        self.shared.rules.count(rule)
    }

    /// How often each fault happened, by [`Fault::name`].
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.rules.counts()
    }

    /// The server cannot be reached from now on; open connections feel it too.
    pub fn go_down(&self, outage: Outage) {
        self.shared.link.go_down(outage);
    }

    /// The outage is over. Connections that waited meanwhile are reset.
    pub fn come_back(&self) {
        self.shared.link.come_back();
    }

    /// Connections of clients that are open.
    pub fn connections(&self) -> usize {
        self.shared.link.connections()
    }

    /// Requests that the server has and has not answered yet.
    pub fn forwarding(&self) -> usize {
        self.shared.forwarding.load(Ordering::SeqCst)
    }

    /// What has happened so far.
    pub fn trace(&self) -> Trace {
        self.shared.recorder.trace()
    }
}

impl Drop for AwsProxy {
    fn drop(&mut self) {
        self.shared.link.end();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port()));
    }
}
