//! Output counters that several sources feed, as `/metrics` shows them: the sum of what is there would fall when one of the
//! sources restarts or vanishes, and a fall is a reset to whoever reads it. So such a total starts as the sum, and then grows
//! by what its sources grow by. Counters with one source stay as the source has them, resets and all.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::catalog::{Catalog, NO_OUTPUT};
use crate::view::{Column, View};

#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    /// Slots of the catalogue that `shared` was made of.
    slots: usize,
    /// By output slot: whether more than one source slot feeds it.
    shared: Vec<bool>,
    /// By output slot.
    totals: Column,
    /// Totals whose output slots are not known yet.
    kept: BTreeMap<u128, f64>,
}

/// What one source brought to a shared output slot in one pull.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) out: usize,
    pub(super) value: f64,
    /// `None`: it is a baseline.
    pub(super) increase: Option<f64>,
}

impl Merged {
    pub(super) fn restored(kept: BTreeMap<u128, f64>) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Finds the output slots that are shared.
    pub(super) fn meet(&mut self, catalog: &Catalog) {
        if self.slots == catalog.slots.len() && self.shared.len() == catalog.out_slots.len() {
            return;
        }
        let mut sources = vec![0_u32; catalog.out_slots.len()];
        for slot in catalog.slots.iter().filter(|slot| slot.out != NO_OUTPUT) {
            sources[slot.out as usize] += 1;
        }
        self.slots = catalog.slots.len();
        self.shared = sources.into_iter().map(|sources| sources > 1).collect();
        self.totals.grow(catalog.out_slots.len());
    }

    pub(super) fn is_shared(&self, out: usize) -> bool {
        self.shared.get(out).is_some_and(|shared| *shared)
    }

    /// Takes in what the sources brought. In the first pull of a target every value is a baseline, and is shown.
    pub(super) fn take_in(&mut self, catalog: &Catalog, parts: &[Part], first: bool) {
        let mut begun: Vec<usize> = Vec::new();
        for Part { out, .. } in parts {
            if !self.totals.is_present(*out) {
                let known = if self.kept.is_empty() { None } else { self.kept.remove(&identity(catalog, *out)) };
                if known.is_none() {
                    begun.push(*out);
                }
                self.totals.set(*out, known.unwrap_or(0.0));
            }
        }
        begun.sort_unstable();
        for Part { out, value, increase } in parts {
            let begins = begun.binary_search(out).is_ok();
            let grown = match increase {
                Some(_) if begins => *value,
                None if begins && first => *value,
                increase => increase.unwrap_or(0.0),
            };
            self.totals.add(*out, grown);
        }
    }

    /// Shows the totals in place of the sums.
    pub(super) fn show(&self, view: &mut View) {
        for (out, total) in self.totals.iter() {
            if view.output.is_present(out) {
                view.output.set(out, total);
            }
        }
    }

    /// The totals by what tells an output slot from others in any catalogue.
    pub(super) fn by_identity(&self, catalog: &Catalog) -> BTreeMap<u128, f64> {
        let mut totals = self.kept.clone();
        totals.extend(self.totals.iter().map(|(out, total)| (identity(catalog, out), total)));
        totals
    }
}

/// Of the output series and the number.
fn identity(catalog: &Catalog, out: usize) -> u128 {
    let (slot, row, family) = catalog.output(out);
    let (order, bound) = slot.part.order();
    let mut hasher = Xxh3::new();
    for text in [&family.name, &row.page_labels] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&[order]);
    hasher.update(&bound.to_le_bytes());
    hasher.digest128()
}
