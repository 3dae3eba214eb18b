//! Output counters that several sources feed, as `/metrics` shows them: the sum of what is there would fall when one of the
//! sources restarts or vanishes, and a fall is a reset to whoever reads it. So such a total starts as the sum, and then grows
//! by what its sources grow by. Counters with one source stay as the source has them, resets and all.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::catalog::{Catalog, Output};
use crate::column::Column;
use crate::tags;
use crate::view::View;

#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
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

    /// Takes in what the sources brought. In the first pull of a target every value is a baseline, and is shown.
    pub(super) fn take_in(&mut self, catalog: &Catalog, parts: &[Part], first: bool) {
        if parts.is_empty() {
            return;
        }
        self.totals.grow(catalog.out_slots.len());
        let mut begun: Vec<usize> = Vec::new();
        for Part { out, .. } in parts {
            if !self.totals.is_present(*out) {
                let known = if self.kept.is_empty() {
                    None
                } else {
                    identity(catalog, *out).and_then(|id| self.kept.remove(&id))
                };
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
            if view.shared.is_present(out) {
                view.shared.set(out, total);
            }
        }
    }

    /// The same totals after a compaction of the catalogue `old` to `new`.
    pub(super) fn moved(&self, old: &Catalog, new: &Catalog) -> Self {
        let mut moved = Self::restored(self.by_identity(old));
        moved.totals.grow(new.out_slots.len());
        for out in new.shared.iter() {
            if let Some(total) = identity(new, out).and_then(|id| moved.kept.remove(&id)) {
                moved.totals.set(out, total);
            }
        }
        moved
    }

    /// The totals by what tells an output slot from others in any catalogue.
    pub(super) fn by_identity(&self, catalog: &Catalog) -> BTreeMap<u128, f64> {
        let mut totals = self.kept.clone();
        totals.extend(self.totals.iter().filter_map(|(out, total)| Some((identity(catalog, out)?, total))));
        totals
    }
}

/// Of the output series and the number.
fn identity(catalog: &Catalog, out: usize) -> Option<u128> {
    let Output { part, row, family, .. } = catalog.output(out)?;
    let (order, bound) = part.order();
    let mut hasher = Xxh3::new();
    for text in [&family.name, &tags::labels(&catalog.tags(row))] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&[order]);
    hasher.update(&bound.to_le_bytes());
    Some(hasher.digest128())
}
