//! Times by RFC 3339 and durations in seconds, as proto3 JSON has them.

/// The seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const DAY: i64 = 86_400;
/// The longest duration in seconds: about 10,000 years.
const LONGEST: i64 = 315_576_000_000;

/// Seconds since 1970 and nanoseconds of a time such as `2026-01-31T12:00:00.5+01:00`.
pub(super) fn timestamp(text: &str) -> Option<(i64, i32)> {
    let text = text.as_bytes();
    let (date_time, rest) = text.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2] =
        date_time
    else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let month = number(&[*mo1, *mo2])?;
    let day = number(&[*d1, *d2])?;
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*mi1, *mi2])?);
    let second = number(&[*s1, *s2])?;
    let sound = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !sound {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let local = days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let seconds = local - offset(zone)?;
    TIMES.contains(&seconds).then_some((seconds, nanos))
}

/// Seconds and nanoseconds of a duration such as `-1.5s`.
pub(super) fn duration(text: &str) -> Option<(i64, i32)> {
    let (negative, text) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(whole)?;
    if !(1..=12).contains(&whole) {
        return None;
    }
    let (nanos, unit) = fraction(rest)?;
    let seconds = number(digits)?;
    let (sign, sign_of_nanos) = if negative { (-1, -1) } else { (1, 1) };
    let sound = unit == b"s" && seconds <= LONGEST;
    sound.then_some((sign * seconds, sign_of_nanos * nanos))
}

/// The nanoseconds of `.5`, which may be missing, and what follows them.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = text.split_at_checked(count)?;
    let scale = 10_i64.pow(9 - count as u32);
    Some(((number(digits)? * scale) as i32, rest))
}

/// How many seconds a zone is before UTC: `Z`, `+01:00`, `-11:30`.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" => return Some(0),
        [b'+', h1, h2, b':', m1, m2] => (1, number(&[*h1, *h2])?, number(&[*m1, *m2])?),
        [b'-', h1, h2, b':', m1, m2] => (-1, number(&[*h1, *h2])?, number(&[*m1, *m2])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A number of a few digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, counted from a first of March so that a leap
/// day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_chrono() {
        for text in [
            "0001-01-01T00:00:00Z",
            "1600-02-29T23:59:59.000000001Z",
            "1900-02-28T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00Z",
            "2000-02-29T12:34:56.7Z",
            "2026-11-21T10:13:05.577793+05:45",
            "2100-03-01T00:00:00-23:59",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            let known = chrono::DateTime::parse_from_rfc3339(text).unwrap();
            let wanted = (known.timestamp(), known.timestamp_subsec_nanos() as i32);
            assert_eq!(timestamp(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31t12:00:00Z",
            "2026-01-31T12:00:00z",
            "2026-01-31 12:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00ZZ",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+026-01-01T00:00:00Z",
            "\u{e9}26-01-01T00:00:00Z",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_with_a_fraction() {
        let rows = [
            ("0s", Some((0, 0))),
            ("1.5s", Some((1, 500_000_000))),
            ("-0.000000001s", Some((0, -1))),
            ("-1.500s", Some((-1, -500_000_000))),
            ("315576000000s", Some((LONGEST, 0))),
            ("-315576000000s", Some((-LONGEST, 0))),
            ("315576000000.999999999s", Some((LONGEST, 999_999_999))),
            ("315576000001s", None),
            ("99999999999999999999s", None),
            ("1", None),
            ("s", None),
            ("-s", None),
            (".5s", None),
            ("1.s", None),
            ("1.1234567890s", None),
            ("+1s", None),
            ("1 s", None),
            ("1s ", None),
            ("1e3s", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(duration(text), wanted, "{text}");
        }
    }
}
