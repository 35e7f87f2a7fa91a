//! What the log says of itself, for people and for `reconcile`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use proto::BootId;
use serde::Serialize;

use crate::cursor::{LaneKey, Positions};
use crate::lane::file::LaneState;
use crate::lane::shared::LaneShared;
use crate::record::Number;

/// One lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneStatus {
    /// Its process start.
    pub boot: BootId,
    /// Its number in that process.
    pub lane: u32,
    /// How it stands.
    pub state: LaneState,
    /// A write or a sync failed.
    pub poisoned: bool,
    /// Numbers given out and written, or given up: the next is `issued`.
    pub issued: Number,
    /// Numbers below it were synced.
    pub synced: Number,
    /// Numbers below it were taken by the stream, as far as this process knows; without a
    /// shipper the same as `synced`.
    pub streamed: Number,
    /// Numbers that never became durable, as far as this process knows.
    pub abandoned: u64,
    /// Segment files.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// Half-open ranges of numbers that existing segments hold.
    pub in_log: Vec<(Number, Number)>,
}

impl LaneStatus {
    pub(crate) fn of(lane: &LaneShared, has_shipper: bool) -> Self {
        // Before the segments: what is issued by now is in them, or was given up.
        let issued = lane.written.load(Acquire);
        let segments = lane.segments();
        let mut in_log: Vec<(Number, Number)> = Vec::new();
        let mut add = |first: Number, end: Number| match in_log.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ if first < end => in_log.push((first, end)),
            _ => {}
        };
        for segment in segments.iter() {
            let mut from = segment.first;
            for (first, end) in &segment.lost {
                add(from, *first);
                from = *end;
            }
            add(from, segment.end());
        }
        let synced = lane.synced.load(Acquire);
        Self {
            boot: lane.boot,
            lane: lane.id,
            state: lane.state(),
            poisoned: lane.is_poisoned(),
            issued,
            synced,
            streamed: if has_shipper { lane.streamed.load(Acquire) } else { synced },
            abandoned: lane.abandoned.load(Relaxed),
            segments: segments.len(),
            bytes: segments.iter().map(|segment| segment.bytes.load(Relaxed)).sum(),
            in_log,
        }
    }
}

/// One cursor.
#[derive(Clone, Debug, Serialize)]
pub struct CursorStatus {
    /// Its name.
    pub name: String,
    /// Whether somebody reads with it. If not, it only holds back what it has not passed.
    pub declared: bool,
    /// Records that it has not passed, in all lanes.
    pub lag: u64,
    /// Where it is, durably.
    pub lanes: Vec<CursorLane>,
}

/// A cursor's place in one lane.
#[derive(Clone, Debug, Serialize)]
pub struct CursorLane {
    /// The lane's process start.
    pub boot: BootId,
    /// The lane.
    pub lane: u32,
    /// The next number to read.
    pub next: Number,
    /// Records that it has not passed.
    pub lag: u64,
}

impl CursorStatus {
    pub(crate) fn of(
        name: &str,
        at: &Positions,
        lanes: &BTreeMap<LaneKey, Arc<LaneShared>>,
        declared: bool,
    ) -> Self {
        let lane = |(key, lane): (&LaneKey, &Arc<LaneShared>)| {
            let position = at.get(key).copied().unwrap_or_default();
            let lag =
                if position.ended { 0 } else { lane.written.load(Acquire).saturating_sub(position.next) };
            CursorLane { boot: key.0, lane: key.1, next: position.next, lag }
        };
        let lanes: Vec<CursorLane> = lanes.iter().map(lane).collect();
        Self { name: name.to_owned(), declared, lag: lanes.iter().map(|lane| lane.lag).sum(), lanes }
    }
}
