//! Every answer of the tracker: status, headers, body.
//!
//! The golden files under `tests/golden` pin them byte for byte.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use programs::Program;
use programs::decision::Refusal;
use serde::Serialize;

use crate::request::hit::Hit;

/// A status, header fields in order, and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<Field>,
    body: Bytes,
}

/// The status of a refusal on the routes that report it (`/event`, `/v`).
pub fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownProgram => StatusCode::NOT_FOUND,
        Refusal::UnverifiedProgram => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::InactiveProgram | Refusal::NotStarted | Refusal::ChecksumMismatch => StatusCode::FORBIDDEN,
        Refusal::Expired => StatusCode::GONE,
        Refusal::TooLarge => StatusCode::URI_TOO_LONG,
        Refusal::MalformedProgramId
        | Refusal::MalformedBeacon
        | Refusal::MissingParameter
        | Refusal::InvalidParameter
        | Refusal::UnexpectedParameter
        | Refusal::ConflictingParameters => StatusCode::BAD_REQUEST,
    }
}

/// A field's name, in lower case, and its value, valid in a header.
type Field = (&'static str, Cow<'static, str>);

impl Answer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields, without those that concern the connection.
    pub fn headers(&self) -> &[Field] {
        &self.headers
    }

    /// The value of field `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The answer to a hit.
#[derive(Debug)]
pub enum Reply {
    /// The pixel with status 200: so frequent that its bytes are cached.
    Pixel,
    /// Any other answer.
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

/// One transparent pixel: GIF89a, 43 bytes.
const GIF: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\
\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Keeps browsers and image proxies from answering from a cache (without all of these, GitHub's
/// image proxy cached pixels for a year).
const NO_CACHE: &str = "no-cache, no-store, must-revalidate, private, max-age=0";
const NO_STORE: Header = ("cache-control", "no-store");
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Seconds after which a caller may try again.
const RETRY_AFTER: &str = "1";
const NO_SNIFF: Header = ("x-content-type-options", "nosniff");
const CROSS_ORIGIN: Header = ("cross-origin-resource-policy", "cross-origin");

type Header = (&'static str, &'static str);

fn answer<const N: usize>(status: StatusCode, fields: [Header; N], body: impl Into<Bytes>) -> Answer {
    let mut headers: Vec<Field> = Vec::with_capacity(N + 2);
    headers.extend(fields.map(|(name, value)| (name, Cow::Borrowed(value))));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.push(("retry-after", RETRY_AFTER.into()));
    }
    Answer { status, headers, body: body.into() }
}

/// The pixel. 200 means that the event is in the log or was refused by a rule, 503 that it is not in
/// the log. The browser shows the same image either way.
pub fn pixel(status: StatusCode) -> Answer {
    let headers = [
        ("content-type", "image/gif"),
        ("cache-control", NO_CACHE),
        ("pragma", "no-cache"),
        ("expires", "0"),
        NO_SNIFF,
        CROSS_ORIGIN,
    ];
    answer(status, headers, Bytes::from_static(GIF))
}

/// The redirect of a click. `None` if `location` is not a valid header value, which a checked URL
/// always is.
pub fn redirect(location: String) -> Option<Answer> {
    let headers =
        [NO_STORE, ("x-robots-tag", "noindex"), ("referrer-policy", "strict-origin-when-cross-origin")];
    let is_valid = location.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
    is_valid.then(|| answer(StatusCode::FOUND, headers, Bytes::new()).with("location", location))
}

/// Marks the redirect of a click that is not in the log.
pub fn not_recorded(redirect: Answer) -> Answer {
    redirect.with("x-clickgate-recorded", "no")
}

/// The answer of the AWS sample: the same keys in the same order.
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
        program_name: program.name(),
        checksum: program.checksum(),
        customer_id: program.customer_id,
        customer_name: program.customer_name(),
        message_id,
        valid: program.valid,
    };
    let body = serde_json::to_vec(&enriched).expect("texts and numbers are always JSON");
    json(StatusCode::OK, body)
}

/// `/event` refused.
pub fn refusal(reason: Refusal, status: StatusCode) -> Answer {
    match reason {
        // The body of the AWS sample.
        Refusal::UnknownProgram => json(status, Bytes::from_static(b"\"ProgramId not found\"")),
        reason => error(status, reason.name()),
    }
}

