//! Invariants that hold for any bytes that a client sends, checked by the fuzz targets in `fuzz/`
//! and by the property tests below.
//!
//! Each function panics if an invariant is broken.

use std::borrow::Cow;

use programs::decision::{Parameters, Refusal, Refused};

use crate::{
    config::{Config, Limits},
    edge::reject::rejected,
    http::{
        chunked::{BadChunk, ChunkedDecoder},
        parse::{HEADERS_MAX, LINE_BYTES_MAX, Request, parse},
    },
    request::beacon,
    request::head::{Head, Method},
    request::hit::{Client, HEADER_BYTES_MAX, Hit},
    request::query::{decode_form, parse_query},
    request::routes::{HitRoute, Target},
};

const HEADER_BYTES: usize = 40 * 1_024;

/// A head is parsed the same whatever bytes follow it, never before it is complete, and within its
/// limits; a hit and a record of its refusal can be made of it.
pub fn head(bytes: &[u8]) {
    let whole = parse(bytes, None, HEADER_BYTES);
    let Ok(Some(request)) = &whole else { return };
    let length = request.bytes;
    let again = parse(&bytes[..length], None, HEADER_BYTES).expect("it was read").expect("it is whole");
    assert_same(request, &again);
    // Every cut of a short head, a few of a long one.
    for cut in (0..length).step_by((length / 64).max(1)) {
        assert!(matches!(parse(&bytes[..cut], None, HEADER_BYTES), Ok(None)), "cut at {cut} of {length}");
    }
    let head = &request.head;
    assert!(head.request_line_bytes <= LINE_BYTES_MAX);
    assert!(!head.target.contains(['#', ' ', '\r', '\n', '\0']), "{:?}", head.target);
    assert!(
        bytes[..length].split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.ends_with(b"\r"))
    );
    assert!(head.headers.forwarded_for.len() <= HEADERS_MAX);
    of_head(head);
}

fn assert_same(one: &Request<'_>, other: &Request<'_>) {
    assert_eq!(one.head, other.head);
    assert_eq!((one.body, one.bytes), (other.body, other.bytes));
    assert_eq!((one.is_last, one.expects_continue), (other.is_last, other.expects_continue));
}

fn of_head(head: &Head<'_>) {
    let config =
        Config { trusted_proxies: vec!["0.0.0.0/0".parse().expect("a network")], ..Config::default() };
    let Target::Hit(route, program) = Target::of(head.path, &config.prefixes) else { return };
    let hit = Hit::read(route, program, head, &config, 1_790_000_000_000);
    assert!(hit.client.user_agent.len() <= HEADER_BYTES_MAX && hit.client.referrer.len() <= HEADER_BYTES_MAX);
    within_limits(&hit.parameters, &config.limits);
    let record = rejected(&hit, &Refused::new(Refusal::Expired, "ended"), "/c");
    assert!(record.request.len() <= 1_024 && record.programid.len() <= 256);
}

fn within_limits(parameters: &Parameters<'_>, limits: &Limits) {
    assert!(parameters.len() <= limits.parameters_max);
    for parameter in parameters.iter() {
        assert!((1..=limits.name_bytes_max).contains(&parameter.name.len()));
        assert!(parameter.value.len() <= limits.value_bytes_max);
    }
}

/// A chunked body decodes the same and ends at the same byte however it is cut. The first byte is
/// the size of the pieces.
pub fn chunked(bytes: &[u8]) {
    let Some((piece, sent)) = bytes.split_first() else { return };
    let at_once = chunks(sent, sent.len());
    assert_eq!(at_once, chunks(sent, usize::from(*piece)));
    if let Ok(Some((body, taken))) = at_once {
        assert!(taken <= sent.len() && body.len() < taken);
        assert_eq!(chunks(&sent[..taken], taken), Ok(Some((body, taken))), "what follows means nothing");
        assert_eq!(chunks(&sent[..taken - 1], taken), Ok(None), "it is whole at its last byte");
    }
}

