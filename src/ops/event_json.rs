//! Stored messages as JSON, with the names that the AWS sample's answers use; times for people
//! and for programs.

use programs::rfc3339;
use proto::{ConsentDecision, DeadLetter, EventType, Origin, Rejected, TrackingEvent, Uuid};
use serde_json::{Map, Value as Json, json};
use stream::RecordKind;

/// All fields that say something.
pub fn event_json(event: &TrackingEvent) -> Json {
    let event_type = EventType::try_from(event.r#type).unwrap_or(EventType::Unspecified);
    let consent = ConsentDecision::try_from(event.consent).unwrap_or(ConsentDecision::Unspecified);
    let parameter = |it: &proto::Parameter| json!([it.name, it.value]);
    let mut json = json!({
        "messageId": event.message_id,
        "type": event_type.name(),
        "programId": event.programid,
        "programName": event.program_name,
        "checksum": event.checksum,
        "customerId": event.customer_id,
        "customerName": event.customer_name,
        "valid": event.is_valid,
        "receivedAt": rfc3339::format_ms(event.received_at_ms),
        "receivedAtMs": event.received_at_ms,
        "parameters": event.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "consent": consent.name(),
        "boot": uuid_json(&event.boot),
        "lane": event.lane,
        "number": event.number,
    });
    let fields = json.as_object_mut().expect("it was made as an object");
    add_text(fields, "customName", &event.custom_name);
    add_text(fields, "userAgent", &event.user_agent);
    add_text(fields, "visitorId", &event.visitor_id);
    add_text(fields, "ip", &event.ip);
    add_text(fields, "referrer", &event.referrer);
    add_text(fields, "traceparent", &event.traceparent);
    add_text(fields, "payloadType", &event.payload_type);
    if event.client_time_ms > 0 {
        fields.insert("clientTimeMs".to_owned(), json!(event.client_time_ms));
    }
    if event.parameters_left_out > 0 {
        fields.insert("parametersLeftOut".to_owned(), json!(event.parameters_left_out));
    }
    if event.unverified {
        fields.insert("unverified".to_owned(), json!(true));
    }
    if !event.payload.is_empty() {
        fields.insert("payload".to_owned(), json!(String::from_utf8_lossy(&event.payload)));
    }
    if let Some(origin) = &event.origin {
        fields.insert("origin".to_owned(), origin_json(origin));
    }
    json
}

/// A refused hit.
pub fn rejected_json(rejected: &Rejected) -> Json {
    json!({
        "reason": rejected.reason,
        "detail": rejected.detail,
        "programId": rejected.programid,
        "route": rejected.route,
        "request": rejected.request,
        "receivedAt": rfc3339::format_ms(rejected.received_at_ms),
        "receivedAtMs": rejected.received_at_ms,
        "boot": uuid_json(&rejected.boot),
        "lane": rejected.lane,
        "number": rejected.number,
    })
}

/// A dead letter without its payload.
pub fn dead_letter_json(letter: &DeadLetter) -> Json {
    let kind = u8::try_from(letter.record_kind).map(RecordKind::from_code);
    let mut json = json!({
        "stage": letter.stage().name(),
        "reason": letter.reason,
        "failedAt": rfc3339::format_ms(letter.failed_at_ms),
        "failedAtMs": letter.failed_at_ms,
        "recordKind": kind.map_or(Json::Null, |kind| json!(kind)),
        "boot": uuid_json(&letter.boot),
        "lane": letter.lane,
        "number": letter.number,
        "payloadBytes": letter.payload.len(),
    });
    if let Some(origin) = &letter.origin {
        json["origin"] = origin_json(origin);
    }
    json
}

/// With its payload, as hexadecimal digits and as far as it is text.
pub fn whole_dead_letter_json(letter: &DeadLetter) -> Json {
    let mut json = dead_letter_json(letter);
    let hex: String = letter.payload.iter().map(|byte| format!("{byte:02x}")).collect();
    json["payloadHex"] = json!(hex);
    json["payloadText"] = json!(String::from_utf8_lossy(&letter.payload));
    json
}

fn origin_json(origin: &Origin) -> Json {
    let mut fields = Map::new();
    add_text(&mut fields, "route", &origin.route);
    add_text(&mut fields, "broker", &origin.broker);
    add_text(&mut fields, "destination", &origin.destination);
    add_text(&mut fields, "brokerMessageId", &origin.broker_message_id);
    Json::Object(fields)
}

fn add_text(fields: &mut Map<String, Json>, name: &str, text: &str) {
    if !text.is_empty() {
        fields.insert(name.to_owned(), json!(text));
    }
}

fn uuid_json(bytes: &[u8]) -> Json {
    Uuid::from_slice(bytes).map_or(Json::Null, |uuid| json!(uuid.to_string()))
}
