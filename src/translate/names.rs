//! Names and tags as Datadog takes them: characters, lengths, and what counts as the same.
//!
//! Documented: names of `[A-Za-z0-9_.]` that start with a letter, at most 200 characters; tags of at most 200 bytes,
//! starting with a letter, not ending in a colon, compared in lower case with other characters as `_`.

use xxhash_rust::xxh3::xxh3_64;

const MAX_BYTES: usize = 200;
/// `.quantile`, the longest suffix.
const LONGEST_SUFFIX: usize = 9;

/// A metric name made legal, as the Agent's base class does: runs of other characters become `_`, none doubled, none
/// beside a dot or at an end. `None` if nothing is left.
#[must_use]
pub fn metric(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    for char in name.chars() {
        let char = if char.is_ascii_alphanumeric() || char == '.' { char } else { '_' };
        match (out.chars().last(), char) {
            (None, char) if !char.is_ascii_alphabetic() => {}
            (Some('_' | '.'), '_') => {}
            (Some('_'), '.') => {
                out.pop();
                out.push('.');
            }
            (_, char) => out.push(char),
        }
    }
    let out = out.trim_end_matches(['_', '.']);
    (!out.is_empty()).then(|| clip(out, MAX_BYTES - LONGEST_SUFFIX))
}

/// A tag `key:value` made legal: a letter first, no control character, no colon at the end. The value is otherwise sent as
/// it is, and Datadog normalises it.
#[must_use]
pub fn tag(key: &str, value: &str) -> String {
    let begins = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let is_fine = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if begins && key.len() + value.len() < MAX_BYTES && key.bytes().chain(value.bytes()).all(|byte| is_fine(&byte)) {
        // As most are: all that follows would leave it as it is.
        if !value.is_empty() && !value.ends_with(':') {
            return [key, ":", value].concat();
        }
    }
    let key = key.trim_start_matches(|char: char| !char.is_alphabetic());
    let key = if key.is_empty() { "label" } else { key };
    legal(&format!("{key}:{value}"))
}

/// A whole tag made legal, `key:value` or bare, as [`tag`] does.
#[must_use]
pub fn legal(tag: &str) -> String {
    let mut tag = tag.trim_start_matches(|char: char| !char.is_alphabetic()).replace(char::is_control, "_");
    if tag.ends_with(':') {
        tag.pop();
        tag.push('_');
    }
    clip(&tag, MAX_BYTES)
}

/// Appends what Datadog stores of a tag: equal results are one tag to it.
pub fn push_stored_tag(out: &mut String, tag: &str) {
    if tag.is_ascii() {
        let stored = |byte: u8| match byte {
            b'_' | b'-' | b':' | b'.' | b'/' => char::from(byte),
            byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_lowercase()),
            _ => '_',
        };
        return out.extend(tag.bytes().map(stored));
    }
    let stored = |char: char| {
        if char.is_alphanumeric() || matches!(char, '_' | '-' | ':' | '.' | '/') { char } else { '_' }
    };
    out.extend(tag.chars().flat_map(char::to_lowercase).map(stored));
}

/// Clips to `max` bytes on a character's boundary; what is cut off is told apart by a hash at the end.
fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let hash = format!("_{:08x}", xxh3_64(text.as_bytes()) & 0xffff_ffff);
    let mut end = max - hash.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{legal, metric, push_stored_tag, tag};

    fn stored_tag(tag: &str) -> String {
        let mut out = String::new();
        push_stored_tag(&mut out, tag);
        out
    }

    #[test]
    fn names_come_out_as_the_agents() {
        for (name, expected) in [
            ("a__b", Some("a_b")),
            ("a_.b", Some("a.b")),
            ("9x", Some("x")),
            ("a:b", Some("a_b")),
            ("kubevirt_api.x", Some("kubevirt_api.x")),
            ("_9", None),
        ] {
            assert_eq!(metric(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn long_tags_that_differ_at_the_end_stay_apart() {
        let long = "x".repeat(300);
        let (one, two) = (tag("url", &format!("{long}1")), tag("url", &format!("{long}2")));
        assert_eq!((one.len(), two.len()), (200, 200));
        assert_ne!(one, two);
        assert!(tag("url", &"é".repeat(150)).len() <= 200);
    }

    proptest::proptest! {
        /// The short ways are the long way's.
        #[test]
        fn tags_come_out_the_same_by_either_way(key in "[ -~é]{0,3}", value in "[ -~\u{7f}é]{0,4}") {
            let trimmed = key.trim_start_matches(|char: char| !char.is_alphabetic());
            let long = legal(&format!("{}:{value}", if trimmed.is_empty() { "label" } else { trimmed }));
            proptest::prop_assert_eq!(tag(&key, &value), long);
            proptest::prop_assert_eq!(stored_tag(&format!("{value}é")), stored_tag(&value) + "é");
        }
    }

    #[test]
    fn tags_are_legal_and_compared_as_stored() {
        assert_eq!(tag("_private", "x"), "private:x");
        assert_eq!(tag("a", "b:"), "a:b_");
        assert_eq!(tag("a", "two\nlines"), "a:two_lines");
        assert_eq!((legal("1bare").as_str(), legal("a:b:").as_str()), ("bare", "a:b_"));
        assert_eq!(stored_tag("URL:http://A/%7B?x=1"), "url:http://a/_7b_x_1");
    }
}
