//! A Kinesis that takes everything and keeps nothing, for the least CPU: what a shipper costs with it
//! is the shipper's own.
//!
//! It answers PutRecords with success for every entry, without decoding one: it looks for each `Data`
//! and skips to the end of its text. DescribeStreamSummary and ListShards answer for one stream of
//! one open shard, whatever its name. All else is an `UnknownOperationException`.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, a thread each; [`BODY_BYTES_MAX`] of body; beyond them it
//! hangs up.

mod answer;
mod connection;
mod scan;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

/// Connections that are served at the same time.
pub const CONNECTIONS_MAX: usize = 256;
/// Bytes of a request's body at most: the 10 MiB that Kinesis takes are a third more in base64.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a PUT payload unit, by which Kinesis is paid for. A record's data is rounded up to it.
pub const PAYLOAD_UNIT_BYTES: u64 = 25 << 10;

/// A running endpoint, in threads of this process; it ends when dropped.
#[derive(Debug)]
pub struct NullKinesis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What came so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// PutRecords requests.
    pub requests: u64,
    /// Their entries.
    pub records: u64,
    /// What Kinesis charges for, beside shards.
    pub payload_units: u64,
    /// Data of the entries, decoded, without keys.
    pub data_bytes: u64,
    /// Bodies of the requests, as they came.
    pub body_bytes: u64,
    /// Events in the entries, while [`NullKinesis::count_events`] is on.
    pub events: u64,
    /// Entries that are neither an event, an envelope nor an aggregate of those, while it is on.
    pub undecodable: u64,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Counts,
    counts_events: AtomicBool,
    connections: AtomicUsize,
    is_ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    records: AtomicU64,
    payload_units: AtomicU64,
    data_bytes: AtomicU64,
    body_bytes: AtomicU64,
    events: AtomicU64,
    undecodable: AtomicU64,
}

impl NullKinesis {
    /// An endpoint on this port of 127.0.0.1; on a free one if it is 0.
    ///
    /// # Errors
    /// It cannot listen there.
    pub fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::Builder::new().name("null-kinesis".to_owned()).spawn(move || serving.serve(&listener))?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For a client's endpoint override.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decodes every entry from now on and counts events, which costs CPU: to check a run, not to
    /// measure one.
    pub fn count_events(&self, is_on: bool) {
        self.shared.counts_events.store(is_on, Relaxed);
    }

    /// What came so far. Each figure is exact once nothing is under way.
    pub fn figures(&self) -> Figures {
        let counts = &self.shared.counts;
        Figures {
            requests: counts.requests.load(Relaxed),
            records: counts.records.load(Relaxed),
            payload_units: counts.payload_units.load(Relaxed),
            data_bytes: counts.data_bytes.load(Relaxed),
            body_bytes: counts.body_bytes.load(Relaxed),
            events: counts.events.load(Relaxed),
            undecodable: counts.undecodable.load(Relaxed),
        }
    }
}

impl Drop for NullKinesis {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Relaxed);
        // Wakes the thread that accepts. Connections end with their clients.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_ended.load(Relaxed) {
                return;
            }
            let Ok(client) = client else { continue };
            if self.connections.fetch_add(1, Relaxed) >= CONNECTIONS_MAX {
                // Dropped, which the client sees as a connection that was closed.
                self.connections.fetch_sub(1, Relaxed);
                continue;
            }
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // A client that hangs up, or sends what is no HTTP, is not served on.
                let _ = connection::serve(&shared, &client);
                shared.connections.fetch_sub(1, Relaxed);
            });
        }
    }
}
