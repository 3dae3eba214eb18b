//! One pull: numbers beside the catalogue that names them. Immutable; shared by the pusher and by requests for
//! `/metrics` at different times.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::sync::Arc;

use crate::catalog::{Catalog, NONE};
use crate::column::{Bits, Column};
use crate::ledger::Ledger;

mod page;

pub use self::page::{Page, page};

/// One pull of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub catalog: Arc<Catalog>,
    /// By source slot: every sample read, mapped or not.
    pub source: Column,
    /// By source slot: whether it was folded into its output slot in this pull.
    pub folded: Bits,
    /// By output slot, where several source slots feed it: what they come to. Counters are still cumulative.
    pub shared: Column,
    /// The source slot of a last line that nothing ends: its number may have been cut short.
    pub in_doubt: Option<usize>,
    pub ledger: Ledger,
}

impl View {
    /// A translated number, counters still cumulative.
    #[must_use]
    pub fn output(&self, out: usize) -> Option<f64> {
        if self.catalog.shared.get(out) {
            return self.shared.get(out);
        }
        let source = self.catalog.out_slots[out].source as usize;
        // What feeds nothing any more, or another slot since its family's type has changed, is not this slot's.
        let feeds = || self.catalog.slots[source].out as usize == out;
        self.source.get(source).filter(|_| self.folded.get(source) && feeds())
    }

    /// Whether an output row has numbers in this pull.
    #[must_use]
    pub fn shows(&self, out_row: u32) -> bool {
        self.catalog.slots_of(out_row).any(|slot| self.output(slot).is_some())
    }
}

/// What has grown, by source slot where only one feeds an output slot, else by output slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Increases {
    source: Column,
    shared: Column,
}

impl Increases {
    /// What each source slot has grown by, folded where several feed one output slot.
    #[must_use]
    pub fn new(source: Column, catalog: &Catalog) -> Self {
        let mut shared = Column::default();
        if catalog.shared.count() > 0 {
            shared.grow(catalog.out_slots.len());
            for (id, increase) in source.iter() {
                let out = catalog.slots[id].out;
                if out != NONE && catalog.shared.get(out as usize) {
                    shared.add(out as usize, increase);
                }
            }
        }
        Self { source, shared }
    }

    /// What an output slot has grown by; `None` if that is not known.
    #[must_use]
    pub fn get(&self, catalog: &Catalog, out: usize) -> Option<f64> {
        if catalog.shared.get(out) {
            return self.shared.get(out);
        }
        let source = catalog.out_slots[out].source as usize;
        self.source.get(source).filter(|_| catalog.slots[source].out as usize == out)
    }

    /// Those that are known, by output slot.
    pub fn iter<'i>(&'i self, catalog: &'i Catalog) -> impl Iterator<Item = (usize, f64)> + 'i {
        (0..catalog.out_slots.len()).filter_map(|out| Some((out, self.get(catalog, out)?)))
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.iter().next().is_none()
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
