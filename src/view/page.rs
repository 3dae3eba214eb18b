//! The translated view as a page, written piece by piece, so that none is ever held whole.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{Extra, View};
use crate::catalog::{NONE, OutFamily, OutputKind, Part};
use crate::exposition::write;
use crate::tags;

/// A piece is handed over when it is so long.
const PIECE_BYTES: usize = 64 << 10;

/// The page of several views and extras: families in the order of their names, each once. The first view to hold a name
/// decides its type and help; the same name with another type is left out.
#[derive(Debug)]
pub struct Page<V> {
    views: Vec<V>,
    extras: Vec<Extra>,
    groups: std::vec::IntoIter<(String, Group)>,
    group: Option<Writing>,
}

/// One family of the page.
#[derive(Debug, Default)]
struct Group {
    kind: Option<OutputKind>,
    help: String,
    /// Index of a view, and of its family.
    families: Vec<(usize, usize)>,
    /// Indices of extras.
    extras: Vec<usize>,
}

/// A family that is begun.
#[derive(Debug)]
struct Writing {
    name: String,
    kind: OutputKind,
    families: std::vec::IntoIter<(usize, usize)>,
    extras: Vec<usize>,
    /// The view and the row to go on with.
    next: Option<(usize, u32)>,
    written: Written,
}

/// Labels that are on the page. Tags that differ may be the same labels, and two targets may have the same tags: a page
/// holds a series once.
#[derive(Debug)]
enum Written {
    /// No two rows can have the same.
    Distinct,
    /// By hash.
    Labels(HashSet<u128>),
}

impl Written {
    fn is_new(&mut self, labels: &str) -> bool {
        match self {
            Self::Distinct => true,
            Self::Labels(written) => written.insert(xxh3_128(labels.as_bytes())),
        }
    }
}

impl<V: Borrow<View>> Page<V> {
    #[must_use]
    pub fn new(views: Vec<V>, extras: Vec<Extra>) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (at, view) in views.iter().enumerate() {
            let view: &View = view.borrow();
            let catalog = &view.catalog;
            for (id, family) in catalog.out_families.iter().enumerate() {
                if !catalog.rows_of(family).any(|row| view.shows(row)) {
                    continue;
                }
                let group = groups.entry(family.page_name.clone()).or_default();
                if group.kind.is_none() {
                    group.help.clone_from(&family.help);
                }
                if *group.kind.get_or_insert(family.kind) == family.kind {
                    group.families.push((at, id));
                }
            }
        }
        for (at, extra) in extras.iter().enumerate() {
            let group = groups.entry(write::metric_name(&extra.name)).or_default();
            if group.kind.is_none() {
                group.help = extra.help.clone().into_owned();
            }
            if *group.kind.get_or_insert(OutputKind::Gauge) == OutputKind::Gauge {
                group.extras.push(at);
            }
        }
        Self { views, extras, groups: groups.into_iter().collect::<Vec<_>>().into_iter(), group: None }
    }

    fn family(&self, (view, family): (usize, usize)) -> &Arc<OutFamily> {
        &self.views[view].borrow().catalog.out_families[family]
    }

    /// Begins the next family; `None` if there is no more.
    fn begin(&mut self, out: &mut String) -> Option<Writing> {
        let (name, Group { kind, help, families, extras }) = self.groups.next()?;
        let kind = kind.unwrap_or(OutputKind::Gauge);
        write::header(out, &name, kind.word(), &help);
        let written = match families.as_slice() {
            [only] if extras.is_empty() && self.family(*only).plain => Written::Distinct,
            _ => Written::Labels(HashSet::new()),
        };
        Some(Writing { name, kind, families: families.into_iter(), extras, next: None, written })
    }

    /// Goes on with a family until the piece is long enough; `false` when the family has ended.
    fn write(&self, writing: &mut Writing, out: &mut String) -> bool {
        let mut labels = String::new();
        loop {
            let (at, row) = match writing.next.take() {
                Some(next) => next,
                None => match writing.families.next() {
                    Some(family) => (family.0, self.family(family).rows.0),
                    None => break,
                },
            };
            let view: &View = self.views[at].borrow();
            let catalog = &view.catalog;
            let out_row = catalog.out_rows[row as usize];
            if out_row.next != NONE {
                writing.next = Some((at, out_row.next));
            }
            labels.clear();
            if catalog.out_families[out_row.family as usize].plain {
                tags::push_plain_labels(&mut labels, catalog.json_tags(row).0);
            } else {
                labels = tags::labels(&catalog.tags(row));
            }
            if view.shows(row) && writing.written.is_new(&labels) {
                write_row(out, &writing.name, writing.kind, view, row, &labels);
            }
            if out.len() >= PIECE_BYTES {
                return true;
            }
        }
        for extra in writing.extras.drain(..).map(|at| &self.extras[at]) {
            let labels = tags::labels(&extra.tags);
            if writing.written.is_new(&labels) {
                write::sample(out, &writing.name, "", &labels, "", extra.value);
            }
        }
        false
    }
}

/// Pieces of about 64 KiB.
impl<V: Borrow<View>> Iterator for Page<V> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = String::new();
        while out.len() < PIECE_BYTES {
            let Some(mut writing) = self.group.take().or_else(|| self.begin(&mut out)) else { break };
            if out.capacity() == 0 {
                out.reserve(PIECE_BYTES + PIECE_BYTES / 8);
            }
            if self.write(&mut writing, &mut out) {
                self.group = Some(writing);
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

/// The whole page.
#[must_use]
pub fn page(views: &[&View], extras: &[Extra]) -> String {
    Page::new(views.to_vec(), extras.to_vec()).collect()
}

fn write_row(out: &mut String, name: &str, kind: OutputKind, view: &View, row: u32, labels: &str) {
    for slot in view.catalog.slots_of(row) {
        let Some(value) = view.output(slot) else { continue };
        let source = view.catalog.slots[view.catalog.out_slots[slot].source as usize];
        let (suffix, bound) = match (kind, view.catalog.part(source)) {
            (OutputKind::Counter | OutputKind::Gauge, _) => ("", ""),
            (_, Part::Value | Part::Quantile(_)) => ("", &*view.catalog.bound(source).label),
            (_, Part::Bucket(_)) => ("_bucket", &*view.catalog.bound(source).label),
            (_, Part::Sum) => ("_sum", ""),
            (_, Part::Count) => ("_count", ""),
        };
        write::sample(out, name, suffix, labels, bound, value);
    }
}
