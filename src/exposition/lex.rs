//! One line of text format 0.0.4 at a time, borrowed from the document, nothing allocated.
//!
//! Accepted beyond the letter of the format: no final newline, `\r\n`, blanks around every token, repeated metadata,
//! undefined escapes (kept as they are), negative timestamps, type words in any case, quoted UTF-8 names. Refused, at
//! the cost of that line: a missing comma, a label without value, an empty or invalid name, invalid UTF-8, a sign on
//! NaN, a value beyond f64, hexadecimal or `_` in numbers, a fractional timestamp, a third number. Duplicate label
//! names are found by [`super::series`], which needs to run once for each new key only.

use memchr::{memchr, memchr2};

use crate::exposition::decimal::decimal;
use crate::exposition::family::FamilyType;
use crate::exposition::plain;

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
        Some(_) => match plain::sample(text) {
            Some(sample) => Ok(Line::Sample(sample)),
            None => sample(line, text).map(Line::Sample),
        },
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
#[inline]
pub(super) fn name_length(text: &[u8], colon: bool) -> usize {
    if text.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    let mut rest = text;
    // Metric names are long. No branch for each byte, so that the compiler makes vectors of a block.
    while colon && let Some((block, after)) = rest.split_first_chunk::<16>() {
        let fits =
            |byte: u8| (byte | 0x20).is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'_') | (byte == b':');
        if !block.iter().fold(true, |all, byte| all & fits(*byte)) {
            break;
        }
        rest = after;
    }
    let fits = |byte: &u8| NAME_BYTES.get(usize::from(*byte)) == Some(&true) || (colon && *byte == b':');
    text.len() - rest.len() + rest.iter().position(|byte| !fits(byte)).unwrap_or(rest.len())
}

/// Bytes of label names.
#[expect(clippy::indexing_slicing, reason = "the compiler does it")]
const NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut all: &[u8] = b"_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while let [byte, rest @ ..] = all {
        bytes[*byte as usize] = true;
        all = rest;
    }
    bytes
};

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

pub(super) fn sample<'a>(line: &'a [u8], text: &'a [u8]) -> Result<Sample<'a>, LineError> {
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
#[inline]
pub(super) fn numbers(text: &[u8]) -> Result<(f64, Option<i64>), Wrong<'_>> {
    let (value, after) = match decimal(text) {
        Some((value, after)) if after.first().is_none_or(|byte| is_blank(*byte)) => (value, after),
        Some(_) | None => {
            let (value_text, after) = token(text);
            (float(value_text).map_err(|reason| (value_text, reason))?, after)
        }
    };
    let after = trim_start(after);
    if after.is_empty() {
        return Ok((value, None));
    }
    let (stamp_text, after) = token(after);
    let timestamp = timestamp(stamp_text).ok_or((stamp_text, Reason::Timestamp))?;
    let after = trim_start(after);
    if after.is_empty() { Ok((value, Some(timestamp))) } else { Err((after, Reason::Trailing)) }
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
    if let Some((value, [b'\n', rest @ ..])) = decimal(number) {
        return Some((value, rest));
    }
    let end = memchr(b'\n', number)?;
    Some((float(number.get(..end)?).ok()?, number.get(end + 1..)?))
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

    use super::{name_length, plain_value_after};

    #[test]
    fn a_number_after_a_known_key_is_read_and_nothing_less_plain() {
        let odd = b"a{} +Inf\nb";
        assert_eq!(plain_value_after(b"a{}", odd), Some((f64::INFINITY, &b"b"[..])));
        assert_eq!(plain_value_after(b"a", b"a{x=\"1\"} 5\n"), None);
        assert_eq!(plain_value_after(b"a", b"a  5\n"), None);
        assert_eq!(plain_value_after(b"a", b"a 5 1395066363000\n"), None);
        assert_eq!(plain_value_after(b"a", b"a 5"), None);
    }

    proptest! {
        #[test]
        fn a_name_ends_before_the_first_byte_that_does_not_fit(
            text in "[a-zA-Z0-9_:]{0,20}[/;@\\[^`{é]?[a-zA-Z0-9_:]{0,40}",
            colon: bool,
        ) {
            let fits = |at: usize, byte: u8| {
                byte.is_ascii_alphabetic()
                    || byte == b'_'
                    || (colon && byte == b':')
                    || (at > 0 && byte.is_ascii_digit())
            };
            let length = text.bytes().enumerate().take_while(|(at, byte)| fits(*at, *byte)).count();
            prop_assert_eq!(name_length(text.as_bytes(), colon), length);
        }
    }
}
