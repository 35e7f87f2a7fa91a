//! Encodes a hit as a `proto::TrackingEvent`.
//!
//! Field by field into the lane's buffer, as filling the generated struct would copy some twenty
//! strings per hit. A test checks the bytes against the generated code's.

use programs::Program;
use programs::decision::Accepted;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use proto::{BootId, ConsentDecision, Uuid, ids};
use stream::Number;

use crate::request::{hit::Hit, names::VISITOR};

/// An accepted hit, to be encoded as an event.
#[derive(Debug)]
pub struct Event<'a> {
    /// The hit.
    pub hit: &'a Hit<'a>,
    /// The decision: with a known program or unverified.
    pub accepted: Accepted<'a>,
    /// Its message id.
    pub id: Uuid,
    /// The lane's boot.
    pub boot: BootId,
    /// The lane.
    pub lane: u32,
    /// The prefix of its path.
    pub prefix: &'a str,
}

impl Event<'_> {
    /// The event's time. A message id of ours carries it; it may be up to a second later than the
    /// hit after the clock stepped back, see [`ids::MessageIds`].
    pub fn received_at_ms(&self) -> u64 {
        if ids::is_from_sender(&self.id) { self.hit.received_at_ms } else { ids::time_ms(&self.id) }
    }

    /// Appends the event's bytes to `out`, as the `number`th record of its lane.
    pub fn encode(&self, number: Number, out: &mut Vec<u8>) {
        let hit = self.hit;
        let program: Option<&Program> = match self.accepted {
            Accepted::Known(program) => Some(program),
            Accepted::Unverified => None,
        };
        text(1, hit.program.as_deref().unwrap_or(""), out);
        text(2, program.map_or("", Program::checksum), out);
        // An int32 is written sign-extended to 64 bits.
        uint(3, i64::from(program.map_or(0, |program| program.customer_id)).cast_unsigned(), out);
        text(4, &hit.client.user_agent, out);
        text(5, program.map_or("", Program::name), out);
        text(6, program.map_or("", Program::customer_name), out);
        uint(7, program.is_some_and(|program| program.valid).into(), out);
        let mut id = Uuid::encode_buffer();
        text(8, self.id.hyphenated().encode_lower(&mut id), out);
        uint(16, enumeration(hit.event_type().into()), out);
        text(17, hit.sent.as_ref().map_or("", |sent| sent.kind.custom_name()), out);
        uint(18, self.received_at_ms(), out);
        uint(19, hit.client_time_ms(), out);
        bytes(20, self.boot.as_bytes(), out);
        uint(21, self.lane.into(), out);
        uint(22, number, out);
        for parameter in hit.parameters.iter() {
            let length = text_len(1, &parameter.name) + text_len(2, &parameter.value);
            encode_key(23, WireType::LengthDelimited, out);
            encode_varint(length as u64, out);
            text(1, &parameter.name, out);
            text(2, &parameter.value, out);
        }
        text(24, hit.parameter(VISITOR).unwrap_or(""), out);
        if let Some(ip) = hit.client.ip {
            bytes(25, ip.text().as_bytes(), out);
        }
        text(26, &hit.client.referrer, out);
        let consent = if hit.client.gpc { ConsentDecision::Gpc } else { ConsentDecision::Full };
        uint(27, enumeration(consent.into()), out);
        encode_key(28, WireType::LengthDelimited, out);
        encode_varint(text_len(1, self.prefix) as u64, out);
        text(1, self.prefix, out);
        text(31, hit.client.traceparent, out);
        uint(32, (self.accepted == Accepted::Unverified).into(), out);
        uint(33, hit.parameters.left_out().into(), out);
    }
}

