//! Parses one hit: a request to a tracking route, or an entry of a beacon.
//!
//! Parsing never fails: a hit carries its own faults, so that one place decides on all of them, in
//! its order. Strings are borrowed from the request where possible, and bounded where copied. The
//! client of a beacon entry is taken from the head of its request.

use std::borrow::Cow;

use programs::ProgramId;
use programs::decision::{Candidate, Parameters};
use proto::EventType;

use crate::{
    config::Config,
    request::beacon::{Entry, Sent},
    request::client::{TruncatedIp, client_ip},
    request::client_time,
    request::head::{Head, Method},
    request::names::{CLIENT_TIME, SENDER_ID, VISITOR},
    request::query::{decode_path, parse_query},
    request::routes::HitRoute,
};

/// Longest user agent and longest referrer that an event keeps, in bytes.
pub const HEADER_BYTES_MAX: usize = 1_024;

/// How far the client's clock may be ahead of ours before its time is ignored.
const CLIENT_AHEAD_MAX_MS: u64 = 23 * 3_600_000;

/// A request to a tracking route, or an entry of a beacon.
#[derive(Debug)]
pub struct Hit<'r> {
    /// The route it came by.
    pub route: HitRoute,
    /// When it arrived by our clock, in milliseconds since 1970.
    pub received_at_ms: u64,
    /// Path and query as they were sent.
    pub target: &'r str,
    /// Bytes of the request line: method, target, version.
    pub request_line_bytes: usize,
    /// The program id as sent, not decoded.
    pub program_text: Cow<'r, str>,
    /// The program id, decoded and checked; `None` if it is invalid.
    pub program: Option<Cow<'r, str>>,
    /// The parameters within their limits; none if the request line is oversize. Without the visitor
    /// id under GPC.
    pub parameters: Parameters<'r>,
    /// Whether the request line exceeds its limit.
    pub is_oversize: bool,
    /// The further fields of a beacon entry; `None` for any other hit.
    pub sent: Option<Sent<'r>>,
    /// The client.
    pub client: Client<'r>,
}

/// The client, as the head of its request describes it.
#[derive(Clone, Debug)]
pub struct Client<'r> {
    /// Empty if there was none; at most [`HEADER_BYTES_MAX`].
    pub user_agent: Cow<'r, str>,
    /// Empty if there was none; at most [`HEADER_BYTES_MAX`].
    pub referrer: Cow<'r, str>,
    /// W3C trace context; empty if there was none or it is malformed.
    pub traceparent: &'r str,
    /// Whether the client sent `Sec-GPC: 1`, and the settings honour it.
    pub gpc: bool,
    /// Whether the hit counts: neither HEAD nor speculative.
    pub counted: bool,
    /// See [`Head::is_speculative`].
    pub is_speculative: bool,
    /// The client's truncated address; `None` under GPC or if unknown.
    pub ip: Option<TruncatedIp>,
}

impl<'r> Client<'r> {
    /// Reads the head of a request.
    pub fn read(head: &Head<'r>, config: &Config) -> Self {
        let headers = &head.headers;
        let gpc = config.honour_gpc && headers.gpc == Some(b"1");
        let peer = head.peer.filter(|_| !gpc);
        let is_speculative = head.is_speculative();
        Self {
            user_agent: bounded(headers.user_agent),
            referrer: bounded(headers.referrer),
            traceparent: traceparent(headers.traceparent),
            gpc,
            counted: head.method != Method::Head && !is_speculative,
            is_speculative,
            ip: peer.and_then(|peer| {
                if config.trusted_proxies.is_empty() {
                    return Some(TruncatedIp::of(peer));
                }
                client_ip(peer, headers.forwarded_for.iter().copied(), &config.trusted_proxies)
            }),
        }
    }
}

impl<'r> Hit<'r> {
    /// Parses a request to `route` for the program `program_text`.
    pub fn read(
        route: HitRoute,
        program_text: &'r str,
        head: &Head<'r>,
        config: &Config,
        received_at_ms: u64,
    ) -> Self {
        let client = Client::read(head, config);
        let is_oversize = head.request_line_bytes > config.limits.request_line_bytes_max;
        let query = if is_oversize { "" } else { head.query };
        let mut parameters = parse_query(query, &config.limits.of_parameters());
        if client.gpc {
            parameters.withhold(VISITOR);
        }
        if parameters.get(CLIENT_TIME).is_some_and(|text| client_time::parse(text).is_none()) {
            parameters.leave_out(CLIENT_TIME);
        }
        let program = Some(decode_path(program_text)).filter(|id| ProgramId::is_valid(id));
        Self {
            route,
            received_at_ms,
            target: head.target,
            request_line_bytes: head.request_line_bytes,
            program_text: Cow::Borrowed(program_text),
            program,
            parameters,
            is_oversize,
            sent: None,
            client,
        }
    }

