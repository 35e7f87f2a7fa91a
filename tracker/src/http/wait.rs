//! Waiting for a client's next bytes, and knowing when to stop waiting.
//!
//! A busy connection comes here once per hit, so a limit costs nothing until it is reached: the
//! timer is set again only when it has rung too early, and it and the end are asked only when
//! they have something to say. They are asked without regard to tokio's budget: if that were used
//! up they would answer "not yet" without noting whom to wake, and nobody would ask them again.

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
    buffers::{Buffer, Buffers},
    closing::Closing,
};

/// What came while a request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At least one byte.
    Bytes,
    /// The client closed the connection, or it broke.
    Gone,
    /// Nothing, until the limit.
    TimedOut,
}

/// What came while none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHead {
    /// At least one byte.
    Bytes,
    /// The client closed the connection, or it broke.
    Gone,
    /// Nothing, until the limit.
    TimedOut,
    /// Nothing, and the tracker is about to end.
    Quiet,
}

/// The limits of one connection.
pub struct Wait {
    alarm: Pin<Box<Sleep>>,
    /// `None` once it has completed.
    quiet: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Who is woken by both; `None` before they were asked first.
    woken: Option<Waker>,
}

impl Wait {
    /// For a connection whose first limit is `until`.
    pub fn new(until: Instant, closing: &Closing) -> Self {
        let quiet: Pin<Box<dyn Future<Output = ()>>> = Box::pin(closing.when_quiet());
        Self { alarm: Box::pin(sleep_until(until.into())), quiet: Some(quiet), woken: None }
    }

    /// Waits until `until` for bytes of a head; they are added to `begun`, which is empty as long
    /// as nothing has come: who waits holds no buffer.
    pub async fn read_head(
        &mut self,
        socket: &mut TcpStream,
        buffers: &Rc<Buffers>,
        begun: &mut Option<Buffer>,
        closing: &Closing,
        until: Instant,
    ) -> NextHead {
        poll_fn(|context| {
            let mut buffer = begun.take().unwrap_or_else(|| buffers.take());
            let read = pin!(socket.read_buf(buffer.as_mut())).poll(context);
            *begun = Some(buffer).filter(|buffer| !buffer.is_empty());
            match read {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(NextHead::Gone),
                Poll::Ready(Ok(_)) => Poll::Ready(NextHead::Bytes),
                Poll::Pending if closing.is_quiet() => Poll::Ready(NextHead::Quiet),
                Poll::Pending => self.poll_limits(until, context),
            }
        })
        .await
    }

    /// Waits until `until` for more bytes of a body. The end of the tracker does not cut it off:
    /// a body has its own limit.
    pub async fn read_into(
        &mut self,
        socket: &mut TcpStream,
        into: &mut impl BufMut,
        until: Instant,
    ) -> Next {
        poll_fn(|context| match pin!(socket.read_buf(into)).poll(context) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Next::Gone),
            Poll::Ready(Ok(_)) => Poll::Ready(Next::Bytes),
            Poll::Pending => match self.poll_limits(until, context) {
                Poll::Ready(NextHead::TimedOut) => Poll::Ready(Next::TimedOut),
                // The end was noticed, and will be acted upon when the next head is waited for.
                _ => Poll::Pending,
            },
        })
        .await
    }

    fn poll_limits(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<NextHead> {
        let waker = context.waker();
        let is_known = self.woken.as_ref().is_some_and(|woken| woken.will_wake(waker));
        if !is_known {
            self.woken = Some(waker.clone());
            if let Some(quiet) = &mut self.quiet
                && pin!(unconstrained(quiet.as_mut())).poll(context).is_ready()
            {
                self.quiet = None;
            }
        }
        if self.poll_alarm(until, is_known, context) {
            return Poll::Ready(NextHead::TimedOut);
        }
        if self.quiet.is_none() { Poll::Ready(NextHead::Quiet) } else { Poll::Pending }
    }

    /// Whether `until` has passed; else somebody is woken when it does.
    fn poll_alarm(&mut self, until: Instant, is_known: bool, context: &mut Context<'_>) -> bool {
        let is_late = self.alarm.deadline() > until.into();
        if is_known && !is_late && !self.alarm.is_elapsed() {
            return false;
        }
        if is_late {
            self.alarm.as_mut().reset(until.into());
        }
        // An alarm that was set for an earlier limit has rung too early.
        while pin!(unconstrained(self.alarm.as_mut())).poll(context).is_ready() {
            if Instant::now() >= until {
                return true;
            }
            self.alarm.as_mut().reset(until.into());
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

    /// What tokio gives a task per turn.
    const BUDGET: usize = 128;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Waits on a silent connection in a turn that has this much budget left.
    async fn first_wait(left: usize, limit: Duration, ends: bool) -> Option<NextHead> {
        let (_client, mut socket) = pair().await;
        let closing = Rc::new(Closing::default());
        let known = Rc::clone(&closing);
        let waiting = spawn_local(async move {
            let (buffers, until) = (Buffers::new(Budget::new(0)), Instant::now() + limit);
            let mut wait = Wait::new(until, &known);
            yield_now().await;
            for _ in 0..BUDGET - left {
                coop::consume_budget().await;
            }
            wait.read_head(&mut socket, &buffers, &mut None, &known, until).await
        });
        if ends {
            closing.quieten(None).await;
        }
        let ended = timeout(Duration::from_secs(10), waiting).await;
        ended.ok().map(Result::unwrap)
    }

    #[test]
    fn a_limit_is_noticed_however_much_of_the_turn_was_used_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            for left in [10, 3, 2, 1, 0] {
                let soon = Duration::from_millis(20);
                assert_eq!(first_wait(left, soon, false).await, Some(NextHead::TimedOut), "{left} left");
                let late = Duration::from_secs(60);
                assert_eq!(first_wait(left, late, true).await, Some(NextHead::Quiet), "{left} left");
            }
        });
    }
}
