//! The source's numbers folded into the output's, and a fate for every sample.

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::{Catalog, NONE, Route, Row};
use crate::column::{Bits, Column};
use crate::ledger::{Fate, Ledger};
use crate::mapping::RuleId;
use crate::view::View;

/// What is the same for all numbers of a row.
#[derive(Clone, Copy)]
enum Lot {
    /// Not mapped, or not now.
    Fate(Fate),
    /// Its numbers are translated; the output family's index.
    Folded(usize),
}

/// What the source's numbers come to.
pub(super) struct Folded {
    /// By source slot: whether it was folded into its output slot.
    pub(super) folded: Bits,
    /// By output slot, where several source slots feed it.
    pub(super) shared: Column,
    /// How many have which fate.
    fates: [u64; Fate::ALL.len()],
}

impl Folded {
    /// The view of a pull, every sample with its fate.
    pub(super) fn view(
        self,
        catalog: &Arc<Catalog>,
        source: Column,
        in_doubt: Option<usize>,
        mut ledger: Ledger,
    ) -> View {
        let Self { folded, shared, fates } = self;
        Fate::ALL.into_iter().for_each(|fate| ledger.add(fate, fates[fate as usize]));
        debug_assert!(ledger.balances(), "every sample has one fate: {ledger:?}");
        View { catalog: Arc::clone(catalog), source, folded, shared, in_doubt, ledger }
    }
}

/// Folds a source column.
pub(super) fn fold(catalog: &Catalog, source: &Column) -> Folded {
    let winners = winners(catalog, source);
    let mut folded = Bits::new(source.len());
    let mut shared = Column::new(if catalog.shared.count() > 0 { catalog.out_slots.len() } else { 0 });
    let mut fates = [0; Fate::ALL.len()];
    let mut last = (NONE, Lot::Fate(Fate::Unmapped));
    for (id, value) in source.iter() {
        let slot = catalog.slots[id];
        if last.0 != slot.row {
            last = (slot.row, lot(catalog, catalog.rows[slot.row as usize], &winners));
        }
        let fate = match last.1 {
            Lot::Fate(fate) => fate,
            Lot::Folded(_) if slot.out == NONE => Fate::Unmapped,
            Lot::Folded(family) => {
                let cumulative = catalog.part(slot).is_cumulative(catalog.out_families[family].kind);
                let out = slot.out as usize;
                if cumulative && !value.is_finite() {
                    Fate::NotANumber
                } else if catalog.shared.get(out) && !share(&mut shared, out, value, cumulative) {
                    Fate::Collided
                } else {
                    folded.set(id);
                    if value.is_finite() { Fate::Mapped } else { Fate::NotANumber }
                }
            }
        };
        fates[fate as usize] += 1;
    }
    Folded { folded, shared, fates }
}

/// Counters that share an output slot are added; of gauges the first stays.
fn share(shared: &mut Column, out: usize, value: f64, cumulative: bool) -> bool {
    if cumulative {
        shared.add(out, value);
        return true;
    }
    shared.set_new(out, value)
}

fn lot(catalog: &Catalog, row: Row, winners: &HashMap<RuleId, u32>) -> Lot {
    match catalog.family(row).route {
        Route::Unmapped(_) => Lot::Fate(Fate::Unmapped),
        Route::Excluded => Lot::Fate(Fate::Excluded),
        Route::Collided => Lot::Fate(Fate::Collided),
        Route::Mapped { rule, precedence, .. } if winners.get(&rule).is_some_and(|best| *best < precedence) => {
            Lot::Fate(Fate::Shadowed)
        }
        Route::Mapped { out_family, .. } => Lot::Folded(out_family as usize),
    }
}

/// For each rule with aliases that more than one family feeds in this exposition: the precedence that wins.
fn winners(catalog: &Catalog, source: &Column) -> HashMap<RuleId, u32> {
    let mut seen: HashMap<RuleId, u32> = HashMap::new();
    let contested = catalog.families.iter().any(|family| matches!(family.route, Route::Mapped { precedence: 1.., .. }));
    if !contested {
        return seen;
    }
    let mut last = NONE;
    for (id, _) in source.iter() {
        let row = catalog.slots[id].row;
        if row == std::mem::replace(&mut last, row) {
            continue;
        }
        if let Route::Mapped { rule, precedence, .. } = catalog.family(catalog.rows[row as usize]).route {
            seen.entry(rule).and_modify(|best| *best = precedence.min(*best)).or_insert(precedence);
        }
    }
    seen
}
