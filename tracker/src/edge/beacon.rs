//! What a worker does with a beacon: one answer for all of its entries.
//!
//! A browser that cannot post sends the same entries as a pixel, `GET /b?d=…`; so every
//! type of event has a way that needs no script.
//!
//! All entries are decided over before the first is put into the log, and all of them are
//! in the log before anybody waits, so that a beacon costs one write and one sync.

use std::borrow::Cow;

use futures_util::future::join_all;
use http::StatusCode;
use programs::decision::decide;
use programs::decision::{Refusal, Refused};
use proto::Uuid;
use serde::Serialize;
use stream::{Class, Level, Number};

use crate::{
    edge::Edge,
    edge::answer::{self, Answer},
    edge::reject::rejected_body,
    http::{body::BodyError, parse::Framing},
    metrics::counters::Outcome,
    request::beacon::{Entry, Kind, decode, parse},
    request::head::{Head, Method},
    request::hit::{Client, Hit},
    request::query::decode_form,
    request::routes::HitRoute,
};

/// The methods of the route.
const ALLOW: &str = "GET, HEAD, POST, OPTIONS";

/// What became of one entry.
struct Line {
    outcome: Outcome,
    refused: Option<Refused>,
    message_id: Option<Uuid>,
}

impl Line {
    fn reported(&self, index: usize) -> Reported<'_> {
        let refused = self.refused.as_ref();
        let (outcome, failure) = match self.outcome {
            Outcome::Accepted => ("accepted", None),
            Outcome::Shed => ("shed", Some("overloaded")),
            Outcome::NotDurable => ("shed", Some("not_durable")),
            Outcome::NotCounted => ("not_counted", None),
            _ => ("refused", None),
        };
        Reported {
            index,
            outcome,
            reason: failure.or(refused.map(|refused| refused.reason.name())),
            detail: refused.map(|refused| refused.detail.as_ref()),
            message_id: self.message_id.filter(|_| self.outcome == Outcome::Accepted),
        }
    }
}

/// A line of the report.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reported<'l> {
    index: usize,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Uuid>,
}

impl Edge {
    /// What answers a posted beacon before its body is read; `None` if it is to be read.
    pub fn refuse_unread(&self, head: &Head<'_>, body: Framing, received_at_ms: u64) -> Option<Answer> {
        let limits = &self.site.config().limits;
        let refused = if head.request_line_bytes > limits.request_line_bytes_max {
            self.line_too_long(head, received_at_ms)
        } else if head.is_speculative() {
            (Outcome::NotCounted, answer::speculative())
        } else if let Some(encoding) = encoding_of(head) {
            self.encoded(head, encoding, received_at_ms)
        } else if let Framing::Length(length) = body
            && length > limits.body_bytes_max as u64
        {
            self.too_large(head, received_at_ms)
        } else {
            return None;
        };
        Some(self.counted(head, refused))
    }

    /// Answers a posted beacon.
    pub async fn beacon(&self, head: &Head<'_>, body: &[u8], received_at_ms: u64) -> Answer {
        let answered = self.entries(head, &decode(body), received_at_ms).await;
        self.counted(head, answered)
    }

    /// Answers a posted beacon whose body could not be read.
    pub fn beacon_without_body(&self, head: &Head<'_>, error: BodyError, received_at_ms: u64) -> Answer {
        let answered = match error {
            BodyError::TooLarge => self.too_large(head, received_at_ms),
            BodyError::Broken => self.malformed(head, "body: it did not arrive whole", received_at_ms),
            BodyError::BadChunk => {
                let (outcome, _) = self.malformed(head, "body: its chunked framing is wrong", received_at_ms);
                (outcome, answer::error(StatusCode::BAD_REQUEST, "bad_chunk"))
            }
            BodyError::Slow => (Outcome::Slow, answer::slow("slow_body")),
            BodyError::NoRoom => {
                self.site.counters.shed(Class::Beacon);
                (Outcome::Shed, answer::overloaded())
            }
        };
        self.counted(head, answered)
    }

    /// Answers a request to the beacon's path that brings no body.
    pub(super) async fn beacon_pixel(&self, head: &Head<'_>, received_at_ms: u64) -> Answer {
        let answered = if head.request_line_bytes > self.site.config().limits.request_line_bytes_max {
            self.line_too_long(head, received_at_ms)
        } else {
            match head.method {
                Method::Options => (Outcome::NotCounted, answer::preflight(ALLOW)),
                // A page that is prepared and perhaps never seen; its tag, or a page that carries
                // the pixel, asks again if it is.
                Method::Get if head.is_speculative() => (Outcome::NotCounted, answer::speculative()),
                Method::Get | Method::Head => match data_of(head) {
                    Ok(body) => self.entries(head, &body, received_at_ms).await,
                    Err(detail) => self.malformed(head, detail, received_at_ms),
                },
                Method::Post | Method::Other => (Outcome::WrongMethod, answer::wrong_method(ALLOW)),
            }
        };
        self.counted(head, answered)
    }

    fn counted(&self, head: &Head<'_>, (outcome, answer): (Outcome, Answer)) -> Answer {
        self.site.counters.hit(HitRoute::Beacon, outcome);
        answer::with_cors(answer, head.headers.origin)
    }

