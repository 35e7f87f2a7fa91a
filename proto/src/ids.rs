//! Message ids that carry their own time.
//!
//! A hit gets a UUIDv7 (RFC 9562 §5.7). Where a sender gave an id of its own, the
//! message id is a UUIDv8 (§5.8) computed from it, so that a retry and a
//! redelivery have the same id and end as one item.
//!
//! Both have 48 bits of milliseconds since 1970 in front, so the table can find
//! the hour of an event from its id alone.

use sha2::{Digest, Sha256};
use uuid::{Builder, ContextV7, Timestamp, Uuid};

/// Makes the UUIDv7s of one lane: each is greater than the one before, also when
/// the clock steps back.
///
/// When the clock steps back the ids keep the last time seen and count on, until
/// the clock has caught up.
#[derive(Debug)]
pub struct MessageIds {
    context: ContextV7,
}

impl Default for MessageIds {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageIds {
    /// A source of ids for one thread.
    pub fn new() -> Self {
        Self { context: ContextV7::new() }
    }

    /// The next id, at `now_ms` milliseconds since 1970.
    pub fn next(&self, now_ms: u64) -> Uuid {
        let seconds = now_ms / 1_000;
        let nanos = u32::try_from(now_ms % 1_000).expect("a remainder of 1,000 fits") * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(&self.context, seconds, nanos))
    }
}

/// The id of a message whose sender gave it an id: `parts` name the sender's scope
/// and its id, for example broker, destination and message id.
///
/// `sender_time_ms` is the sender's time, 0 if it gave none; beyond 48 bits it
/// counts as 0. Equal arguments give equal ids; `["a", "bc"]` and `["ab", "c"]`
/// give different ones.
pub fn from_sender(sender_time_ms: u64, parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let time = if sender_time_ms >> 48 == 0 { sender_time_ms } else { 0 };
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Milliseconds since 1970 in the front 48 bits of a message id.
pub fn time_ms(id: &Uuid) -> u64 {
    let bytes = id.as_bytes();
    u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_a_lane_only_grow_when_the_clock_steps_back_an_hour() {
        let ids = MessageIds::new();
        let start = 1_790_000_000_000;
        let mut last = ids.next(start);
        for step in 0..10_000u64 {
            let now = if step % 3 == 0 { start - 3_600_000 + step } else { start + step / 100 };
            let next = ids.next(now);
            assert!(next > last, "step {step}: {next} after {last}");
            last = next;
        }
    }

    #[test]
    fn an_id_says_its_version_and_its_time() {
        let id = MessageIds::new().next(1_790_000_000_123);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(time_ms(&id), 1_790_000_000_123);

        let id = from_sender(1_790_000_000_123, &["broker", "queue", "ID:1"]);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(time_ms(&id), 1_790_000_000_123);
    }

    #[test]
    fn a_sender_id_is_the_same_for_ever() {
        let id = from_sender(0, &["212313", "order-1"]);
        assert_eq!(id.to_string(), "00000000-0000-856d-93a9-63d34747fe01");
    }

    proptest! {
        #[test]
        fn parts_do_not_run_together(a in ".{0,8}", b in ".{0,8}", time in any::<u64>()) {
            let joined = format!("{a}{b}");
            prop_assert_ne!(from_sender(time, &[&a, &b]), from_sender(time, &[&joined]));
            prop_assert_eq!(from_sender(time, &[&a, &b]), from_sender(time, &[&a, &b]));
        }
    }
}
