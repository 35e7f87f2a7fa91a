//! Graceful shutdown of open connections, so that no client sees a reset.
//!
//! A server that just stops resets two kinds of connections: those in the kernel's accept queue,
//! and idle ones on which a request is already in flight. So a shutdown has four steps:
//!
//! ```text
//! no new connection    the kernel drops SYN segments as if the host were down; handshakes that
//!                      have begun still complete
//! Connection: close    on each answer, so that a busy connection ends with its answer
//! quiet                no answer for 100 ms: busy clients have been told; 1 s at most
//! stop                 closes the listener and idle connections
//! ```
//!
//! A client that connects meanwhile retries its SYN and is refused once the listener is closed.
//! One race remains: a client silent for longer than the quiet period may send a request at the
//! moment of the close. HTTP/1.1 cannot prevent that, and clients retry.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

const QUIET: Duration = Duration::from_millis(100);
const QUIET_WITHIN: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The progress of the shutdown; shared by the workers.
#[derive(Default)]
pub struct Closing {
    begun: AtomicBool,
    /// Answers since it began.
    answered: AtomicU64,
    /// Set once busy connections have been told.
    quiet: watch::Sender<bool>,
}

impl Closing {
    /// Whether an answer about to be sent must close its connection. Call it once per answer: it
    /// also counts the answers of the shutdown.
    pub fn note_answer(&self) -> bool {
        let begun = self.begun.load(Ordering::Acquire);
        if begun {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Whether idle connections are to be closed.
    pub fn is_quiet(&self) -> bool {
        *self.quiet.borrow()
    }

    /// Completes as soon as [`Closing::is_quiet`] holds.
    pub fn when_quiet(&self) -> impl Future<Output = ()> + use<> {
        let mut quiet = self.quiet.subscribe();
        async move {
            // An error means that the tracker and its sender are gone, which ends the wait as well.
            let _ = quiet.wait_for(|quiet| *quiet).await;
        }
    }

    /// Refuses new connections and waits until the busy ones have been told. `listener` is a clone
    /// of the server's socket.
    pub async fn drain(&self, listener: Option<TcpListener>) {
        // Before the filter: a connection accepted meanwhile is told with its first answer.
        self.begun.store(true, Ordering::Release);
        if let Some(listener) = listener
            && let Err(error) = drop_new_connections(&listener)
        {
            tracing::warn!(%error, "cannot refuse new connections during shutdown; some may be reset");
        }
        let begin = Instant::now();
        let mut known = 0;
        let mut since = begin;
        // Each answer restarts the quiet period, as its client may have pipelined or may reconnect;
        // a client that never pauses must not delay the shutdown for ever.
        while since.elapsed() < QUIET && begin.elapsed() < QUIET_WITHIN {
            sleep(POLL_INTERVAL).await;
            let answered = self.answered.load(Ordering::Relaxed);
            if answered != known {
                known = answered;
                since = Instant::now();
            }
        }
        self.quiet.send_replace(true);
    }
}

/// Lets the kernel drop every segment to this socket with SYN set; the flags are byte 13 of a TCP
/// header. Only a listening socket receives SYNs, so open connections are unaffected.
#[cfg(target_os = "linux")]
fn drop_new_connections(listener: &TcpListener) -> std::io::Result<()> {
    use socket2::{SockFilter, SockRef};
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Without socket filters, a connection made during the shutdown may be reset.
#[cfg(not(target_os = "linux"))]
fn drop_new_connections(_: &TcpListener) -> std::io::Result<()> {
    Ok(())
}
