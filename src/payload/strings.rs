//! The strings of a JSON text as `serde_json` writes it, for a point's tags and resources: cut out where they stand, and
//! unescaped only where there is a backslash. Any text is read without a panic; nothing is told of what is no JSON.

use memchr::{memchr, memchr2};

/// A string between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoted<'t> {
    Plain(&'t str),
    /// With backslashes.
    Escaped(&'t str),
}

/// Cuts the next string off, and whatever stands before it.
pub(super) fn next<'t>(rest: &mut &'t str) -> Option<Quoted<'t>> {
    let start = memchr(b'"', rest.as_bytes())? + 1;
    let mut escaped = false;
    let mut end = start;
    loop {
        let bytes = rest.as_bytes().get(end..)?;
        end += memchr2(b'"', b'\\', bytes)?;
        if rest.as_bytes().get(end) == Some(&b'"') {
            break;
        }
        escaped = true;
        end += 2;
    }
    let text = rest.get(start..end)?;
    *rest = rest.get(end + 1..)?;
    Some(if escaped { Quoted::Escaped(text) } else { Quoted::Plain(text) })
}

impl<'t> Quoted<'t> {
    /// What the string says; put together in `scratch` if it has to be.
    pub(super) fn text<'s>(self, scratch: &'s mut String) -> &'s str
    where
        't: 's,
    {
        match self {
            Self::Plain(text) => text,
            Self::Escaped(text) => {
                scratch.clear();
                unescape(scratch, text);
                scratch
            }
        }
    }
}

fn unescape(out: &mut String, mut rest: &str) {
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escaped.chars();
        let char = match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (hex, after) = chars.as_str().split_at_checked(4).unwrap_or_default();
                chars = after.chars();
                // Only control characters are written like this, and no halves of others.
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(other) => other,
            None => char::REPLACEMENT_CHARACTER,
        };
        out.push(char);
        rest = chars.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Quoted, next};
    use crate::payload::points::json_tags;

    fn all(mut rest: &str) -> Vec<String> {
        let mut scratch = String::new();
        let strings = std::iter::from_fn(|| Some(next(&mut rest)?.text(&mut scratch).to_owned()));
        strings.collect()
    }

    #[test]
    fn strings_are_cut_where_they_stand() {
        let mut rest = r#"{"name":"a\"b","type":"device"}"#;
        let found: Vec<Quoted<'_>> = std::iter::from_fn(|| next(&mut rest)).collect();
        assert_eq!(
            found,
            [Quoted::Plain("name"), Quoted::Escaped(r#"a\"b"#), Quoted::Plain("type"), Quoted::Plain("device")]
        );
        assert_eq!(rest, "}");
        assert_eq!(all(r#""","\u0001\\""#), ["", "\u{1}\\"]);
    }

    proptest! {
        #[test]
        fn what_was_quoted_comes_back(tags in prop::collection::vec(any::<String>(), 0..6)) {
            prop_assert_eq!(all(&json_tags(&tags)), tags.into_iter().filter(|tag| !tag.starts_with("device:")).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_read(text in r#"[\\"uabn0é,]{0,40}"#) {
            all(&text);
        }
    }
}
