//! One connection from accept to close: the states of [`crate::http`] in order.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use supervise::now_ms;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use super::{
    body::{BodyError, BodyReader, Rest},
    buffers::BufferPool,
    closing::Closing,
    encode::{CONTINUE, EncodeOptions, Encoder},
    input::Input,
    parse::{Framing, Request, parse},
    wait::{HeadRead, Wait},
};
use crate::{
    edge::Edge,
    edge::answer::{self, Answer, Reply},
    edge::site::Site,
    metrics::counters::Timeout,
    metrics::latency::WorkerLatencies,
    request::error::RequestError,
    request::head::Method,
    request::routes::Target,
};

/// Requests answered on one connection before its task yields. Without this, a pipeline of hits
/// that need no write runs for 19,000 requests on tokio's budget and starves other connections.
pub const REQUESTS_PER_YIELD: u32 = 64;
/// Bytes read and discarded after the last answer, so that a client that is still sending gets
/// the answer instead of a reset (RFC 9112, section 9.6).
pub const LINGER_BYTES_MAX: usize = 1 << 20;

/// State shared by the connections of one worker.
pub struct Worker {
    pub edge: Edge,
    pub site: Arc<Site>,
    pub closing: Arc<Closing>,
    pub latencies: Arc<WorkerLatencies>,
    pub buffers: Rc<BufferPool>,
    pub encoder: Encoder,
}

/// How to close a connection.
enum End {
    /// At once: the client is gone, or was not promised an answer.
    Drop,
    /// After a last answer, which must still reach the client.
    Linger,
}

/// Why no further head was read.
enum HeadError {
    /// The client disconnected or was idle for too long, or the tracker is shutting down.
    Closed,
    /// The client connected, or began a head, and did not complete it in time.
    Slow,
    Malformed(RequestError),
}

/// The answer to a request, and how its connection continues.
struct Answered {
    reply: Reply,
    rest: Rest,
    is_last: bool,
}

impl Worker {
    /// Answers requests on `socket` until either side closes it.
    pub async fn serve(&self, mut socket: TcpStream, peer: Option<SocketAddr>) {
        // With Nagle's algorithm, pipelined answers would wait for the client's delayed ACK.
        let _ = socket.set_nodelay(true);
        match self.requests(&mut socket, peer.map(|peer| peer.ip())).await {
            End::Drop => {}
            End::Linger => self.close(&mut socket).await,
        }
    }

    async fn requests(&self, socket: &mut TcpStream, peer: Option<IpAddr>) -> End {
        let config = self.site.config();
        let keep_alive = Duration::from_secs(config.keep_alive_seconds);
        let mut input = Input::new(Instant::now() + self.request_timeout(), config.limits.header_bytes_max);
        let mut wait = Wait::new(input.deadline(), &self.closing);
        let mut answered: u32 = 0;
        loop {
            if let Err(error) = input.skip_blanks() {
                return self.refuse_malformed(socket, error).await;
            }
            let parsed = match input.unread() {
                // Nearly always so after an answer: skip the parser.
                [] => Ok(None),
                unread => parse(unread, peer, config.limits.header_bytes_max),
            };
            let request = match parsed {
                Ok(Some(request)) => request,
                Ok(None) => match self.await_head(socket, &mut wait, &mut input).await {
                    Ok(()) => continue,
                    // Nothing was asked, so there is nothing to answer.
                    Err(HeadError::Closed) => return End::Drop,
                    Err(HeadError::Slow) => {
                        self.site.counters.timeout(Timeout::Head);
                        return self.refuse(socket, answer::slow("slow_head")).await;
                    }
                    Err(HeadError::Malformed(error)) => {
                        return self.refuse_malformed(socket, error).await;
                    }
                },
                Err(error) => {
                    // httparse refuses a target that is not UTF-8, but a link with raw Latin-1 is
                    // still a valid hit: escape those bytes and parse again.
                    if error == RequestError::Syntax && input.escape_target() {
                        continue;
                    }
                    return self.refuse_malformed(socket, error).await;
                }
            };
            let began = Instant::now();
            let received_at_ms = now_ms();
            let target = Target::of(request.head.path, &config.prefixes);
            let buffered_body = &input.unread()[request.bytes..];
            let answer =
                self.answer(&request, target, buffered_body, received_at_ms, socket, &mut wait).await;
            let Some(Answered { reply, rest, is_last }) = answer else { return End::Drop };
            // First, as it also counts the answer, whether or not the request ends the connection.
            let is_last = self.closing.note_answer() || is_last;
            let options = EncodeOptions {
                closes: is_last,
                says_keep_alive: request.says_keep_alive,
                omits_body: request.head.method == Method::Head,
            };
            let ended = Instant::now();
            self.latencies.observe(target, ended - began);
            let sent = self.encoder.with(reply, options, received_at_ms, |bytes| try_send(socket, bytes));
            match sent {
                Ok(None) => {}
                // The send buffer is full; `send` bounds the wait for a client that does not read.
                Ok(Some(rest)) if self.send(socket, &rest).await => {}
                Ok(Some(_)) | Err(_) => return End::Drop,
            }
            if is_last {
                return End::Linger;
            }
            let head_bytes = request.bytes;
            input.advance(head_bytes, rest, ended + keep_alive);
            answered = answered.wrapping_add(1);
            if answered.is_multiple_of(REQUESTS_PER_YIELD) {
                yield_now().await;
            }
        }
    }