fn chunks(sent: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, BadChunk> {
    let mut decoder = ChunkedDecoder::default();
    let mut body = Vec::new();
    let mut taken = 0;
    for part in sent.chunks(piece.max(1)) {
        let mut input = part;
        while let Some(data) = decoder.next(&mut input)? {
            body.extend_from_slice(data);
        }
        taken += part.len() - input.len();
        if decoder.has_ended() {
            return Ok(Some((body, taken)));
        }
    }
    Ok(None)
}

/// Each parameter of a query is kept within the limits, or counted as left out.
pub fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let limits = Limits::default();
    let parameters = parse_query(&text, &limits.of_parameters());
    within_limits(&parameters, &limits);
    let sent = text.split('&').filter(|pair| !pair.is_empty()).count();
    assert_eq!(parameters.len() + parameters.left_out() as usize, sent);
    if !text.contains(['%', '+']) {
        assert!(matches!(decode_form(&text), Cow::Borrowed(_)), "what needs no decoding is borrowed");
    }
}

/// A beacon is accepted within the limits or refused with the place of the error; what is accepted
/// is JSON to another parser as well, and hits can be made of it.
pub fn beacon(bytes: &[u8]) {
    let config = Config::default();
    let text = beacon::decode(bytes);
    let entries = match beacon::parse(&text, &config.limits) {
        Ok(entries) => entries,
        Err(malformed) => {
            assert!(!malformed.path.is_empty() && malformed.reason.len() < 400);
            return;
        }
    };
    assert!((1..=config.limits.entries_max).contains(&entries.len()));
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
    let head = Head { method: Method::Post, target: "/b", path: "/b", ..Head::default() };
    for entry in entries {
        within_limits(&entry.parameters, &config.limits);
        assert!(entry.sent.time_ms >> 48 == 0);
        assert!(
            entry.sent.id.as_ref().is_none_or(|id| (1..=config.limits.value_bytes_max).contains(&id.len()))
        );
        let hit = Hit::of_entry(entry, &head, Client::read(&head, &config), 1_790_000_000_000);
        assert_eq!(hit.route, HitRoute::Beacon);
        let record = rejected(&hit, &Refused::new(Refusal::Expired, "ended"), "/b");
        assert!(record.request.len() <= 1_024 && record.programid.len() <= 256);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Valid and invalid pieces of a head, in any order.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let known: Vec<&[u8]> = vec![
            b"GET ",
            b"POST ",
            b"HEAD ",
            b"OPTIONS * ",
            b"/c/212312?a=%zz&b=%ff",
            b"/i/1.gif",
            b"/b",
            b"http://t/v/1",
            b" HTTP/1.1\r\n",
            b" HTTP/1.0\r\n",
            b" HTTP/1.2\r\n",
            b"Host: t\r\n",
            b"Host: [::1]:80\r\n",
            b"Host:\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length: +3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
            b"User-Agent: \xff\xfe\r\n",
            b"X-Forwarded-For: 1.2.3.4, ::1\r\n",
            b"Sec-GPC: 1\r\n",
            b"Expect: 100-continue\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"#",
            b"\0",
            b"\xc3\xbc",
            b"a: b\r\n",
            b" folded\r\n",
            b": x\r\n",
        ];
        let piece = prop_oneof![
            9 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    /// A valid head with up to two bytes replaced.
    fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
        let good = b"GET /c/212312?a=1&b=%C3%BC HTTP/1.1\r\nHost: t.example:80\r\nUser-Agent: a\r\nConnection: x, y\r\n\r\nGET";
        prop::collection::vec((0..good.len(), any::<u8>()), 0..3).prop_map(move |changes| {
            let mut bytes = good.to_vec();
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_are_a_head_or_refused(bytes in prop_oneof![pieces(), nearly_valid()]) {
            head(&bytes);
        }

        #[test]
        fn any_bytes_are_chunks_or_refused(
            bytes in "[\\x00-\\x10]([0-9a-f]{1,2}|\r\n|[;=\" a-c]|\r|\n|[a-c]: x\r\n|0\r\n\r\n){0,12}",
        ) {
            chunked(bytes.as_bytes());
        }

        #[test]
        fn any_bytes_are_a_query(bytes in prop::collection::vec(prop_oneof![Just(b'%'), Just(b'&'), any::<u8>()], 0..300)) {
            query(&bytes);
        }

        #[test]
        fn any_bytes_are_a_beacon_or_refused(
            text in "\\[?(\\{?(\"(program|type|id|time_ms|params|visitor|[a-c\\\\ud8é]{0,4})\": ?(\"[a-c\\\\ud8]{0,6}\"|[0-9.eE+-]{1,4}|null|\\{\"a\": 1\\}|\\[\\]),? ?){0,7}\\}?,?){0,3}\\]?",
        ) {
            beacon(text.as_bytes());
        }
    }
}
