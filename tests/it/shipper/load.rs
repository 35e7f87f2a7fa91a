//! Clients that hit until they are told to stop, and remember every id that they were told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::Client;
use crate::world::PROGRAMS;

/// Pause of a client between two hits: the load is to go on for long, not to be high.
const PAUSE: Duration = Duration::from_millis(1);

pub struct Load {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// So many clients, which begin now.
    pub fn start(tracker: SocketAddr, clients: usize) -> Self {
        Self::start_with_pause(tracker, clients, PAUSE)
    }

    /// The same, each with such a pause between two hits.
    pub fn start_with_pause(tracker: SocketAddr, clients: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let hits = Arc::new(AtomicUsize::new(0));
        let client = |seed| {
            let (stop, hits) = (Arc::clone(&stop), Arc::clone(&hits));
            std::thread::spawn(move || hit(tracker, seed, pause, &stop, &hits))
        };
        let clients = (0..clients as u64).map(client).collect();
        Self { stop, hits, clients }
    }

    /// Hits that were acknowledged so far.
    pub fn hits(&self) -> usize {
        self.hits.load(SeqCst)
    }

    /// Ends it, if its server has not; the ids that were acknowledged.
    pub fn stop(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

fn hit(
    tracker: SocketAddr,
    seed: u64,
    pause: Duration,
    stop: &AtomicBool,
    hits: &AtomicUsize,
) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut told = Vec::new();
    let Ok(mut client) = Client::open(tracker) else { return told };
    while !stop.load(SeqCst) {
        let program = PROGRAMS[random.usize(..PROGRAMS.len())];
        let padding = "x".repeat(random.usize(..600));
        match client.get(&format!("/event/{program}?utm_content={padding}")) {
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => told.push(answer.message_id().unwrap_or_else(|| panic!("{answer:?}"))),
            Err(_) => break,
        }
        hits.store(hits.load(SeqCst) + 1, SeqCst);
        std::thread::sleep(pause);
    }
    told
}
