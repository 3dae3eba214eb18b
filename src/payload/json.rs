//! A series as JSON, for `POST /api/v2/series` as Datadog documents it.

use std::fmt::Write as _;

use crate::number;
use crate::payload::Point;
use crate::tags::{push_quoted, quoted};

/// Writes series of one second.
pub(super) struct Series {
    /// The timestamp of every point, as text.
    second: String,
    /// `"a:b"` for each tag that every series gets.
    common_tags: Vec<String>,
    text: String,
}

impl Series {
    pub(super) fn new(second: i64, common_tags: &[String]) -> Self {
        let common_tags = common_tags.iter().map(|tag| quoted(tag)).collect();
        Self { second: second.to_string(), common_tags, text: String::new() }
    }

    /// A point as a series of its own.
    pub(super) fn write(&mut self, point: &Point<'_>) -> &[u8] {
        self.text.clear();
        write_series(&mut self.text, point, &self.second, &self.common_tags);
        self.text.as_bytes()
    }
}

/// One member of `series`, fields in the alphabetical order that Datadog's own clients send.
fn write_series(out: &mut String, point: &Point<'_>, second: &str, common_tags: &[String]) {
    out.push('{');
    if let Some(interval) = point.interval {
        out.push_str("\"interval\":");
        write!(out, "{interval}").expect("writing to a string cannot fail");
        out.push(',');
    }
    out.push_str("\"metric\":\"");
    out.push_str(point.name);
    out.push_str(point.suffix);
    out.push_str("\",\"points\":[{\"timestamp\":");
    out.push_str(second);
    out.push_str(",\"value\":");
    number::json(out, point.value);
    out.push_str("}],");
    if point.host.is_some() || !point.json_resources.is_empty() {
        out.push_str("\"resources\":[");
        if let Some(host) = point.host {
            out.push_str("{\"name\":");
            push_quoted(out, host);
            out.push_str(",\"type\":\"host\"}");
            out.push_str(if point.json_resources.is_empty() { "" } else { "," });
        }
        out.push_str(point.json_resources);
        out.push_str("],");
    }
    out.push_str("\"tags\":[");
    let start = out.len();
    out.push_str(point.json_tags);
    if let Some(bound) = point.bound {
        out.push_str(if out.len() > start { ",\"" } else { "\"" });
        out.push_str(bound);
        out.push('"');
    }
    // A series may have one of the common tags already.
    for tag in common_tags.iter().filter(|tag| !point.json_tags.contains(tag.as_str())) {
        out.push_str(if out.len() > start { "," } else { "" });
        out.push_str(tag);
    }
    out.push_str("],\"type\":");
    out.push(char::from(b'0' + point.kind.code()));
    if let Some(unit) = point.unit {
        out.push_str(",\"unit\":");
        push_quoted(out, unit);
    }
    out.push('}');
}