    /// A beacon entry, whose request `client` sent with this `head`.
    pub fn of_entry(entry: Entry<'r>, head: &Head<'r>, client: Client<'r>, received_at_ms: u64) -> Self {
        let mut parameters = entry.parameters;
        if client.gpc {
            parameters.withhold(VISITOR);
        }
        Self {
            route: HitRoute::Beacon,
            received_at_ms,
            target: head.path,
            request_line_bytes: head.request_line_bytes,
            program: Some(entry.program.clone()).filter(|id| ProgramId::is_valid(id)),
            program_text: entry.program,
            parameters,
            is_oversize: false,
            sent: Some(entry.sent),
            client,
        }
    }

    /// The input of the decision.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            program: self.program.as_deref(),
            parameters: &self.parameters,
            request_line_bytes: self.request_line_bytes,
            is_oversize: self.is_oversize,
            needs_program: self.route == HitRoute::Event,
        }
    }

    /// The type of its event.
    pub fn event_type(&self) -> EventType {
        self.sent.as_ref().map_or(self.route.event_type(), |sent| sent.kind.event_type())
    }

    /// The name of a custom event, else of the event's type.
    pub fn kind_name(&self) -> &str {
        match self.sent.as_ref().map(|sent| sent.kind.custom_name()) {
            Some(name) if !name.is_empty() => name,
            _ => self.event_type().name(),
        }
    }

    /// The sender's own id, the same for every retry. Only beacons and conversions have one: an `id`
    /// on a static pixel would turn all its hits into one event, and so would an empty id, left by
    /// an unexpanded macro.
    pub fn sender_id(&self) -> Option<&str> {
        match &self.sent {
            Some(sent) => sent.id.as_deref(),
            None if self.route == HitRoute::Conversion => {
                self.parameter(SENDER_ID).filter(|id| !id.is_empty())
            }
            None => None,
        }
    }

    /// The time of the sender's clock, plausible or not; 0 if absent.
    pub fn sender_time_ms(&self) -> u64 {
        match &self.sent {
            Some(sent) => sent.time_ms,
            None => self.parameter(CLIENT_TIME).and_then(client_time::parse).unwrap_or(0),
        }
    }

    /// Whether the client expects an image: the path ends with `.gif`.
    pub fn wants_image(&self) -> bool {
        wants_image(self.target.split('?').next().unwrap_or_default())
    }

    /// The first value of parameter `name`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)
    }

    /// The time of the client's clock, from parameter `t` or a beacon; 0 if absent or further ahead
    /// of ours than time zones explain.
    pub fn client_time_ms(&self) -> u64 {
        let sent = self.sender_time_ms();
        if sent <= self.received_at_ms + CLIENT_AHEAD_MAX_MS { sent } else { 0 }
    }
}

/// A header's first value as text, truncated, with invalid UTF-8 replaced.
fn bounded(value: Option<&[u8]>) -> Cow<'_, str> {
    let bytes = value.unwrap_or_default();
    match String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        // A replacement character has three bytes, so the text may have grown.
        Cow::Owned(text) => Cow::Owned(cut(&text, HEADER_BYTES_MAX).to_owned()),
    }
}

/// The longest prefix of `text` of at most `bytes_max` bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `00-` 32 hex `-` 16 hex `-` 2 hex, in lower case; anything else is not kept.
fn traceparent(value: Option<&[u8]>) -> &str {
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("");
    let fits = text.len() == 55
        && text.bytes().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    if fits { text } else { "" }
}

