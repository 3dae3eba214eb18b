//! Typed cursors over a document: a [`Node`] is a value, [`Fields`] a map with known keys.

use std::time::Duration;

use crate::yaml::tree::{Entry, Tree, Value};
use crate::yaml::{Document, Spot};

/// One value of a document. Each reading method returns `None` after reporting the value as wrong.
#[derive(Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document,
    tree: &'d Tree,
}

impl<'d> Node<'d> {
    pub(super) fn new(document: &'d Document, tree: &'d Tree) -> Self {
        Self { document, tree }
    }

    #[must_use]
    pub fn spot(self) -> Spot<'d> {
        Spot { document: self.document, start: self.tree.span.start, end: self.tree.span.end }
    }

    /// Reports a problem with this value.
    pub fn refuse(self, title: impl Into<String>, label: impl Into<String>) {
        self.spot().refuse(title, label);
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(*self.tree.value, Value::Null)
    }

    #[must_use]
    pub fn is_map(self) -> bool {
        matches!(*self.tree.value, Value::Map(_))
    }

    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(*self.tree.value, Value::List(_))
    }

    /// Any scalar, as it is written: `1.10` stays `1.10`, `true` stays `true`.
    #[must_use]
    pub fn string(self) -> Option<String> {
        self.text("text").map(str::to_owned)
    }

    /// `true` or `false`, unquoted.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.plain("`true` or `false`")? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => self.wrong("`true` or `false`"),
        }
    }

    /// A whole number, 0 or more; underscores are allowed (`5_000_000`).
    #[must_use]
    pub fn u64(self) -> Option<u64> {
        const WANTED: &str = "a whole number, 0 or more";
        let text = self.plain(WANTED)?;
        digits(text).or_else(|| self.wrong(WANTED))
    }

    /// A number of bytes: a whole number, or one with a unit (`64MiB`, `512 KiB`, `1GB`).
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        const WANTED: &str = "a size such as `65536` or `64MiB`";
        const UNITS: [(&str, u64); 8] = [
            ("", 1),
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ];
        let text = self.text(WANTED)?;
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
        let size = digits(number.trim_end()).zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        size.or_else(|| self.wrong(WANTED))
    }

    /// A finite number.
    #[must_use]
    pub fn f64(self) -> Option<f64> {
        const WANTED: &str = "a number";
        let text = self.plain(WANTED)?;
        text.parse().ok().filter(|number: &f64| number.is_finite()).or_else(|| self.wrong(WANTED))
    }

    /// A time: `15` and `15s` are seconds; also `500ms`, `5m`, `1h`, `2d`, and sums such as `1h30m`.
    #[must_use]
    pub fn seconds(self) -> Option<Duration> {
        const WANTED: &str = "a time such as `15s`, `500ms` or `1h30m`";
        let text = self.text(WANTED)?;
        duration(text).or_else(|| self.wrong(WANTED))
    }

    /// One of `words`, by `parse`.
    #[must_use]
    pub fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let text = self.text(&format!("one of {list}"))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let hint = did_you_mean(text, words.iter().map(|(word, _)| *word)).unwrap_or_default();
            self.refuse(format!("`{text}` is none of {list}"), hint);
        }
        found
    }

    /// The items of a list.
    #[must_use]
    pub fn list(self) -> Option<Vec<Node<'d>>> {
        match &*self.tree.value {
            Value::List(items) => Some(items.iter().map(|item| Node::new(self.document, item)).collect()),
            _ => self.wrong("a list"),
        }
    }

    /// The entries of a map whose keys are the user's own, in the order of the text.
    #[must_use]
    pub fn map(self) -> Option<Vec<(Key<'d>, Node<'d>)>> {
        let entries = self.entries()?.iter();
        Some(entries.map(|entry| (Key { document: self.document, entry }, self.value(entry))).collect())
    }

    /// A map whose keys we know.
    #[must_use]
    pub fn fields(self) -> Option<Fields<'d>> {
        let entries = if self.is_null() { &[] } else { self.entries()? };
        Some(Fields { node: self, entries, known: Vec::new() })
    }

    /// Reports that something else was wanted here.
    pub fn wrong<T>(self, wanted: &str) -> Option<T> {
        let found = match &*self.tree.value {
            Value::Null => "nothing",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar { .. } => {
                self.refuse(format!("expected {wanted}"), "");
                return None;
            }
        };
        self.refuse(format!("expected {wanted}, found {found}"), "");
        None
    }

    fn entries(self) -> Option<&'d [Entry]> {
        match &*self.tree.value {
            Value::Map(entries) => Some(entries),
            _ => self.wrong("a map (`key: value` lines)"),
        }
    }

    fn value(self, entry: &'d Entry) -> Node<'d> {
        Node::new(self.document, &entry.value)
    }

    fn text(self, wanted: &str) -> Option<&'d str> {
        match &*self.tree.value {
            Value::Scalar { text, .. } => Some(text),
            _ => self.wrong(wanted),
        }
    }

    fn plain(self, wanted: &str) -> Option<&'d str> {
        match &*self.tree.value {
            Value::Scalar { text, plain: true } => Some(text),
            Value::Scalar { .. } => {
                self.refuse(format!("expected {wanted}, found text"), "remove the quotes");
                None
            }
            _ => self.wrong(wanted),
        }
    }
}

