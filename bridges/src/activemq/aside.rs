//! Putting messages aside: into the quarantine at the broker, without losing one on the way.
//!
//! ```text
//! BEGIN, SEND of each ──a receipt for each──► ACK of each, COMMIT ──receipt──► done
//!     │ ERROR
//!     └──► ABORT ─► each alone ── ERROR again ─► the local dead letters, then ACK
//! ```
//!
//! SEND is waited for: ActiveMQ commits a transaction whose SEND it refused, and the message would be gone.
//! Nothing is ever refused with NACK, which ActiveMQ takes for "destroy". Several share a transaction, since each
//! COMMIT costs the broker a sync.
//!
//! Pure: frames in, frames out.

use std::collections::HashSet;

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
        self.message.bytes() + 1_024
    }

    /// The message's handle.
    pub fn ack(&self) -> &str {
        self.message.header("ack").unwrap_or_default()
    }
}

/// Messages on their way into the quarantine.
#[derive(Debug)]
pub struct Aside {
    poisons: Vec<Poison>,
    transaction: Option<String>,
    is_committed: bool,
    /// What is waited for.
    receipts: HashSet<String>,
}

/// What became of them.
#[derive(Debug)]
pub enum Next {
    /// Nothing yet, or the frame was not for them.
    Wait(Aside),
    /// These frames are due, and then it goes on.
    Send(Aside, Vec<Frame>),
    /// They are in the quarantine, and these frames are due.
    Done(Vec<Poison>, Vec<Frame>),
    /// The broker refused to take one of them, for this reason. These frames are due.
    Refused(Vec<Poison>, String, Vec<Frame>),
    /// Whether they are in the quarantine is unknown. The session must end; then they come again or not.
    Unknown(String),
}

impl Aside {
    /// Begins, with the frames to be sent. `new_receipt` makes receipt ids that were not used before.
    pub fn begin(
        poisons: Vec<Poison>,
        broker: &Broker,
        queue: &Queue,
        mut new_receipt: impl FnMut() -> String,
    ) -> (Self, Vec<Frame>) {
        let transaction = broker.transacted_ack.then(|| format!("aside-{}", new_receipt()));
        let begin = transaction.iter().map(|name| Frame::new(Command::Begin, &[("transaction", name)]));
        let mut frames: Vec<Frame> = begin.collect();
        let mut receipts = HashSet::new();
        for poison in &poisons {
            let receipt = new_receipt();
            frames.push(send(poison, queue, transaction.as_deref(), &receipt));
            receipts.insert(receipt);
        }
        (Self { poisons, transaction, is_committed: false, receipts }, frames)
    }

    /// A RECEIPT or an ERROR came.
    pub fn answered(mut self, frame: &Frame, new_receipt: impl FnOnce() -> String) -> Next {
        let is_mine = frame.header("receipt-id").is_some_and(|id| self.receipts.remove(id));
        let is_receipt = frame.command == Command::Receipt;
        if !is_mine || is_receipt && !self.receipts.is_empty() {
            return Next::Wait(self);
        }
        if !is_receipt {
            let why = reason(frame);
            if self.is_committed {
                return Next::Unknown(why);
            }
            let abort =
                self.transaction.iter().map(|name| Frame::new(Command::Abort, &[("transaction", name)]));
            return Next::Refused(self.poisons, why, abort.collect());
        }
        if self.is_committed {
            return Next::Done(self.poisons, Vec::new());
        }
        let mut frames: Vec<Frame> =
            self.poisons.iter().map(|poison| Frame::new(Command::Ack, &[("id", poison.ack())])).collect();
        match &self.transaction {
            // A crash before the ACK brings the messages again, and second ones into the quarantine.
            None => Next::Done(self.poisons, frames),
            Some(name) => {
                frames.iter_mut().for_each(|ack| ack.headers.push("transaction", name));
                let receipt = new_receipt();
                frames.push(Frame::new(Command::Commit, &[("transaction", name), ("receipt", &receipt)]));
                self.receipts.insert(receipt);
                self.is_committed = true;
                Next::Send(self, frames)
            }
        }
    }
}

