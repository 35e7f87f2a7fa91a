//! Putting a message aside: into the quarantine at the broker, without losing it on the way.
//!
//! ```text
//! BEGIN, SEND ──receipt──► ACK, COMMIT ──receipt──► done
//!     │ ERROR
//!     └──► ABORT ─────────► the local dead letters, then ACK
//! ```
//!
//! SEND is waited for: ActiveMQ commits a transaction whose SEND it refused, and the message would be gone.
//! Nothing is ever refused with NACK, which ActiveMQ takes for "destroy".
//!
//! Pure: frames in, frames out.

use super::config::{Broker, Queue};
use super::frame::{Command, Frame};
use super::mapping::{Unmappable, is_text};
use super::session::reason;

/// Bytes of an original header's value that go along; the broker takes lines of 10 KiB.
const VALUE_BYTES_MAX: usize = 4_000;
/// Original headers that go along; the broker takes 1,000.
const HEADERS_MAX: usize = 500;

/// A message that cannot become an event.
#[derive(Debug)]
pub struct Poison {
    /// The message.
    pub message: Frame,
    /// Why.
    pub reason: Unmappable,
}

impl Poison {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.message.body.len() + 1_024
    }

    /// The message's handle.
    pub fn ack(&self) -> &str {
        self.message.header("ack").unwrap_or_default()
    }
}

/// A message on its way into the quarantine.
#[derive(Debug)]
pub struct Aside {
    poison: Poison,
    step: Step,
    transaction: Option<String>,
    /// What is waited for.
    receipt: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Sent,
    Committed,
}

/// What became of it.
#[derive(Debug)]
pub enum Next {
    /// The frame was not for it.
    NotMine(Aside),
    /// These frames are due, and then it goes on.
    Send(Aside, Vec<Frame>),
    /// It is in the quarantine, and these frames are due.
    Done(Poison, Vec<Frame>),
    /// The broker refused to take it, for this reason. These frames are due.
    Refused(Poison, String, Vec<Frame>),
    /// Whether it is in the quarantine is unknown. The session must end; then the message comes again or not.
    Unknown(String),
}

impl Aside {
    /// Begins, with the frames to be sent. `receipt` was not used before; its number makes the transaction's
    /// name.
    pub fn begin(poison: Poison, broker: &Broker, queue: &Queue, receipt: String) -> (Self, Vec<Frame>) {
        let transaction = broker.transacted_ack.then(|| format!("aside-{receipt}"));
        let mut frames = Vec::new();
        if let Some(name) = &transaction {
            frames.push(Frame::new(Command::Begin, &[("transaction", name)]));
        }
        frames.push(send(&poison, queue, transaction.as_deref(), &receipt));
        (Self { poison, step: Step::Sent, transaction, receipt }, frames)
    }

    /// A RECEIPT or an ERROR came; `new_receipt` makes another receipt id.
    pub fn answered(mut self, frame: &Frame, new_receipt: impl FnOnce() -> String) -> Next {
        if frame.header("receipt-id") != Some(self.receipt.as_str()) {
            return Next::NotMine(self);
        }
        let is_receipt = frame.command == Command::Receipt;
        let transaction = self.transaction.clone();
        match (self.step, transaction, is_receipt) {
            (Step::Sent, Some(name), true) => {
                self.step = Step::Committed;
                self.receipt = new_receipt();
                let ack = Frame::new(Command::Ack, &[("id", self.poison.ack()), ("transaction", &name)]);
                let commit =
                    Frame::new(Command::Commit, &[("transaction", &name), ("receipt", &self.receipt)]);
                Next::Send(self, vec![ack, commit])
            }
            // A crash before the ACK brings the message again, and a second one into the quarantine.
            (Step::Sent, None, true) => {
                let ack = Frame::new(Command::Ack, &[("id", self.poison.ack())]);
                Next::Done(self.poison, vec![ack])
            }
            (Step::Sent, name, false) => {
                let abort = name.map(|name| Frame::new(Command::Abort, &[("transaction", &name)]));
                Next::Refused(self.poison, reason(frame), abort.into_iter().collect())
            }
            (Step::Committed, _, true) => Next::Done(self.poison, Vec::new()),
            (Step::Committed, _, false) => Next::Unknown(reason(frame)),
        }
    }
}

/// The message as it was, with its headers behind `x-orig-`, and the reason.
fn send(poison: &Poison, queue: &Queue, transaction: Option<&str>, receipt: &str) -> Frame {
    let Poison { message, reason: why } = poison;
    let destination = queue.quarantine();
    let mut frame = Frame::new(
        Command::Send,
        &[("destination", &destination), ("persistent", "true"), ("receipt", receipt)],
    );
    if let Some(name) = transaction {
        frame.headers.push("transaction", name);
    }
    frame.headers.push("x-clickgate-reason", &cut(&why.to_string()));
    // Only what is text in both forms may become a text message again.
    if message.header("content-length").is_none() && is_text(&message.body) {
        frame.headers.push("amq-msg-type", "text");
    }
    let given = message.headers.iter().filter(|(name, _)| !["ack", "subscription"].contains(name));
    for (name, value) in given.take(HEADERS_MAX).filter(|(name, _)| name.len() <= 200) {
        frame.headers.push(&format!("x-orig-{name}"), &cut(value));
    }
    frame.body = message.body.clone();
    frame
}

