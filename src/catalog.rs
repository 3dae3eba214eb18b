//! Identities, apart from the numbers: what the source's series are, and which output series each one feeds.
//!
//! A *row* is a family and its labels without `le` or `quantile`; it owns *slots*, one per number. An output row is the
//! same on the other side of the mapping; several source slots may feed one output slot. Slots are never reused within
//! a catalogue. It is a memo, never a source of truth: `translate` can build it anew from the next exposition.
//!
//! Kept small, since there is one entry for each series that lives: what a family decides is not repeated in its rows, a
//! bound is an index into [`Catalog::parts`], and tags are text in one spelling. The source's own text is not here.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::sync::Arc;

use self::chunks::{Chunks, Text, Texts};
use crate::column::Bits;
use crate::exposition::family::FamilyType;
use crate::mapping::RuleId;
use crate::number;
use crate::tags;

pub mod chunks;

/// Which number of its row a slot holds. `f64` bounds are compared by bits: they come from parsed text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// The only number of a counter or gauge.
    Value,
    /// A histogram's cumulative count up to this bound.
    Bucket(f64),
    /// A summary's value at this quantile.
    Quantile(f64),
    Sum,
    Count,
}

impl Part {
    /// Whether the number only grows until a reset.
    #[must_use]
    pub fn is_cumulative(self, kind: OutputKind) -> bool {
        match kind {
            OutputKind::Counter | OutputKind::Histogram => true,
            OutputKind::Gauge => false,
            OutputKind::Summary => !matches!(self, Self::Quantile(_)),
        }
    }

    /// Whether Datadog gets it: not the `+Inf` bucket, which equals the count.
    #[must_use]
    pub fn is_pushed(self) -> bool {
        !matches!(self, Self::Bucket(bound) if bound.is_infinite())
    }

    /// Buckets by bound, then sum, then count: the order of a page.
    #[must_use]
    pub fn order(self) -> (u8, f64) {
        match self {
            Self::Value => (0, 0.0),
            Self::Bucket(bound) | Self::Quantile(bound) => (1, bound),
            Self::Sum => (2, 0.0),
            Self::Count => (3, 0.0),
        }
    }
}

/// The bound of a part as each side spells it, rendered once; both empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// On a page: `le="0.5"` or `quantile="0.5"`.
    pub label: String,
    /// At Datadog: `upper_bound:0.5` or `quantile:0.5`. JSON has nothing to escape in it.
    pub tag: String,
}

impl Bound {
    #[must_use]
    pub fn of(part: Part) -> Self {
        let (label, tag, bound) = match part {
            Part::Bucket(bound) => ("le", "upper_bound", bound),
            Part::Quantile(quantile) => ("quantile", "quantile", quantile),
            Part::Value | Part::Sum | Part::Count => return Self::default(),
        };
        let mut spelled = Self { label: format!("{label}=\""), tag: format!("{tag}:") };
        number::go(&mut spelled.label, bound);
        spelled.label.push('"');
        number::bound(&mut spelled.tag, bound);
        spelled
    }
}

/// A family of the source, and what the mapping makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: String,
    pub kind: FamilyType,
    pub help: String,
    pub route: Route,
}

/// A family's labels: where they lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index into [`Catalog::families`].
    pub family: u32,
    /// Index into [`Catalog::out_rows`], or [`NONE`].
    pub out: u32,
}

/// What the mapping makes of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Mapped {
        /// Index into [`Catalog::out_families`].
        out_family: u32,
        rule: RuleId,
        /// 0 for the rule's own name, 1 and up for its aliases.
        precedence: u32,
    },
    Unmapped(Unmapped),
    Excluded,
    /// The output name is taken by another type or another rule's suffixes.
    Collided,
}

/// Why no rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    NoRule,
    /// A rule matched, but the family's type says too little; the rule needs a `type:`.
    NoType,
    /// The rule's `type:` cannot be made of this family's type.
    TypeDoesNotFit,
}

/// One number of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index into [`Catalog::rows`].
    pub row: u32,
    /// Index into [`Catalog::parts`].
    pub part: u32,
    /// Index into [`Catalog::out_slots`], or [`NONE`].
    pub out: u32,
}

/// In place of an index: nothing.
pub const NONE: u32 = u32::MAX;

/// The type of an output family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl OutputKind {
    /// The word of a `TYPE` line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// What Datadog's name of this part ends in, with its dot.
    #[must_use]
    pub fn suffix(self, part: Part) -> &'static str {
        match (self, part) {
            (Self::Gauge, _) => "",
            (Self::Counter, _) | (_, Part::Count | Part::Value) => ".count",
            (_, Part::Bucket(_)) => ".bucket",
            (_, Part::Quantile(_)) => ".quantile",
            (_, Part::Sum) => ".sum",
        }
    }
}

