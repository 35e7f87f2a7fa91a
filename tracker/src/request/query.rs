//! Parses a query into parameters, in the order of the request.
//!
//! Decoding never fails: it is that of the WHATWG URL Standard, section 5.1
//! (`application/x-www-form-urlencoded`). A `%` without two hex digits stays as it is, and bytes
//! that are not UTF-8 become U+FFFD, because ad servers send unexpanded macros every day, and mail
//! clients send Latin-1. A parameter beyond a limit is left out and counted. Text that needs no
//! decoding is borrowed from the request.

use std::borrow::Cow;

use programs::decision::{ParameterLimits, Parameters};

/// Reads `a=1&b=x+y%21`; empty pairs (`&&`) are skipped.
pub fn parse_query<'r>(query: &'r str, limits: &ParameterLimits) -> Parameters<'r> {
    let mut parameters = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        // Decoding parameters that are left out anyway would only help a flood.
        if parameters.is_full(limits) {
            parameters.note_left_out(1);
            continue;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.push(decode_form(name), decode_form(value), limits);
    }
    parameters
}

/// Percent-decodes; a `+` is a space.
pub fn decode_form(text: &str) -> Cow<'_, str> {
    decode(text, true)
}

/// Percent-decodes; a `+` is a plus sign.
pub fn decode_path(text: &str) -> Cow<'_, str> {
    decode(text, false)
}

fn decode(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    let is_coded = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let bytes = text.as_bytes();
    let Some(plain) = bytes.iter().position(is_coded) else {
        return Cow::Borrowed(text);
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..plain]);
    let mut rest = &bytes[plain..];
    while let [byte, after @ ..] = rest {
        rest = after;
        match (*byte, escaped(after)) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
    }
    match String::from_utf8_lossy(&decoded) {
        Cow::Owned(replaced) => Cow::Owned(replaced),
        Cow::Borrowed(text) => Cow::Owned(text.to_owned()),
    }
}

/// The byte encoded by the two hex digits at the start of `text`.
fn escaped(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    Some(hex_digit(*high)? << 4 | hex_digit(*low)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> (Vec<(String, String)>, u32) {
        let parameters = parse_query(query, &ParameterLimits::default());
        let pairs = parameters.iter().map(|p| (p.name.to_string(), p.value.to_string())).collect();
        (pairs, parameters.left_out())
    }

    fn pairs(expected: &[(&str, &str)]) -> (Vec<(String, String)>, u32) {
        (expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(), 0)
    }

    #[test]
    fn order_repetition_and_empty_values_are_kept() {
        assert_eq!(
            parse("b=2&a=x+y%21&b=&c&&d=1=2"),
            pairs(&[("b", "2"), ("a", "x y!"), ("b", ""), ("c", ""), ("d", "1=2")])
        );
        assert_eq!(parse(""), pairs(&[]));
        assert_eq!(parse("z%C3%BC=%00"), pairs(&[("zü", "\0")]));
    }

    #[test]
    fn a_bad_percent_sign_stays_and_invalid_utf_8_is_replaced() {
        for (query, name, value) in [
            ("a=%", "a", "%"),
            ("a=1%4", "a", "1%4"),
            ("a=%+1", "a", "% 1"),
            ("a=%%41", "a", "%A"),
            ("a=%%34%31", "a", "%41"),
            ("a=%zz%4g", "a", "%zz%4g"),
            ("a=%%CACHEBUSTER%%", "a", "%\u{fffd}CHEBUSTER%%"),
            ("a=${CLICK}&", "a", "${CLICK}"),
            ("%zz=1", "%zz", "1"),
            ("a=%ff", "a", "\u{fffd}"),
            ("%ff%fe=%c3%28", "\u{fffd}\u{fffd}", "\u{fffd}("),
            ("a=%ed%a0%80", "a", "\u{fffd}\u{fffd}\u{fffd}"),
            ("a=%f0%9f%92", "a", "\u{fffd}"),
        ] {
            assert_eq!(parse(query), pairs(&[(name, value)]), "{query}");
        }
    }

    #[test]
    fn what_is_beyond_a_limit_is_left_out_and_counted() {
        let many = |count: usize| (0..count).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
        assert_eq!((parse(&many(100)).0.len(), parse(&many(100)).1), (100, 0));
        assert_eq!((parse(&many(103)).0.len(), parse(&many(103)).1), (100, 3));
        let fits = format!("{}=1&a={}", "n".repeat(64), "%41".repeat(1_024));
        assert_eq!((parse(&fits).0.len(), parse(&fits).1), (2, 0));
        for beyond in [format!("{}=1", "n".repeat(65)), format!("a={}", "v".repeat(1_025)), "=2".into()] {
            assert_eq!(
                parse(&format!("b=1&{beyond}&c=2")),
                (pairs(&[("b", "1"), ("c", "2")]).0, 1),
                "{beyond}"
            );
        }
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus() {
        assert_eq!(decode_path("a+%2B%"), "a++%");
    }

    proptest! {
        #[test]
        fn what_was_encoded_reads_back(sent in prop::collection::vec((".{1,8}", ".{0,12}"), 0..20)) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let query: Vec<_> = sent.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
            prop_assert_eq!(parse(&query.join("&")), (sent, 0));
        }

        #[test]
        fn every_parameter_is_kept_or_counted(query in "(.|&|=|%|%[0-9a-f]{2}){0,200}") {
            let (kept, left_out) = parse(&query);
            let sent = query.split('&').filter(|pair| !pair.is_empty()).count();
            prop_assert_eq!(kept.len() + left_out as usize, sent);
        }
    }
}