    fn line_too_long(&self, head: &Head<'_>, received_at_ms: u64) -> (Outcome, Answer) {
        let detail = "the request line is too long";
        self.unreadable(head, Refusal::TooLarge, detail, StatusCode::URI_TOO_LONG, received_at_ms)
    }

    /// Nothing of ours decodes a body: it would have to be bounded once more after it.
    fn encoded(&self, head: &Head<'_>, encoding: &[u8], received_at_ms: u64) -> (Outcome, Answer) {
        let is_token = encoding.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        let named = std::str::from_utf8(encoding).ok().filter(|text| is_token && text.len() <= 16);
        let detail = match named {
            Some(name) => format!("content-encoding: {name} is not supported; send the JSON as it is"),
            None => format!("content-encoding: {} bytes that name no coding of ours", encoding.len()),
        };
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let (outcome, answer) =
            self.unreadable(head, Refusal::MalformedBeacon, &detail, status, received_at_ms);
        (outcome, answer::accepting_identity(answer))
    }

    fn too_large(&self, head: &Head<'_>, received_at_ms: u64) -> (Outcome, Answer) {
        let detail = format!("the body has more than {} bytes", self.site.config().limits.body_bytes_max);
        self.unreadable(head, Refusal::TooLarge, &detail, StatusCode::PAYLOAD_TOO_LARGE, received_at_ms)
    }

    async fn entries(&self, head: &Head<'_>, body: &str, received_at_ms: u64) -> (Outcome, Answer) {
        let entries = match parse(body, &self.site.config().limits) {
            Ok(entries) => entries,
            Err(malformed) => return self.malformed(head, &malformed.to_string(), received_at_ms),
        };
        let lines = self.take(head, entries, received_at_ms).await;
        let outcome = worst(&lines);
        (outcome, answer_to(head, &lines, outcome))
    }

    /// Decides over the entries, puts them into the log, and waits for all of them.
    async fn take(&self, head: &Head<'_>, entries: Vec<Entry<'_>>, received_at_ms: u64) -> Vec<Line> {
        let site = &*self.site;
        let client = Client::read(head, site.config());
        let (class, level) = self.strictest(&entries);
        let hits: Vec<_> = entries
            .into_iter()
            .map(|entry| Hit::of_entry(entry, head, client.clone(), received_at_ms))
            .collect();
        let rules = &site.decider.rules;
        let verdicts = join_all(hits.iter().map(|hit| site.decider.verdict(hit, received_at_ms))).await;
        let mut lines = Vec::with_capacity(hits.len());
        let mut waiting: Vec<(usize, Number)> = Vec::with_capacity(hits.len());
        for (index, (hit, verdict)) in hits.iter().zip(&verdicts).enumerate() {
            lines.push(match decide(&hit.candidate(), verdict, received_at_ms, rules, &mut ()) {
                Ok(accepted) => {
                    let id = self.message_id(hit);
                    let outcome = match self.append(hit, accepted, id, class) {
                        Ok(number) => {
                            waiting.push((index, number));
                            Outcome::Accepted
                        }
                        Err(outcome) => outcome,
                    };
                    Line { outcome, refused: None, message_id: Some(id) }
                }
                Err(refused) => {
                    let outcome = self.note_refused(hit, &refused);
                    Line { outcome, refused: Some(refused), message_id: None }
                }
            });
        }
        for (index, number) in waiting {
            lines[index].outcome = self.settle(level, number).await;
        }
        lines.iter().for_each(|line| site.counters.entry(line.outcome));
        lines
    }

    /// One answer says one thing, so all entries are treated as the one that matters most.
    fn strictest(&self, entries: &[Entry]) -> (Class, Level) {
        let levels = &self.site.config().levels;
        if entries.iter().any(|entry| entry.sent.kind == Kind::Conversion) {
            (Class::Conversion, levels.conversion.max(levels.beacon))
        } else {
            (Class::Beacon, levels.beacon)
        }
    }

    fn malformed(&self, head: &Head<'_>, detail: &str, received_at_ms: u64) -> (Outcome, Answer) {
        let reason = Refusal::MalformedBeacon;
        self.unreadable(head, reason, detail, answer::status_of(reason), received_at_ms)
    }

    /// A beacon whose entries are not known: refused as a whole.
    fn unreadable(
        &self,
        head: &Head<'_>,
        reason: Refusal,
        detail: &str,
        status: StatusCode,
        received_at_ms: u64,
    ) -> (Outcome, Answer) {
        let answer = answer::explained_error(status, reason.name(), detail);
        if !Client::read(head, self.site.config()).counted {
            return (Outcome::NotCounted, answer);
        }
        let prefix = HitRoute::Beacon.prefix(&self.site.config().prefixes);
        let refused = Refused::new(reason, detail.to_owned());
        self.keep(reason, received_at_ms, || rejected_body(&refused, prefix, received_at_ms));
        (Outcome::Malformed, answer)
    }
}

/// The coding of a body, if it has one.
fn encoding_of<'r>(head: &Head<'r>) -> Option<&'r [u8]> {
    head.headers.content_encoding.filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case(b"identity"))
}

