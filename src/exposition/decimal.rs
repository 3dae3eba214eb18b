//! Numbers as exporters mostly write them, read without the general way's cost.

/// Powers of ten that an `f64` holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// An unsigned decimal number at the start of `text` whose digits are an exact integer and whose power of ten is exact too, so
/// that one rounding gives what [`super::lex::float`] gives; also what follows it. `None` for all else.
pub(super) fn decimal(text: &[u8]) -> Option<(f64, &[u8])> {
    /// So many digits are below 2^53.
    const DIGITS: usize = 15;
    let digits = |text: &[u8], mut number: u64| {
        let mut at = 0;
        while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        (number, at)
    };
    let (mut mantissa, whole) = digits(text, 0);
    let mut at = whole;
    let mut exponent = 0_i64;
    if whole > 0 && text.get(at) == Some(&b'.') {
        let (all, fraction) = digits(text.get(at + 1..)?, mantissa);
        mantissa = all;
        at += 1 + fraction;
        exponent = -i64::try_from(fraction).ok()?;
        if fraction == 0 {
            return None;
        }
    }
    if whole == 0 || at > DIGITS + 1 || (exponent == 0 && at > DIGITS) {
        return None;
    }
    if text.get(at) == Some(&b'e') {
        let sign = text.get(at + 1)?;
        let (power, length) = digits(text.get(at + 2..)?, 0);
        if !matches!(sign, b'+' | b'-') || length == 0 || length > 3 {
            return None;
        }
        let power = i64::try_from(power).ok()?;
        exponent += if *sign == b'-' { -power } else { power };
        at += 2 + length;
    }
    let ten = *TENS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
    let value = if exponent < 0 { mantissa as f64 / ten } else { mantissa as f64 * ten };
    Some((value, text.get(at..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decimal;
    use crate::exposition::lex::float;

    #[test]
    fn the_short_way_is_taken_for_what_exporters_write() {
        for text in ["0", "447234", "1.5", "0.000153828", "7.4423624e+07", "4.3965e-05", "1.7e+09", "999999999999999"] {
            let line = format!("{text}\nrest");
            let expected = float(text.as_bytes()).unwrap();
            assert_eq!(decimal(text.as_bytes()), Some((expected, &b""[..])), "{text}");
            assert_eq!(decimal(line.as_bytes()), Some((expected, &b"\nrest"[..])), "{text}");
        }
        for text in
            ["-1", "+1", ".5", "5.", "1e9", "NaN", "1_0", "9007199254740993", "107584.12561354278", "1e+23", "1 2"]
        {
            assert!(!matches!(decimal(text.as_bytes()), Some((_, []))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_gives_the_same_bits(text in "[0-9]{1,17}(\\.[0-9]{0,8})?(e[-+][0-9]{1,3})?") {
            if let Some((value, rest)) = decimal(text.as_bytes()) {
                prop_assert!(rest.is_empty());
                prop_assert_eq!(Ok(value.to_bits()), float(text.as_bytes()).map(f64::to_bits));
            }
        }
    }
}
