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

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::unconstrained,
    time::{Sleep, sleep_until},
};

use super::buffers::{Buffer, Buffers};
use crate::http::closing::Closing;

/// What came.
pub enum Next {
    /// At least one byte.
    Bytes(Buffer),
    /// The client closed the connection, or it broke.
    Gone,
    /// Nothing, until the limit.
    TimedOut,
    /// Nothing, and the tracker is about to end.
    Quiet,
}

/// The limits of one connection.
pub struct Idle {
    alarm: Pin<Box<Sleep>>,
    quiet: Pin<Box<dyn Future<Output = ()>>>,
    /// Who is woken by both; `None` before they were asked first.
    told: Option<Waker>,
}

impl Idle {
    /// For a connection whose first limit is `until`.
    pub fn new(until: Instant, closing: &Closing) -> Self {
        Self { alarm: Box::pin(sleep_until(until.into())), quiet: Box::pin(closing.when_quiet()), told: None }
    }

    /// Waits for bytes until `until`; they are added to what has `begun`, if anything has.
    pub async fn next(
        &mut self,
        socket: &mut TcpStream,
        buffers: &Rc<Buffers>,
        begun: &mut Option<Buffer>,
        closing: &Closing,
        until: Instant,
    ) -> Next {
        poll_fn(|context| {
            let mut buffer = begun.take().unwrap_or_else(|| buffers.take());
            match pin!(socket.read_buf(buffer.as_mut())).poll(context) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Next::Gone),
                Poll::Ready(Ok(_)) => Poll::Ready(Next::Bytes(buffer)),
                Poll::Pending => {
                    *begun = Some(buffer).filter(|buffer| !buffer.is_empty());
                    self.poll_limits(closing, until, context)
                }
            }
        })
        .await
    }

    fn poll_limits(&mut self, closing: &Closing, until: Instant, context: &mut Context<'_>) -> Poll<Next> {
        if closing.is_quiet() {
            return Poll::Ready(Next::Quiet);
        }
        let waker = context.waker();
        let told = self.told.as_ref().is_some_and(|told| told.will_wake(waker));
        if !told {
            self.told = Some(waker.clone());
            if pin!(unconstrained(self.quiet.as_mut())).poll(context).is_ready() {
                return Poll::Ready(Next::Quiet);
            }
        }
        let early = self.alarm.deadline() > until.into();
        if told && !early && !self.alarm.is_elapsed() {
            return Poll::Pending;
        }
        if early {
            self.alarm.as_mut().reset(until.into());
        }
        while pin!(unconstrained(self.alarm.as_mut())).poll(context).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(Next::TimedOut);
            }
            self.alarm.as_mut().reset(until.into());
        }
        Poll::Pending
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

    /// What tokio gives a task per turn.
    const BUDGET: usize = 128;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Waits on a silent connection in a turn that has this much budget left.
    async fn first_wait(left: usize, limit: Duration, ends: bool) -> &'static str {
        let (_client, mut socket) = pair().await;
        let closing = Rc::new(Closing::default());
        let known = Rc::clone(&closing);
        let waiting = spawn_local(async move {
            let (buffers, until) = (Rc::default(), Instant::now() + limit);
            let mut idle = Idle::new(until, &known);
            yield_now().await;
            for _ in 0..BUDGET - left {
                coop::consume_budget().await;
            }
            match idle.next(&mut socket, &buffers, &mut None, &known, until).await {
                Next::TimedOut => "timed out",
                Next::Quiet => "quiet",
                Next::Bytes(_) | Next::Gone => "something else",
            }
        });
        if ends {
            closing.quieten(None).await;
        }
        let ended = timeout(Duration::from_secs(10), waiting).await;
        ended.map_or("waits for ever", Result::unwrap)
    }

    #[test]
    fn a_limit_is_noticed_however_much_of_the_turn_was_used_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            for left in [10, 3, 2, 1, 0] {
                let soon = Duration::from_millis(20);
                assert_eq!(first_wait(left, soon, false).await, "timed out", "{left} left");
                let late = Duration::from_secs(60);
                assert_eq!(first_wait(left, late, true).await, "quiet", "{left} left");
            }
        });
    }
}
