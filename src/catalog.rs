//! Identities, apart from the numbers: what the source's series are, and which output series each one feeds.
//!
//! A *row* is a family and its labels without `le` or `quantile`; it owns *slots*, one per number. An output row is the
//! same on the other side of the mapping; several source slots may feed one output slot. Slots are never reused within
//! a catalogue. It is a memo, never a source of truth: `translate` can build it anew from the next exposition.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::exposition::family::FamilyType;
use crate::mapping::RuleId;

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

/// A family of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: String,
    pub kind: FamilyType,
    pub help: String,
}

/// A family's labels, and where they lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Index into [`Catalog::families`].
    pub family: u32,
    /// Sorted, unescaped, without `le`/`quantile` and without empty values.
    pub labels: Vec<(String, String)>,
    pub route: Route,
}

/// What the mapping makes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Mapped {
        /// Index into [`Catalog::out_rows`].
        out_row: u32,
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
    /// The histogram mode `sums` leaves buckets out.
    Bucket,
}

/// One number of the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Index into [`Catalog::rows`].
    pub row: u32,
    pub part: Part,
    /// Index into [`Catalog::out_slots`], or [`NO_OUTPUT`].
    pub out: u32,
}

/// [`Slot::out`] of a slot that feeds nothing.
pub const NO_OUTPUT: u32 = u32::MAX;

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
    /// Indices into [`Catalog::out_rows`].
    pub rows: Vec<u32>,
}

/// Tags of the translated view, rendered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRow {
    /// Index into [`Catalog::out_families`].
    pub family: u32,
    /// `key:value`, sorted, at most 200 bytes each.
    pub tags: Vec<String>,
    /// The same as labels of a page: `a="b",c="d"`.
    pub page_labels: String,
    /// The same as members of a JSON array: `"a:b","c:d"`.
    pub json_tags: String,
    /// A `device:` tag as Datadog's resource of that type, a member of a JSON array; nearly always empty.
    pub json_resources: String,
    /// Indices into [`Catalog::out_slots`], in the order of a page.
    pub slots: Vec<u32>,
}

/// One number of the translated view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutSlot {
    /// Index into [`Catalog::out_rows`].
    pub row: u32,
    pub part: Part,
}

/// All identities of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    pub families: Vec<Family>,
    pub rows: Vec<Row>,
    pub slots: Vec<Slot>,
    /// By slot: a hash of the sample's name and labels, whatever its spelling; survives a compaction.
    pub identities: Vec<u128>,
    pub out_families: Vec<OutFamily>,
    pub out_rows: Vec<OutRow>,
    pub out_slots: Vec<OutSlot>,
}

impl Catalog {
    #[must_use]
    pub fn row(&self, slot: &Slot) -> &Row {
        &self.rows[slot.row as usize]
    }

    #[must_use]
    pub fn family(&self, row: &Row) -> &Family {
        &self.families[row.family as usize]
    }

    /// The row and family of an output slot.
    #[must_use]
    pub fn output(&self, out_slot: usize) -> (OutSlot, &OutRow, &OutFamily) {
        let slot = self.out_slots[out_slot];
        let row = &self.out_rows[slot.row as usize];
        (slot, row, &self.out_families[row.family as usize])
    }
}
