//! The connection for calls: one, shared by all callers, made when it is needed.
//!
//! It lives on a separate thread. A connection belongs to the runtime that it was made in, and
//! the tracker calls from the runtimes of many workers, any of which may end.
//!
//! One caller connects, the others wait for it. A caller that gives up does not interrupt the
//! attempt, else callers that wait 250 ms could never make a connection that takes 300. After two failures in a row attempts are made with the pauses of [`Backoff`], 2 s at the
//! longest, and calls in between fail at once. Only an answer resets the count: a server that accepts
//! connections and drops them is not hammered.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, ProtocolVersion, RedisResult, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
};
use supervise::Backoff;
use tokio::{
    runtime::{self, Handle},
    sync::{Mutex, oneshot},
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    address::Address,
    config::RedisConfig,
    counts::{Counters, count},
    fault::Fault,
};

/// Longest pause between two attempts to connect. Together with the time for an attempt, it bounds how
/// stale a tracker is after Redis has come back: 5 s.
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    worker: Worker,
    slot: Arc<Mutex<Slot>>,
    /// Consecutive failures: attempts to connect, and connections that broke.
    failures: Arc<AtomicU32>,
    counters: Arc<Counters>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

#[derive(Debug)]
struct Slot {
    connection: Option<Connection>,
    /// Distinguishes a failure of this connection from one of an earlier connection.
    number: u64,
    backoff: Backoff,
    pause_until: Option<Instant>,
    last_error: String,
    last_was_denied: bool,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Link {
    /// A link without a connection yet.
    pub(super) fn new(
        config: &RedisConfig,
        certificates: Option<TlsCertificates>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        Ok(Self {
            address: Address::new(config, certificates),
            worker: Worker::start()?,
            slot: Arc::new(Mutex::new(Slot::new())),
            failures: Arc::default(),
            counters,
            connect_timeout: config.connect_timeout(),
            response_timeout: config.response_timeout(),
        })
    }

    /// The runtime that the connections live in.
    pub(super) fn runtime(&self) -> &Handle {
        &self.worker.handle
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Sends a command. Takes at most twice the connect timeout and once the response timeout.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let called = self.try_call(command).await;
        if called.is_err() {
            count(&self.counters.calls_failed);
        }
        called.and_then(|value| T::from_redis_value(value).map_err(|error| Fault::Redis(error.into())))
    }

    async fn try_call(&self, command: &Cmd) -> Result<Value, Fault> {
        let (mut connection, number) = self.connection().await?;
        let asked = async {
            match &mut connection {
                Connection::Single(connection) => connection.req_packed_command(command).await,
                Connection::Cluster(connection) => connection.req_packed_command(command).await,
            }
        };
        let answer = in_time(self.response_timeout, asked).await;
        let answer = answer.and_then(|value| value.extract_error().map_err(Fault::from));
        match &answer {
            Err(fault) if fault.breaks_connection() => self.forget(number, fault).await,
            // An error that the server returned is an answer, too: the server is there.
            _ => self.failures.store(0, Relaxed),
        }
        answer
    }

    async fn connection(&self) -> Result<(Connection, u64), Fault> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if let Some(connection) = &slot.connection {
            return Ok((connection.clone(), slot.number));
        }
        if slot.pause_until.is_some_and(|until| Instant::now() < until) {
            return Err(Fault::Pausing { last: slot.last_error.clone(), denied: slot.last_was_denied });
        }
        let address = self.address.clone();
        let limit = self.connect_timeout;
        let failures = Arc::clone(&self.failures);
        let counters = Arc::clone(&self.counters);
        let connecting = self.worker.handle.spawn(async move {
            match connect(&address, limit).await {
                Ok(connection) => {
                    count(&counters.connections);
                    slot.number += 1;
                    info!(connection = slot.number, "connected to redis");
                    slot.connection = Some(connection.clone());
                    Ok((connection, slot.number))
                }
                Err(fault) => {
                    count(&counters.connections_failed);
                    slot.pause_after(failures.fetch_add(1, Relaxed) + 1, &fault);
                    Err(fault)
                }
            }
        });
        match connecting.await {
            Ok(connected) => connected,
            Err(_) => {
                let last = "the attempt to connect was aborted".to_owned();
                Err(Fault::Pausing { last, denied: false })
            }
        }
    }

    async fn forget(&self, number: u64, fault: &Fault) {
        let mut slot = self.slot.lock().await;
        if slot.number == number && slot.connection.take().is_some() {
            warn!(error = %fault, connection = number, "closed the connection to redis");
            slot.pause_after(self.failures.fetch_add(1, Relaxed) + 1, fault);
        }
    }
}

impl Slot {
    /// Without a connection yet.
    fn new() -> Self {
        Self {
            connection: None,
            number: 0,
            backoff: Backoff::new(PAUSE_MAX),
            pause_until: None,
            last_error: String::new(),
            last_was_denied: false,
        }
    }

    /// Pauses after this many failures in a row, of which `fault` is the last.
    fn pause_after(&mut self, failures: u32, fault: &Fault) {
        self.last_error = fault.to_string();
        self.last_was_denied = fault.is_denied();
        if failures == 1 {
            // A single broken connection does not mean that the server is down: the next call may
            // reconnect at once.
            self.backoff.reset();
            self.pause_until = None;
        } else {
            self.pause_until = Some(Instant::now() + self.backoff.pause());
        }
    }
}

/// A cluster's seed nodes are tried in parallel, each within the limit, then asked for the slots.
async fn connect(address: &Address, limit: Duration) -> Result<Connection, Fault> {
    if address.is_cluster() {
        let limit = limit * 2;
        let client = address.cluster_client()?;
        return in_time(limit, client.get_async_connection()).await.map(Connection::Cluster);
    }
    let node = address.nodes().first().expect("a checked configuration has one");
    let client = address.client(node, ProtocolVersion::RESP2)?;
    let config = untimed();
    in_time(limit, client.get_multiplexed_async_connection_with_config(&config)).await.map(Connection::Single)
}

/// Without the crate's timeouts, which would restart at each step; ours cover all steps.
pub(super) fn untimed() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// The answer, if it comes within the limit.
pub(super) async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T, Fault> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(Fault::from),
        Err(_) => Err(Fault::TimedOut(limit)),
    }
}

/// A thread with a runtime, which ends when this is dropped.
#[derive(Debug)]
struct Worker {
    handle: Handle,
    _ends: oneshot::Sender<()>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel();
        thread::Builder::new().name("redis".to_owned()).spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _ends: ends })
    }
}
