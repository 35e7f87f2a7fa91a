//! A bound on bytes per second, for a stream that others write to as well. Pure.
//!
//! What was not used is saved for one second at most. A request is let through while anything is
//! left, so that one larger than what is left is not kept for ever; what it takes too much is
//! waited for before the next one.

use std::time::Duration;

use tokio::time::Instant;

pub(crate) struct Rate {
    /// 0 for no bound.
    bytes_per_second: u64,
    left: f64,
    /// Of `left`.
    at: Instant,
}

impl Rate {
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second, left: bytes_per_second as f64, at: now }
    }

    pub fn allows(&mut self, now: Instant) -> bool {
        let most = self.bytes_per_second as f64;
        self.left = most.min(self.left + most * (now - self.at).as_secs_f64());
        self.at = now;
        self.bytes_per_second == 0 || self.left > 0.0
    }

    pub fn spend(&mut self, bytes: usize) {
        self.left -= bytes as f64;
    }

    /// When it will allow something; `None` if it does by now.
    pub fn allows_at(&self, now: Instant) -> Option<Instant> {
        if self.bytes_per_second == 0 || self.left > 0.0 {
            return None;
        }
        // A little more than nothing, so that a rounded time is not too early.
        let missing = Duration::from_secs_f64(-self.left / self.bytes_per_second as f64);
        Some((self.at + missing + Duration::from_millis(1)).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_no_more_goes_through_than_is_allowed_and_hardly_less() {
        let begin = Instant::now();
        let mut rate = Rate::new(1_000_000, begin);
        let (mut now, mut sent) = (begin, 0);
        while now < begin + Duration::from_secs(10) {
            if rate.allows(now) {
                rate.spend(300_000);
                sent += 300_000;
            }
            now = rate.allows_at(now).unwrap_or(now);
        }
        assert!((10_000_000..=11_300_000).contains(&sent), "{sent} in 10 s and the second before");
    }

    #[test]
    fn without_a_bound_everything_goes_through() {
        let now = Instant::now();
        let mut rate = Rate::new(0, now);
        rate.spend(usize::MAX);
        assert!(rate.allows(now) && rate.allows_at(now).is_none());
    }
}
