//! Message ids.
//!
//! | id | form | comes again |
//! |---|---|---|
//! | ours, for a hit | UUIDv7 (RFC 9562 §5.7) of the time at which the event was received | only as the same record |
//! | computed from the sender's | UUIDv8 (§5.8): 122 bits of SHA-256 over what identifies the event, without a time | whenever the sender repeats it |
//!
//! So a v7 locates its event: its time is the event's `received_at_ms`. A v8 does not: a retry at
//! another time has the same id, so a table finds its event by an identity entry.

use std::cell::Cell;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// How far a clock may step back before the ids follow it, in milliseconds. Smaller
/// steps are NTP corrections; larger ones mean that the clock was set.
pub const STEP_BACK_MS_MAX: u64 = 1_000;

/// The largest time that an id can hold, in milliseconds since 1970: 48 bits.
pub const TIME_MS_MAX: u64 = (1 << 48) - 1;

/// Bits of the counter within a millisecond; the other 32 of the 74 are random.
const COUNTER_BITS: u32 = 42;

/// Makes the UUIDv7s of one lane, for one thread.
///
/// Each is greater than the one before, also when the clock steps back by up to
/// [`STEP_BACK_MS_MAX`]: the ids keep the last time and count on. When it steps back further the
/// ids follow it, and only their random bits keep them apart.
#[derive(Debug, Default)]
pub struct MessageIds {
    last_ms: Cell<u64>,
    counter: Cell<u64>,
}

impl MessageIds {
    /// A source of ids for one thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next id, at `now_ms` milliseconds since 1970 (at most [`TIME_MS_MAX`]). Its
    /// [`time_ms`] is the event's time: `now_ms`, or up to a second more.
    pub fn next(&self, now_ms: u64) -> Uuid {
        let random = Uuid::new_v4().as_u128();
        let last_ms = self.last_ms.get();
        let stepped_back = now_ms < last_ms && last_ms - now_ms <= STEP_BACK_MS_MAX;
        let at_ms = if stepped_back { last_ms } else { now_ms.min(TIME_MS_MAX) };
        let (at_ms, counter) = match self.counter.get() + 1 {
            // Too many for one millisecond: the ids go ahead of the clock, as RFC 9562 §6.2 allows.
            full if at_ms == last_ms && full >> COUNTER_BITS != 0 => (at_ms + 1, 0),
            next if at_ms == last_ms => (at_ms, next),
            // Half of the counter's range is left for this millisecond.
            _ => (at_ms, (random >> 64) as u64 & ((1 << (COUNTER_BITS - 1)) - 1)),
        };
        self.last_ms.set(at_ms);
        self.counter.set(counter);
        let low = u128::from(counter) << 32 | u128::from(random as u32);
        let mut tail = [0; 10];
        // The upper 12 of the 74 bits stand before the variant, the other 62 behind it.
        tail[..2].copy_from_slice(&((low >> 62) as u16).to_be_bytes());
        tail[2..].copy_from_slice(&(low as u64 & ((1 << 62) - 1)).to_be_bytes());
        Builder::from_unix_timestamp_millis(at_ms, &tail).into_uuid()
    }
}

/// The id of an event whose sender gave it an id. `parts` identify the event: program, type or
/// custom event name, and the sender's id; for a broker's message the broker, the destination, and
/// the message id or the business key.
///
/// Equal parts give equal ids; `["a", "bc"]` and `["ab", "c"]` give different ones.
pub fn from_sender(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Milliseconds since 1970 in the front 48 bits of a UUIDv7.
pub fn time_ms(id: &Uuid) -> u64 {
    let bytes = id.as_bytes();
    u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]])
}

/// Whether the id was computed from a sender's, so that the same event may come again at another
/// time, as another record.
pub fn is_from_sender(id: &Uuid) -> bool {
    id.get_version_num() == 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn ids_of_a_lane_only_grow_when_the_clock_steps_back_a_second() {
        let ids = MessageIds::new();
        let mut last = ids.next(NOW);
        for step in 0..10_000u64 {
            let now = if step % 3 == 0 { NOW - 900 + step / 100 } else { NOW + step / 100 };
            let next = ids.next(now);
            assert!(next > last, "step {step}: {next} after {last}");
            assert!(time_ms(&next) - now <= STEP_BACK_MS_MAX);
            last = next;
        }
    }

    #[test]
    fn ids_follow_a_clock_that_was_set_back() {
        let ids = MessageIds::new();
        ids.next(NOW + 3_600_000);
        assert_eq!(time_ms(&ids.next(NOW)), NOW);
        assert_eq!(time_ms(&ids.next(NOW - STEP_BACK_MS_MAX)), NOW, "a second is waited for");
        assert_eq!(time_ms(&ids.next(NOW - STEP_BACK_MS_MAX - 1)), NOW - STEP_BACK_MS_MAX - 1);
    }

    #[test]
    fn ids_of_one_millisecond_stay_in_order_when_the_counter_is_full() {
        let ids = MessageIds::new();
        let before = ids.next(NOW);
        ids.counter.set((1 << COUNTER_BITS) - 2);
        let last = ids.next(NOW);
        let over = ids.next(NOW);
        assert!(before < last && last < over);
        assert_eq!((time_ms(&last), time_ms(&over)), (NOW, NOW + 1));
    }

    #[test]
    fn an_id_says_its_version_and_a_hits_id_its_time() {
        let id = MessageIds::new().next(NOW + 123);
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(time_ms(&id), NOW + 123);
        assert!(!is_from_sender(&id));
        assert_eq!(time_ms(&MessageIds::new().next(u64::MAX)), TIME_MS_MAX);

        let id = from_sender(&["broker", "queue", "ID:1"]);
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
        assert!(is_from_sender(&id));
    }

    #[test]
    fn a_sender_id_is_the_same_for_ever() {
        let id = from_sender(&["212313", "conversion", "order-1"]);
        assert_eq!(id.to_string(), "a4567b47-8541-8a94-8015-c2825c4f60fc");
    }

    proptest! {
        #[test]
        fn parts_do_not_run_together(a in ".{0,8}", b in ".{0,8}") {
            let joined = format!("{a}{b}");
            prop_assert_ne!(from_sender(&[&a, &b]), from_sender(&[&joined]));
            prop_assert_eq!(from_sender(&[&a, &b]), from_sender(&[&a, &b]));
        }

        #[test]
        fn two_lanes_never_make_the_same_id(steps in prop::collection::vec(0u64..3, 1..200)) {
            let lanes = [MessageIds::new(), MessageIds::new()];
            let mut seen = std::collections::HashSet::new();
            for step in steps {
                for lane in &lanes {
                    prop_assert!(seen.insert(lane.next(NOW + step)));
                }
            }
        }
    }
}
