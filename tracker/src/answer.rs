//! What goes back over the wire, header by header.
//!
//! The golden files under `tests/golden` hold every answer of this file.

use actix_http::{
    ConnectionType, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use bytes::Bytes;
use programs::Program;
use serde::Serialize;

use crate::{hit::Hit, refusal::Refusal};

/// An answer.
pub type Answer = Response<Bytes>;

/// The answer to a hit.
#[derive(Debug)]
pub enum Reply {
    /// The pixel with status 200: so frequent that its bytes are kept ready.
    Pixel,
    /// Any other.
    Other(Answer),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Other(answer)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Pixel => pixel(StatusCode::OK),
            Reply::Other(answer) => answer,
        }
    }
}

/// One transparent dot: GIF89a, 43 bytes.
const GIF: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\
\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// What keeps browsers and image proxies from answering in our place (GitHub's image
/// proxy froze pixels for a year without each of these).
const NO_CACHE: HeaderValue =
    HeaderValue::from_static("no-cache, no-store, must-revalidate, private, max-age=0");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Seconds after which a caller may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const RECORDED: HeaderName = HeaderName::from_static("x-clickgate-recorded");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

fn answer<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, HeaderValue); N],
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::with_body(status, body.into());
    for (name, value) in headers {
        answer.headers_mut().insert(name, value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    answer
}

/// The pixel. 200 means: in the log, or refused by a rule. 503 means: not in the log.
/// The browser shows the same dot either way.
pub fn pixel(status: StatusCode) -> Answer {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/gif")),
        (header::CACHE_CONTROL, NO_CACHE),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
        (header::EXPIRES, HeaderValue::from_static("0")),
        (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
        (CORP, HeaderValue::from_static("cross-origin")),
    ];
    answer(status, headers, Bytes::from_static(GIF))
}

/// The redirect of a click. `None` if `location` cannot stand in a header, which a
/// checked URL always can.
pub fn redirect(location: String) -> Option<Answer> {
    let headers = [
        (header::LOCATION, HeaderValue::try_from(location).ok()?),
        (header::CACHE_CONTROL, NO_STORE),
        (ROBOTS_TAG, HeaderValue::from_static("noindex")),
        (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
    ];
    Some(answer(StatusCode::FOUND, headers, Bytes::new()))
}

/// A redirect that is served although its click is not in the log.
pub fn not_recorded(mut redirect: Answer) -> Answer {
    redirect.headers_mut().insert(RECORDED, HeaderValue::from_static("no"));
    redirect
}

/// The AWS sample's answer: its keys, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Enriched<'a> {
    user_agent: &'a str,
    program_id: &'a str,
    program_name: &'a str,
    checksum: &'a str,
    customer_id: i32,
    customer_name: &'a str,
    message_id: &'a str,
    valid: bool,
}

/// `/event` accepted.
pub fn enriched(hit: &Hit, program: &Program, message_id: &str) -> Answer {
    let enriched = Enriched {
        user_agent: &hit.client.user_agent,
        program_id: program.id.as_str(),
        program_name: &program.name,
        checksum: &program.checksum,
        customer_id: program.customer_id,
        customer_name: &program.customer_name,
        message_id,
        valid: program.valid,
    };
    let body = serde_json::to_vec(&enriched).expect("texts and numbers are always JSON");
    json(StatusCode::OK, body)
}

/// `/event` refused.
pub fn refusal(reason: Refusal, status: StatusCode) -> Answer {
    match reason {
        // As the AWS sample says it.
        Refusal::UnknownProgram => json(status, Bytes::from_static(b"\"ProgramId not found\"")),
        reason => error(status, reason.name()),
    }
}

/// The log takes nothing of this class at the moment, or could not keep it.
pub fn overloaded() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "overloaded")
}

/// No such path.
pub fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "not_found")
}

/// The path takes the methods of `allow` only.
pub fn wrong_method(allow: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

/// A conversion is in the log.
pub fn converted(message_id: &str) -> Answer {
    json(StatusCode::OK, format!("{{\"messageId\":\"{message_id}\"}}"))
}

/// A beacon was taken.
pub fn no_content() -> Answer {
    answer(StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, NO_STORE)], Bytes::new())
}

/// What a browser asks before it sends a beacon that is no plain text.
pub fn preflight(allow: &'static str) -> Answer {
    let headers = [
        (header::ALLOW, HeaderValue::from_static(allow)),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow)),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600")),
        (header::CACHE_CONTROL, NO_STORE),
    ];
    answer(StatusCode::NO_CONTENT, headers, Bytes::new())
}

/// Lets the page of `origin` send and read, credentials included: a browser sends them with
/// every `sendBeacon`, and takes no `*` then. Nothing of ours looks at them, and no answer
/// of this route holds what is not the sender's own; so `null`, the origin of a sandboxed
/// frame, may send as well.
pub fn with_cors(mut answer: Answer, origin: Option<&HeaderValue>) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    answer
}

/// The connection ends with this answer: the rest of the body was not read.
pub fn closing(mut answer: Answer) -> Answer {
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer
}

/// `{"error": reason, "detail": what exactly}`.
pub fn explained_error(status: StatusCode, reason: &str, detail: &str) -> Answer {
    let body = serde_json::json!({ "error": reason, "detail": detail });
    json(status, body.to_string())
}

/// A file of ours that changes with the binary only.
pub fn asset(content_type: &'static str, etag: &HeaderValue, fresh: bool, body: Bytes) -> Answer {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
        (header::ETAG, etag.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
        (CORP, HeaderValue::from_static("cross-origin")),
    ];
    match fresh {
        true => answer(StatusCode::NOT_MODIFIED, headers, Bytes::new()),
        false => answer(StatusCode::OK, headers, body),
    }
}

/// `{"error": reason}`; `reason` needs no escaping.
pub fn error(status: StatusCode, reason: &'static str) -> Answer {
    json(status, format!("{{\"error\":\"{reason}\"}}"))
}

/// A JSON body that is never cached.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let headers = [
        (header::CONTENT_TYPE, JSON),
        (header::CACHE_CONTROL, NO_STORE),
        (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
    ];
    answer(status, headers, body)
}

/// A line of text that is never cached.
pub fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, NO_STORE)], body)
}

/// `/robots.txt`: nothing here is for crawlers.
pub fn robots() -> Answer {
    let a_day = HeaderValue::from_static("public, max-age=86400");
    let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, a_day)];
    answer(StatusCode::OK, headers, "User-agent: *\nDisallow: /\n")
}

/// `/.well-known/gpc.json`.
pub fn gpc(honoured: bool) -> Answer {
    json(StatusCode::OK, format!("{{\"gpc\":{honoured}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_with_a_line_break_is_no_answer() {
        assert!(redirect("https://a.example/\r\nSet-Cookie: a=b".into()).is_none());
        assert!(redirect("https://a.example/x?y=%0D%0A".into()).is_some());
    }
}
