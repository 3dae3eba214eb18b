//! One pull: numbers beside the catalogue that names them. Immutable; shared by the pusher and by requests for
//! `/metrics` at different times.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::catalog::{Catalog, OutputKind, Part};
use crate::exposition::write;
use crate::ledger::Ledger;

/// Numbers indexed by slot, each present or not. NaN is a present number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    values: Vec<f64>,
    present: Vec<u64>,
}

impl Column {
    /// A column of `slots` absent numbers.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { values: vec![0.0; slots], present: vec![0; slots.div_ceil(64)] }
    }

    /// Makes room for slots that were not known when the column was made.
    pub fn grow(&mut self, slots: usize) {
        self.values.resize(slots.max(self.values.len()), 0.0);
        self.present.resize(self.values.len().div_ceil(64), 0);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[must_use]
    pub fn get(&self, slot: usize) -> Option<f64> {
        self.is_present(slot).then(|| self.values[slot])
    }

    #[must_use]
    pub fn is_present(&self, slot: usize) -> bool {
        self.present.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Stores a number, replacing what was there.
    pub fn set(&mut self, slot: usize, value: f64) {
        self.values[slot] = value;
        self.present[slot / 64] |= 1 << (slot % 64);
    }

    /// Adds to a number; an absent one counts as 0.
    pub fn add(&mut self, slot: usize, value: f64) {
        let sum = self.get(slot).unwrap_or(0.0) + value;
        self.set(slot, sum);
    }

    pub fn clear(&mut self, slot: usize) {
        if let Some(word) = self.present.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// Present numbers in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        (0..self.values.len()).filter_map(|slot| Some((slot, self.get(slot)?)))
    }
}

/// One pull of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub catalog: Arc<Catalog>,
    /// By source slot: every sample read, mapped or not.
    pub source: Column,
    /// By source slot: whether it was folded into its output slot in this pull.
    pub folded: Column,
    /// By output slot: the translated numbers, counters still cumulative.
    pub output: Column,
    /// The source slot of a last line that nothing ends: its number may have been cut short.
    pub in_doubt: Option<usize>,
    pub ledger: Ledger,
}

impl View {
    /// Whether an output row has numbers in this pull.
    #[must_use]
    pub fn shows(&self, out_row: u32) -> bool {
        self.catalog.out_rows[out_row as usize].slots.iter().any(|slot| self.output.is_present(*slot as usize))
    }
}

/// A gauge that no exposition holds: `can_connect`, the counts of VMs, the proxy's own `promdog_target_up`.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// Dotted, as in Datadog.
    pub name: Cow<'static, str>,
    pub help: Cow<'static, str>,
    pub unit: Option<String>,
    /// `key:value`, sorted.
    pub tags: Vec<String>,
    pub value: f64,
}

/// Writes the page of several views and extras: families in the order of their names, each once. The first view to hold
/// a name decides its type and help; the same name with another type is left out.
#[must_use]
pub fn page(views: &[&View], extras: &[Extra]) -> String {
    #[derive(Default)]
    struct Group<'v> {
        kind: Option<OutputKind>,
        help: &'v str,
        rows: Vec<(&'v View, u32)>,
        extras: Vec<&'v Extra>,
    }
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for view in views {
        for family in &view.catalog.out_families {
            let mut rows = family.rows.iter().filter(|row| view.shows(**row)).map(|row| (*view, *row)).peekable();
            if rows.peek().is_none() {
                continue;
            }
            let group = groups.entry(family.page_name.clone()).or_default();
            if group.kind.is_none() {
                group.help = &family.help;
            }
            if *group.kind.get_or_insert(family.kind) == family.kind {
                group.rows.extend(rows);
            }
        }
    }
    for extra in extras {
        let group = groups.entry(write::metric_name(&extra.name)).or_default();
        if group.kind.is_none() {
            group.help = &extra.help;
        }
        if *group.kind.get_or_insert(OutputKind::Gauge) == OutputKind::Gauge {
            group.extras.push(extra);
        }
    }
    let mut out = String::new();
    for (name, group) in &groups {
        let Some(kind) = group.kind else { continue };
        write::header(&mut out, name, kind.word(), group.help);
        let extras: Vec<String> = group.extras.iter().map(|extra| page_labels(&extra.tags)).collect();
        // Tags that differ may be the same labels, and two targets may have the same tags: a page holds a series once.
        let mut written: HashSet<&str> = HashSet::new();
        for (view, row) in &group.rows {
            if written.insert(&view.catalog.out_rows[*row as usize].page_labels) {
                write_row(&mut out, name, kind, view, *row);
            }
        }
        for (extra, labels) in group.extras.iter().zip(&extras) {
            if written.insert(labels) {
                write::sample(&mut out, name, "", labels, None, extra.value);
            }
        }
    }
    out
}

fn write_row(out: &mut String, name: &str, kind: OutputKind, view: &View, row: u32) {
    let row = &view.catalog.out_rows[row as usize];
    for slot in &row.slots {
        let Some(value) = view.output.get(*slot as usize) else { continue };
        let part = view.catalog.out_slots[*slot as usize].part;
        let (suffix, extra) = match (kind, part) {
            (OutputKind::Counter | OutputKind::Gauge, _) | (_, Part::Value) => ("", None),
            (_, Part::Bucket(bound)) => ("_bucket", Some(("le", bound))),
            (_, Part::Quantile(quantile)) => ("", Some(("quantile", quantile))),
            (_, Part::Sum) => ("_sum", None),
            (_, Part::Count) => ("_count", None),
        };
        write::sample(out, name, suffix, &row.page_labels, extra, value);
    }
}

/// Tags as labels of a page: names escaped, the values of a repeated key joined by a comma, bare tags left out.
#[must_use]
pub fn page_labels(tags: &[String]) -> String {
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
