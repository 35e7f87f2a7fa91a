//! Reads from a client until a deadline or the shutdown of the tracker.
//!
//! A busy connection waits here once per hit, so the deadline must cost nothing before it is
//! reached: the timer is reset only after it fired too early, and timer and shutdown are polled
//! only when the waker changed. Both are polled outside tokio's cooperative budget: with the
//! budget used up they would return `Pending` without registering the waker, and as they are not
//! polled again, the task would never wake.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::BufMut;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::unconstrained,
    time::{Sleep, sleep_until},
};

use super::{
    buffers::{Buffer, BufferPool},
    closing::Closing,
};

/// The outcome of reading more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRead {
    /// At least one byte.
    Bytes,
    /// The client closed or reset the connection.
    Disconnected,
    /// No byte before the deadline.
    TimedOut,
}

/// The outcome of reading more of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRead {
    /// At least one byte.
    Bytes,
    /// The client closed or reset the connection.
    Disconnected,
    /// No byte before the deadline.
    TimedOut,
    /// No byte, and the tracker closes idle connections to shut down.
    ShuttingDown,
}

/// The deadline of one connection and its view of the shutdown.
pub struct Wait {
    timer: Pin<Box<Sleep>>,
    /// Completes when idle connections are to be closed; `None` once it has.
    quiet: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// The waker registered with both; `None` before the first poll.
    registered: Option<Waker>,
}

impl Wait {
    /// For a connection whose first deadline is `deadline`.
    pub fn new(deadline: Instant, closing: &Closing) -> Self {
        let quiet: Pin<Box<dyn Future<Output = ()>>> = Box::pin(closing.when_quiet());
        Self { timer: Box::pin(sleep_until(deadline.into())), quiet: Some(quiet), registered: None }
    }

    /// Waits until `deadline` for bytes of a head and appends them to `partial`, which stays `None`
    /// until the first byte: an idle connection holds no buffer.
    pub async fn read_head(
        &mut self,
        socket: &mut TcpStream,
        buffers: &Rc<BufferPool>,
        partial: &mut Option<Buffer>,
        closing: &Closing,
        deadline: Instant,
    ) -> HeadRead {
        poll_fn(|context| {
            let mut buffer = partial.take().unwrap_or_else(|| buffers.take());
            let read = pin!(socket.read_buf(buffer.as_mut())).poll(context);
            // Back to the pool while nothing has arrived.
            *partial = Some(buffer).filter(|buffer| !buffer.is_empty());
            match read {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(HeadRead::Disconnected),
                Poll::Ready(Ok(_)) => Poll::Ready(HeadRead::Bytes),
                // With its waker registered, `self.quiet` wakes the task but is not polled again below.
                Poll::Pending if closing.is_quiet() => Poll::Ready(HeadRead::ShuttingDown),
                Poll::Pending => self.poll_deadline(deadline, context),
            }
        })
        .await
    }

    /// Waits until `deadline` for more bytes of a body. A shutdown does not interrupt it: a request
    /// in flight is finished.
    pub async fn read_into(
        &mut self,
        socket: &mut TcpStream,
        into: &mut impl BufMut,
        deadline: Instant,
    ) -> BodyRead {
        poll_fn(|context| match pin!(socket.read_buf(into)).poll(context) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(BodyRead::Disconnected),
            Poll::Ready(Ok(_)) => Poll::Ready(BodyRead::Bytes),
            Poll::Pending => match self.poll_deadline(deadline, context) {
                Poll::Ready(HeadRead::TimedOut) => Poll::Ready(BodyRead::TimedOut),
                // A shutdown takes effect when the next head is awaited.
                _ => Poll::Pending,
            },
        })
        .await
    }

    fn poll_deadline(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<HeadRead> {
        let waker = context.waker();
        let is_known = self.registered.as_ref().is_some_and(|registered| registered.will_wake(waker));
        // A registered waker is still valid: polling again would only cost time.
        if !is_known {
            self.registered = Some(waker.clone());
            if let Some(quiet) = &mut self.quiet
                && pin!(unconstrained(quiet.as_mut())).poll(context).is_ready()
            {
                self.quiet = None;
            }
        }
        if self.poll_timer(deadline, is_known, context) {
            return Poll::Ready(HeadRead::TimedOut);
        }
        if self.quiet.is_none() { Poll::Ready(HeadRead::ShuttingDown) } else { Poll::Pending }
    }

    /// Whether `deadline` has passed; if not, the task is woken when it does.
    fn poll_timer(&mut self, deadline: Instant, is_known: bool, context: &mut Context<'_>) -> bool {
        let is_late = self.timer.deadline() > deadline.into();
        if is_known && !is_late && !self.timer.is_elapsed() {
            return false;
        }
        // A timer set for a later moment would miss this deadline; an earlier one is harmless.
        if is_late {
            self.timer.as_mut().reset(deadline.into());
        }
        // It fired for an earlier deadline: move it, which is rarer than moving it on every read.
        while pin!(unconstrained(self.timer.as_mut())).poll(context).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.timer.as_mut().reset(deadline.into());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        net::TcpListener,
        task::{LocalSet, coop, spawn_local, yield_now},
        time::timeout,
    };

    use super::*;
    use crate::http::budget::Budget;

    /// Operations that tokio lets a task do per poll.
    const BUDGET: usize = 128;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Waits on a silent connection in a poll that has this much budget left.
    async fn first_wait(left: usize, limit: Duration, ends: bool) -> Option<HeadRead> {
        let (_client, mut socket) = pair().await;
        let closing = Rc::new(Closing::default());
        let known = Rc::clone(&closing);
        let waiting = spawn_local(async move {
            let buffers = BufferPool::new(Budget::new(0));
            let deadline = Instant::now() + limit;
            let mut wait = Wait::new(deadline, &known);
            yield_now().await;
            for _ in 0..BUDGET - left {
                coop::consume_budget().await;
            }
            wait.read_head(&mut socket, &buffers, &mut None, &known, deadline).await
        });
        if ends {
            closing.drain(None).await;
        }
        let ended = timeout(Duration::from_secs(10), waiting).await;
        ended.ok().map(Result::unwrap)
    }

    #[test]
    fn a_deadline_is_noticed_however_little_budget_is_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            for left in [10, 3, 2, 1, 0] {
                let soon = Duration::from_millis(20);
                assert_eq!(first_wait(left, soon, false).await, Some(HeadRead::TimedOut), "{left} left");
                let late = Duration::from_secs(60);
                assert_eq!(first_wait(left, late, true).await, Some(HeadRead::ShuttingDown), "{left} left");
            }
        });
    }
}
