//! Numbers as JSON has them. Eight digits are found at once, in the parts of one integer, and written into
//! the reply where they belong; the first ones without their zeros.

use super::text::Text;

/// Eight digits have values below this.
const EIGHT_DIGITS: u64 = 100_000_000;
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
/// Room for the longest number: 20 digits, a sign, quotes, and as much behind it as is written at once.
const ROOM: usize = 32;

impl Text {
    /// Appends an integer.
    #[inline]
    pub(super) fn integer(&mut self, value: i64) {
        self.fill(|room: &mut [u8; ROOM]| {
            let at = sign(room, 0, value < 0);
            digits(room, at, value.unsigned_abs())
        });
    }

    /// Appends an integer of 64 bits, which JSON has as a text.
    #[inline]
    pub(super) fn quoted_integer(&mut self, negative: bool, magnitude: u64) {
        self.fill(|room: &mut [u8; ROOM]| {
            let at = put(room, 0, [b'"']);
            let at = sign(room, at, negative);
            let at = digits(room, at, magnitude);
            put(room, at, [b'"'])
        });
    }

    /// Appends a number that has three decimals at most, and says whether it has.
    ///
    /// No shorter text stands for it: numbers of up to 15 digits differ from one another as `f64`, too.
    #[inline]
    pub(super) fn decimal(&mut self, value: f64) -> bool {
        let thousandths = value.abs() * 1e3;
        let whole = thousandths as u64;
        // What rounding made whole is not what was meant.
        if whole as f64 != thousandths || thousandths >= 1e15 || thousandths / 1e3 != value.abs() {
            return false;
        }
        self.fill(|room: &mut [u8; ROOM]| {
            let at = sign(room, 0, value.is_sign_negative());
            let at = digits(room, at, whole / 1_000);
            let fraction = three_digits((whole % 1_000) as u32);
            let at = put(room, at, [b'.', fraction[0], fraction[1], fraction[2]]);
            match fraction {
                [_, b'0', b'0'] => at - 2,
                [_, _, b'0'] => at - 1,
                _ => at,
            }
        });
        true
    }
}

pub(super) fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

pub(super) fn three_digits(number: u32) -> [u8; 3] {
    let [tens, ones] = two_digits(number % 100);
    [b'0' + (number / 100) as u8, tens, ones]
}

/// Writes bytes, and says where the next one goes.
#[inline(always)]
fn put<const N: usize>(room: &mut [u8; ROOM], at: usize, bytes: [u8; N]) -> usize {
    if let Some(place) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
    at + N
}

#[inline(always)]
fn sign(room: &mut [u8; ROOM], at: usize, negative: bool) -> usize {
    put(room, at, [b'-']);
    at + usize::from(negative)
}

#[inline(always)]
fn digits(room: &mut [u8; ROOM], at: usize, number: u64) -> usize {
    if number < EIGHT_DIGITS {
        return first_digits(room, at, number);
    }
    let (before, last) = (number / EIGHT_DIGITS, number % EIGHT_DIGITS);
    let at = if before < EIGHT_DIGITS {
        first_digits(room, at, before)
    } else {
        let at = first_digits(room, at, before / EIGHT_DIGITS);
        put(room, at, (eight_digits(before % EIGHT_DIGITS) + ZEROS).to_le_bytes())
    };
    put(room, at, (eight_digits(last) + ZEROS).to_le_bytes())
}

/// Writes up to eight digits, at least one, without zeros before them.
#[inline(always)]
fn first_digits(room: &mut [u8; ROOM], at: usize, number: u64) -> usize {
    let digits = eight_digits(number);
    let zeros = (digits | 1 << 56).trailing_zeros() & !7;
    put(room, at, ((digits + ZEROS) >> zeros).to_le_bytes()) - zeros as usize / 8
}

/// The digits of a number that has eight at most, a byte each, the first in the lowest: halves of four
/// digits, then pairs, then each. What divides by 100 and by 10 is exact below 10,000 and 100.
#[inline(always)]
fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        write(&mut text);
        String::from_utf8_lossy(&text.into_bytes()).into_owned()
    }

    /// Numbers of every length, beside powers of ten and two.
    fn numbers() -> impl Iterator<Item = u64> {
        let tens = (0..20).map(|digits| 10_u64.pow(digits));
        let twos = (0..64).map(|bits| 1_u64 << bits);
        let some = (1..2_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 64));
        let edges = tens.chain(twos).flat_map(|edge| [edge - 1, edge, edge + 1]);
        edges.chain(some).chain([0, u64::MAX])
    }

    #[test]
    fn integers_are_written_as_others_do() {
        for number in numbers().chain(0..20_000) {
            let signed = number as i64;
            assert_eq!(written(|text| text.integer(signed)), signed.to_string());
            let quoted = written(|text| text.quoted_integer(false, number));
            assert_eq!(quoted, format!("\"{number}\""));
            let quoted = written(|text| text.quoted_integer(true, number));
            assert_eq!(quoted, format!("\"-{number}\""));
        }
    }

    #[test]
    fn decimals_are_written_as_others_do_or_not_at_all() {
        let mut decimals = 0;
        let parts = numbers().flat_map(|number| {
            let value = number as f64;
            [value, value / 2.0, value / 10.0, value / 1e3, value / 7.0, f64::from_bits(number)]
        });
        for value in parts.flat_map(|value| [value, -value]).filter(|value| value.is_finite()) {
            let mut is_decimal = false;
            let text = written(|text| is_decimal = text.decimal(value));
            if is_decimal {
                decimals += 1;
                assert_eq!(serde_json::to_string(&value).ok(), Some(text), "{value:e}");
            } else {
                assert!(text.is_empty(), "{value:e}");
            }
        }
        assert!(decimals > 5_000, "{decimals}");
        for value in [0.0, -0.0, 0.001, 37.5, 999_999_999_999.999] {
            assert!(Text::default().decimal(value), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, 1e15, 0.000_1, 0.1 + 0.2, 5e-324] {
            assert!(!Text::default().decimal(value), "{value}");
        }
    }
}
