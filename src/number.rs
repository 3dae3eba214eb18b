//! Numbers as text, in the three spellings this product needs. All are the shortest digits that read back.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Write;

/// A number's text, of which the longest in exponent form has 24 bytes.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Digits and exponent of `d.ddd × 10^exponent`, sign apart.
struct Scientific {
    negative: bool,
    digits: Text,
    exponent: i32,
}

impl Scientific {
    fn digits(&self) -> &str {
        std::str::from_utf8(&self.digits.bytes[..self.digits.length]).unwrap_or_default()
    }
}

fn scientific(value: f64) -> Scientific {
    let mut text = Text::default();
    write!(text, "{value:e}").expect("it is long enough");
    let text = std::str::from_utf8(&text.bytes[..text.length]).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut digits = Text::default();
    for part in mantissa.trim_start_matches('-').split('.') {
        digits.write_str(part).expect("it is long enough");
    }
    Scientific { negative: mantissa.starts_with('-'), digits, exponent: exponent.parse().unwrap_or(0) }
}

/// A whole number below `limit` in its digits; nothing of any other, and not of -0.
fn whole(out: &mut String, value: f64, limit: f64) -> bool {
    let whole = value.abs() < limit && value.trunc() == value && !(value == 0.0 && value.is_sign_negative());
    if whole {
        write!(out, "{}", value as i64).expect("writing to a string cannot fail");
    }
    whole
}

/// Writes digits with the point placed, no exponent: `15`, `1.5`, `0.0015`.
fn positional(out: &mut String, digits: &str, exponent: i32) {
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
        out.push_str(digits);
        return;
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    if digits.len() <= whole {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        let (left, right) = digits.split_at(whole);
        out.push_str(left);
        out.push('.');
        out.push_str(right);
    }
}

/// Writes `d.ddde±XX`, at least two exponent digits.
fn exponential(out: &mut String, digits: &str, exponent: i32) {
    let (first, rest) = digits.split_at(1);
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("writing to a string cannot fail");
}

/// As client_golang writes sample values and `le`, Go's `AppendFloat(v, 'g', -1, 64)`: exponent form below 1e-4 and
/// from 1e+06 up; `NaN`, `+Inf`, `-Inf`.
pub fn go(out: &mut String, value: f64) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    if !whole(out, value, 1e6) {
        shortest(out, value, -4, 6);
    }
}

/// As the Agent writes the bound of a bucket or a quantile, Python's float text with zero as `0`: `1.0`, `0.005`,
/// `1e-05`, `1e+16`, `inf`, `nan`.
pub fn bound(out: &mut String, value: f64) {
    if value == 0.0 {
        return out.push('0');
    }
    if value.is_nan() {
        return out.push_str("nan");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "inf" } else { "-inf" });
    }
    let start = out.len();
    shortest(out, value, -4, 16);
    if !out[start..].contains(['.', 'e']) {
        out.push_str(".0");
    }
}

/// As JSON, whole numbers without `.0`. The value must be finite.
pub fn json(out: &mut String, value: f64) {
    debug_assert!(value.is_finite(), "JSON has no NaN and no infinity");
    // Up to here whole numbers are exact.
    if !whole(out, value, 9_007_199_254_740_992.0) {
        shortest(out, value, -7, 17);
    }
}

/// Exponent form when the exponent is below `low` or at least `high`.
fn shortest(out: &mut String, value: f64, low: i32, high: i32) {
    let parts = scientific(value);
    if parts.negative {
        out.push('-');
    }
    if parts.exponent < low || parts.exponent >= high {
        exponential(out, parts.digits(), parts.exponent);
    } else {
        positional(out, parts.digits(), parts.exponent);
    }
}

#[cfg(test)]
mod tests {
    use super::{bound, go, json};

    fn text(write: fn(&mut String, f64), value: f64) -> String {
        let mut out = String::new();
        write(&mut out, value);
        out
    }

    #[test]
    fn bounds_are_spelled_as_the_agent_spells_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.005, "0.005"),
            (0.5, "0.5"),
            (1.0, "1.0"),
            (10.0, "10.0"),
            (1e6, "1000000.0"),
            (123_456_789.0, "123456789.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e-5, "1e-05"),
            (-1.0, "-1.0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
            (9.999_999_999_999_999e-5, "9.999999999999999e-05"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(bound, value), expected);
        }
    }

    #[test]
    fn values_are_spelled_as_client_golang_spells_them() {
        let cases = [
            (0.0, "0"),
            (41.0, "41"),
            (447_234.0, "447234"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (74_423_624.0, "7.4423624e+07"),
            (0.000_153_828, "0.000153828"),
            (4.3965e-5, "4.3965e-05"),
            (107_584.125_613_542_78, "107584.12561354278"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (1.844_674_407_370_955_2e19, "1.8446744073709552e+19"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(go, value), expected);
        }
    }

    #[test]
    fn whole_numbers_are_spelled_alike_by_both_ways() {
        for value in
            [1.0, -1.0, 7.0, 999_999.0, -999_999.0, 1e6, 123_456_789_012.0, 9_007_199_254_740_991.0, 1e15, 4e16]
        {
            let (mut long, mut short) = (String::new(), String::new());
            super::shortest(&mut long, value, -7, 17);
            json(&mut short, value);
            assert_eq!(short, long);
            let (mut long, mut short) = (String::new(), String::new());
            super::shortest(&mut long, value, -4, 6);
            go(&mut short, value);
            assert_eq!(short, long);
        }
        assert_eq!((text(json, -0.0), text(go, -0.0)), ("-0".to_owned(), "-0".to_owned()));
    }

    #[test]
    fn json_numbers_read_back_to_the_same_bits() {
        for value in [0.0, -0.0, 1.0, 1e300, 5e-324, 0.1, 1.0 / 3.0, 9_007_199_254_740_993.0, 1e17, 1.7954612e9] {
            let written = text(json, value);
            assert_eq!(written.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{written}");
        }
        assert_eq!(text(json, 15.0), "15");
    }
}
