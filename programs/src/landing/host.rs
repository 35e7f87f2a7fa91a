//! Checks the authority of a URL.
//!
//! Only plain DNS names are accepted: anything that a browser would normalise, decode or read as an
//! IP address is refused, so it cannot be interpreted in two ways.

use std::ops::Range;

use super::invalid::InvalidUrl;

const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Checks `text[authority]`, which ends before the first `/`, `?` or `#`.
pub(super) fn check(text: &str, authority: Range<usize>, default_port: &str) -> Result<(), InvalidUrl> {
    let start = authority.start;
    let authority = &text[authority];
    for (at, byte) in authority.bytes().enumerate() {
        let reason = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b':' => continue,
            b'{' | b'}' => "a macro may not stand in the host or the port",
            b'@' => "a user name before the host",
            b'[' | b']' => "an IPv6 address; write a host name",
            b'%' => "a percent-encoded host",
            _ => "not allowed in a host name",
        };
        return Err(InvalidUrl::new(start + at, reason));
    }

    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port != default_port) {
        return Err(InvalidUrl::new(start + host.len() + 1, "a port other than the scheme's own"));
    }
    check_name(host, start)
}

fn check_name(host: &str, start: usize) -> Result<(), InvalidUrl> {
    if host.is_empty() {
        return Err(InvalidUrl::new(start, "no host"));
    }
    if host.len() > HOST_BYTES_MAX {
        return Err(InvalidUrl::new(start + HOST_BYTES_MAX, "a host name has at most 253 bytes"));
    }
    let mut at = start;
    for label in host.split('.') {
        let reason = if label.is_empty() {
            "an empty part in the host name"
        } else if label.len() > LABEL_BYTES_MAX {
            "a part of the host name has more than 63 bytes"
        } else if label.starts_with('-') || label.ends_with('-') {
            "a part of the host name starts or ends with -"
        } else {
            at += label.len() + 1;
            continue;
        };
        return Err(InvalidUrl::new(at, reason));
    }
    if ends_in_a_number(host) {
        return Err(InvalidUrl::new(start, "an IP address; write a host name"));
    }
    Ok(())
}

/// The rule of the WHATWG URL standard ("ends in a number checker"): browsers read
/// such a host as an IPv4 address, also as `2130706433`, `0x7f.1` or `0177.0.0.1`.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
