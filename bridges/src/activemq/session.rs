//! A connection to a broker: handshake, heart-beats, frames in batches.
//!
//! ```text
//! I/O thread of the bridge                                   the bridge
//! socket ─► decoder ─► batch of frames ─► channel (2) ─────► Session::next
//!   ▲  silence: dead after 2.5 heart-beats
//!   └── writer ◄── channel (64) ◄─────────────────────────── Session::send
//!       a beat after half an interval of silence; a broker that does not take what
//!       is written for 2.5 heart-beats is dead too
//! ```
//!
//! Reading, writing and both watches run on a thread of their own, so that no work delays a
//! heart-beat: a broker cuts a client whose beat is late by a few per cent. Silence is measured only while
//! we read: when the bridge is behind, what the broker said may wait in the socket.
//!
//! | bound | value | when it is reached |
//! |---|---|---|
//! | frames read ahead | two batches of [`BATCH_FRAMES_MAX`] frames or 1 MiB, and one that waits | the socket is not read |
//! | chunks to be written | 64 | [`Session::send`] waits |
//! | connection and handshake | `connect_timeout_ms` | [`SessionError::Timeout`] |

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::codec::{BadFrame, Decoder, Limits, encode};
use super::config::{Broker, Endpoint, Queue};
use super::frame::{Command, Frame};

mod handshake;
mod io;
mod thread;
pub(crate) mod tls;

pub use handshake::reason;
pub use thread::IoThread;

/// Frames of a batch.
pub const BATCH_FRAMES_MAX: usize = 256;
/// Their bytes; the last frame may go beyond it.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCHES_AHEAD: usize = 2;
/// Frames that the bridge takes at once, and one batch more.
const MERGED_FRAMES_MAX: usize = 512;
const CHUNKS_MAX: usize = 64;