/// The message as it was, with its headers behind `x-orig-`, and the reason.
fn send(poison: &Poison, queue: &Queue, transaction: Option<&str>, receipt: &str) -> Frame {
    let Poison { message, reason: why } = poison;
    let destination = queue.quarantine();
    let mut frame = Frame::new(
        Command::Send,
        // Without the type, Artemis confirms a message for a queue that is not there yet, and drops it.
        &[
            ("destination", &destination),
            ("destination-type", "ANYCAST"),
            ("persistent", "true"),
            ("receipt", receipt),
        ],
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

    fn begun(transacted_ack: bool, count: usize) -> (Aside, Vec<Frame>) {
        let poisons = (0..count).map(|_| poison()).collect();
        let mut receipts = 0;
        let new_receipt = || {
            receipts += 1;
            format!("r-{receipts}")
        };
        Aside::begin(poisons, &Broker { transacted_ack, ..Broker::default() }, &queue(), new_receipt)
    }

    fn answer(command: Command, receipt: &str) -> Frame {
        Frame::new(command, &[("receipt-id", receipt), ("message", "not allowed")])
    }

    fn words(frames: &[Frame]) -> Vec<&'static str> {
        frames.iter().map(|frame| frame.command.word()).collect()
    }

    #[test]
    fn messages_are_acknowledged_in_the_transaction_that_has_put_them_aside() {
        let (aside, frames) = begun(true, 2);
        assert_eq!(words(&frames), ["BEGIN", "SEND", "SEND"]);
        let sent = &frames[1];
        assert_eq!(sent.header("destination"), Some("/queue/orders.QUARANTINE"));
        assert_eq!((sent.header("x-orig-note"), sent.header("x-orig-ack")), (Some("a:b\n"), None));
        assert_eq!((sent.header("persistent"), &sent.body[..]), (Some("true"), &b"body"[..]));
        assert_eq!(sent.header("amq-msg-type"), Some("text"));
        assert_eq!(sent.header("destination-type"), Some("ANYCAST"));
        assert!(is_readable(sent));
        let mut aside = aside;
        // Somebody else's, the first, and the first again: the second is still waited for.
        for receipt in ["r-0", "r-2", "r-2"] {
            let Next::Wait(waiting) = aside.answered(&answer(Command::Receipt, receipt), String::new) else {
                panic!("{receipt} is not enough")
            };
            aside = waiting;
        }
        let Next::Send(aside, frames) = aside.answered(&answer(Command::Receipt, "r-3"), || "r-4".into())
        else {
            panic!("both messages are at the broker")
        };
        assert_eq!(words(&frames), ["ACK", "ACK", "COMMIT"]);
        assert_eq!(frames[0].header("transaction"), frames[2].header("transaction"));
        let done = aside.answered(&answer(Command::Receipt, "r-4"), String::new);
        assert!(matches!(done, Next::Done(poisons, frames) if poisons.len() == 2 && frames.is_empty()));
    }

    #[test]
    fn what_the_broker_refuses_is_aborted_and_never_acknowledged_there() {
        let (aside, _) = begun(true, 2);
        let Next::Refused(both, reason, frames) = aside.answered(&answer(Command::Error, "r-2"), String::new)
        else {
            panic!("it was refused")
        };
        assert_eq!((both.len(), words(&frames), reason.as_str()), (2, vec!["ABORT"], "not allowed"));
        let (aside, _) = begun(true, 1);
        let Next::Send(aside, _) = aside.answered(&answer(Command::Receipt, "r-2"), || "r-3".into()) else {
            panic!("the message is at the broker")
        };
        assert!(matches!(aside.answered(&answer(Command::Error, "r-3"), String::new), Next::Unknown(_)));
    }

    #[test]
    fn where_a_transacted_ack_is_ignored_it_stands_behind_the_receipt() {
        let (aside, frames) = begun(false, 1);
        assert_eq!((words(&frames), frames[0].header("transaction")), (vec!["SEND"], None));
        let Next::Done(_, frames) = aside.answered(&answer(Command::Receipt, "r-1"), String::new) else {
            panic!("the message is at the broker")
        };
        assert_eq!((words(&frames), frames[0].header("transaction")), (vec!["ACK"], None));
    }

    #[test]
    fn headers_count_among_the_bytes_that_wait() {
        let mut poison = poison();
        poison.message.headers.push("long", &"x".repeat(200_000));
        assert!(poison.bytes() > 200_000, "{}", poison.bytes());
    }

    #[test]
    fn long_headers_are_cut_to_what_the_broker_takes() {
        let mut poison = poison();
        poison.message.headers.push("long", &"ü".repeat(5_000));
        (0..600).for_each(|n| poison.message.headers.push(&format!("h{n}"), "x"));
        let (_, frames) = Aside::begin(vec![poison], &Broker::default(), &queue(), || "r".into());
        let long = frames[1].header("x-orig-long").unwrap();
        assert!(long.len() == VALUE_BYTES_MAX && frames[1].headers.len() < 520, "{}", long.len());
    }
}
