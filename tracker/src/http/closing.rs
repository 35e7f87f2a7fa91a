//! How open connections are told that this is the end, so that no client sees a reset.
//!
//! A server that just stops resets two kinds of connections: those that the kernel has
//! accepted and nobody has taken yet, and idle ones on which a request is already under
//! way. So the end has an order:
//!
//! ```text
//! no new connection    the kernel drops what begins one (SYN), as if we were not there;
//!                      it still completes those that have begun
//! Connection: close    on each answer, so that a busy connection ends with its answer
//! quiet                no answer for 100 ms: whoever was busy knows; 1 s at most
//! stop                 closes the listener, and what is idle
//! ```
//!
//! A client that tries to connect meanwhile is refused when the listener is gone. What
//! remains is a client that was silent for longer than the quiet time and asks in the very
//! moment we close: HTTP/1.1 has no way to tell it, and clients ask again.

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
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whether we are at the end; shared by the workers.
#[derive(Default)]
pub struct Closing {
    begun: AtomicBool,
    /// Answers since then.
    answered: AtomicU64,
    /// Set after it: whoever was busy knows.
    quiet: watch::Sender<bool>,
}

impl Closing {
    /// Whether an answer that is about to leave is the last one of its connection; to be
    /// asked once per answer.
    pub fn is_last(&self) -> bool {
        let begun = self.begun.load(Ordering::Acquire);
        if begun {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Whether connections that ask for nothing are to be closed.
    pub fn is_quiet(&self) -> bool {
        *self.quiet.borrow()
    }

    /// Completes as soon as [`Closing::is_quiet`] holds.
    pub fn when_quiet(&self) -> impl Future<Output = ()> + use<> {
        let mut quiet = self.quiet.subscribe();
        async move {
            // The sender is gone with the tracker: then it is over as well.
            let _ = quiet.wait_for(|quiet| *quiet).await;
        }
    }

    /// Refuses new connections and waits until the busy ones have been told. `listener` is
    /// another handle of the socket that the server has.
    pub async fn quieten(&self, listener: Option<TcpListener>) {
        self.begun.store(true, Ordering::Release);
        if let Some(listener) = listener
            && let Err(error) = drop_new_connections(&listener)
        {
            tracing::warn!(%error, "cannot refuse new connections before the end; some may be reset");
        }
        let begin = Instant::now();
        let (mut known, mut since) = (0, begin);
        while since.elapsed() < QUIET && begin.elapsed() < QUIET_WITHIN {
            sleep(LOOK_EVERY).await;
            let answered = self.answered.load(Ordering::Relaxed);
            if answered != known {
                (known, since) = (answered, Instant::now());
            }
        }
        self.quiet.send_replace(true);
    }
}

/// Lets the kernel drop every segment to this socket that has SYN set: byte 13 of a TCP
/// header has the flags. Only the listening socket ever gets one.
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

/// Elsewhere a connection that is made in the very moment of the end may be reset.
#[cfg(not(target_os = "linux"))]
fn drop_new_connections(_: &TcpListener) -> std::io::Result<()> {
    Ok(())
}
