//! Moments as people write them: RFC 3339 text to milliseconds since 1970 and back.
//!
//! Ours, because two functions do not pay for a calendar library.

/// The last moment that can be written with a four-digit year, in ms since 1970.
pub const MS_MAX: u64 = 253_402_300_799_999;

/// A number below it is taken for seconds: so many milliseconds are a day in March 1973, so many
/// seconds the year 5138.
pub const SECONDS_BELOW: u64 = 100_000_000_000;

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 of an RFC 3339 text such as `2026-11-22T10:00:00Z` or
/// `2026-11-22T10:00:00.5+01:00`. Finer than a millisecond is cut off.
///
/// # Errors
/// What is wrong, as a fragment; moments before 1970 and leap seconds are refused.
pub fn parse_ms(text: &str) -> Result<u64, &'static str> {
    const SHAPE: &str = "is not RFC 3339, as in 2026-11-22T10:00:00Z";
    let bytes = text.as_bytes();
    let literal = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let number = |at: usize, digits: usize| -> Option<i64> {
        let part = bytes.get(at..at + digits)?;
        part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    };
    let shaped = literal(4, b"-")
        && literal(7, b"-")
        && literal(10, b"Tt")
        && literal(13, b":")
        && literal(16, b":")
        && bytes.len() >= 19;
    let parts = (number(0, 4), number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2));
    let (true, (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second))) =
        (shaped, parts)
    else {
        return Err(SHAPE);
    };
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return Err("has a date that does not exist");
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("has a time of day that does not exist");
    }

    let mut at = 19;
    let mut ms = 0;
    if literal(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(SHAPE);
        }
        for place in 0..3 {
            let digit = if place < digits { i64::from(bytes[at + 1 + place] - b'0') } else { 0 };
            ms = ms * 10 + digit;
        }
        at += 1 + digits;
    }

    let offset_minutes = if literal(at, b"Zz") {
        at += 1;
        0
    } else if literal(at, b"+-") && literal(at + 3, b":") {
        let (Some(hours), Some(minutes)) = (number(at + 1, 2), number(at + 4, 2)) else {
            return Err(SHAPE);
        };
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

    let seconds = hour * 3_600 + (minute - offset_minutes) * 60 + second;
    let total = days_since_1970(year, month, day) * DAY_MS + seconds * 1_000 + ms;
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
    let (year, month, day) = date(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let head = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match of_day % 1_000 {
        0 => head + "Z",
        fraction => format!("{head}.{fraction:03}Z"),
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil`: years start in March, so the leap day is last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse, `civil_from_days`.
fn date(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
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

        #[test]
        fn a_day_has_a_successor(days in 0..2_932_896i64) {
            let (year, month, day) = date(days);
            prop_assert_eq!(days_since_1970(year, month, day), days);
            let next = date(days + 1);
            let last_of_month = day == days_in(year, month);
            prop_assert!(next == (year, month, day + 1) || (last_of_month && next.2 == 1));
        }
    }
}
