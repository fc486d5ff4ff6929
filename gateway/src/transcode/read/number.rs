//! Numbers as JSON writes them, exactly.

/// What a number is as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// This one; `-0` is none below zero.
    Exact { negative: bool, magnitude: u64 },
    /// One of more than 64 bits.
    Beyond,
    /// None: it has a fraction.
    Fraction,
}

/// Reads a number that follows JSON's grammar. `5.0` and `1e3` are integers in proto3 JSON.
#[inline]
pub(super) fn whole(text: &str) -> Whole {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut magnitude = 0_u64;
    // Nineteen digits always fit.
    if digits.len() > 19 {
        return decimal(negative, digits);
    }
    for digit in digits {
        if !digit.is_ascii_digit() {
            return decimal(negative, digits);
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    Whole::Exact { negative, magnitude }
}

/// A number that is digits alone, as JSON has it: without zeros before it. Up to 18, which always fit.
#[inline]
pub(super) fn plain_digits(text: &[u8]) -> Option<u64> {
    if text.len() > 18 || (text.len() > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    let (mut value, mut rest) = (0, text);
    while let Some((eight, after)) = rest.split_first_chunk() {
        value = value * 100_000_000 + eight_digits(u64::from_le_bytes(*eight))?;
        rest = after;
    }
    for digit in rest {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    (!text.is_empty()).then_some(value)
}

/// What eight digits stand for, the first in the lowest byte: pairs of them, of those, of those.
#[inline]
fn eight_digits(digits: u64) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let values = digits.wrapping_sub(ZEROS);
    // What is below `0` borrows and has high bits; what is above `9` has them six further on.
    if (values | values.wrapping_add(0x0606_0606_0606_0606)) & HIGH != 0 {
        return None;
    }
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// A number of many digits, or with a fraction or an exponent.
fn decimal(negative: bool, text: &[u8]) -> Whole {
    let split = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(split);
    let before = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    // Digits that count, and how many of them stand before the decimal point.
    let mut digits: Vec<u8> = mantissa.iter().filter(|byte| **byte != b'.').copied().collect();
    let mut point = exponent_of(exponent).saturating_add(before as i64);
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..leading);
    point = point.saturating_sub(leading as i64);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        return Whole::Exact { negative, magnitude: 0 };
    }
    if (digits.len() as i64) > point {
        return Whole::Fraction;
    }
    if point > 20 {
        return Whole::Beyond;
    }
    digits.resize(point as usize, b'0');
    let step = |value: u128, digit: &u8| value * 10 + u128::from(digit - b'0');
    match u64::try_from(digits.iter().fold(0, step)) {
        Ok(magnitude) => Whole::Exact { negative, magnitude },
        Err(_) => Whole::Beyond,
    }
}

/// The exponent of `e-5`; far beyond all numbers where it has too many digits itself.
fn exponent_of(text: &[u8]) -> i64 {
    const FAR: i64 = 1_000_000_000_000;
    let digits = text.get(1..).unwrap_or_default();
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let step = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(FAR);
    let exponent = digits.iter().fold(0, step);
    if negative { -exponent } else { exponent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_and_nothing_else_is() {
        for length in 1..=18 {
            let text: Vec<u8> = b"918273645".iter().copied().cycle().take(length).collect();
            let value = String::from_utf8_lossy(&text).parse().ok();
            assert_eq!(plain_digits(&text), value);
            for place in 0..length {
                for other in 0..=u8::MAX {
                    let mut text = text.clone();
                    if let Some(byte) = text.get_mut(place) {
                        *byte = other;
                    }
                    let digits = text.iter().all(u8::is_ascii_digit);
                    let led = length > 1 && text.first() == Some(&b'0');
                    assert_eq!(plain_digits(&text).is_some(), digits && !led, "{text:?}");
                }
            }
        }
        assert_eq!(plain_digits(b"0"), Some(0));
        assert_eq!(plain_digits(b""), None);
        assert_eq!(plain_digits(b"1234567890123456789"), None);
    }

    #[test]
    fn integers_are_exact_in_every_notation() {
        let exact = |negative, magnitude| Whole::Exact { negative, magnitude };
        let rows = [
            ("0", exact(false, 0)),
            ("-0", exact(true, 0)),
            ("0.000e-999999999999999999999", exact(false, 0)),
            ("9223372036854775808", exact(false, 1 << 63)),
            ("18446744073709551615", exact(false, u64::MAX)),
            ("18446744073709551615.000", exact(false, u64::MAX)),
            ("1844674407370955161.5e1", exact(false, u64::MAX)),
            ("18446744073709551616", Whole::Beyond),
            ("1e5", exact(false, 100_000)),
            ("-2.147483648e9", exact(true, 1 << 31)),
            ("0.5e1", exact(false, 5)),
            ("500e-2", exact(false, 5)),
            ("0.5", Whole::Fraction),
            ("1e-1", Whole::Fraction),
            ("9007199254740993.5", Whole::Fraction),
            ("1e536870000", Whole::Beyond),
            ("1e99999999999999999999999", Whole::Beyond),
            ("1e-99999999999999999999999", Whole::Fraction),
        ];
        for (text, wanted) in rows {
            assert_eq!(whole(text), wanted, "{text}");
        }
    }
}