/// Why there is no session, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The files of the configuration cannot be used.
    #[error("the TLS files of the configuration cannot be used")]
    Tls(#[source] tls::TlsError),
    /// It cannot be reached, or the connection broke.
    #[error("{endpoint}: {what}")]
    Io {
        /// Where.
        endpoint: String,
        /// What was done.
        what: &'static str,
        /// What the operating system, or TLS, said.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("{endpoint} did not answer within {within_ms} ms: {what}")]
    Timeout {
        /// Where.
        endpoint: String,
        /// What was done.
        what: &'static str,
        /// The limit.
        within_ms: u128,
    },
    /// It said nothing, no heart-beat either: half open.
    #[error("{endpoint} said nothing for {silent_ms} ms, no heart-beat either")]
    Silent {
        /// Where.
        endpoint: String,
        /// 2.5 heart-beats.
        silent_ms: u128,
    },
    /// It did not read what we wrote.
    #[error("{endpoint} has not read for {stuck_ms} ms")]
    NotReading {
        /// Where.
        endpoint: String,
        /// 2.5 heart-beats.
        stuck_ms: u128,
    },
    /// It closed the connection.
    #[error("{endpoint} closed the connection")]
    Closed {
        /// Where.
        endpoint: String,
    },
    /// It refused; a wrong password is such.
    #[error("{endpoint} refused {what}: {reason}")]
    Refused {
        /// Where.
        endpoint: String,
        /// The command.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// What it sent is no STOMP.
    #[error("{endpoint} sent what is no STOMP 1.2 frame")]
    BadFrame {
        /// Where.
        endpoint: String,
        /// What is wrong.
        #[source]
        fault: BadFrame,
    },
}

/// With TLS 1.3 a broker that does not like our certificate says so when the handshake seems to be over, in
/// whatever is read next.
fn explained(error: SessionError, broker: &Broker) -> SessionError {
    match error {
        SessionError::Io { endpoint, source, .. } if tls::is_about_our_certificate(&source) => {
            let what = match broker.certificate_file {
                None => "the broker asks for a certificate: set certificate_file and key_file",
                Some(_) => "the broker does not take the certificate of certificate_file",
            };
            SessionError::Io { endpoint, what, source }
        }
        other => other,
    }
}

/// An open subscription. Dropping it closes the connection.
pub struct Session {
    endpoint: String,
    subscription: String,
    frames: mpsc::Receiver<Vec<Frame>>,
    chunks: mpsc::Sender<Bytes>,
    ended: oneshot::Receiver<SessionError>,
    /// Unguessable, so that no message can forge a receipt.
    nonce: String,
    receipts: u64,
}

impl Session {
    /// Connects, logs in and subscribes.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn open(
        io: &IoThread,
        broker: &Broker,
        queue: &Queue,
        endpoint: &Endpoint,
    ) -> Result<Self, SessionError> {
        let within = broker.connect_timeout();
        let broker = broker.clone();
        let queue = queue.clone();
        let at = endpoint.clone();
        let opening = io.run(async move {
            let opening = Self::connect(&broker, &queue, &at);
            let late = SessionError::Timeout {
                endpoint: at.to_string(),
                what: "connecting, logging in and subscribing",
                within_ms: within.as_millis(),
            };
            let opened = tokio::time::timeout(within, opening).await.unwrap_or(Err(late));
            opened.map_err(|error| explained(error, &broker))
        });
        opening.await.unwrap_or_else(|| Err(SessionError::Closed { endpoint: endpoint.to_string() }))
    }

    async fn connect(broker: &Broker, queue: &Queue, endpoint: &Endpoint) -> Result<Self, SessionError> {
        let io = |what| {
            let endpoint = endpoint.to_string();
            move |source| SessionError::Io { endpoint, what, source }
        };
        let tls = endpoint.tls.then(|| tls::connector(broker)).transpose().map_err(SessionError::Tls)?;
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = stream.map_err(io("cannot be reached"))?;
        stream.set_nodelay(true).map_err(io("cannot be reached"))?;
        match tls {
            None => Self::greet(stream, broker, queue, endpoint).await,
            Some(connector) => {
                let name = tls::server_name(endpoint).map_err(SessionError::Tls)?;
                let secured = connector.connect(name, stream).await.map_err(io("TLS failed"))?;
                Self::greet(secured, broker, queue, endpoint).await
            }
        }
    }

    async fn greet<S>(
        mut stream: S,
        broker: &Broker,
        queue: &Queue,
        endpoint: &Endpoint,
    ) -> Result<Self, SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let nonce = format!("{:016x}", fastrand::u64(..));
        let mut decoder = Decoder::new(Limits::default());
        let mut input = BytesMut::new();
        let subscription = format!("clickgate-{nonce}");
        let mut talk =
            handshake::Talk { stream: &mut stream, decoder: &mut decoder, input: &mut input, endpoint };
        let pace = talk.log_in(broker, queue).await?;
        let early = talk.subscribe(queue, &subscription, &format!("{nonce}-0")).await?;

        let (frames_out, frames) = mpsc::channel(BATCHES_AHEAD);
        let (chunks, chunks_in) = mpsc::channel(CHUNKS_MAX);
        let (ending, ended) = oneshot::channel();
        let endpoint = endpoint.to_string();
        let traffic = io::Traffic { stream, decoder, input, pace, endpoint: endpoint.clone() };
        tokio::spawn(async move {
            let why = traffic.run(early, frames_out, chunks_in).await;
            // Nobody asks for the reason after a session was closed in order.
            let _ = ending.send(why);
        });
        Ok(Self { endpoint, subscription, frames, chunks, ended, nonce, receipts: 0 })
    }

    /// Where it is connected to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next frames. May be dropped and called again.
    ///
    /// # Errors
    /// Why there are no more.
    pub async fn next(&mut self) -> Result<Vec<Frame>, SessionError> {
        match self.frames.recv().await {
            Some(mut frames) => {
                // Many small reads become one batch when the bridge is behind.
                // Large ones do not: each may have as many bytes as a frame may have.
                while frames.len() < MERGED_FRAMES_MAX
                    && frames.iter().map(Frame::bytes).sum::<usize>() < BATCH_BYTES_MAX
                    && let Ok(more) = self.frames.try_recv()
                {
                    frames.extend(more);
                }
                Ok(frames)
            }
            None => Err(self.why().await),
        }
    }

    /// Whether a message is one of ours, rather than what a publisher forged behind a NUL in a text: it names
    /// our subscription, which nobody can guess.
    pub fn is_ours(&self, message: &Frame) -> bool {
        message.header("subscription") == Some(self.subscription.as_str())
    }

    /// A receipt id that was not used before.
    pub fn new_receipt(&mut self) -> String {
        self.receipts += 1;
        format!("{}-{}", self.nonce, self.receipts)
    }

    /// Hands frames to the writer. Waits while it has a lot.
    ///
    /// # Errors
    /// Why the session is over.
    pub async fn send(&mut self, frames: &[Frame]) -> Result<(), SessionError> {
        let mut chunk = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut chunk));
        self.send_encoded(chunk.freeze()).await
    }

    /// The same for what was encoded.
    ///
    /// # Errors
    /// Why the session is over.
    pub async fn send_encoded(&mut self, chunk: Bytes) -> Result<(), SessionError> {
        match self.chunks.send(chunk).await {
            Ok(()) => Ok(()),
            Err(_gone) => Err(self.why().await),
        }
    }

    /// Ends it in order: when this returns `true`, the broker has processed all that was sent. Messages that
    /// still arrive are left to it.
    pub async fn close(mut self, within: Duration) -> bool {
        let receipt = self.new_receipt();
        let last = Frame::new(Command::Disconnect, &[("receipt", &receipt)]);
        let closing = async {
            self.send(&[last]).await.ok()?;
            while let Ok(frames) = self.next().await {
                let is_done = |frame: &Frame| {
                    frame.command == Command::Receipt && frame.header("receipt-id") == Some(receipt.as_str())
                };
                if frames.iter().any(is_done) {
                    return Some(());
                }
            }
            None
        };
        matches!(tokio::time::timeout(within, closing).await, Ok(Some(())))
    }

    async fn why(&mut self) -> SessionError {
        let closed = SessionError::Closed { endpoint: self.endpoint.clone() };
        (&mut self.ended).await.unwrap_or(closed)
    }
}
