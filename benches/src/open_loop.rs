//! Load at a fixed rate, whatever the server does.
//!
//! A closed loop sends its next request when the last one was answered: a server that
//! stalls is asked less, and the stall shows up once instead of in every request that
//! would have met it ("coordinated omission"). Here request `n` is due at
//! `start + n / rate`, and its latency counts from there: a request that had to wait
//! for its connection has waited.
//!
//! tokio's timer has a resolution of a millisecond, coarser than the latencies measured. So the
//! thread itself sleeps, 20 µs at a time, and then releases the connections that are due. It must
//! not spin instead: when both cores of a virtual machine are busy, the host takes one away for 3 ms
//! at a time, which hits more than 1 request in 100, whatever the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};

use crate::requests::Request;

/// Bytes of the largest answer that is accepted, head and body.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Longest latency that the histogram resolves, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
/// A run that falls behind by this much is aborted.
const LATE_MAX: Duration = Duration::from_secs(20);

/// How long the thread sleeps when nothing is due; the kernel adds some 50 µs. All latencies
/// are longer by up to that, of every server alike.
const NAP: Duration = Duration::from_micros(20);

/// The load to generate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Sent in turn; not empty.
    pub requests: Vec<Request>,
    /// Requests per second, over all connections; more than 0.
    pub rate: f64,
    /// Connections that share the rate; each has one request under way at most.
    pub connections: usize,
    /// The length of the run.
    pub duration: Duration,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Microseconds from the intended moment to the last byte of the answer.
    pub latency_us: Histogram<u64>,
    /// Answers with a status of 2xx or 3xx.
    pub ok: u64,
    /// Those of them that acknowledge an event.
    pub events: u64,
    /// Other answers.
    pub other: u64,
}

impl Outcome {
    /// The latency that `per_cent` of the requests did not exceed, in milliseconds.
    pub fn percentile_ms(&self, per_cent: f64) -> f64 {
        self.latency_us.value_at_quantile(per_cent / 100.0) as f64 / 1_000.0
    }
}

/// Follows the plan. To be called on a tokio runtime of one thread.
///
/// # Errors
/// A connection failed, an answer was not HTTP, or the server was 20 s late.
pub async fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut sockets = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        let socket = TcpStream::connect(plan.address).await?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let plan = Arc::new(plan.clone());
    let mut tasks = JoinSet::new();
    let mut due = Vec::new();
    let start = Instant::now();
    for (at, socket) in sockets.into_iter().enumerate() {
        let is_due = Arc::new(Notify::new());
        due.push(Arc::clone(&is_due));
        tasks.spawn(connection(Arc::clone(&plan), at, socket, start, is_due));
    }
    tasks.spawn(release_due(Arc::clone(&plan), start, due));
    let mut whole = empty_outcome();
    while let Some(ended) = tasks.join_next().await {
        let part = ended.map_err(io::Error::other)??;
        whole.latency_us.add(&part.latency_us).map_err(io::Error::other)?;
        whole.ok += part.ok;
        whole.events += part.events;
        whole.other += part.other;
    }
    Ok(whole)
}

fn empty_outcome() -> Outcome {
    let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("these bounds are valid");
    Outcome { latency_us, ok: 0, events: 0, other: 0 }
}

/// Wakes each connection when its next request is due, until the plan is over.
async fn release_due(plan: Arc<Plan>, start: Instant, due: Vec<Arc<Notify>>) -> io::Result<Outcome> {
    let mut nth = 0;
    while due_at(&plan, nth) < plan.duration {
        if start.elapsed() < due_at(&plan, nth) {
            std::thread::sleep(NAP);
        }
        while start.elapsed() >= due_at(&plan, nth) {
            due[nth % due.len()].notify_one();
            nth += 1;
        }
        // Answers are read and requests are sent before the next nap.
        yield_now().await;
    }
    Ok(empty_outcome())
}

/// When the `nth` request is due, from the start.
fn due_at(plan: &Plan, nth: usize) -> Duration {
    Duration::from_secs_f64(nth as f64 / plan.rate)
}