    /// Reads until the next head may be complete.
    async fn await_head(
        &self,
        socket: &mut TcpStream,
        wait: &mut Wait,
        input: &mut Input,
    ) -> Result<(), HeadError> {
        // Pipelined bytes of this head may have arrived with the last request.
        input.begin_head(self.request_timeout());
        let parsed_bytes = input.unread().len();
        loop {
            input.make_room().map_err(HeadError::Malformed)?;
            let known_bytes = input.unread().len();
            let deadline = input.deadline();
            match wait.read_head(socket, &self.buffers, input.buffer(), &self.closing, deadline).await {
                HeadRead::Bytes => {}
                // A begun request deserves a 408; an idle connection is closed silently, since a
                // 408 could be taken for the answer to a request that is on its way.
                HeadRead::TimedOut if input.is_in_head() => return Err(HeadError::Slow),
                HeadRead::TimedOut | HeadRead::Disconnected | HeadRead::ShuttingDown => {
                    return Err(HeadError::Closed);
                }
            }
            // Blank lines do not start the clock of a head, so skip them first.
            input.skip_blanks().map_err(HeadError::Malformed)?;
            input.begin_head(self.request_timeout());
            if input.is_worth_parsing(parsed_bytes, known_bytes) {
                return Ok(());
            }
        }
    }

    /// Answers one request, reading its body first if its route takes one. `None` if the client
    /// disconnected.
    async fn answer(
        &self,
        request: &Request<'_>,
        target: Target<'_>,
        buffered_body: &[u8],
        received_at_ms: u64,
        socket: &mut TcpStream,
        wait: &mut Wait,
    ) -> Option<Answered> {
        let head = &request.head;
        let has_body = request.body != Framing::Nothing;
        let unread = |reply: Reply| Answered {
            // An unread body would be parsed as the next request.
            is_last: request.is_last || has_body,
            reply,
            rest: Rest::AfterHead(0),
        };
        let takes_body = target == Target::Beacon && head.method == Method::Post;
        if !takes_body {
            return Some(unread(self.edge.answer(target, head, received_at_ms).await));
        }
        // Refuse by the head alone where possible, before asking for a body that will be refused.
        if let Some(refused) = self.edge.refuse_unread(head, request.body, received_at_ms) {
            return Some(unread(refused.into()));
        }
        // A client that has begun to send the body does not wait for `100 Continue` (RFC 9110,
        // section 10.1.1).
        if request.expects_continue
            && has_body
            && buffered_body.is_empty()
            && !self.send(socket, CONTINUE).await
        {
            return None;
        }
        let reader = BodyReader { socket, wait, buffers: &self.buffers, config: self.site.config() };
        match reader.read(request.body, buffered_body).await {
            Ok((body, rest)) => {
                let reply: Reply = self.edge.beacon(head, &body, received_at_ms).await.into();
                Some(Answered { reply, rest, is_last: request.is_last })
            }
            Err(error) => {
                if error == BodyError::Slow {
                    self.site.counters.timeout(Timeout::Body);
                }
                // The end of the body is unknown, so the connection cannot go on.
                Some(unread(self.edge.beacon_without_body(head, error, received_at_ms).into()))
            }
        }
    }

    async fn refuse_malformed(&self, socket: &mut TcpStream, error: RequestError) -> End {
        self.site.counters.malformed(error);
        self.refuse(socket, answer::error(error.status(), error.name())).await
    }

    async fn refuse(&self, socket: &mut TcpStream, answer: Answer) -> End {
        self.closing.note_answer();
        let options = EncodeOptions { closes: true, ..EncodeOptions::default() };
        let bytes = self.encoder.with(answer.into(), options, now_ms(), <[u8]>::to_vec);
        if self.send(socket, &bytes).await { End::Linger } else { End::Drop }
    }

    /// Whether the client took all of `bytes` in time.
    async fn send(&self, socket: &mut TcpStream, bytes: &[u8]) -> bool {
        match timeout(self.request_timeout(), socket.write_all(bytes)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.site.counters.timeout(Timeout::Answer);
                false
            }
        }
    }

    /// Closes so that the client receives the last answer: a socket dropped with unread bytes
    /// sends a reset, which may discard the answer before it is read.
    async fn close(&self, socket: &mut TcpStream) {
        let drain = async {
            socket.shutdown().await?;
            let mut discarded = self.buffers.take();
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                discarded.as_mut().clear();
                match socket.read_buf(discarded.as_mut()).await? {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            std::io::Result::Ok(())
        };
        let limit = Duration::from_millis(self.site.config().client_disconnect_timeout_ms);
        // Timed out, failed or done: the connection is dropped in any case.
        let _ = timeout(limit, drain).await;
    }

    /// Time for a client to send a head, to send more of a body, or to take an answer.
    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.site.config().client_request_timeout_ms)
    }
}

/// Sends without waiting; returns the bytes that did not fit into the send buffer, nearly always
/// none.
fn try_send(socket: &TcpStream, answer: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    match socket.try_write(answer) {
        Ok(sent) if sent == answer.len() => Ok(None),
        Ok(sent) => Ok(Some(answer[sent..].to_vec())),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Some(answer.to_vec())),
        Err(error) => Err(error),
    }
}
