//! One line of text format 0.0.4 at a time, borrowed from the document, nothing allocated.
//!
//! Accepted beyond the letter of the format: no final newline, `\r\n`, blanks around every token, repeated metadata,
//! undefined escapes (kept as they are), negative timestamps, type words in any case, quoted UTF-8 names. Refused, at
//! the cost of that line: a missing comma, a label without value, an empty or invalid name, invalid UTF-8, a sign on
//! NaN, a value beyond f64, hexadecimal or `_` in numbers, a fractional timestamp, a third number. Duplicate label
//! names are found by [`super::series`], which needs to run once for each new key only.

use memchr::{memchr, memchr2};

use crate::exposition::family::FamilyType;

/// Why a line was refused, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LineError {
    /// Byte offset in the line, from 0.
    pub at: usize,
    pub reason: Reason,
}

/// What is wrong with a line. The text says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    #[error("expected a metric name")]
    Name,
    #[error("expected a label name")]
    LabelName,
    #[error("expected `=` after the label name")]
    Equals,
    #[error("expected a label value in double quotes")]
    LabelValue,
    #[error("label value is not closed by `\"`")]
    OpenString,
    #[error("expected `,` or `}}` after a label")]
    Comma,
    #[error("labels are not closed by `}}`")]
    OpenLabels,
    #[error("a second metric name in the braces")]
    SecondName,
    #[error("no metric name: neither before nor in the braces")]
    NoName,
    #[error("label name appears twice")]
    DuplicateLabel,
    #[error("`__name__` may not be a label")]
    NameLabel,
    #[error("not valid UTF-8")]
    Utf8,
    #[error("expected a value: a decimal number, NaN, +Inf or -Inf")]
    Value,
    #[error("value does not fit a 64-bit float")]
    ValueRange,
    #[error("expected a timestamp: whole milliseconds since 1970")]
    Timestamp,
    #[error("text after the timestamp")]
    Trailing,
    #[error("expected a type: counter, gauge, histogram, summary or untyped")]
    Type,
}

impl Reason {
    /// A short name for counting.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::LabelName => "label_name",
            Self::Equals => "equals",
            Self::LabelValue => "label_value",
            Self::OpenString => "open_string",
            Self::Comma => "comma",
            Self::OpenLabels => "open_labels",
            Self::SecondName => "second_name",
            Self::NoName => "no_name",
            Self::DuplicateLabel => "duplicate_label",
            Self::NameLabel => "name_label",
            Self::Utf8 => "utf8",
            Self::Value => "value",
            Self::ValueRange => "value_range",
            Self::Timestamp => "timestamp",
            Self::Trailing => "trailing",
            Self::Type => "type",
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    /// `# HELP`: the name, still quoted if it was, and the text with its escapes.
    Help {
        name: &'a [u8],
        text: &'a [u8],
    },
    /// `# TYPE`.
    Type {
        name: &'a [u8],
        kind: FamilyType,
    },
    Sample(Sample<'a>),
}

/// A sample line, checked but not decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Everything before the value, blanks at its end cut: equal bytes are the same series. Decoded by
    /// [`super::series::decode`].
    pub key: &'a [u8],
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// Cuts the next line off `rest`: the line without its end, and what follows. `None` at the end of the document.
#[must_use]
pub fn cut_line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if rest.is_empty() {
        return None;
    }
    let (line, rest) = match memchr(b'\n', rest) {
        Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
        None => (rest, Default::default()),
    };
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// Reads one line, given without its end.
///
/// # Errors
/// What is wrong and where; the caller counts it and goes on with the next line.
pub fn line(line: &[u8]) -> Result<Line<'_>, LineError> {
    let text = trim(line);
    match text.first() {
        None => Ok(Line::Nothing),
        Some(b'#') => metadata(line, text),
        Some(_) => sample(line, text).map(Line::Sample),
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_blank(*first) {
            break;
        }
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text {
        if !is_blank(*last) {
            break;
        }
        text = rest;
    }
    text
}

fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Cuts a token that ends at a blank.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr2(b' ', b'\t', text).unwrap_or(text.len()))
}

