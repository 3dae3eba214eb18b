//! A sample's key decoded: its name and labels. Runs once for each new key, since equal bytes are the same series.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::exposition::lex::{LineError, Reason, string_end};

/// Names and values, unescaped.
pub type Labels<'a> = [(Cow<'a, str>, Cow<'a, str>)];

/// A name and its labels, in the order written, unescaped, empty values included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series<'a> {
    pub name: Cow<'a, str>,
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Decodes a key that [`super::lex::line`] has accepted.
///
/// # Errors
/// A label name that appears twice, or `__name__` as a label.
pub fn decode(key: &[u8]) -> Result<Series<'_>, LineError> {
    let whole = key;
    let fail = |part: &str, reason| LineError { at: (part.as_ptr() as usize) - (whole.as_ptr() as usize), reason };
    let key = std::str::from_utf8(key).map_err(|_| LineError { at: 0, reason: Reason::Utf8 })?;
    let Some(open) = memchr(b'{', key.as_bytes()) else {
        return Ok(Series { name: Cow::Borrowed(trim(key)), labels: Vec::new() });
    };
    let before = trim(&key[..open]);
    let mut name = (!before.is_empty()).then_some(Cow::Borrowed(before));
    let mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(8);
    let mut rest = &key[open + 1..];
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() || rest.starts_with('}') {
            break;
        }
        let start = rest;
        let open = || fail(start, Reason::OpenString);
        let (label, after) = if rest.starts_with('"') {
            string(rest).ok_or_else(open)?
        } else {
            let end = rest.bytes().position(|byte| matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(rest.len());
            (Cow::Borrowed(&rest[..end]), &rest[end..])
        };
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            name = Some(label);
            rest = after;
            continue;
        };
        let (value, after) = string(value.trim_start_matches([' ', '\t'])).ok_or_else(open)?;
        if label == "__name__" {
            return Err(fail(start, Reason::NameLabel));
        }
        if labels.iter().any(|(known, _)| *known == label) {
            return Err(fail(start, Reason::DuplicateLabel));
        }
        labels.push((label, value));
        rest = after;
    }
    match name {
        Some(name) => Ok(Series { name, labels }),
        None => Err(LineError { at: 0, reason: Reason::NoName }),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Decodes a name of a `HELP` or `TYPE` line, quoted or not.
#[must_use]
pub fn decode_name(name: &[u8]) -> Option<Cow<'_, str>> {
    let name = std::str::from_utf8(name).ok()?;
    if name.starts_with('"') { string(name).map(|(name, _)| name) } else { Some(Cow::Borrowed(name)) }
}

/// Undoes the escapes of a help text: `\\` and `\n`; any other backslash stays.
#[must_use]
pub fn decode_help(text: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(text) => unescape(text, false),
        Cow::Owned(text) => unescape(&text, false).into_owned().into(),
    }
}

/// Cuts a quoted string off: its text unescaped, and what follows.
fn string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inside = text.strip_prefix('"')?;
    let end = memchr2(b'"', b'\\', inside.as_bytes())?;
    // Most have no escape.
    if inside.as_bytes().get(end) == Some(&b'"') {
        return Some((Cow::Borrowed(inside.get(..end)?), inside.get(end + 1..)?));
    }
    let end = string_end(text.as_bytes())?;
    let (quoted, rest) = text.split_at_checked(end)?;
    Some((unescape(quoted.get(1..end - 1)?, true), rest))
}

fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if quotes => out.push('"'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
