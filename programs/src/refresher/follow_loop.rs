//! What the refresher does next while it follows: comparing before hearing.
//!
//! One future decides. With a stream and an interval beside the mailbox it would be actix that
//! does, and actix 0.13 lets each of them act once more after a message has called `ctx.wait`:
//! two futures then want the follower at once. A single future sees whether the follower is
//! there, and knows what must not wait: a comparison that is due, as it is what finds a lost
//! change; then changes.

use std::{
    pin::Pin,
    task::{Context as Poller, Poll},
    time::Duration,
};

use actix::{ActorContext, ActorFuture, Context};
use futures_util::{Stream, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::Refresher;
use crate::{Notice, Registry, Subscription};

/// Follows over one connection; it ends, and stops the actor, with the subscription.
pub(super) struct FollowLoop {
    notices: Pin<Box<dyn Stream<Item = Notice>>>,
    compare_due: Interval,
}

impl FollowLoop {
    /// Of this subscription, comparing this often.
    pub(super) fn new(subscription: Subscription, compare_every: Duration) -> Self {
        let mut compare_due = interval_at(Instant::now() + compare_every, compare_every);
        // After a pause of the process one comparison says as much as two.
        compare_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { notices: Box::pin(notices(subscription)), compare_due }
    }
}

impl<R: Registry> ActorFuture<Refresher<R>> for FollowLoop {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        refresher: &mut Refresher<R>,
        ctx: &mut Context<Refresher<R>>,
        task: &mut Poller<'_>,
    ) -> Poll<()> {
        // Somebody works with it; actix polls again when that has ended.
        if refresher.follower.is_none() {
            return Poll::Pending;
        }
        if self.compare_due.poll_tick(task).is_ready() {
            refresher.compare(ctx);
            return Poll::Pending;
        }
        match self.notices.as_mut().poll_next(task) {
            Poll::Ready(Some(notice)) => refresher.hear(notice, ctx),
            Poll::Ready(None) => {
                ctx.stop();
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        Poll::Pending
    }
}

fn notices(subscription: Subscription) -> impl Stream<Item = Notice> {
    stream::unfold(subscription, |mut subscription| async move {
        match subscription.next().await {
            Notice::Closed => None,
            notice => Some((notice, subscription)),
        }
    })
}
