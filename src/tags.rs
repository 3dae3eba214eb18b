//! Tags in their spellings: as Datadog's JSON has them, which is how they are kept, and as labels of a page.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::exposition::{lex, write};

/// As a tag, this is a resource to Datadog: its Agent makes one of it before it sends a series.
const DEVICE: &str = "device:";

/// Tags as members of a JSON array, without brackets; a device is no tag but a resource.
#[must_use]
pub fn json(tags: &[String]) -> String {
    let mut out = String::with_capacity(tags.iter().map(|tag| tag.len() + 3).sum());
    for tag in tags.iter().filter(|tag| !tag.starts_with(DEVICE)) {
        out.push_str(if out.is_empty() { "" } else { "," });
        push_quoted(&mut out, tag);
    }
    out
}

/// Devices among the tags, as members of the array `resources`, without brackets.
#[must_use]
pub fn json_resources(tags: &[String]) -> String {
    let devices = tags.iter().filter_map(|tag| tag.strip_prefix(DEVICE));
    let mut out = String::new();
    for name in devices {
        out.push_str(if out.is_empty() { "{\"name\":" } else { ",{\"name\":" });
        push_quoted(&mut out, name);
        out.push_str(",\"type\":\"device\"}");
    }
    out
}

/// A JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Appends a JSON string.
pub fn push_quoted(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The tags that [`json`] and [`json_resources`] have written, sorted.
#[must_use]
pub fn read(json: &str, resources: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Device {
        name: String,
    }
    let mut tags: Vec<String> = serde_json::from_str(&format!("[{json}]")).unwrap_or_default();
    let devices: Vec<Device> = serde_json::from_str(&format!("[{resources}]")).unwrap_or_default();
    tags.extend(devices.into_iter().map(|device| format!("{DEVICE}{}", device.name)));
    tags.sort_unstable();
    tags
}

/// Whether sorted tags are labels of a page as they are, in the order of [`labels`]: legal names, each once, none empty, and
/// no device.
#[must_use]
pub fn are_plain(tags: &[String]) -> bool {
    let mut before = "";
    tags.iter().all(|tag| {
        let Some((key, value)) = tag.split_once(':') else { return false };
        let follows = before < key;
        before = key;
        follows && lex::is_name(key.as_bytes()) && !value.is_empty() && !tag.starts_with(DEVICE)
    })
}

/// Appends plain tags, as [`json`] wrote them, as labels of a page: `a="b",c="d"`. JSON escapes what a page escapes, since no
/// tag holds a control character.
pub fn push_plain_labels(out: &mut String, json: &str) {
    let mut rest = json;
    while let Some(end) = lex::string_end(rest.as_bytes()) {
        let (tag, after) = rest.split_at(end);
        if let Some((key, value)) = tag.get(1..).and_then(|tag| tag.split_once(':')) {
            out.push_str(key);
            out.push_str("=\"");
            // With the quote that closes the tag.
            out.push_str(value);
        }
        rest = after.strip_prefix(',').unwrap_or_default();
        out.push_str(if rest.is_empty() { "" } else { "," });
    }
}

/// Tags as labels of a page: names escaped, the values of a repeated key joined by a comma, bare tags left out.
#[must_use]
pub fn labels(tags: &[String]) -> String {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in tags.iter().filter_map(|tag| tag.split_once(':')) {
        labels
            .entry(write::label_name(key))
            .and_modify(|known| {
                known.push(',');
                known.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    let mut out = String::new();
    for (name, value) in &labels {
        write::label(&mut out, name, value);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{are_plain, json, json_resources, labels, push_plain_labels, read};
    use crate::translate::names;

    #[test]
    fn devices_are_resources_and_come_back_as_tags() {
        let tags = ["bare", "device:sda \"1\"", "x:y"].map(str::to_owned).to_vec();
        let (json, resources) = (json(&tags), json_resources(&tags));
        assert_eq!(json, r#""bare","x:y""#);
        assert_eq!(resources, r#"{"name":"sda \"1\"","type":"device"}"#);
        assert_eq!(read(&json, &resources), tags);
    }

    proptest! {
        /// The short way to labels is the long way's, wherever it may be taken.
        #[test]
        fn plain_labels_are_the_labels(
            pairs in prop::collection::vec(("[a-z_:1é]{1,3}", "[ab\\\\\",: \n\u{7f}é\u{2028}]{0,6}"), 0..4),
        ) {
            let mut tags: Vec<String> = pairs.iter().map(|(key, value)| names::tag(key, value)).collect();
            tags.sort_unstable();
            tags.dedup();
            let text = json(&tags);
            prop_assert_eq!(&read(&text, &json_resources(&tags)), &tags);
            if are_plain(&tags) {
                let mut short = String::new();
                push_plain_labels(&mut short, &text);
                prop_assert_eq!(short, labels(&tags));
            }
        }
    }
}