/// Where `part`, a tail or middle of `whole`, begins in it.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn metadata<'a>(line: &'a [u8], text: &'a [u8]) -> Result<Line<'a>, LineError> {
    let after_hash = text.get(1..).unwrap_or_default();
    let (word, rest) = token(trim_start(after_hash));
    if after_hash.first().is_none_or(|byte| !is_blank(*byte)) || (word != b"HELP" && word != b"TYPE") {
        return Ok(Line::Nothing);
    }
    let rest = trim_start(rest);
    if rest.is_empty() {
        return Ok(Line::Nothing);
    }
    let fail = |at: &[u8], reason| LineError { at: offset(line, at), reason };
    let (name, rest) = match rest.first() {
        Some(b'"') => {
            let end = string_end(rest).ok_or_else(|| fail(rest, Reason::OpenString))?;
            rest.split_at(end)
        }
        Some(_) | None => token(rest),
    };
    if !is_quoted_name(name) && !is_name(name) {
        return Err(fail(name, Reason::Name));
    }
    if std::str::from_utf8(name).is_err() {
        return Err(fail(name, Reason::Utf8));
    }
    let text = trim_start(rest);
    if word == b"HELP" {
        if std::str::from_utf8(text).is_err() {
            return Err(fail(text, Reason::Utf8));
        }
        return Ok(Line::Help { name, text });
    }
    match FamilyType::parse(text) {
        Some(kind) => Ok(Line::Type { name, kind }),
        None => Err(fail(text, Reason::Type)),
    }
}

fn is_quoted_name(name: &[u8]) -> bool {
    name.len() > 2 && name.first() == Some(&b'"')
}

/// Whether `[a-zA-Z_:][a-zA-Z0-9_:]*` matches.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name_length(name, true) == name.len()
}

/// How many bytes at the start make an unquoted name; label names take no colon.
fn name_length(text: &[u8], colon: bool) -> usize {
    let mut length = 0;
    for &byte in text {
        let fits = byte.is_ascii_alphabetic()
            || byte == b'_'
            || (colon && byte == b':')
            || (length > 0 && byte.is_ascii_digit());
        if !fits {
            break;
        }
        length += 1;
    }
    length
}

/// The length of a quoted string at the start of `text`, both quotes included; `None` if it is not closed.
#[must_use]
pub fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let step = memchr2(b'"', b'\\', text.get(at..)?)?;
        at += step;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn sample<'a>(line: &'a [u8], text: &'a [u8]) -> Result<Sample<'a>, LineError> {
    let fail = |at: &[u8], reason| LineError { at: offset(line, at), reason };
    let length = name_length(text, true);
    let mut rest = text.get(length..).unwrap_or_default();
    let blanks = trim_start(rest);
    if blanks.first() == Some(&b'{') {
        rest = labels(blanks.get(1..).unwrap_or_default(), length > 0)
            .map_err(|(at, reason)| LineError { at: offset(line, at), reason })?;
    } else if length == 0 {
        return Err(fail(text, Reason::Name));
    }
    let key = trim_end(text.get(..offset(text, rest)).unwrap_or_default());
    if std::str::from_utf8(key).is_err() {
        return Err(fail(key, Reason::Utf8));
    }
    // `a{}1` needs no blank before the value; `a1` would have been a name.
    let number = trim_start(rest);
    if blanks.first() != Some(&b'{') && number.len() == rest.len() {
        return Err(fail(number, Reason::Value));
    }
    let (value, timestamp) = numbers(number).map_err(|(at, reason)| fail(at, reason))?;
    Ok(Sample { key, value, timestamp })
}

/// What is wrong, and where it begins.
type Wrong<'a> = (&'a [u8], Reason);

/// Reads what stands after a key: a value, and perhaps a timestamp.
fn numbers(text: &[u8]) -> Result<(f64, Option<i64>), Wrong<'_>> {
    let (value_text, after) = token(text);
    let value = float(value_text).map_err(|reason| (value_text, reason))?;
    let (stamp_text, after) = token(trim_start(after));
    let timestamp =
        if stamp_text.is_empty() { None } else { Some(timestamp(stamp_text).ok_or((stamp_text, Reason::Timestamp))?) };
    let after = trim_start(after);
    if after.is_empty() { Ok((value, timestamp)) } else { Err((after, Reason::Trailing)) }
}

/// The value of a line, given without its end, that begins with a key that was read before; `None` if this line is to be
/// read as a whole.
#[must_use]
pub fn value_after(key: &[u8], line: &[u8]) -> Option<f64> {
    let rest = line.strip_prefix(key)?;
    is_blank(*rest.first()?).then(|| numbers(trim(rest)).ok()).flatten().map(|(value, _)| value)
}

/// The same for the plainest of lines, at the start of `text` and with its end: one blank and a number. Returns what
/// follows the line, too.
#[must_use]
pub fn plain_value_after<'t>(key: &[u8], text: &'t [u8]) -> Option<(f64, &'t [u8])> {
    let number = text.strip_prefix(key)?.strip_prefix(b" ")?;
    if let Some((value, b'\n', rest)) = decimal(number) {
        return Some((value, rest));
    }
    let end = memchr(b'\n', number)?;
    Some((float(number.get(..end)?).ok()?, number.get(end + 1..)?))
}