fn enumeration(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

fn uint(tag: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

fn text(tag: u32, value: &str, out: &mut Vec<u8>) {
    bytes(tag, value.as_bytes(), out);
}

fn bytes(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

fn text_len(tag: u32, value: &str) -> usize {
    match value.len() {
        0 => 0,
        length => key_len(tag) + encoded_len_varint(length as u64) + length,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use proto::{EventType, Message, Origin, Parameter, TrackingEvent, Uuid};

    use super::*;
    use crate::{
        request::beacon::{Kind, Sent},
        request::client::TruncatedIp,
        request::hit::Client,
        request::query::parse_query,
        request::routes::HitRoute,
    };

    const ID: Uuid = Uuid::from_u128(0x0192_0000_0000_8000_8000_0000_0000_00ff);
    const BOOT: Uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);

    fn hit<'r>(query: &'r str, user_agent: &'r str, gpc: bool, at_ms: u64) -> Hit<'r> {
        Hit {
            route: HitRoute::Click,
            received_at_ms: at_ms,
            target: "",
            request_line_bytes: 0,
            program_text: "212312".into(),
            program: Some("212312".into()),
            parameters: parse_query(query, &programs::decision::ParameterLimits::default()),
            is_oversize: false,
            sent: None,
            client: Client {
                user_agent: Cow::Borrowed(user_agent),
                referrer: "https://a.example/".into(),
                traceparent: "",
                gpc,
                counted: true,
                is_speculative: false,
                ip: (!gpc).then(|| TruncatedIp::of([203, 0, 113, 9].into())),
            },
        }
    }

    /// The same event as the generated struct.
    fn model(event: &Event, number: Number) -> TrackingEvent {
        let program = match event.accepted {
            Accepted::Known(program) => Some(program.clone()),
            Accepted::Unverified => None,
        };
        let hit = event.hit;
        let parameters: Vec<_> = hit
            .parameters
            .iter()
            .map(|p| Parameter { name: p.name.to_string(), value: p.value.to_string() })
            .collect();
        let client = &hit.client;
        let consent = if client.gpc { ConsentDecision::Gpc } else { ConsentDecision::Full };
        let custom = hit.sent.as_ref().map(|sent| sent.kind.custom_name().to_owned());
        TrackingEvent {
            programid: "212312".into(),
            checksum: program.as_ref().map(|p| p.checksum().to_string()).unwrap_or_default(),
            customer_id: program.as_ref().map(|p| p.customer_id).unwrap_or_default(),
            user_agent: client.user_agent.to_string(),
            program_name: program.as_ref().map(|p| p.name().to_string()).unwrap_or_default(),
            customer_name: program.as_ref().map(|p| p.customer_name().to_string()).unwrap_or_default(),
            is_valid: program.is_some(),
            message_id: event.id.to_string(),
            r#type: if custom.is_some() { EventType::Custom } else { EventType::Click }.into(),
            custom_name: custom.unwrap_or_default(),
            received_at_ms: event.received_at_ms(),
            client_time_ms: hit.client_time_ms(),
            boot: BOOT.as_bytes().to_vec(),
            lane: event.lane,
            number,
            visitor_id: hit.parameter("v").unwrap_or("").into(),
            parameters,
            ip: client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            referrer: client.referrer.to_string(),
            consent: consent.into(),
            origin: Some(Origin { route: event.prefix.into(), ..Origin::default() }),
            traceparent: client.traceparent.into(),
            unverified: program.is_none(),
            parameters_left_out: hit.parameters.left_out(),
            ..TrackingEvent::default()
        }
    }

    proptest! {
        #[test]
        fn our_bytes_are_those_of_the_generated_code(
            query in "([a-c=v&t1-9]|%C3%BC|%|%ff|&=){0,40}",
            user_agent in ".{0,300}",
            gpc in any::<bool>(),
            at_ms in any::<u64>().prop_map(|ms| ms >> 8),
            customer in any::<i32>(),
            (lane, number) in (any::<u32>(), any::<u64>()),
            known in any::<bool>(),
            custom in prop::option::of("[a-z]{1,8}"),
        ) {
            let mut program = programs::samples().remove(0);
            program.customer_id = customer;
            let mut hit = hit(&query, &user_agent, gpc, at_ms);
            hit.sent = custom.map(|name| Sent {
                json: "",
                kind: Kind::Custom(name.into()),
                id: None,
                time_ms: at_ms,
            });
            let accepted = if known { Accepted::Known(&program) } else { Accepted::Unverified };
            let id = if known { ID } else { ids::MessageIds::new().next(at_ms >> 8) };
            let event = Event { hit: &hit, accepted, id, boot: BOOT, lane, prefix: "/c" };
            let mut bytes = b"before".to_vec();
            event.encode(number, &mut bytes);
            let expected = model(&event, number);
            prop_assert_eq!(TrackingEvent::decode(&bytes[6..]).unwrap(), expected.clone());
            prop_assert_eq!(&bytes[6..], expected.encode_to_vec());
        }
    }
}
