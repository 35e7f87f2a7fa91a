//! Validates `Host` and the authority of an absolute target.

use std::net::Ipv6Addr;

/// Whether `text` is `uri-host [ ":" port ]` (RFC 9110, section 7.2) with a non-empty host.
///
/// A comma is refused although RFC 3986 allows it in a registered name: a proxy joins two `Host`
/// fields with one.
pub fn is_host(text: &[u8]) -> bool {
    let (host_fits, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok();
            (address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()), &rest[end + 1..])
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            (end > 0 && text[..end].iter().all(|byte| is_name_byte(*byte)), &text[end..])
        }
    };
    host_fits && is_port(port)
}

/// Empty, or a colon and up to five digits (RFC 3986 allows a colon without digits).
fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
            digits.is_empty() || (digits.iter().all(u8::is_ascii_digit) && number.is_some())
        }
        Some(_) => false,
    }
}

fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

/// A table, because every request has a host.
const NAME_BYTES: [bool; 256] = {
    let mut known = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        known[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+;=";
    let mut at = 0;
    while at < others.len() {
        known[others[at] as usize] = true;
        at += 1;
    }
    known
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        for host in
            ["t", "t.example", "T.Example:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "t:", "a_b", "%41"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "t:x", "t:80:80", "t:65536", "t:+1", "a b", "a/b", "a@b", "a,b", "a?b", "a#b", "[::1",
            "[]", "[v1.x]", "[::1]x", "::1", "t\t", "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
