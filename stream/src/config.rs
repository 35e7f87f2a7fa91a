//! How a log is set up. The command reads these values; nothing here does.

use std::time::Duration;

/// Settings of one named log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Size of a segment file, allocated in advance, and written full of zeros for a lane
    /// whose records are waited for at [`crate::Level::Synced`] more often than once in
    /// 64 KiB. 64 KiB to 1 GiB; 16 MiB unless said.
    pub segment_bytes: u64,
    /// Data the log may hold before it sheds, all lanes together. At least eight
    /// segments. Up to two prepared segments a lane come on top on disk.
    pub log_bytes_max: u64,
    /// Records that one turn of a lane's event loop may collect, in bytes. At most
    /// half a segment.
    pub lane_bytes_max: usize,
    /// Longest time that written records wait for a sync at any level. By default 100 ms: a
    /// second's worth at once keeps the core busy for longer. With 85,000 pixels/s on one core
    /// the p99 was 1.1 ms with 1 s and 0.8 ms with 50 ms (`open-loop`, medians of three).
    pub sync_interval: Duration,
    /// After a write found no room: how long the lane sheds before it tries again.
    pub full_pause: Duration,
    /// How long after a failure the next segment is tried again. One second unless said.
    pub room_retry: Duration,
    /// Names of the cursors that have a reader. A segment is kept until each of them has passed
    /// it, and each that an earlier configuration declared.
    pub cursors: Vec<String>,
    /// Whether a shipper takes the records to a stream, so that [`crate::Level::Stream`] waits
    /// until [`crate::Log::advance_stream`] says that it has them. Without one it is
    /// [`crate::Level::Synced`]. No by default.
    pub has_shipper: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            log_bytes_max: 8 << 30,
            lane_bytes_max: 4 << 20,
            sync_interval: Duration::from_millis(100),
            full_pause: Duration::from_millis(100),
            room_retry: Duration::from_secs(1),
            cursors: Vec::new(),
            has_shipper: false,
        }
    }
}

impl LogConfig {
    /// What is wrong with these values, each with the key it concerns.
    pub fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if !(64 << 10..=1 << 30).contains(&self.segment_bytes) {
            errors.push(("segment_bytes", format!("{} is not between 64 KiB and 1 GiB", self.segment_bytes)));
        }
        if self.log_bytes_max < 8 * self.segment_bytes {
            let least = 8 * self.segment_bytes;
            errors.push((
                "log_bytes_max",
                format!("{} is less than eight segments ({least})", self.log_bytes_max),
            ));
        }
        if self.lane_bytes_max < 4 << 10 || self.lane_bytes_max as u64 > self.segment_bytes / 2 {
            let most = self.segment_bytes / 2;
            errors.push((
                "lane_bytes_max",
                format!("{} is not between 4 KiB and half a segment ({most})", self.lane_bytes_max),
            ));
        }
        if self.sync_interval < Duration::from_millis(1) || self.sync_interval > Duration::from_secs(60) {
            errors.push((
                "sync_interval_ms",
                format!("{} is not between 1 and 60000", self.sync_interval.as_millis()),
            ));
        }
        errors
    }
}
