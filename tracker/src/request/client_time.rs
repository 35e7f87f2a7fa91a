//! Parses the time of a client's clock.

/// A whole number of milliseconds since 1970 below 2^48 (the year 10889), in digits.
///
/// Parameter `t` and a beacon's `time_ms` share this rule: an invalid time is left out of the event
/// and counted, as no hit is refused for an unexpanded macro.
pub fn parse(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u64>().ok().filter(|ms| is_number && ms >> 48 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_digits_below_a_bound() {
        assert_eq!(parse("1789999999000"), Some(1_789_999_999_000));
        assert_eq!(parse("281474976710655"), Some((1 << 48) - 1));
        for text in
            ["", "281474976710656", "-1", "+1", "1.5", "1e3", " 1", "soon", "${TIME}", "99999999999999999999"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
