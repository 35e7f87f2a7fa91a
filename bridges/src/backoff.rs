//! Pauses between attempts that go on for ever: full jitter, under a limit that doubles.

use std::time::Duration;

/// Limit of the first pause.
const FIRST: Duration = Duration::from_millis(100);

/// The pauses of one trouble; forgotten once something useful was done.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    most: Duration,
}

impl Backoff {
    /// No pause is longer than `most`.
    pub(crate) fn new(most: Duration) -> Self {
        Self { limit: FIRST.min(most), most }
    }

    /// The next pause; the limit of the one after it is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.limit.mul_f64(fastrand::f64());
        self.limit = self.limit.saturating_mul(2).min(self.most);
        pause
    }

    /// Something useful was done.
    pub(crate) fn reset(&mut self) {
        self.limit = FIRST.min(self.most);
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
