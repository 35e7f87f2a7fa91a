//! The message id of an event: a UUIDv8 of what makes two messages the same event, without a time.
//!
//! | identity | parts |
//! |---|---|
//! | message | broker, destination, the broker's message id |
//! | key | broker, destination, the key of the business |
//! | sender | program, type or custom name, id: as of a beacon |
//!
//! Broker and destination are the configured names: an address changes, and a header can be overwritten.
//!
//! A property called `message-id` replaces the real one, and two messages would become one event. So an id
//! that does not look like ActiveMQ's (`ID:…`) or Artemis' (`consumer,message`) stands together with
//! the hash of the body. Whoever forges that form, and can publish, can as well publish anything.

use std::fmt::Write;

use proto::{Uuid, ids};
use sha2::{Digest, Sha256};

use super::config::{Identity, Queue};
use super::frame::Frame;
use super::mapping::Draft;

/// The id of the event that `message`, mapped to `draft`, becomes.
pub fn message_id(queue: &Queue, draft: &Draft, message: &Frame) -> Uuid {
    let place = [queue.broker.as_str(), queue.destination.as_str()];
    match (queue.identity, draft.id.as_deref()) {
        (Identity::Sender, Some(id)) => ids::from_sender(&[draft.program.as_str(), draft.kind.name(), id]),
        (Identity::Key, Some(id)) => ids::from_sender(&[place[0], place[1], id]),
        _ => of_broker(queue, message),
    }
}

/// The same of a message that is no event: for its dead letter, and for counting its attempts.
pub fn of_broker(queue: &Queue, message: &Frame) -> Uuid {
    let given = message.header("message-id").unwrap_or_default();
    let place = [queue.broker.as_str(), queue.destination.as_str()];
    match genuine(given) {
        Some(id) => ids::from_sender(&[place[0], place[1], id]),
        None => {
            let hash = Sha256::digest(&message.body).iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            ids::from_sender(&[place[0], place[1], given, &hash])
        }
    }
}

/// The part of a broker's id that a redelivery has too; `None` if it is no broker's.
fn genuine(id: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match id.split_once(',') {
        // Artemis puts the consumer before it, which is another one after a reconnect.
        Some((consumer, message)) if is_number(consumer) && is_number(message) => Some(message),
        _ => id.starts_with("ID:").then_some(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activemq::config::Format;
    use crate::activemq::frame::Command;
    use crate::activemq::mapping::map;

    fn queue(identity: Identity) -> Queue {
        let mut queue = Queue {
            broker: "main".into(),
            destination: "/queue/a".into(),
            format: Format::Text,
            identity,
            ..Queue::default()
        };
        queue.fields.id = (identity != Identity::Message).then(|| "header:key".parse().unwrap());
        queue.fields.kind = Some("=signup".parse().unwrap());
        queue
    }

    fn id(queue: &Queue, message_id: &str, key: &str, body: &str) -> Uuid {
        let headers = [("message-id", message_id), ("program", "212313"), ("key", key)];
        let mut message = Frame::new(Command::Message, &headers);
        message.body = bytes::Bytes::copy_from_slice(body.as_bytes());
        let draft = map(&message, queue, &mut ()).unwrap();
        message_id_is_v8(super::message_id(queue, &draft, &message))
    }

    fn message_id_is_v8(id: Uuid) -> Uuid {
        assert!(ids::is_from_sender(&id));
        id
    }

    #[test]
    fn a_redelivery_is_the_same_event_and_another_place_is_not() {
        let queue = queue(Identity::Message);
        let first = id(&queue, "ID:h-1:2:-1:1:1", "", "x");
        assert_eq!(first, id(&queue, "ID:h-1:2:-1:1:1", "", "x"));
        assert_ne!(first, id(&queue, "ID:h-1:2:-1:1:2", "", "x"));
        for (broker, destination) in [("other", "/queue/a"), ("main", "/queue/b")] {
            let elsewhere = Queue { broker: broker.into(), destination: destination.into(), ..queue.clone() };
            assert_ne!(first, id(&elsewhere, "ID:h-1:2:-1:1:1", "", "x"));
        }
        assert_eq!(id(&queue, "7,4711", "", "x"), id(&queue, "8,4711", "", "x"), "Artemis after a reconnect");
        assert_ne!(id(&queue, "7,4711", "", "x"), id(&queue, "7,4712", "", "x"));
    }

    #[test]
    fn an_overwritten_message_id_does_not_make_two_messages_one() {
        let queue = queue(Identity::Message);
        assert_ne!(id(&queue, "fixed", "", "one"), id(&queue, "fixed", "", "two"));
        assert_eq!(id(&queue, "fixed", "", "one"), id(&queue, "fixed", "", "one"));
    }

    #[test]
    fn a_key_makes_a_repeated_message_the_same_and_a_sender_id_is_that_of_a_beacon() {
        let keyed = queue(Identity::Key);
        assert_eq!(id(&keyed, "ID:1", "o-7", "x"), id(&keyed, "ID:2", "o-7", "y"));
        assert_ne!(id(&keyed, "ID:1", "o-7", "x"), id(&keyed, "ID:1", "o-8", "x"));
        let sender = queue(Identity::Sender);
        assert_eq!(id(&sender, "ID:1", "o-7", "x"), ids::from_sender(&["212313", "signup", "o-7"]));
    }
}