/// Powers of ten that an `f64` holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// An unsigned decimal number at the start of `text` whose digits are an exact integer and whose power of ten is exact too, so
/// that one rounding gives what [`float`] gives; also the byte that ends it, and what follows that. `None` for all else.
fn decimal(text: &[u8]) -> Option<(f64, u8, &[u8])> {
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
    Some((value, *text.get(at)?, text.get(at + 1..)?))
}

/// Checks what stands after `{`, up to and with `}`; returns what follows.
fn labels(mut rest: &[u8], mut named: bool) -> Result<&[u8], Wrong<'_>> {
    loop {
        rest = trim_start(rest);
        let quoted = match rest.first() {
            None => return Err((rest, Reason::OpenLabels)),
            Some(b'}') if named => return Ok(rest.get(1..).unwrap_or_default()),
            Some(b'}') => return Err((rest, Reason::NoName)),
            Some(b'"') => true,
            Some(_) => false,
        };
        let length =
            if quoted { string_end(rest).ok_or((rest, Reason::OpenString))? } else { name_length(rest, false) };
        if length == 0 || (quoted && length == 2) {
            return Err((rest, Reason::LabelName));
        }
        let after = trim_start(rest.get(length..).unwrap_or_default());
        if after.first() == Some(&b'=') {
            let value = trim_start(after.get(1..).unwrap_or_default());
            if value.first() != Some(&b'"') {
                return Err((value, Reason::LabelValue));
            }
            let end = string_end(value).ok_or((value, Reason::OpenString))?;
            rest = trim_start(value.get(end..).unwrap_or_default());
        } else if quoted && matches!(after.first(), Some(b',' | b'}')) {
            if named {
                return Err((rest, Reason::SecondName));
            }
            named = true;
            rest = after;
        } else {
            return Err((after, Reason::Equals));
        }
        match rest.first() {
            Some(b',') => rest = rest.get(1..).unwrap_or_default(),
            Some(b'}') => {}
            None => return Err((rest, Reason::OpenLabels)),
            Some(_) => return Err((rest, Reason::Comma)),
        }
    }
}

/// Reads a value as Go's `ParseFloat` does, less hexadecimal and digit separators.
///
/// # Errors
/// [`Reason::Value`] if it is no number, [`Reason::ValueRange`] if it is finite but beyond f64.
pub fn float(text: &[u8]) -> Result<f64, Reason> {
    let value: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Reason::Value)?;
    if value.is_finite() {
        return Ok(value);
    }
    let digits = text.iter().any(u8::is_ascii_digit);
    let signed_nan = value.is_nan() && !matches!(text.first(), Some(b'n' | b'N'));
    match (digits, signed_nan) {
        (true, _) => Err(Reason::ValueRange),
        (false, true) => Err(Reason::Value),
        (false, false) => Ok(value),
    }
}

fn timestamp(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decimal, float, plain_value_after};

    #[test]
    fn the_short_way_is_taken_for_what_exporters_write() {
        for text in ["0", "447234", "1.5", "0.000153828", "7.4423624e+07", "4.3965e-05", "1.7e+09", "999999999999999"] {
            let line = format!("{text}\nrest");
            let expected = float(text.as_bytes()).unwrap();
            assert_eq!(decimal(line.as_bytes()), Some((expected, b'\n', &b"rest"[..])), "{text}");
        }
        for text in
            ["-1", "+1", ".5", "5.", "1e9", "NaN", "1_0", "9007199254740993", "107584.12561354278", "1e+23", "1 2"]
        {
            assert!(!matches!(decimal(format!("{text}\n").as_bytes()), Some((_, b'\n', _))), "{text}");
        }
        let odd = b"a{} +Inf\nb";
        assert_eq!(plain_value_after(b"a{}", odd), Some((f64::INFINITY, &b"b"[..])));
        assert_eq!(plain_value_after(b"a", b"a{x=\"1\"} 5\n"), None);
        assert_eq!(plain_value_after(b"a", b"a  5\n"), None);
        assert_eq!(plain_value_after(b"a", b"a 5 1395066363000\n"), None);
        assert_eq!(plain_value_after(b"a", b"a 5"), None);
    }

    proptest! {
        #[test]
        fn the_short_way_gives_the_same_bits(text in "[0-9]{1,17}(\\.[0-9]{0,8})?(e[-+][0-9]{1,3})?") {
            let line = format!("{text}\n");
            if let Some((value, end, rest)) = decimal(line.as_bytes()) {
                prop_assert_eq!((end, rest.len()), (b'\n', 0));
                prop_assert_eq!(Ok(value.to_bits()), float(text.as_bytes()).map(f64::to_bits));
            }
        }
    }
}
