//! What several tests share: mappings and views made of short texts.

use std::sync::Arc;

use promdog::catalog::{Output, Part};
use promdog::delta::saved::Saved;
use promdog::delta::{Advance, Cursor, FirstValue, Moment};
use promdog::mapping::{Mapping, Source, builtin};
use promdog::time::UnixMillis;
use promdog::translate::{Limits, Params, Translator};
use promdog::view::{Increases, View};

/// Compiles the text of a mapping file.
pub fn mapping(text: &str) -> Arc<Mapping> {
    let source = Source { name: "test.yaml".to_owned(), text: text.to_owned() };
    Arc::new(Mapping::compile(&[source]).unwrap_or_else(|problems| panic!("{problems}")))
}

pub fn built_in(names: &[&str]) -> Arc<Mapping> {
    let sources: Vec<Source> = names.iter().map(|name| builtin::source(name).expect("built in")).collect();
    Arc::new(Mapping::compile(&sources).unwrap_or_else(|problems| panic!("{problems}")))
}

pub fn translator(mapping: &Arc<Mapping>) -> Translator {
    Translator::new(Arc::clone(mapping), Params { namespace: None, tags: Vec::new(), limits: Limits::default() })
}

/// One target over several pulls, by a clock of its own.
pub struct Target {
    pub mapping: Arc<Mapping>,
    pub translator: Translator,
    pub cursor: Cursor,
    pub advance: Advance,
    /// What was stored when increases were last taken.
    pub saved: Saved,
}

/// When the tests' targets were first watched, in seconds since 1970.
pub const WATCHED: i64 = 1_000_000;

impl Target {
    pub fn new(mapping: Arc<Mapping>) -> Self {
        Self {
            translator: translator(&mapping),
            mapping,
            cursor: Cursor::new(FirstValue::Prove),
            advance: Advance::default(),
            saved: Saved::default(),
        }
    }

    /// promdog is killed, and another one goes on with what was stored.
    pub fn promdog_restarts(&mut self) {
        self.translator = translator(&self.mapping);
        self.cursor = Cursor::restored(FirstValue::Prove, self.saved.clone());
    }

    /// Pulls `text` at `seconds` after watching began.
    pub fn pull(&mut self, seconds: i64, text: &str) -> View {
        let mut view = self.translator.read(text.as_bytes());
        let moment = Moment {
            date: UnixMillis::from_seconds(WATCHED + seconds),
            watching_since: UnixMillis::from_seconds(WATCHED),
        };
        self.advance = self.cursor.advance(&view, &self.mapping, moment);
        self.cursor.merge(&mut view);
        view
    }

    /// Forgets what the view does not hold; the view by its new slots.
    pub fn compact(&mut self, view: &View) -> View {
        let (mut compacted, moved) = self.translator.compact(view, |slot| self.cursor.owed(slot).is_some());
        self.cursor.remap(&view.catalog, &compacted.catalog, &moved);
        self.cursor.merge(&mut compacted);
        compacted
    }

    /// Takes what has grown, and stores where that leaves us.
    pub fn take(&mut self, view: &View) -> Increases {
        let increases = self.cursor.take(&view.catalog);
        self.saved = self.cursor.checkpoint(&view.catalog).saved();
        increases
    }

    /// Pulls, and takes what has grown: `name{tags} increase` for each output slot, sorted.
    pub fn grown(&mut self, seconds: i64, text: &str) -> Vec<String> {
        let view = self.pull(seconds, text);
        let increases = self.take(&view);
        let mut lines: Vec<String> =
            increases.iter(&view.catalog).map(|(slot, value)| format!("{} {value}", named(&view, slot))).collect();
        lines.sort();
        lines
    }
}

/// An output slot as `name{tags}`, with its bound.
pub fn named(view: &View, slot: usize) -> String {
    let Output { part, row, family, .. } = view.catalog.output(slot).expect("a slot that is fed");
    let bound = match part {
        Part::Bucket(bound) | Part::Quantile(bound) => format!("@{bound}"),
        _ => String::new(),
    };
    format!("{}{}{bound}{{{}}}", family.name, family.kind.suffix(part), view.catalog.tags(row).join(","))
}

/// What the page holds, as a list of lines without metadata.
pub fn page_samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}
