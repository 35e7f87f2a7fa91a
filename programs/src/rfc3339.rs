//! Converts RFC 3339 text to milliseconds since 1970 and back.
//!
//! The calendar is `jiff`'s, the parser is ours: `jiff` also accepts other formats, and its errors do
//! not say which part is wrong. `DateTime` is used rather than `Timestamp`, which ends a day before
//! the year 9999 does.

use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

/// The last moment that can be written with a four-digit year, in ms since 1970.
pub const MS_MAX: u64 = 253_402_300_799_999;

/// A number below this is taken for seconds: as milliseconds it is a day in March 1973, as seconds
/// the year 5138.
pub const SECONDS_BELOW: u64 = 100_000_000_000;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Milliseconds since 1970 of an RFC 3339 text such as `2026-11-22T10:00:00Z` or
/// `2026-11-22T10:00:00.5+01:00`. Finer than a millisecond is cut off.
///
/// # Errors
/// What is wrong, as a fragment; moments before 1970 and leap seconds are refused.
pub fn parse_ms(text: &str) -> Result<u64, &'static str> {
    const SHAPE: &str = "is not RFC 3339, as in 2026-11-22T10:00:00Z";
    let bytes = text.as_bytes();
    let literal = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let shaped =
        literal(4, b"-") && literal(7, b"-") && literal(10, b"Tt") && literal(13, b":") && literal(16, b":");
    let date = (number(text, 0, 4), number(text, 5, 2), number(text, 8, 2));
    let time = (number(text, 11, 2), number(text, 14, 2), number(text, 17, 2));
    let (true, (Some(year), Some(month), Some(day)), (Some(hour), Some(minute), Some(second))) =
        (shaped, date, time)
    else {
        return Err(SHAPE);
    };
    let date = Date::new(year, month, day).map_err(|_| "has a date that does not exist")?;
    let time = Time::new(hour, minute, second, 0).map_err(|_| "has a time of day that does not exist")?;

    let mut at = 19;
    let mut ms = 0;
    if literal(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(SHAPE);
        }
        for place in 0..3 {
            let digit = if place < digits { i128::from(bytes[at + 1 + place] - b'0') } else { 0 };
            ms = ms * 10 + digit;
        }
        at += 1 + digits;
    }

    let offset_minutes = if literal(at, b"Zz") {
        at += 1;
        0
    } else if literal(at, b"+-") && literal(at + 3, b":") {
        let offset = (number::<i128>(text, at + 1, 2), number::<i128>(text, at + 4, 2));
        let (Some(hours), Some(minutes)) = offset else { return Err(SHAPE) };
        if hours > 23 || minutes > 59 {
            return Err("has an offset that does not exist");
        }
        let sign = if bytes[at] == b'-' { -1 } else { 1 };
        at += 6;
        sign * (hours * 60 + minutes)
    } else {
        return Err("has no offset: end it with Z or +01:00");
    };
    if at != bytes.len() {
        return Err(SHAPE);
    }

    let written = DateTime::from_parts(date, time).duration_since(EPOCH);
    let total = written.as_millis() + ms - offset_minutes * 60_000;
    match u64::try_from(total) {
        Ok(total) if total <= MS_MAX => Ok(total),
        Ok(_) => Err("is after the year 9999"),
        Err(_) => Err("is before 1970"),
    }
}

/// RFC 3339 text in UTC, with milliseconds only where there are any. Beyond
/// [`MS_MAX`] it is the last moment of the year 9999.
pub fn format_ms(ms: u64) -> String {
    let ms = i64::try_from(ms.min(MS_MAX)).expect("MS_MAX fits");
    let since = SignedDuration::from_millis(ms);
    let moment = EPOCH.checked_add(since).expect("MS_MAX is the last that a DateTime holds");
    match ms % 1_000 {
        0 => format!("{moment:.0}Z"),
        _ => format!("{moment:.3}Z"),
    }
}

/// The number that these digits of `text` are, if all of them are digits.
fn number<N: FromStr>(text: &str, at: usize, digits: usize) -> Option<N> {
    let part = text.get(at..at + digits)?;
    // Parsing alone would take a sign too.
    if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_read() {
        assert_eq!(parse_ms("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(parse_ms("2000-02-29T12:34:56Z"), Ok(951_827_696_000));
        assert_eq!(parse_ms("2026-11-22T10:00:00.5+01:00"), Ok(1_795_338_000_500));
        assert_eq!(parse_ms("2026-11-22t09:00:00.500999z"), Ok(1_795_338_000_500));
        assert_eq!(parse_ms("9999-12-31T23:59:59.999Z"), Ok(MS_MAX));
    }

    #[test]
    fn milliseconds_are_written_where_there_are_any() {
        assert_eq!(format_ms(951_827_696_000), "2000-02-29T12:34:56Z");
        assert_eq!(format_ms(951_827_696_050), "2000-02-29T12:34:56.050Z");
        assert_eq!(format_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_not_a_moment_is_refused_with_the_reason() {
        let shape = "is not RFC 3339, as in 2026-11-22T10:00:00Z";
        for (text, reason) in [
            ("", shape),
            ("2026-11-22", shape),
            ("2026-11-22 10:00:00Z", shape),
            ("2026-11-22T10:00:00.Z", shape),
            ("2026-11-22T10:00:00Zjunk", shape),
            ("2026-11-22T10:00:00", "has no offset: end it with Z or +01:00"),
            ("2026-11-22T10:00:00.1", "has no offset: end it with Z or +01:00"),
            ("2026-02-29T10:00:00Z", "has a date that does not exist"),
            ("2026-13-01T10:00:00Z", "has a date that does not exist"),
            ("2026-11-22T24:00:00Z", "has a time of day that does not exist"),
            ("2016-12-31T23:59:60Z", "has a time of day that does not exist"),
            ("2026-11-22T10:00:00+24:00", "has an offset that does not exist"),
            ("1969-12-31T23:59:59Z", "is before 1970"),
            ("9999-12-31T23:59:59-01:00", "is after the year 9999"),
        ] {
            assert_eq!(parse_ms(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0..=MS_MAX) {
            prop_assert_eq!(parse_ms(&format_ms(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", nearly in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Zé-]{0,20}") {
            let _ = parse_ms(&text);
            let _ = parse_ms(&nearly);
        }
    }
}
