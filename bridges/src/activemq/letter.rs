//! A message as a dead letter, and back: so that an operator can put it through the mapping again.
//!
//! The payload is the whole MESSAGE frame, which `clickgate bridge check --message` reads too. Left out are the
//! headers `ack` and `subscription`, which mean nothing once the connection is gone. Header lines that could not
//! be read cannot be written either; a header says that they are missing, and such a letter is not
//! mapped again: what was in them might be what matters.

use bytes::BytesMut;
use proto::{DeadLetter, Origin, Stage};
use supervise::now_ms;

use super::aside::Poison;
use super::check::message_of;
use super::codec::encode;
use super::config::Queue;
use super::frame::{Command, Frame};
use super::identity;

/// Says what was wrong with the head of the message that a letter holds.
const FAULT: &str = "x-clickgate-fault";

/// Why the message of a letter cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Its payload begins as a frame and is none.
    #[error("its payload is no STOMP frame: {0}")]
    Frame(String),
    /// Some of its headers are lost.
    #[error("it lacks headers, as {0}; let its sender send it again, and drop the letter")]
    Fault(String),
}

/// The letter of a message that the broker does not take for its quarantine.
pub fn letter(queue: &Queue, poison: &Poison) -> DeadLetter {
    let Poison { message, reason } = poison;
    let id = identity::of_broker(queue, message);
    let mut kept = Frame::new(Command::Message, &[]);
    if let Some(fault) = message.fault {
        kept.headers.push(FAULT, &fault.to_string());
    }
    let given = message.headers.iter().filter(|(name, _)| !["ack", "subscription"].contains(name));
    given.for_each(|(name, value)| kept.headers.push(name, value));
    kept.body = message.body.clone();
    let mut payload = BytesMut::new();
    encode(&kept, &mut payload);
    DeadLetter {
        stage: Stage::BridgeActivemq.into(),
        reason: reason.to_string(),
        failed_at_ms: now_ms(),
        // No record's place: what identifies the message, so that it is kept once.
        boot: id.as_bytes().to_vec(),
        payload: payload.to_vec(),
        origin: Some(Origin {
            broker: queue.broker.clone(),
            destination: queue.destination.clone(),
            broker_message_id: message.header("message-id").unwrap_or_default().to_owned(),
            ..Origin::default()
        }),
        ..DeadLetter::default()
    }
}

/// The message of a letter.
///
/// # Errors
/// See [`LetterError`].
pub fn message_of_letter(letter: &DeadLetter) -> Result<Frame, LetterError> {
    let message = message_of(&letter.payload, &[]).map_err(LetterError::Frame)?;
    match message.header(FAULT) {
        Some(fault) => Err(LetterError::Fault(fault.to_owned())),
        None => Ok(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activemq::frame::HeadFault;
    use crate::activemq::mapping::Unmappable;

    fn queue() -> Queue {
        Queue { broker: "main".into(), destination: "/queue/a".into(), ..Queue::default() }
    }

    fn poison(headers: &[(&str, &str)], body: &'static [u8]) -> Poison {
        let mut message = Frame::new(Command::Message, &[("ack", "a-1"), ("subscription", "s")]);
        headers.iter().for_each(|(name, value)| message.headers.push(name, value));
        message.body = bytes::Bytes::from_static(body);
        Poison { message, reason: Unmappable::NotText }
    }

    #[test]
    fn a_letter_gives_back_the_message_with_all_that_it_is_mapped_by() {
        let empty_text: &[u8] = b"";
        for body in [&b"a\0b"[..], b"text", empty_text] {
            let poison = poison(&[("message-id", "ID:7"), ("shop", "a:b\nc\\d")], body);
            let letter = letter(&queue(), &poison);
            let message = message_of_letter(&letter).unwrap();
            assert_eq!(
                (message.header("message-id"), message.header("shop")),
                (Some("ID:7"), Some("a:b\nc\\d"))
            );
            assert_eq!((&message.body[..], message.header("ack"), message.fault), (body, None, None));
            assert_eq!(
                identity::of_broker(&queue(), &message),
                identity::of_broker(&queue(), &poison.message)
            );
            assert_eq!(
                message.header("content-length").is_some(),
                !body.is_empty(),
                "an empty text is suspect still"
            );
        }
    }

    #[test]
    fn the_largest_head_that_is_read_comes_back_though_its_escapes_make_it_longer() {
        let colons = ":".repeat(255 * 1_024);
        let poison = poison(&[("long", &colons)], b"x");
        assert_eq!(message_of_letter(&letter(&queue(), &poison)).unwrap().header("long"), Some(&*colons));
    }

    #[test]
    fn what_lost_headers_is_not_mapped_again() {
        let mut poison = poison(&[], b"{}");
        poison.message.fault = Some(HeadFault::NoColon { line: 3 });
        let error = message_of_letter(&letter(&queue(), &poison)).unwrap_err();
        assert!(error.to_string().contains("header line 3 has no colon"), "{error}");
        let torn = DeadLetter { payload: b"MESSAGE\nno end".to_vec(), ..DeadLetter::default() };
        assert!(matches!(message_of_letter(&torn), Err(LetterError::Frame(_))));
    }
}
