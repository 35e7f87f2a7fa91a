//! Pauses between attempts that go on for ever: full jitter, under a limit that doubles.
//!
//! Full jitter, because many processes lose the same peer at the same moment and would otherwise
//! reconnect at the same moment (AWS Architecture Blog, "Exponential Backoff And Jitter").

use std::time::Duration;

/// Limit of the first pause.
const FIRST: Duration = Duration::from_millis(100);

/// The pauses between attempts at one operation.
#[derive(Clone, Debug)]
pub struct Backoff {
    limit: Duration,
    pause_max: Duration,
}

impl Backoff {
    /// No pause is longer than `pause_max`; the first is below 100 ms.
    pub fn new(pause_max: Duration) -> Self {
        Self { limit: FIRST.min(pause_max), pause_max }
    }

    /// The next pause; the limit of the one after it is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = self.limit.mul_f64(fastrand::f64());
        self.limit = self.limit.saturating_mul(2).min(self.pause_max);
        pause
    }

    /// Starts from the shortest pause again. Call it after useful work, not after connecting: a peer
    /// that accepts and hangs up would be hammered.
    pub fn reset(&mut self) {
        self.limit = FIRST.min(self.pause_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_again_after_something_useful() {
        let most = Duration::from_secs(2);
        let mut backoff = Backoff::new(most);
        assert!(backoff.pause() < FIRST);
        let longest = (0..200).map(|_| backoff.pause()).max().unwrap();
        assert!(longest > most / 2 && longest <= most, "{longest:?}");
        backoff.reset();
        assert!(backoff.pause() < FIRST);
        assert!(Backoff::new(Duration::ZERO).pause().is_zero());
    }
}
