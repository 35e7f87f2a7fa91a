//! One connection: hits take a short way of our own, everything else goes to actix-http.
//!
//! # Why a way of our own?
//!
//! Nearly all requests are a GET of a tracking route without a body, and their answer is known
//! by the byte. A general HTTP server spends most of its time on what such a request does not
//! need: a map of headers, a body that is a stream, an answer whose headers are a map again.
//! Measured beside each other in one run, see `benches/RESULTS.md`.
//!
//! # Who reads what
//!
//! ```text
//! accept ─► wait for a whole head ─► a plain hit? ─ no ─► actix-http, with the bytes read so
//!               ▲                        │ yes            far, for the connection's rest
//!               │                        ▼
//!               └── answer ◄─── edge.hit: decide, append, wait for the level
//! ```
//!
//! What is a plain hit, [`mod@crate::http::parse`] says; it is narrow on purpose, because everything that is not
//! one is answered, counted or refused by actix-http exactly as before, and both ways fill the
//! same [`Head`]. A test sends the same requests both ways and compares answers, events and counts.
//!
//! # Bounds
//!
//! | what | bound | then |
//! |---|---|---|
//! | bytes of requests | [`BUFFER_BYTES`], only while a request is being read or answered | actix-http, with its own bounds |
//! | time for a head, the first one from the connection's start | `client_request_timeout_ms`, and once more if it is handed over in the middle | 408 |
//! | idle | `keep_alive_seconds` | closed |
//! | an answer that the client does not take | `client_request_timeout_ms` | closed |
//! | end of a closing connection | `client_disconnect_timeout_ms` | closed |
//! | requests at a time | 1: the next one is read when the answer has left | waits in the buffer |
//! | hits that are answered without waiting, such as refused ones | [`TURN_HITS_MAX`] | the others' turn |

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use crate::{
    clock::now_ms,
    config::Config,
    edge::{Edge, Site},
    http::closing::Closing,
    http::{
        buffers::{BUFFER_BYTES, Buffers},
        encode::Wire,
        parse::{Read, read},
        rewound::Rewound,
        wait::{Idle, Next},
    },
    latency::WorkerLatencies,
};

/// Hits that one connection may have answered before it gives way. A pipeline of hits that wait
/// for no write would otherwise go on for 19,000, tokio's budget, while others wait.
const TURN_HITS_MAX: u32 = 64;

/// What the connections of one worker share.
pub(crate) struct Short<'w> {
    pub edge: &'w Edge,
    pub site: &'w Site,
    pub closing: &'w Closing,
    pub latencies: &'w WorkerLatencies,
    pub buffers: &'w Rc<Buffers>,
    pub wire: &'w Wire,
}

/// Why the short way ended.
enum End {
    /// The connection is to be dropped.
    Gone,
    /// An answer said that it is the last one.
    Last,
    /// The client sent no whole head in time.
    Slow,
    /// These bytes begin with something else than a plain hit.
    Other(Vec<u8>),
}

impl Short<'_> {
    /// Answers hits on `socket`. What comes back is to be served by actix-http.
    pub async fn serve(&self, mut socket: TcpStream, peer: Option<SocketAddr>) -> Option<Rewound> {
        let config = &self.site.config;
        match self.hits(&mut socket, peer).await {
            End::Other(bytes) => return Some(Rewound::new(socket, bytes)),
            End::Gone => {}
            End::Last => end(&mut socket, config).await,
            End::Slow => {
                let _ = send(&mut socket, &self.wire.slow(now_ms()), config).await;
                end(&mut socket, config).await;
            }
        }
        None
    }

    async fn hits(&self, socket: &mut TcpStream, peer: Option<SocketAddr>) -> End {
        let config = &self.site.config;
        let keep_alive = Duration::from_secs(config.keep_alive_seconds);
        let for_a_head = Duration::from_millis(config.client_request_timeout_ms);
        let mut until = Instant::now() + for_a_head;
        let mut idle = Idle::new(until, self.closing);
        // The start of a head whose end has not come; a connection begins with an empty one.
        let mut begun = Some(self.buffers.take());
        let mut answered: u32 = 0;
        loop {
            let waits_for_a_head = begun.is_some();
            let mut bytes = match idle.next(socket, self.buffers, &mut begun, self.closing, until).await {
                Next::Bytes(bytes) => bytes,
                Next::TimedOut if waits_for_a_head => return End::Slow,
                Next::TimedOut | Next::Gone | Next::Quiet => return End::Gone,
            };
            let mut at = 0;
            while at < bytes.len() && !is_blank(&bytes[at..]) {
                let began = Instant::now();
                let hit = match read(&bytes[at..], peer, config) {
                    Read::Hit(hit) => hit,
                    Read::Part if bytes.len() - at < BUFFER_BYTES => {
                        if !waits_for_a_head || at > 0 {
                            until = began + for_a_head;
                        }
                        bytes.forget(at);
                        begun = Some(bytes);
                        break;
                    }
                    Read::Part | Read::Other => {
                        bytes.forget(at);
                        return End::Other(bytes.into_inner());
                    }
                };
                let received_at_ms = now_ms();
                let reply = self.edge.hit(hit.route, hit.program, &hit.head, received_at_ms).await;
                let last = self.closing.is_last() || hit.last;
                let ended = Instant::now();
                self.latencies.observe_hit(hit.route, ended - began);
                let sent = self.wire.with(reply, last, received_at_ms, |answer| try_send(socket, answer));
                match sent {
                    Ok(None) => {}
                    Ok(Some(rest)) if send(socket, &rest, config).await.is_ok() => {}
                    Ok(Some(_)) | Err(_) => return End::Gone,
                }
                if last {
                    return End::Last;
                }
                (at, until) = (at + hit.bytes, ended + keep_alive);
                answered = answered.wrapping_add(1);
                if answered.is_multiple_of(TURN_HITS_MAX) {
                    yield_now().await;
                }
            }
        }
    }
}

/// Line breaks between requests mean nothing (RFC 9112, section 2.2).
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// What the kernel did not take at once; nearly always nothing.
fn try_send(socket: &TcpStream, answer: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    match socket.try_write(answer) {
        Ok(sent) if sent == answer.len() => Ok(None),
        Ok(sent) => Ok(Some(answer[sent..].to_vec())),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Some(answer.to_vec())),
        Err(error) => Err(error),
    }
}

/// Sends to a client that may be slow to take it, within the time it has for a request.
async fn send(socket: &mut TcpStream, bytes: &[u8], config: &Config) -> std::io::Result<()> {
    let limit = Duration::from_millis(config.client_request_timeout_ms);
    timeout(limit, socket.write_all(bytes)).await?
}

/// Closes so that the client gets the last answer: a socket that is dropped with bytes unread
/// sends a reset, which may overtake it.
async fn end(socket: &mut TcpStream, config: &Config) {
    let limit = Duration::from_millis(config.client_disconnect_timeout_ms);
    let until_its_end = async {
        socket.shutdown().await?;
        let mut ignored = [0; 512];
        while socket.read(&mut ignored).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever it is, the connection is over.
    let _ = timeout(limit, until_its_end).await;
}