/// Whether a request for `path` expects an image.
pub fn wants_image(path: &str) -> bool {
    path.ends_with(".gif")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, TestHead, head};

    fn read<'r>(head: &'r TestHead, program: &'r str) -> Hit<'r> {
        Hit::read(HitRoute::Click, program, &head.read(), &Config::default(), NOW)
    }

    #[test]
    fn a_hit_holds_what_the_request_said() {
        let head = head(
            "/c/21%32312?v=me&t=1789999999000&a=b",
            &[
                ("user-agent", b"curl/8"),
                ("referer", b"https://a.example/"),
                ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ],
        );
        let hit = read(&head, "21%32312");
        assert_eq!(hit.program.as_deref(), Some("212312"));
        assert_eq!((hit.parameter("v"), hit.client_time_ms()), (Some("me"), 1_789_999_999_000));
        let client = &hit.client;
        assert_eq!((client.user_agent.as_ref(), client.referrer.as_ref()), ("curl/8", "https://a.example/"));
        assert_eq!(client.traceparent.len(), 55);
        assert_eq!(client.ip.unwrap().to_string(), "203.0.113.0");
        assert!(client.counted && !client.gpc);
    }

    #[test]
    fn gpc_leaves_neither_visitor_nor_address() {
        let head = head("/c/1?v=me&a=1&v=again", &[("sec-gpc", b"1")]);
        let hit = read(&head, "1");
        assert!(hit.client.gpc && hit.client.ip.is_none());
        assert_eq!((hit.parameter("v"), hit.parameter("a")), (None, Some("1")));
    }

    #[test]
    fn gpc_can_be_switched_off_and_only_1_means_it() {
        let asked = head("/c/1?v=me", &[("sec-gpc", b"1")]);
        let config = Config { honour_gpc: false, ..Config::default() };
        assert!(!Hit::read(HitRoute::Click, "1", &asked.read(), &config, NOW).client.gpc);
        let not_asked = head("/c/1?v=me", &[("sec-gpc", b"0")]);
        assert!(!read(&not_asked, "1").client.gpc);
    }

    #[test]
    fn head_and_speculative_requests_are_not_counted() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("purpose", "Prefetch"),
            ("x-purpose", "preview"),
            ("x-purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-moz", "PREFETCH"),
        ] {
            let head = head("/c/1", &[(name, value.as_bytes())]);
            let client = read(&head, "1").client;
            assert!(client.is_speculative && !client.counted, "{name}: {value}");
        }
        for (name, value) in
            [("purpose", "pre"), ("x-moz", ""), ("sec-purpose", "fetch"), ("x-purpose", "view")]
        {
            assert!(read(&head("/c/1", &[(name, value.as_bytes())]), "1").client.counted, "{name}: {value}");
        }
        let mut by_head = head("/c/1", &[]);
        by_head.method = Method::Head;
        let by_head = read(&by_head, "1").client;
        assert!(!by_head.counted && !by_head.is_speculative);
    }

    #[test]
    fn headers_are_cut_and_bad_bytes_replaced() {
        let long = [b'\xff'; 2_000];
        let head = head("/c/1", &[("user-agent", &long), ("referer", "é".repeat(600).as_bytes())]);
        let hit = read(&head, "1");
        assert!((1_022..=HEADER_BYTES_MAX).contains(&hit.client.user_agent.len()));
        assert!(hit.client.user_agent.chars().all(|c| c == '\u{fffd}'));
        assert_eq!(hit.client.referrer.len(), HEADER_BYTES_MAX);
    }

    #[test]
    fn a_trace_context_of_another_shape_is_not_kept() {
        for value in
            ["00-short-01", &"0".repeat(55), "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
        {
            assert_eq!(read(&head("/c/1", &[("traceparent", value.as_bytes())]), "1").client.traceparent, "");
        }
    }

    #[test]
    fn the_time_of_a_clock_far_ahead_is_ignored() {
        let head = head("/c/1?t=1890000000000", &[]);
        let hit = read(&head, "1");
        assert_eq!((hit.client_time_ms(), hit.sender_time_ms()), (0, 1_890_000_000_000));
        assert_eq!((hit.parameter("t"), hit.parameters.left_out()), (Some("1890000000000"), 0));
    }

    #[test]
    fn an_invalid_time_is_left_out_and_counted() {
        for text in ["soon", "-1", "99999999999999999999", "281474976710656", "1.5", "%7BTIME%7D", ""] {
            let head = head(&format!("/c/1?a=1&t={text}&t=5"), &[]);
            let hit = read(&head, "1");
            assert_eq!((hit.sender_time_ms(), hit.parameter("t")), (0, None), "{text}");
            assert_eq!((hit.parameter("a"), hit.parameters.left_out()), (Some("1"), 2), "{text}");
        }
    }

    #[test]
    fn the_query_of_an_oversize_request_line_is_not_parsed() {
        let target = format!("/c/1?a={}", "x".repeat(20_480));
        let head = head(&target, &[]);
        let hit = read(&head, "1");
        assert!(hit.is_oversize);
        assert_eq!((hit.parameters.len(), hit.parameters.left_out()), (0, 0));
    }
}
