//! What a message becomes, step by step, for `clickgate bridge check`. The steps come from the functions
//! that map; there is no second set of rules.

use bytes::BytesMut;
use proto::Uuid;
use serde::Serialize;

use super::codec::{Decoder, Limits};
use super::config::{Queue, Target};
use super::event::{Lane, event, record};
use super::frame::{Command, Frame};
use super::identity;
use super::mapping::{Draft, Source, Unmappable, Watch, map};
use crate::programs::read_message;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckStep {
    /// What was looked at.
    pub check: String,
    /// Whether it was good.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// A message that was checked.
#[derive(Debug)]
pub struct Checked {
    /// Up to the first that failed.
    pub steps: Vec<CheckStep>,
    /// The event before its program is looked up, or why there is none; of core data nothing.
    pub event: Result<Option<CheckedEvent>, Unmappable>,
}

/// An event that a message becomes.
#[derive(Debug)]
pub struct CheckedEvent {
    /// As it is logged, without the program's texts and its place in the log.
    pub event: proto::TrackingEvent,
    /// For the decision.
    pub parameters: Vec<(String, String)>,
}

/// A message out of a file: a whole MESSAGE frame, as it is on the wire, or a body alone. `headers` are added
/// to either; a MESSAGE frame's own come first.
///
/// # Errors
/// A frame that begins and cannot be read.
pub fn message_of(file: &[u8], headers: &[(String, String)]) -> Result<Frame, String> {
    let mut message = match file.starts_with(b"MESSAGE\n") || file.starts_with(b"MESSAGE\r\n") {
        false => {
            let mut frame = Frame::new(Command::Message, &[]);
            frame.body = bytes::Bytes::copy_from_slice(file);
            frame
        }
        true => {
            let mut input = BytesMut::from(file);
            // Written anew by us a head is longer: an escape makes two bytes of one.
            let Limits { head_bytes_max, headers_max, body_bytes_max } = Limits::default();
            let limits = Limits {
                head_bytes_max: 2 * head_bytes_max + 1_024,
                headers_max: headers_max + 2,
                body_bytes_max,
            };
            let read = Decoder::new(limits).next(&mut input);
            let whole = read.map_err(|error| error.to_string())?;
            whole.ok_or("the file begins with a MESSAGE frame and ends before it does")?
        }
    };
    headers.iter().for_each(|(name, value)| message.headers.push(name, value));
    Ok(message)
}

/// Checks `message`, as if it came from `queue` at `now_ms`.
pub fn check(queue: &Queue, message: &Frame, now_ms: u64) -> Checked {
    let mut steps = Vec::new();
    let event = match queue.target {
        Target::Events => check_event(queue, message, now_ms, &mut steps).map(Some),
        Target::Programs => check_core_data(message, &mut steps).map(|()| None),
    };
    if let Err(reason) = &event {
        steps.push(CheckStep { check: reason.name().to_owned(), passed: false, detail: reason.to_string() });
    }
    Checked { steps, event }
}

fn check_event(
    queue: &Queue,
    message: &Frame,
    now_ms: u64,
    steps: &mut Vec<CheckStep>,
) -> Result<CheckedEvent, Unmappable> {
    let draft: Draft = map(message, queue, &mut Steps(steps))?;
    let id = identity::message_id(queue, &draft, message);
    steps.push(CheckStep { check: "message id".into(), passed: true, detail: id.to_string() });
    let lane = Lane { boot: Uuid::nil(), lane: 0 };
    let built = event(queue, &draft, message, None, id, now_ms, lane);
    let (_, bytes) = record(&built)?;
    steps.push(CheckStep { check: "size".into(), passed: true, detail: format!("{bytes} bytes in the log") });
    let parameters = draft.parameters.iter().map(|it| (it.name.to_string(), it.value.to_string())).collect();
    Ok(CheckedEvent { event: built, parameters })
}

fn check_core_data(message: &Frame, steps: &mut Vec<CheckStep>) -> Result<(), Unmappable> {
    let changes = read_message(&message.body).map_err(|errors| {
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Unmappable::CoreData(said.join("; "))
    })?;
    for change in changes {
        let detail = shown(&change.to_json());
        steps.push(CheckStep { check: format!("program {}", change.id()), passed: true, detail });
    }
    Ok(())
}

struct Steps<'s>(&'s mut Vec<CheckStep>);

impl Watch for Steps<'_> {
    fn field(&mut self, name: &str, source: &Source, found: Option<&str>) {
        let detail = match found {
            Some(value) => format!("{source}: {:?}", shown(value)),
            None => format!("{source}: nothing is there"),
        };
        self.0.push(CheckStep { check: name.to_owned(), passed: true, detail });
    }

    fn body(&mut self, payload_type: &str) {
        self.0.push(CheckStep { check: "body".into(), passed: true, detail: payload_type.to_owned() });
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        let mut queue = Queue { broker: "main".into(), destination: "/queue/a".into(), ..Queue::default() };
        queue.fields.program = "/program".parse().unwrap();
        queue.fields.parameters = vec![("amount".into(), "/sum".parse().unwrap())];
        queue
    }

    fn steps(checked: &Checked) -> Vec<(&str, bool)> {
        checked.steps.iter().map(|step| (step.check.as_str(), step.passed)).collect()
    }

    #[test]
    fn every_step_up_to_the_event_is_said() {
        let message =
            message_of(br#"{"program": "1", "sum": 2}"#, &[("message-id".into(), "ID:1".into())]).unwrap();
        let checked = check(&queue(), &message, 5);
        let names = ["body", "program", "amount", "time", "message id", "size"];
        assert_eq!(steps(&checked), names.map(|name| (name, true)));
        let event = checked.event.unwrap().unwrap();
        assert_eq!((event.event.programid.as_str(), event.parameters.len()), ("1", 1));
    }

    #[test]
    fn a_captured_frame_is_read_and_the_first_fault_ends_the_steps() {
        let message = message_of(b"MESSAGE\nmessage-id:ID\\c7\n\n{}\0", &[]).unwrap();
        assert_eq!(message.header("message-id"), Some("ID:7"));
        let checked = check(&queue(), &message, 5);
        assert_eq!(steps(&checked).last(), Some(&("field", false)));
        assert!(checked.event.is_err());
        assert!(message_of(b"MESSAGE\nno end", &[]).is_err());
    }

    #[test]
    fn core_data_is_listed_program_by_program() {
        let queue = Queue { target: Target::Programs, ..queue() };
        let body = br#"{"programId": "42", "removed": true}"#;
        let checked = check(&queue, &message_of(body, &[]).unwrap(), 5);
        assert_eq!((steps(&checked), checked.event.is_ok()), (vec![("program 42", true)], true));
        let checked = check(&queue, &message_of(b"{}", &[]).unwrap(), 5);
        assert_eq!(checked.event.unwrap_err().name(), "core_data");
    }
}
