//! A sender's time.

/// Milliseconds since 1970, below 2^48, as a whole number or in RFC 3339.
pub fn parse(text: &str) -> Option<u64> {
    let ms = match text.parse::<u64>() {
        Ok(ms) => ms,
        Err(_) => u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()?,
    };
    (ms <= proto::ids::TIME_MS_MAX).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_date_are_read_and_nothing_else() {
        assert_eq!(parse("1790000000123"), Some(1_790_000_000_123));
        assert_eq!(parse("2026-09-21T14:13:20.123+00:00"), Some(1_790_000_000_123));
        for text in ["", "soon", "-1", "1.5", "2026-09-21", "281474976710656", "1960-01-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
