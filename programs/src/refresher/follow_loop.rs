//! Decides what the refresher does next while it follows: comparisons come before notices.
//!
//! A single future decides. Given a stream and an interval beside the mailbox, actix would decide,
//! and actix 0.13 polls each of them once more after a message has called `ctx.wait`: two futures
//! would then want the follower at once. A single future sees whether the follower is free, and
//! puts a comparison that is due first, since only a comparison finds a lost change.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::{Notice, Subscription};

/// What is due.
pub(super) enum Step {
    /// Compare with the registry.
    Compare,
    /// Handle this notice.
    Hear(Notice),
    /// The subscription has ended.
    End,
}

/// Follows over one connection, for as long as its subscription lasts.
pub(super) struct FollowLoop {
    notices: Pin<Box<dyn Stream<Item = Notice>>>,
    compare_due: Interval,
}

impl FollowLoop {
    /// Follows `subscription` and compares at this interval.
    pub(super) fn new(subscription: Subscription, compare_every: Duration) -> Self {
        let mut compare_due = interval_at(Instant::now() + compare_every, compare_every);
        // After the process was suspended, one comparison is enough to catch up.
        compare_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { notices: Box::pin(notices(subscription)), compare_due }
    }

    /// The next step, once one is due. Not to be polled while the follower is busy with the last one.
    pub(super) fn poll_step(&mut self, task: &mut Context<'_>) -> Poll<Step> {
        // Before notices, else a registry that changes all the time would keep a lost change unnoticed.
        if self.compare_due.poll_tick(task).is_ready() {
            return Poll::Ready(Step::Compare);
        }
        let notice = ready!(self.notices.as_mut().poll_next(task));
        Poll::Ready(notice.map_or(Step::End, Step::Hear))
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
