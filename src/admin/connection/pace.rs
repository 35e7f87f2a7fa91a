//! How long a transfer may take: a stall ends it, and so does a crawl.

use std::time::Duration;

use tokio::time::Instant;

/// A transfer in which nothing moves for this long is over.
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// What a transfer must move, on average, after the first [`STALL_MAX`].
const BYTES_PER_SECOND_MIN: u64 = 16 << 10;

/// A transfer, and by when it must move on.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    moved: Instant,
    bytes: u64,
}

impl Pace {
    /// Begins `now`.
    pub fn new(now: Instant) -> Self {
        Self { began: now, moved: now, bytes: 0 }
    }

    /// `bytes` went over `now`.
    pub fn advance(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.moved = now;
    }

    /// The next bytes must go over by then.
    pub fn deadline(&self) -> Instant {
        // Without the second, one byte every nine seconds would hold the connection for ever.
        let stalled = self.moved + STALL_MAX;
        let too_slow =
            self.began + STALL_MAX + Duration::from_millis(self.bytes * 1_000 / BYTES_PER_SECOND_MIN);
        stalled.min(too_slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_stalls_ends_however_much_it_moved_before() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.deadline(), now + STALL_MAX);
        pace.advance(1 << 30, now + Duration::from_secs(1));
        assert_eq!(pace.deadline(), now + Duration::from_secs(1) + STALL_MAX);
    }

    #[test]
    fn a_transfer_that_crawls_ends_although_it_never_stalls() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for second in 1..10 {
            pace.advance(1, now + Duration::from_secs(second));
        }
        assert!(pace.deadline() < now + STALL_MAX + Duration::from_secs(1));
    }

    #[test]
    fn a_steady_transfer_may_take_long() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for second in 1..=3_600 {
            let at = now + Duration::from_secs(second);
            assert!(at < pace.deadline(), "ended after {second} s");
            pace.advance(16 << 10, at);
        }
    }
}
