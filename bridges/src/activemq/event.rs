//! A mapped message as a `proto::TrackingEvent`.

use programs::Program;
use programs::decision::{Accepted, Candidate};
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::{BootId, ConsentDecision, Message, Origin, Parameter, TrackingEvent, Uuid};
use stream::{Class, NewRecord, Number, RECORD_BYTES_MAX, RecordKind};

use super::config::Queue;
use super::frame::Frame;
use super::mapping::{Draft, Unmappable};

/// The parameter that is the visitor's id, as of a hit.
const VISITOR: &str = "v";
/// The field `number`, and what it takes at most.
const NUMBER_TAG: u32 = 22;
const NUMBER_BYTES_MAX: usize = 2 + 10;

/// The subject of a decision, as a hit is.
pub fn candidate<'d>(draft: &'d Draft) -> Candidate<'d> {
    Candidate {
        program: Some(draft.program.as_str()),
        parameters: &draft.parameters,
        request_line_bytes: 0,
        is_oversize: false,
        needs_program: false,
    }
}

/// The lane that an event is appended to.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Its process start.
    pub boot: BootId,
    /// Its number.
    pub lane: u32,
}

/// The event of a message; `accepted` is `None` where its queue does not validate.
pub fn event(
    queue: &Queue,
    draft: &Draft,
    message: &Frame,
    accepted: Option<Accepted<'_>>,
    id: Uuid,
    received_at_ms: u64,
    lane: Lane,
) -> TrackingEvent {
    let program: Option<&Program> = match accepted {
        Some(Accepted::Known(program)) => Some(program),
        Some(Accepted::Unverified) | None => None,
    };
    let text = |of: fn(&Program) -> &str| program.map(of).unwrap_or_default().to_owned();
    let parameters = draft
        .parameters
        .iter()
        .map(|parameter| Parameter { name: parameter.name.to_string(), value: parameter.value.to_string() });
    TrackingEvent {
        programid: draft.program.as_str().to_owned(),
        checksum: text(Program::checksum),
        customer_id: program.map_or(0, |program| program.customer_id),
        program_name: text(Program::name),
        customer_name: text(Program::customer_name),
        is_valid: program.is_some_and(|program| program.valid),
        message_id: id.to_string(),
        r#type: draft.kind.event_type().into(),
        custom_name: draft.kind.custom_name().to_owned(),
        received_at_ms,
        client_time_ms: draft.time_ms,
        boot: lane.boot.as_bytes().to_vec(),
        lane: lane.lane,
        parameters: parameters.collect(),
        visitor_id: draft.parameters.get(VISITOR).unwrap_or_default().to_owned(),
        consent: ConsentDecision::Unspecified.into(),
        origin: Some(Origin {
            broker: queue.broker.clone(),
            destination: queue.destination.clone(),
            broker_message_id: message.header("message-id").unwrap_or_default().to_owned(),
            ..Origin::default()
        }),
        payload: draft.payload.to_vec(),
        payload_type: draft.payload_type.to_owned(),
        unverified: accepted == Some(Accepted::Unverified),
        parameters_left_out: draft.parameters.left_out(),
        ..TrackingEvent::default()
    }
}

/// An event as a record, which gets its number when it is appended.
///
/// # Errors
/// [`Unmappable::TooLarge`].
pub fn record(event: &TrackingEvent) -> Result<(NewRecord, usize), Unmappable> {
    let max = RECORD_BYTES_MAX - NUMBER_BYTES_MAX;
    let bytes = event.encoded_len();
    if bytes > max {
        return Err(Unmappable::TooLarge { bytes, max });
    }
    let encoded = event.encode_to_vec();
    // The order of fields means nothing, so the number is put behind the others.
    let encode = move |number: Number, out: &mut Vec<u8>| {
        out.extend_from_slice(&encoded);
        if number != 0 {
            encode_key(NUMBER_TAG, WireType::Varint, out);
            encode_varint(number, out);
        }
    };
    // A bridge reads nothing more from 90 % on, so that hits go before messages. Those that it has read by
    // then are a few MiB, and need not be read again for the sake of beacons.
    Ok((NewRecord { class: Class::Click, kind: RecordKind::Event, encode: Box::new(encode) }, bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use programs::catalog::Verdict;
    use programs::decision::{Rules, Unverified, decide};

    use super::*;
    use crate::activemq::config::Format;
    use crate::activemq::frame::Command;
    use crate::activemq::identity;
    use crate::activemq::mapping::map;

    const BOOT: Uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);

    fn of(body: &[u8]) -> (Queue, Draft, Frame) {
        let mut queue = Queue { broker: "main".into(), destination: "/queue/a".into(), ..Queue::default() };
        queue.format = Format::Bytes;
        queue.fields.kind = Some("=click".parse().unwrap());
        queue.fields.parameters = vec![("v".into(), "header:who".parse().unwrap())];
        let headers = [("message-id", "ID:1"), ("program", "212312"), ("who", "v-1")];
        let mut message = Frame::new(Command::Message, &headers);
        message.body = bytes::Bytes::copy_from_slice(body);
        let draft = map(&message, &queue, &mut ()).unwrap();
        (queue, draft, message)
    }

    #[test]
    fn the_number_is_the_record_s_and_everything_else_the_message_s() {
        let (queue, draft, message) = of(b"a\0b");
        let program = programs::samples().remove(0);
        let verdict = Verdict::Known(Arc::new(program));
        let rules = Rules::new(&[], &[], Unverified::Refuse);
        let accepted = decide(&candidate(&draft), &verdict, 5, &rules, &mut ()).unwrap();
        let id = identity::message_id(&queue, &draft, &message);
        let lane = Lane { boot: BOOT, lane: 3 };
        let built = event(&queue, &draft, &message, Some(accepted), id, 5, lane);
        for number in [0, 1, u64::MAX] {
            let (record, _) = record(&built).unwrap();
            let mut bytes = Vec::new();
            (record.encode)(number, &mut bytes);
            let read = TrackingEvent::decode(bytes.as_slice()).unwrap();
            assert_eq!(read, TrackingEvent { number, ..built.clone() });
        }
        assert_eq!(
            (built.programid.as_str(), built.program_name.is_empty(), built.is_valid),
            ("212312", false, true)
        );
        assert_eq!((built.visitor_id.as_str(), &built.payload[..], built.lane), ("v-1", &b"a\0b"[..], 3));
        assert_eq!(built.origin.unwrap().broker_message_id, "ID:1");
    }

    #[test]
    fn the_largest_record_is_taken_and_a_byte_more_is_not() {
        let size = |payload: usize| {
            let (queue, draft, message) = of(&vec![b'x'; payload]);
            let built = event(&queue, &draft, &message, None, BOOT, 5, Lane { boot: BOOT, lane: 0 });
            record(&built).map(|(_, bytes)| bytes)
        };
        let head = size(900_000).unwrap() - 900_000;
        let max = RECORD_BYTES_MAX - NUMBER_BYTES_MAX;
        assert_eq!(size(max - head), Ok(max));
        assert_eq!(size(max - head + 1), Err(Unmappable::TooLarge { bytes: max + 1, max }));
    }
}
