//! Whether something may be sent to a peer that failed: after a pause one attempt, and everything
//! once that went well. Pure.
//!
//! ```text
//!          failed                     the pause is over
//! Open ───────────────► Paused(until) ─────────────────► Probing ──► one is let through
//!  ▲                        ▲               failed          │
//!  │                        └───────────────────────────────┤
//!  └────────────────────────────────────────────────────────┘ succeeded
//! ```

use std::time::Duration;

use supervise::Backoff;
use tokio::time::Instant;

/// A gate in front of a stream, or of the shard of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    state: State,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Paused(Instant),
    Probing,
}

impl Gate {
    pub fn new(pause_max: Duration) -> Self {
        Self { state: State::Open, backoff: Backoff::new(pause_max) }
    }

    /// Whether one more may be sent now. After a pause only the first who asks may: it is the probe.
    pub fn lets_through(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open => true,
            State::Paused(until) if until <= now => {
                self.state = State::Probing;
                true
            }
            State::Paused(_) | State::Probing => false,
        }
    }

    /// When it is worth asking again; `None` if only an answer changes anything.
    pub fn opens_at(&self) -> Option<Instant> {
        match self.state {
            State::Paused(until) => Some(until),
            State::Open | State::Probing => None,
        }
    }

    /// Returns whether that is news: what was under way when it closed fails too.
    pub fn failed(&mut self, now: Instant) -> bool {
        let is_news = !matches!(self.state, State::Paused(_));
        if is_news {
            self.state = State::Paused(now + self.backoff.pause());
        }
        is_news
    }

    pub fn succeeded(&mut self) {
        self.state = State::Open;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn after_a_failure_one_is_let_through_and_all_once_it_succeeded() {
        let now = Instant::now();
        let mut gate = Gate::new(MAX);
        assert!(gate.lets_through(now) && gate.lets_through(now));
        assert!(gate.failed(now));
        let until = gate.opens_at().unwrap();
        assert!(!gate.failed(now + MAX));
        assert_eq!(gate.opens_at(), Some(until), "what fails later was sent before");
        assert!(until == now || !gate.lets_through(now));
        assert!(gate.lets_through(until), "the probe");
        assert!(!gate.lets_through(until + MAX) && gate.opens_at().is_none());
        gate.failed(until);
        assert!(gate.opens_at().is_some_and(|again| again <= until + MAX));
        gate.succeeded();
        assert!(gate.lets_through(until) && gate.lets_through(until));
    }
}
