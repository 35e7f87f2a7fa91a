//! One connection, from its first byte to its end: the states of [`crate::http`] in their order.

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
    buffers::Buffers,
    closing::Closing,
    encode::{CONTINUE, Form, Wire},
    input::Input,
    malformed::Malformed,
    parse::{Framing, Request, parse},
    wait::{NextHead, Wait},
};
use crate::{
    edge::answer::{self, Answer, Reply},
    edge::{Edge, Site},
    metrics::counters::Timeout,
    metrics::latency::WorkerLatencies,
    request::head::Method,
    request::routes::Target,
};

/// Requests that one connection may have answered before it gives way. A pipeline of hits that
/// wait for no write would otherwise go on for 19,000, tokio's budget, while others wait.
pub const REQUESTS_PER_TURN: u32 = 64;
/// What is read and forgotten after the last answer, so that a client which is still sending
/// finds its answer instead of a reset (RFC 9112, section 9.6).
pub const LINGER_BYTES_MAX: usize = 1 << 20;

/// What the connections of one worker share.
pub struct Worker {
    pub edge: Edge,
    pub site: Arc<Site>,
    pub closing: Arc<Closing>,
    pub latencies: Arc<WorkerLatencies>,
    pub buffers: Rc<Buffers>,
    pub wire: Wire,
}

/// How a connection ended.
enum End {
    /// There is nobody to say anything to.
    Gone,
    /// With an answer that said so.
    Answered,
}

/// Why no further head came.
enum NoHead {
    /// The client is gone, was idle for too long, or we are about to end.
    Over,
    /// It began one, or has just connected, and did not send all of it in time.
    Slow,
    Malformed(Malformed),
}

/// The answer to a request and what it means for its connection.
struct Answered {
    reply: Reply,
    rest: Rest,
    is_last: bool,
}

impl Worker {
    /// Answers requests on `socket` until one of the two sides ends it.
    pub async fn serve(&self, mut socket: TcpStream, peer: Option<SocketAddr>) {
        // Without it pipelined answers wait for the client's delayed acknowledgement.
        let _ = socket.set_nodelay(true);
        match self.requests(&mut socket, peer.map(|peer| peer.ip())).await {
            End::Gone => {}
            End::Answered => self.close(&mut socket).await,
        }
    }

    async fn requests(&self, socket: &mut TcpStream, peer: Option<IpAddr>) -> End {
        let config = self.site.config();
        let keep_alive = Duration::from_secs(config.keep_alive_seconds);
        let mut input = Input::new(Instant::now() + self.head_timeout(), config.limits.header_bytes_max);
        let mut wait = Wait::new(input.until(), &self.closing);
        let mut answered: u32 = 0;
        loop {
            if let Err(malformed) = input.skip_blanks() {
                return self.refuse_malformed(socket, malformed).await;
            }
            let parsed = match input.unread() {
                [] => Ok(None),
                unread => parse(unread, peer, config.limits.header_bytes_max),
            };
            let request = match parsed {
                Ok(Some(request)) => request,
                Ok(None) => match self.await_head(socket, &mut wait, &mut input).await {
                    Ok(()) => continue,
                    Err(NoHead::Over) => return End::Gone,
                    Err(NoHead::Slow) => {
                        self.site.counters.timeout(Timeout::Head);
                        return self.refuse(socket, answer::slow("slow_head")).await;
                    }
                    Err(NoHead::Malformed(malformed)) => {
                        return self.refuse_malformed(socket, malformed).await;
                    }
                },
                Err(malformed) => {
                    // The bytes of a legacy encoding, sent as they are, are no fault of a hit.
                    if malformed == Malformed::Syntax && input.escape_target() {
                        continue;
                    }
                    return self.refuse_malformed(socket, malformed).await;
                }
            };
            let began = Instant::now();
            let received_at_ms = now_ms();
            let target = Target::of(request.head.path, &config.prefixes);
            let begun_body = &input.unread()[request.bytes..];
            let answer = self.answer(&request, target, begun_body, received_at_ms, socket, &mut wait).await;
            let Some(Answered { reply, rest, is_last }) = answer else { return End::Gone };
            let is_last = self.closing.is_last() || is_last;
            let form = Form {
                is_last,
                says_keep_alive: request.says_keep_alive,
                withholds_body: request.head.method == Method::Head,
            };
            let ended = Instant::now();
            self.latencies.observe(target, ended - began);
            let sent = self.wire.with(reply, form, received_at_ms, |bytes| try_send(socket, bytes));
            match sent {
                Ok(None) => {}
                Ok(Some(rest)) if self.send(socket, &rest).await => {}
                Ok(Some(_)) | Err(_) => return End::Gone,
            }
            if is_last {
                return End::Answered;
            }
            let head_bytes = request.bytes;
            input.advance(head_bytes, rest, ended + keep_alive);
            answered = answered.wrapping_add(1);
            if answered.is_multiple_of(REQUESTS_PER_TURN) {
                yield_now().await;
            }
        }
    }