/// The log is shedding this class, or could not make the event durable.
pub fn overloaded() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "overloaded")
}

/// The answer to a prefetch. A browser must not reuse it for the real navigation, or the click would
/// never be counted: Chromium has followed a prefetched redirect in spite of `no-store`. After an
/// error it sends the request again.
pub fn speculative() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "speculative_request")
}

/// Says that a body must be sent without a content coding (RFC 9110, section 15.5.16).
pub fn accepting_identity(answer: Answer) -> Answer {
    answer.with("accept-encoding", "identity")
}

/// The client was too slow.
pub fn slow(what: &'static str) -> Answer {
    error(StatusCode::REQUEST_TIMEOUT, what)
}

/// No such path.
pub fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "not_found")
}

/// The path supports only the methods of `allow`.
pub fn wrong_method(allow: &'static str) -> Answer {
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").with("allow", allow)
}

/// A conversion is in the log.
pub fn converted(message_id: &str) -> Answer {
    json(StatusCode::OK, format!("{{\"messageId\":\"{message_id}\"}}"))
}

/// A beacon was accepted.
pub fn no_content() -> Answer {
    answer(StatusCode::NO_CONTENT, [NO_STORE], Bytes::new())
}

/// The answer to the CORS preflight of a beacon whose content type is not simple.
pub fn preflight(allow: &'static str) -> Answer {
    let headers = [
        ("allow", allow),
        ("access-control-allow-methods", allow),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "3600"),
        NO_STORE,
    ];
    answer(StatusCode::NO_CONTENT, headers, Bytes::new())
}

/// Allows the page of `origin` to send and to read the answer, with credentials: `sendBeacon` always
/// sends them, and a browser then refuses `*`. We ignore credentials, and the answers of this route
/// hold only the sender's own data; so `null`, the origin of a sandboxed frame, is allowed as well.
pub fn with_cors(answer: Answer, origin: Option<&[u8]>) -> Answer {
    let answer = answer.with("vary", "Origin");
    // A serialized origin is ASCII (RFC 6454, section 6.2); anything else is not sent back.
    let origin = origin.filter(|origin| origin.iter().all(u8::is_ascii_graphic));
    match origin.and_then(|origin| std::str::from_utf8(origin).ok()) {
        Some(origin) => answer
            .with("access-control-allow-origin", origin.to_owned())
            .with("access-control-allow-credentials", "true"),
        None => answer,
    }
}

/// `{"error": reason, "detail": detail}`.
pub fn explained_error(status: StatusCode, reason: &str, detail: &str) -> Answer {
    let body = serde_json::json!({ "error": reason, "detail": detail });
    json(status, body.to_string())
}

/// A static file, which changes only with the binary.
pub fn asset(content_type: &'static str, etag: &str, is_known: bool, body: Bytes) -> Answer {
    let headers =
        [("content-type", content_type), ("cache-control", "public, max-age=3600"), NO_SNIFF, CROSS_ORIGIN];
    let answer = match is_known {
        true => answer(StatusCode::NOT_MODIFIED, headers, Bytes::new()),
        false => answer(StatusCode::OK, headers, body),
    };
    answer.with("etag", etag.to_owned())
}

/// `{"error": reason}`; `reason` needs no escaping.
pub fn error(status: StatusCode, reason: &'static str) -> Answer {
    json(status, format!("{{\"error\":\"{reason}\"}}"))
}

/// A JSON body that is never cached.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, [("content-type", JSON), NO_STORE, NO_SNIFF], body)
}

/// A line of text that is never cached.
pub fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, [("content-type", TEXT), NO_STORE], body)
}

/// `/robots.txt`: crawlers are to stay away.
pub fn robots() -> Answer {
    let headers = [("content-type", TEXT), ("cache-control", "public, max-age=86400")];
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
    fn a_location_with_a_line_break_is_refused() {
        assert!(redirect("https://a.example/\r\nSet-Cookie: a=b".into()).is_none());
        assert!(redirect("https://a.example/x?y=%0D%0A".into()).is_some());
    }
}