/// A key that its author chose.
#[derive(Clone, Copy)]
pub struct Key<'d> {
    document: &'d Document,
    entry: &'d Entry,
}

impl<'d> Key<'d> {
    #[must_use]
    pub fn text(self) -> &'d str {
        &self.entry.key
    }

    #[must_use]
    pub fn spot(self) -> Spot<'d> {
        Spot { document: self.document, start: self.entry.key_span.start, end: self.entry.key_span.end }
    }

    /// Reports a problem with this key.
    pub fn refuse(self, title: impl Into<String>, label: impl Into<String>) {
        self.spot().refuse(title, label);
    }
}

/// A map, consumed key by key; [`Fields::done`] reports what nobody asked for.
#[must_use = "call `done` so that unknown keys are reported"]
pub struct Fields<'d> {
    node: Node<'d>,
    entries: &'d [Entry],
    known: Vec<&'static str>,
}

impl<'d> Fields<'d> {
    /// The key's value; `None` if it is absent or left empty.
    pub fn optional(&mut self, key: &'static str) -> Option<Node<'d>> {
        self.find(key).filter(|node| !node.is_null())
    }

    /// The key's value; its absence is a problem.
    pub fn required(&mut self, key: &'static str) -> Option<Node<'d>> {
        let value = self.optional(key);
        if value.is_none() && self.node.document.parsed() {
            self.node.refuse(format!("`{key}` is missing"), "");
        }
        value
    }

    /// The place of a key that is there.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<Key<'d>> {
        let document = self.node.document;
        self.entries.iter().find(|entry| entry.key == key).map(|entry| Key { document, entry })
    }

    /// The map itself.
    #[must_use]
    pub fn node(&self) -> Node<'d> {
        self.node
    }

    /// Reports every key that was not asked for.
    pub fn done(self) {
        let Self { node, entries, known } = self;
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = did_you_mean(&entry.key, known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            Key { document: node.document, entry }.refuse(format!("unknown key `{}`", entry.key), hint);
        }
    }

    fn find(&mut self, key: &'static str) -> Option<Node<'d>> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.node.value(entry))
    }
}

/// ``did you mean `x`?`` for the most similar of the words, if one is similar enough to be a slip.
#[must_use]
pub fn did_you_mean<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<String> {
    let lower = written.to_lowercase();
    let scored = words.map(|word| (strsim::jaro_winkler(&lower, &word.to_lowercase()), word));
    let best = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, word)| format!("did you mean `{word}`?"))
}

fn digits(text: &str) -> Option<u64> {
    let valid = text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with('_');
    if valid { text.replace('_', "").parse().ok() } else { None }
}

/// Reads a time such as `15`, `500ms` or `1h30m`; `None` if the text is none, or longer than fits.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        rest = &rest[unit_at..];
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        total = total.checked_add(Duration::try_from_secs_f64(number * factor).ok()?)?;
        rest = rest[unit_end..].trim_start();
    }
    Some(total)
}