/// A family of the translated view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFamily {
    /// Dotted, with the namespace, without the suffix of its type: `kubevirt_api.process.cpu_seconds`.
    pub name: String,
    /// On `/metrics`: `kubevirt_api_process_cpu_seconds_count`.
    pub page_name: String,
    pub kind: OutputKind,
    pub help: String,
    /// Datadog's unit, where the mapping names one.
    pub unit: Option<String>,
    pub rule: RuleId,
    /// Its first row and its last one, which [`OutRow::next`] links; [`NONE`] if it has none.
    pub rows: (u32, u32),
    /// Every row's tags are labels of a page as they are, and no two the same.
    pub plain: bool,
}

/// Tags of the translated view, rendered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutRow {
    /// Index into [`Catalog::out_families`].
    pub family: u32,
    /// The next row of the family, or [`NONE`].
    pub next: u32,
    /// Its first slot and its last one in the order of a page, which [`OutSlot::next`] links; [`NONE`] if it has none.
    pub slots: (u32, u32),
    /// `key:value`, sorted, at most 200 bytes each, as members of a JSON array: `"a:b","c:d"`.
    pub tags: Text,
}

/// One number of the translated view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutSlot {
    /// The source slot that feeds it, or the first of several.
    pub source: u32,
    /// The next slot of its row, or [`NONE`].
    pub next: u32,
}

/// What an output slot stands for.
#[derive(Clone, Copy, Debug)]
pub struct Output<'c> {
    pub part: Part,
    pub bound: &'c Bound,
    /// Index into [`Catalog::out_rows`].
    pub row: u32,
    pub family: &'c OutFamily,
}

/// All identities of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    pub families: Vec<Arc<Family>>,
    pub rows: Chunks<Row>,
    pub slots: Chunks<Slot>,
    /// By slot: a hash of the sample's name and labels, whatever its spelling; survives a compaction.
    pub identities: Chunks<u128>,
    /// Which numbers there are, and their bounds.
    pub parts: Vec<Part>,
    pub bounds: Vec<Arc<Bound>>,
    pub out_families: Vec<Arc<OutFamily>>,
    pub out_rows: Chunks<OutRow>,
    pub out_slots: Chunks<OutSlot>,
    /// Output slots that more than one source slot feeds.
    pub shared: Arc<Bits>,
    pub tags: Texts,
    /// By output row, and nearly always empty: a `device:` tag as Datadog's resource of that type, a member of a JSON array.
    pub resources: Arc<BTreeMap<u32, String>>,
    /// The slot of `process_start_time_seconds` without labels.
    pub start: Option<u32>,
}

impl Catalog {
    #[must_use]
    pub fn row(&self, slot: Slot) -> Row {
        self.rows[slot.row as usize]
    }

    #[must_use]
    pub fn family(&self, row: Row) -> &Family {
        &self.families[row.family as usize]
    }

    #[must_use]
    pub fn part(&self, slot: Slot) -> Part {
        self.parts[slot.part as usize]
    }

    #[must_use]
    pub fn bound(&self, slot: Slot) -> &Bound {
        &self.bounds[slot.part as usize]
    }

    /// Takes note that an output slot may be fed by several source slots.
    pub(crate) fn share(&mut self, out: u32) {
        let shared = Arc::make_mut(&mut self.shared);
        shared.grow(self.out_slots.len());
        shared.set(out as usize);
    }

    /// What an output slot stands for; `None` if nothing feeds it any more.
    #[must_use]
    pub fn output(&self, out: usize) -> Option<Output<'_>> {
        let source = self.slots[self.out_slots[out].source as usize];
        (source.out as usize == out).then(|| {
            let row = self.row(source).out;
            let family = &self.out_families[self.out_rows[row as usize].family as usize];
            Output { part: self.part(source), bound: self.bound(source), row, family }
        })
    }

    /// The output rows of a family, in the order in which they came.
    pub fn rows_of(&self, family: &OutFamily) -> impl Iterator<Item = u32> + '_ {
        let existing = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(existing(family.rows.0), move |row| existing(self.out_rows[*row as usize].next))
    }

    /// The slots of an output row, in the order of a page.
    pub fn slots_of(&self, row: u32) -> impl Iterator<Item = usize> + '_ {
        let existing = |slot: u32| (slot != NONE).then_some(slot);
        let slots = std::iter::successors(existing(self.out_rows[row as usize].slots.0), move |slot| {
            existing(self.out_slots[*slot as usize].next)
        });
        slots.map(|slot| slot as usize)
    }

    /// Tags of an output row as members of a JSON array, without brackets, and its resources likewise.
    #[must_use]
    pub fn json_tags(&self, row: u32) -> (&str, &str) {
        let tags = self.tags.get(self.out_rows[row as usize].tags);
        (tags, self.resources.get(&row).map_or("", String::as_str))
    }

    /// Tags of an output row: `key:value`, sorted.
    #[must_use]
    pub fn tags(&self, row: u32) -> Vec<String> {
        let (json, resources) = self.json_tags(row);
        tags::read(json, resources)
    }
}