    /// Waits until the head that comes next may be whole.
    async fn await_head(
        &self,
        socket: &mut TcpStream,
        wait: &mut Wait,
        input: &mut Input,
    ) -> Result<(), NoHead> {
        input.begin_head(self.head_timeout());
        let parsed_bytes = input.unread().len();
        loop {
            input.make_room().map_err(NoHead::Malformed)?;
            let known_bytes = input.unread().len();
            let until = input.until();
            match wait.read_head(socket, &self.buffers, input.buffer(), &self.closing, until).await {
                NextHead::Bytes => {}
                NextHead::TimedOut if input.is_in_head() => return Err(NoHead::Slow),
                NextHead::TimedOut | NextHead::Gone | NextHead::Quiet => return Err(NoHead::Over),
            }
            input.skip_blanks().map_err(NoHead::Malformed)?;
            input.begin_head(self.head_timeout());
            if input.is_worth_parsing(parsed_bytes, known_bytes) {
                return Ok(());
            }
        }
    }

    /// Answers one request; reads its body first if its route takes one. `None` if the client is gone.
    async fn answer(
        &self,
        request: &Request<'_>,
        target: Target<'_>,
        begun_body: &[u8],
        received_at_ms: u64,
        socket: &mut TcpStream,
        wait: &mut Wait,
    ) -> Option<Answered> {
        let head = &request.head;
        let has_body = request.body != Framing::Nothing;
        let unread = |reply: Reply| Answered {
            // A body that nobody reads would be taken for the next request.
            is_last: request.is_last || has_body,
            reply,
            rest: Rest::AfterHead(0),
        };
        let takes_body = target == Target::Beacon && head.method == Method::Post;
        if !takes_body {
            return Some(unread(self.edge.answer(target, head, received_at_ms).await));
        }
        if let Some(refused) = self.edge.refuse_unread(head, request.body, received_at_ms) {
            return Some(unread(refused.into()));
        }
        // Who has begun to send is not waiting for it (RFC 9110, section 10.1.1).
        if request.expects_continue && has_body && begun_body.is_empty() && !self.send(socket, CONTINUE).await
        {
            return None;
        }
        let reader = BodyReader { socket, wait, buffers: &self.buffers, config: self.site.config() };
        match reader.read(request.body, begun_body).await {
            Ok((body, rest)) => {
                let reply: Reply = self.edge.beacon(head, &body, received_at_ms).await.into();
                Some(Answered { reply, rest, is_last: request.is_last })
            }
            Err(error) => {
                if error == BodyError::Slow {
                    self.site.counters.timeout(Timeout::Body);
                }
                Some(unread(self.edge.beacon_without_body(head, error, received_at_ms).into()))
            }
        }
    }

    async fn refuse_malformed(&self, socket: &mut TcpStream, malformed: Malformed) -> End {
        self.site.counters.malformed(malformed);
        self.refuse(socket, malformed.answer()).await
    }

    async fn refuse(&self, socket: &mut TcpStream, answer: Answer) -> End {
        self.closing.is_last();
        let form = Form { is_last: true, ..Form::default() };
        let bytes = self.wire.with(answer.into(), form, now_ms(), <[u8]>::to_vec);
        if self.send(socket, &bytes).await { End::Answered } else { End::Gone }
    }

    /// Sends to a client that may be slow to take it; whether it took all of it in time.
    async fn send(&self, socket: &mut TcpStream, bytes: &[u8]) -> bool {
        match timeout(self.head_timeout(), socket.write_all(bytes)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.site.counters.timeout(Timeout::Answer);
                false
            }
        }
    }

    /// Closes so that the client gets the last answer: a socket that is dropped with bytes unread
    /// sends a reset, which may overtake it.
    async fn close(&self, socket: &mut TcpStream) {
        let until_its_end = async {
            socket.shutdown().await?;
            let mut ignored = self.buffers.take();
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                ignored.as_mut().clear();
                match socket.read_buf(ignored.as_mut()).await? {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            std::io::Result::Ok(())
        };
        let limit = Duration::from_millis(self.site.config().client_disconnect_timeout_ms);
        // Whatever it is, the connection is over.
        let _ = timeout(limit, until_its_end).await;
    }

    /// The time that a client has for a head, for more of a body, and to take an answer.
    fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.site.config().client_request_timeout_ms)
    }
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