/// The requests `at`, `at + connections`, … on one connection.
async fn connection(
    plan: Arc<Plan>,
    at: usize,
    mut socket: TcpStream,
    start: Instant,
    is_due: Arc<Notify>,
) -> io::Result<Outcome> {
    let mut outcome = empty_outcome();
    let mut input = Vec::with_capacity(ANSWER_BYTES_MAX);
    let host = plan.address.to_string();
    for nth in (at..).step_by(plan.connections) {
        let due = due_at(&plan, nth);
        if due >= plan.duration {
            break;
        }
        // A permit left over from an earlier request is harmless: the clock decides.
        while start.elapsed() < due {
            is_due.notified().await;
        }
        if start.elapsed() > due + LATE_MAX {
            return Err(io::Error::other("the server is 20 s late; the rate is too high for it"));
        }
        let request = &plan.requests[nth % plan.requests.len()];
        socket.write_all(request.to(&host).as_bytes()).await?;
        let status = answer(&mut socket, &mut input, request.is_head).await?;
        if (200..400).contains(&status) {
            outcome.ok += 1;
            outcome.events += u64::from(request.makes_event);
        } else {
            outcome.other += 1;
        }
        let late = start.elapsed() - due;
        outcome.latency_us.saturating_record(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
    }
    Ok(outcome)
}

/// Reads one answer and returns its status.
async fn answer(socket: &mut TcpStream, input: &mut Vec<u8>, is_head: bool) -> io::Result<u16> {
    input.clear();
    loop {
        if let Some((status, bytes)) = whole_answer(input, is_head)? {
            if input.len() > bytes {
                return Err(io::Error::other("the server sent more than one answer"));
            }
            return Ok(status);
        }
        if input.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("an answer is larger than 16 KiB"));
        }
        if socket.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Status and length of the answer at the start of `input`, once it is complete. The answer to a
/// HEAD ends with its head, whatever its `content-length`.
fn whole_answer(input: &[u8], is_head: bool) -> io::Result<Option<(u16, usize)>> {
    let Some(head) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let not_http = || io::Error::other("an answer is not HTTP");
    let text = std::str::from_utf8(&input[..head]).map_err(|_| not_http())?;
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(not_http)?;
    let mut body = 0;
    for line in text.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').ok_or_else(not_http)?;
        if name.eq_ignore_ascii_case("content-length") && !is_head {
            body = value.trim().parse().map_err(|_| not_http())?;
        }
    }
    let bytes = head + 4 + body;
    Ok((input.len() >= bytes).then_some((status, bytes)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-Length: 2\r\n\r\nok";

    #[test]
    fn an_answer_is_whole_at_its_last_byte_and_not_before() {
        for cut in 0..ANSWER.len() {
            assert_eq!(whole_answer(&ANSWER[..cut], false).unwrap(), None, "{cut}");
        }
        assert_eq!(whole_answer(ANSWER, false).unwrap(), Some((200, ANSWER.len())));
        assert!(whole_answer(b"nonsense\r\n\r\n", false).is_err());
    }

    #[test]
    fn the_answer_to_a_head_ends_with_its_head() {
        let head = &ANSWER[..ANSWER.len() - 2];
        assert_eq!(whole_answer(head, true).unwrap(), Some((200, head.len())));
        assert_eq!(whole_answer(head, false).unwrap(), None);
    }

    /// A server that answers the first request of a connection after `stall`, the others at once.
    async fn stalling(stall: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut input = vec![0; 4_096];
            let asked = Instant::now();
            while socket.read(&mut input).await.unwrap_or(0) > 0 {
                while asked.elapsed() < stall {
                    yield_now().await;
                }
                socket.write_all(ANSWER).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_stall_is_felt_by_every_request_that_was_due_in_it() {
        let plan = Plan {
            address: stalling(Duration::from_millis(100)).await,
            requests: vec![Request::hit("/")],
            rate: 1_000.0,
            connections: 1,
            duration: Duration::from_millis(200),
        };
        let outcome = run(&plan).await.unwrap();
        assert_eq!((outcome.ok, outcome.events, outcome.other), (200, 200, 0));
        // 100 of the 200 were due in the stall, 75 of them 25 ms before its end or earlier.
        assert!(outcome.percentile_ms(63.0) >= 25.0, "{}", outcome.percentile_ms(63.0));
    }
}
