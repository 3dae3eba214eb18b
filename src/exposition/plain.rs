//! The plainest of sample lines in one pass: `name{label="value",...}`, one blank and the numbers. All others, and every
//! error, are left to [`super::lex`], which reads the same of those that are read here.

use memchr::memchr;

use crate::exposition::lex::{Sample, name_length, numbers};

/// Reads a line, given without its end; `None` if it is not plain.
pub(super) fn sample(line: &[u8]) -> Option<Sample<'_>> {
    let after_name = name(line, true)?;
    let rest = match after_name.strip_prefix(b"{") {
        Some(inside) => labels(inside)?,
        None => after_name,
    };
    let number = rest.strip_prefix(b" ")?;
    let labels = after_name.get(..after_name.len() - rest.len())?;
    if !is_ascii(labels) && std::str::from_utf8(labels).is_err() {
        return None;
    }
    let key = line.get(..line.len() - rest.len())?;
    let (value, timestamp) = numbers(number).ok()?;
    Some(Sample { key, value, timestamp })
}

/// What follows a name.
fn name(text: &[u8], colon: bool) -> Option<&[u8]> {
    let length = name_length(text, colon);
    if length == 0 { None } else { text.get(length..) }
}

/// What follows `}` of labels, given without `{`.
fn labels(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let value = name(rest, false)?.strip_prefix(b"=\"")?;
        let (value, end) = value.split_at(quote(value)?);
        // Perhaps the quote is escaped.
        if value.last() == Some(&b'\\') {
            return None;
        }
        match end {
            [_, b',', after @ ..] => rest = after,
            [_, b'}', after @ ..] => return Some(after),
            _ => return None,
        }
    }
}

/// Where the first quote is. Many values are too short for a call to pay.
fn quote(text: &[u8]) -> Option<usize> {
    let holds = |start: &[u8; 8]| start.iter().fold(false, |any, byte| any | (*byte == b'"'));
    if text.first_chunk().is_some_and(holds) {
        return text.iter().position(|byte| *byte == b'"');
    }
    memchr(b'"', text)
}

/// Short texts pay less for this than for the function of the library.
fn is_ascii(text: &[u8]) -> bool {
    text.iter().fold(0, |all, byte| all | byte).is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sample;
    use crate::exposition::lex;

    /// Whether a line is read as plain; if so, as [`lex::sample`] reads it.
    fn is_plain(line: &[u8]) -> bool {
        let Some(found) = sample(line) else { return false };
        let expected = lex::sample(line, line).expect("what is plain is accepted");
        assert_eq!((found.key, found.timestamp), (expected.key, expected.timestamp));
        assert_eq!(found.value.to_bits(), expected.value.to_bits());
        true
    }

    #[test]
    fn the_short_way_is_taken_for_what_exporters_write() {
        for line in [
            "up 1",
            "a:b_c9 NaN",
            "kubevirt_rest_client_request_latency_seconds_bucket{url=\"https://h/%7Bname%7D\",le=\"+Inf\"} 1.5e-07",
            "a{b=\"\",c=\"x=y, {z}\"} -1 1395066363000",
            "a{b=\"C:\\\\dir\\n é\"} 5\t",
        ] {
            assert!(is_plain(line.as_bytes()), "{line}");
        }
        for line in [
            "9a 1",
            "a{} 1",
            "a {b=\"c\"} 1",
            "a{b=\"c\"}1",
            "a{b=\"c\",} 1",
            "a{b=\"say \\\"c\\\"\"} 1",
            "a{b=\"C:\\\\\"} 1",
            "a{b:c=\"d\"} 1",
            "{\"a\"} 1",
            "a 1 2 3",
        ] {
            assert!(!is_plain(line.as_bytes()), "{line}");
        }
        assert!(!is_plain(b"a{b=\"\xff\"} 1"));
    }

    /// A plain line, with something put into it or over it.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let name = "[a-zA-Z_:][a-zA-Z0-9_:]{0,40}";
        let label = "[a-z_][a-z0-9_]{0,20}=\"([ -!#-~é]{0,20}|[ -~]{0,3}|\\\\[n\\\\\"])\"";
        let labels = prop::collection::vec(label, 0..4).prop_map(|labels| labels.join(","));
        let number = "[-+]?[0-9]{1,17}(\\.[0-9]{0,3})?(e[-+][0-9]{1,2})?|NaN|[-+]Inf";
        let line =
            (name, labels, number, "( [0-9]{1,14})?").prop_map(|(name, labels, number, timestamp)| match labels {
                labels if labels.is_empty() => format!("{name} {number}{timestamp}"),
                labels => format!("{name}{{{labels}}} {number}{timestamp}"),
            });
        let pieces = prop::sample::select(vec![
            "", "{", "}", "=", "\"", "\"\"", ",", " ", "\t", "\r", "\\", "#", ":", "_", "a", "Z", "0", ".", "e", "@",
            "[", "`", "é",
        ]);
        let piece = prop_oneof![
            3 => pieces.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..3),
        ];
        let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, piece), 0..3);
        (line, edits).prop_map(|(line, edits)| {
            let mut line = line.into_bytes();
            for (at, over, piece) in edits {
                let at = at.index(line.len() + 1);
                line.splice(at..(at + over).min(line.len()), piece);
            }
            line
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn the_short_way_reads_what_the_careful_one_reads(line in nearly()) {
            is_plain(&line);
        }
    }
}
