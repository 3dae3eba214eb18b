//! Pieces of a text 0.0.4 page: names and label values escaped, lines put together.

use crate::number;

/// Content type of the pages written here.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// A metric name in the `underscores` scheme: each character illegal at its place becomes one `_`.
#[must_use]
pub fn metric_name(name: &str) -> String {
    underscores(name, true)
}

/// A label name in the `underscores` scheme; a colon is legal in the escaping scheme but not in 0.0.4, so it goes too.
#[must_use]
pub fn label_name(name: &str) -> String {
    underscores(name, false)
}

fn underscores(name: &str, colon: bool) -> String {
    let legal = |at: usize, char: char| {
        char.is_ascii_alphabetic() || char == '_' || (colon && char == ':') || (at > 0 && char.is_ascii_digit())
    };
    name.chars().enumerate().map(|(at, char)| if legal(at, char) { char } else { '_' }).collect()
}

/// Appends `HELP` (unless empty) and `TYPE`.
pub fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    if !help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        for char in help.chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push(' '),
                other => out.push(other),
            }
        }
        out.push('\n');
    }
    out.push_str("# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(kind);
    out.push('\n');
}

/// Appends `name="value"`, escaped, after a comma if `out` is not empty. An empty value is left out: it means absence.
pub fn label(out: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends a sample line. `labels` is what [`label`] has put together; `bound` is `le="0.5"`, a quantile, or nothing.
pub fn sample(out: &mut String, name: &str, suffix: &str, labels: &str, bound: &str, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() || !bound.is_empty() {
        out.push('{');
        out.push_str(labels);
        if !labels.is_empty() && !bound.is_empty() {
            out.push(',');
        }
        out.push_str(bound);
        out.push('}');
    }
    out.push(' ');
    number::go(out, value);
    out.push('\n');
}