fn cut(text: &str) -> String {
    let end = (0..=VALUE_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activemq::codec::{Decoder, Limits, encode};

    /// Whether it is within what we would read ourselves.
    fn is_readable(frame: &Frame) -> bool {
        let mut bytes = bytes::BytesMut::new();
        encode(frame, &mut bytes);
        Decoder::new(Limits::default()).next(&mut bytes).is_ok_and(|read| read.is_some())
    }

    fn poison() -> Poison {
        let headers = [("ack", "a-1"), ("subscription", "s"), ("message-id", "ID:1"), ("note", "a:b\n")];
        let mut message = Frame::new(Command::Message, &headers);
        message.body = bytes::Bytes::from_static(b"body");
        Poison { message, reason: Unmappable::NotText }
    }

    fn queue() -> Queue {
        Queue { destination: "/queue/orders".into(), ..Queue::default() }
    }

    fn begun(transacted_ack: bool) -> (Aside, Vec<Frame>) {
        Aside::begin(poison(), &Broker { transacted_ack, ..Broker::default() }, &queue(), "r-1".into())
    }

    fn answer(command: Command, receipt: &str) -> Frame {
        Frame::new(command, &[("receipt-id", receipt), ("message", "not allowed")])
    }

    fn words(frames: &[Frame]) -> Vec<&'static str> {
        frames.iter().map(|frame| frame.command.word()).collect()
    }

    #[test]
    fn a_message_is_acknowledged_in_the_transaction_that_has_put_it_aside() {
        let (aside, frames) = begun(true);
        assert_eq!(words(&frames), ["BEGIN", "SEND"]);
        let sent = &frames[1];
        assert_eq!(sent.header("destination"), Some("/queue/orders.QUARANTINE"));
        assert_eq!((sent.header("x-orig-note"), sent.header("x-orig-ack")), (Some("a:b\n"), None));
        assert_eq!((sent.header("persistent"), &sent.body[..]), (Some("true"), &b"body"[..]));
        assert_eq!(sent.header("amq-msg-type"), Some("text"));
        assert!(is_readable(sent));
        let Next::NotMine(aside) = aside.answered(&answer(Command::Receipt, "r-0"), String::new) else {
            panic!("it is another's receipt")
        };
        let Next::Send(aside, frames) = aside.answered(&answer(Command::Receipt, "r-1"), || "r-2".into()) else {
            panic!("the message is at the broker")
        };
        assert_eq!(words(&frames), ["ACK", "COMMIT"]);
        assert_eq!(frames[0].header("transaction"), frames[1].header("transaction"));
        let done = aside.answered(&answer(Command::Receipt, "r-2"), String::new);
        assert!(matches!(done, Next::Done(_, frames) if frames.is_empty()));
    }

    #[test]
    fn what_the_broker_refuses_is_aborted_and_never_acknowledged_there() {
        let (aside, _) = begun(true);
        let Next::Refused(_, reason, frames) = aside.answered(&answer(Command::Error, "r-1"), String::new) else {
            panic!("it was refused")
        };
        assert_eq!((words(&frames), reason.as_str()), (vec!["ABORT"], "not allowed"));
        let (aside, _) = begun(true);
        let Next::Send(aside, _) = aside.answered(&answer(Command::Receipt, "r-1"), || "r-2".into()) else {
            panic!("the message is at the broker")
        };
        assert!(matches!(aside.answered(&answer(Command::Error, "r-2"), String::new), Next::Unknown(_)));
    }

    #[test]
    fn where_a_transacted_ack_is_ignored_it_stands_behind_the_receipt() {
        let (aside, frames) = begun(false);
        assert_eq!((words(&frames), frames[0].header("transaction")), (vec!["SEND"], None));
        let Next::Done(_, frames) = aside.answered(&answer(Command::Receipt, "r-1"), String::new) else {
            panic!("the message is at the broker")
        };
        assert_eq!((words(&frames), frames[0].header("transaction")), (vec!["ACK"], None));
    }

    #[test]
    fn long_headers_are_cut_to_what_the_broker_takes() {
        let mut poison = poison();
        poison.message.headers.push("long", &"ü".repeat(5_000));
        (0..600).for_each(|n| poison.message.headers.push(&format!("h{n}"), "x"));
        let (_, frames) = Aside::begin(poison, &Broker::default(), &queue(), "r".into());
        let long = frames[1].header("x-orig-long").unwrap();
        assert!(long.len() == VALUE_BYTES_MAX && frames[1].headers.len() < 520, "{}", long.len());
    }
}
