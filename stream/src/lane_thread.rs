//! A lane on a thread of its own, for writers that are not on one thread themselves.
//!
//! ```text
//! any thread                          the lane's thread
//! append ─► permit ─► queue ─► append to the lane, in the order of the queue
//!   ▲       requests_max            └─► a task waits for the level ─► answer, permit back
//!   └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A lane belongs to one thread ([`crate::Lane`]); an HTTP handler, an actor or a command
//! that brings a record is on another. Requests are appended one after the other, and wait
//! for their level side by side, so that one sync serves many.
//!
//! | bound | value | when it is reached |
//! |---|---|---|
//! | requests that are queued or wait for their level | `requests_max` | the next caller waits |
//! | records of a request | – | the caller's memory; they are encoded one at a time |
//! | time that a record waits for room in the log | [`ROOM_WITHIN`] | [`AppendError::Shed`]; requests behind it wait meanwhile |
//!
//! A caller that gives up, by dropping its future, gives its place back at once. What it
//! brought may be in the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use proto::BootId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use crate::lane::{Lane, NotDurable};
use crate::log::{LaneError, Log};
use crate::record::{Class, Level, Number, RecordKind, Shed};

/// How long a record waits for room that is being made: a segment that is prepared, a reader
/// that is about to let one go.
pub const ROOM_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Appends a record's payload to the bytes that it is given.
pub type Encode = Box<dyn Fn(Number, &mut Vec<u8>) + Send>;

/// A record for [`LaneThread::append`].
pub struct NewRecord {
    /// Decides whether it is shed.
    pub class: Class,
    /// What its payload is.
    pub kind: RecordKind,
    /// Appends the payload of the record that gets this number; as for [`Lane::append`] it must
    /// only append. Called again when there was no room.
    pub encode: Encode,
}

impl NewRecord {
    /// One whose payload is known.
    pub fn of_bytes(class: Class, kind: RecordKind, payload: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self { class, kind, encode: Box::new(move |_, body| body.extend_from_slice(payload.as_ref())) }
    }
}

/// Why records were not taken. Those before the one at fault may be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The lane was closed, or its thread is gone.
    #[error("the lane is closed")]
    Closed,
    /// One of them was not taken.
    #[error("record {at} was not taken: {shed}")]
    Shed {
        /// Its place among those that were given.
        at: usize,
        /// Why.
        shed: Shed,
    },
    /// They were appended and did not reach the level.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

/// A lane and its thread. The lane is closed when this is dropped.
#[derive(Debug)]
pub struct LaneThread {
    boot: BootId,
    lane: u32,
    permits: Arc<Semaphore>,
    /// `None` once it is closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Request {
    records: Vec<NewRecord>,
    level: Level,
    answer: oneshot::Sender<Result<Vec<Number>, AppendError>>,
    /// Held until it is answered.
    permit: OwnedSemaphorePermit,
}

impl LaneThread {
    /// Opens a lane of `log` on a thread called `name`, for `requests_max` callers at a time.
    /// Blocks until it is there.
    ///
    /// # Errors
    /// [`LaneError::Io`].
    ///
    /// # Panics
    /// If `requests_max` is 0.
    pub fn start(log: &Log, name: &str, requests_max: usize) -> Result<Self, LaneError> {
        let permits = Arc::new(Semaphore::new(requests_max));
        let (requests, incoming) = mpsc::channel(requests_max);
        let (opening, opened) = std::sync::mpsc::sync_channel(1);
        let work = {
            let log = log.clone();
            let permits = permits.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                let runtime = runtime.expect("a runtime with a timer needs nothing of the system");
                LocalSet::new().block_on(&runtime, async move {
                    match log.open_lane() {
                        Ok(lane) => {
                            let _ = opening.send(Ok((lane.boot(), lane.id())));
                            serve(&lane, incoming).await;
                            // Those who still wait for their level hold a permit each.
                            let all = u32::try_from(requests_max).unwrap_or(u32::MAX);
                            let _ = permits.acquire_many(all).await;
                        }
                        Err(error) => drop(opening.send(Err(error))),
                    }
                });
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(|source| LaneError::Io { dir: log.shared.dir.clone(), source })?;
        let (boot, lane) = opened.recv().expect("the thread says how it went before it ends")?;
        let requests = Mutex::new(Some(requests));
        Ok(Self { boot, lane, permits, requests, thread: Mutex::new(Some(thread)) })
    }

    /// The process start that the lane belongs to.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The lane's number in its process.
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Appends records in their order and waits until all have reached `level`. Returns their
    /// numbers.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, records: Vec<NewRecord>, level: Level) -> Result<Vec<Number>, AppendError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request { records, level, answer, permit })?;
        answered.await.map_err(|_gone| AppendError::Closed)?
    }

    /// The sender is held for no longer than this: the lane is not closed before they are gone.
    fn send(&self, request: Request) -> Result<(), AppendError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.as_ref().ok_or(AppendError::Closed)?;
        // There is a place in the queue for each permit, so it fails only when the thread is gone.
        requests.try_send(request).map_err(|_gone| AppendError::Closed)
    }

    /// Callers that could be served at once.
    #[cfg(test)]
    pub(crate) fn places_left(&self) -> usize {
        self.permits.available_permits()
    }

    /// Takes nothing more, finishes what was asked for and closes the lane. Blocks until every
    /// caller has its answer or has given up.
    pub fn close(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(lane = self.lane, "the thread of a lane panicked");
        }
    }
}

impl Drop for LaneThread {
    fn drop(&mut self) {
        self.close();
    }
}

async fn serve(lane: &Lane, mut incoming: mpsc::Receiver<Request>) {
    while let Some(Request { records, level, mut answer, permit }) = incoming.recv().await {
        let numbers = match append_all(lane, &records).await {
            Ok(numbers) => numbers,
            Err(error) => {
                // Nobody waits for the answer if the caller gave up.
                let _ = answer.send(Err(error));
                continue;
            }
        };
        let Some(last) = numbers.last() else {
            let _ = answer.send(Ok(numbers));
            continue;
        };
        let reached = lane.reached(level, *last);
        // Beside the next request, which may share its sync.
        spawn_local(async move {
            let _permit = permit;
            tokio::select! {
                reached = reached => {
                    let _ = answer.send(reached.map(|()| numbers).map_err(AppendError::from));
                }
                // The caller gave up, and the stream may be away for hours.
                () = answer.closed() => {}
            }
        });
    }
}

async fn append_all(lane: &Lane, records: &[NewRecord]) -> Result<Vec<Number>, AppendError> {
    let mut numbers: Vec<Number> = Vec::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        let until = Instant::now() + ROOM_WITHIN;
        let number = loop {
            match lane.append(record.class, record.kind, &record.encode) {
                Ok(number) => break number,
                Err(Shed::Full(_)) if Instant::now() < until => {
                    // What fills the turn may be this very request. And the turn ends here, so
                    // this is where it shows whether its records found room.
                    if let Some(last) = numbers.last() {
                        lane.reached(Level::Written, *last).await?;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(shed) => return Err(AppendError::Shed { at, shed }),
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}
