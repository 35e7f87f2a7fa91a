//! How far each lane was acknowledged, whatever the order of the answers. Pure.
//!
//! ```text
//! batch read ─► piece, with the number of its records
//!                 ├─ a part of it acknowledged, in any order ─► fewer left
//!                 └─ none left, and none in a piece before it ─► the lane is acknowledged to its end
//! ```
//!
//! A lane's pieces are bounded by the bytes in flight: each was read, and is not acknowledged.

use std::collections::{BTreeMap, VecDeque};

use crate::cursor::LaneKey;
use crate::record::Number;
use crate::source::{Batch, Checkpoint, Item};

/// Names a batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceId {
    pub lane: LaneKey,
    /// Counts the batches of its lane.
    pub sequence: u64,
}

/// A lane that was acknowledged further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    pub lane: LaneKey,
    /// The number before which everything is acknowledged.
    pub end: Number,
}

/// What is read and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    lanes: BTreeMap<LaneKey, LanePieces>,
}

#[derive(Debug, Default)]
struct LanePieces {
    /// In the order of the lane.
    pieces: VecDeque<Piece>,
    /// Sequence of the first.
    first: u64,
    /// Acknowledged and not committed.
    acknowledged: Option<Checkpoint>,
}

#[derive(Debug)]
struct Piece {
    checkpoint: Checkpoint,
    end: Number,
    /// Records that are not acknowledged.
    left: u32,
    /// When its first event was received, milliseconds since 1970.
    received_at_ms: u64,
}

impl Progress {
    /// Notes a batch. `received_at_ms` is the time of its first event.
    pub fn read(&mut self, batch: &Batch, received_at_ms: u64) -> PieceId {
        let lane = (batch.boot, batch.lane);
        let pieces = self.lanes.entry(lane).or_default();
        let sequence = pieces.first + pieces.pieces.len() as u64;
        let end = batch.items.last().map_or(0, Item::end);
        let left = u32::try_from(batch.items.len()).expect("a batch fits into memory");
        pieces.pieces.push_back(Piece { checkpoint: batch.checkpoint.clone(), end, left, received_at_ms });
        PieceId { lane, sequence }
    }

    /// So many records of a piece need no more attention. Returns how far its lane has come, if
    /// that moved.
    pub fn done(&mut self, piece: PieceId, records: u32) -> Option<Advance> {
        let lane = self.lanes.get_mut(&piece.lane)?;
        let at = usize::try_from(piece.sequence.checked_sub(lane.first)?).ok()?;
        let piece_left = lane.pieces.get_mut(at)?;
        piece_left.left = piece_left.left.saturating_sub(records);
        let mut end = None;
        while lane.pieces.front().is_some_and(|front| front.left == 0) {
            let front = lane.pieces.pop_front()?;
            lane.first += 1;
            lane.acknowledged = Some(front.checkpoint);
            end = Some(front.end);
        }
        end.map(|end| Advance { lane: piece.lane, end })
    }

    /// Whether something is acknowledged and not committed.
    pub fn has_uncommitted(&self) -> bool {
        self.lanes.values().any(|lane| lane.acknowledged.is_some())
    }

    /// The checkpoints up to which each lane is acknowledged, since [`Self::committed`].
    pub fn uncommitted(&self) -> Vec<Checkpoint> {
        self.lanes.values().filter_map(|lane| lane.acknowledged.clone()).collect()
    }

    /// All that [`Self::uncommitted`] said is durable. Lanes of which nothing is left are forgotten,
    /// but for the count of their pieces while one may come.
    pub fn committed(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.acknowledged = None;
        }
        self.lanes.retain(|_, lane| !lane.pieces.is_empty());
    }

    /// Whether everything that was read is acknowledged.
    #[cfg(test)]
    fn is_done(&self) -> bool {
        self.lanes.values().all(|lane| lane.pieces.is_empty())
    }

    /// When the oldest event was received that is read and not acknowledged.
    pub fn oldest_received_at_ms(&self) -> Option<u64> {
        let fronts = self.lanes.values().filter_map(|lane| lane.pieces.front());
        fronts.map(|piece| piece.received_at_ms).filter(|at_ms| *at_ms > 0).min()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use proto::BootId;

    use super::*;
    use crate::record::{Record, RecordKind};

    fn batch(lane: u32, first: Number, count: u64) -> Batch {
        let record = |number| Record { number, kind: RecordKind::Event, payload: Bytes::new() };
        let items = (first..first + count).map(|number| Item::Record(record(number))).collect();
        Batch::of_lane(BootId::nil(), lane, items)
    }

    fn lane(id: u32) -> LaneKey {
        (BootId::nil(), id)
    }

    #[test]
    fn a_lane_is_acknowledged_to_the_first_piece_that_is_not() {
        let mut progress = Progress::default();
        let first = progress.read(&batch(0, 0, 2), 10);
        let second = progress.read(&batch(0, 2, 3), 20);
        assert_eq!(progress.done(second, 3), None, "the first piece is still out");
        assert_eq!(progress.done(first, 1), None);
        assert_eq!(progress.oldest_received_at_ms(), Some(10));
        assert!(!progress.has_uncommitted());
        assert_eq!(progress.done(first, 1), Some(Advance { lane: lane(0), end: 5 }));
        assert_eq!(progress.uncommitted(), [batch(0, 2, 3).checkpoint]);
        progress.committed();
        assert!(progress.is_done() && !progress.has_uncommitted());
    }

    #[test]
    fn a_lane_that_stands_holds_up_no_other() {
        let mut progress = Progress::default();
        let stuck = progress.read(&batch(0, 0, 1), 1);
        let other = progress.read(&batch(1, 0, 1), 2);
        assert_eq!(progress.done(other, 1), Some(Advance { lane: lane(1), end: 1 }));
        progress.committed();
        assert!(!progress.is_done());
        // A lane that was forgotten begins anew, and answers of before mean nothing to it.
        let again = progress.read(&batch(1, 1, 1), 3);
        assert_eq!(progress.done(again, 1), Some(Advance { lane: lane(1), end: 2 }));
        assert_eq!(progress.done(stuck, 1), Some(Advance { lane: lane(0), end: 1 }));
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_the_answers_the_end_is_that_of_a_model(
            sizes in prop::collection::vec(1_u64..5, 1..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut progress = Progress::default();
            let mut first = 0;
            let mut out: Vec<(PieceId, Number)> = Vec::new();
            for size in &sizes {
                let piece = progress.read(&batch(0, first, *size), 1);
                out.extend((first..first + size).map(|number| (piece, number)));
                first += size;
            }
            let ends: Vec<u64> = sizes.iter().scan(0, |sum, size| { *sum += size; Some(*sum) }).collect();
            let mut acknowledged = 0;
            for index in order {
                if out.is_empty() { break; }
                let (piece, _) = out.swap_remove(index.index(out.len()));
                if let Some(advance) = progress.done(piece, 1) {
                    acknowledged = advance.end;
                }
                let lowest = out.iter().map(|(_, number)| *number).min().unwrap_or(first);
                // The last end of a piece that is not above the lowest number that is out.
                let expected = ends.iter().copied().filter(|end| *end <= lowest).max().unwrap_or(0);
                prop_assert_eq!(acknowledged, expected);
            }
        }
    }
}