/// The entries of a beacon that came as a pixel: parameter `d`, decoded.
///
/// # Errors
/// Why there are none, in words.
pub fn data_of<'r>(head: &Head<'r>) -> Result<Cow<'r, str>, &'static str> {
    let Some(data) = head.query.split('&').find_map(|pair| pair.strip_prefix("d=")) else {
        return Err("d: a GET brings the entries in this parameter");
    };
    let text = decode_form(data);
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => Cow::Owned(text.to_owned()),
        None => text,
    })
}

/// What became of the request, in one word: what the sender must act on comes first.
fn worst(lines: &[Line]) -> Outcome {
    let order = [Outcome::Shed, Outcome::NotDurable, Outcome::NotCounted, Outcome::Accepted];
    let found = order.into_iter().find(|outcome| lines.iter().any(|line| line.outcome == *outcome));
    found.unwrap_or(Outcome::Refused)
}

/// 204 says: each entry is in the log, or refused by a rule. 503 says: at least one is
/// neither, send all of it again; those with an id are not counted twice.
fn answer_to(head: &Head<'_>, lines: &[Line], outcome: Outcome) -> Answer {
    let wants_report = head.query.split('&').any(|pair| pair == "report=1");
    let failed = matches!(outcome, Outcome::Shed | Outcome::NotDurable);
    if wants_report {
        return report(lines);
    }
    match head.method {
        // No image for the pixel either: it would tell the tag that all is well.
        _ if failed => answer::overloaded(),
        Method::Post => answer::no_content(),
        _ => answer::pixel(StatusCode::OK),
    }
}

fn report(lines: &[Line]) -> Answer {
    let lines: Vec<_> = lines.iter().enumerate().map(|(index, line)| line.reported(index)).collect();
    answer::json(StatusCode::OK, serde_json::to_vec(&lines).expect("texts and numbers are always JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: Outcome) -> Line {
        let refused = (outcome == Outcome::Refused).then(|| Refused::new(Refusal::Expired, "ended"));
        Line { outcome, refused, message_id: Some(Uuid::nil()) }
    }

    /// The status, whether it may be tried again, and the report's outcomes and reasons.
    fn said(method: Method, outcomes: &[Outcome]) -> (u16, bool, Vec<(String, String)>) {
        let lines: Vec<_> = outcomes.iter().map(|outcome| line(*outcome)).collect();
        let head = Head { method, ..Head::default() };
        let answer = answer_to(&head, &lines, worst(&lines));
        let reported = lines.iter().enumerate().map(|(index, line)| {
            let reported = line.reported(index);
            assert_eq!(reported.message_id.is_some(), line.outcome == Outcome::Accepted);
            (reported.outcome.to_owned(), reported.reason.unwrap_or("").to_owned())
        });
        (answer.status().as_u16(), answer.header("retry-after").is_some(), reported.collect())
    }

    #[test]
    fn a_2xx_says_that_each_entry_is_in_the_log_or_refused_by_a_rule() {
        use Outcome::{Accepted, NotCounted, NotDurable, Refused, Shed};
        for (outcomes, post, get) in [
            (&[Accepted, Accepted][..], 204, 200),
            (&[Accepted, Refused], 204, 200),
            (&[Refused, Refused], 204, 200),
            (&[NotCounted, Refused], 204, 200),
            (&[Accepted, Shed, Refused], 503, 503),
            (&[Refused, NotDurable], 503, 503),
            (&[NotDurable, Accepted], 503, 503),
        ] {
            let (status, again, _) = said(Method::Post, outcomes);
            assert_eq!((status, again), (post, post == 503), "{outcomes:?}");
            assert_eq!(said(Method::Get, outcomes).0, get, "{outcomes:?}");
        }
    }

    #[test]
    fn the_report_has_a_word_for_each_outcome() {
        use Outcome::{Accepted, NotCounted, NotDurable, Refused, Shed};
        let (_, _, reported) = said(Method::Post, &[Accepted, Refused, Shed, NotDurable, NotCounted]);
        let expected = [
            ("accepted", ""),
            ("refused", "expired"),
            ("shed", "overloaded"),
            ("shed", "not_durable"),
            ("not_counted", ""),
        ];
        assert_eq!(reported, expected.map(|(outcome, reason)| (outcome.to_owned(), reason.to_owned())));
    }

    #[test]
    fn the_request_is_counted_as_what_the_sender_must_act_on() {
        use Outcome::{Accepted, NotCounted, NotDurable, Refused, Shed};
        let worst_of = |outcomes: &[Outcome]| worst(&outcomes.iter().map(|o| line(*o)).collect::<Vec<_>>());
        assert_eq!(worst_of(&[Accepted, NotDurable, Shed]), Shed);
        assert_eq!(worst_of(&[Refused, NotDurable, Accepted]), NotDurable);
        assert_eq!(worst_of(&[Refused, Accepted]), Accepted);
        assert_eq!(worst_of(&[Refused, NotCounted]), NotCounted);
        assert_eq!(worst_of(&[Refused]), Refused);
    }
}
