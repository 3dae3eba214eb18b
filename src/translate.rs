//! One exposition and a mapping become a [`View`].
//!
//! A known line is one look-up of its key; only new keys are decoded, and only after the last line, because the first
//! `TYPE` of a family wins wherever it stands. The second sample of a series in one exposition is a duplicate: the first
//! wins. Reads no clock and touches no network.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod counts;
mod identity;
pub mod missing;
pub mod names;
mod place;
mod route;

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::{Catalog, NO_OUTPUT, Route};
use crate::exposition::family::FamilyType;
use crate::exposition::lex::{self, Line, Reason};
use crate::exposition::series::{decode_help, decode_name};
use crate::ledger::{Fate, Ledger, Refusal};
use crate::mapping::{Mapping, RuleId};
use crate::translate::place::Index;
use crate::view::{Column, View};

/// What a target adds to every series, and what it may cost.
#[derive(Clone, Debug)]
pub struct Params {
    /// Replaces the mapping's namespace.
    pub namespace: Option<String>,
    /// `key:value`; on every series of the target.
    pub tags: Vec<(String, String)>,
    pub limits: Limits,
}

/// What one exposition may hold; the rest is ledgered as [`Fate::OverLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub samples: usize,
    pub line_bytes: usize,
    pub labels: usize,
    pub label_name_bytes: usize,
    pub label_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 5_000_000, line_bytes: 65_536, labels: 64, label_name_bytes: 256, label_value_bytes: 8_192 }
    }
}

/// Translates the expositions of one target, one after another, and remembers the identities between them.
#[derive(Debug)]
pub struct Translator {
    mapping: Arc<Mapping>,
    params: Params,
    catalog: Arc<Catalog>,
    index: Index,
}

/// A sample whose key is not known yet.
struct Unknown<'a> {
    line: usize,
    key: &'a [u8],
    value: f64,
}

impl Translator {
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, params: Params) -> Self {
        Self { mapping, params, catalog: Arc::default(), index: Index::default() }
    }

    #[must_use]
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// All identities so far.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Forgets every identity that `view` does not hold, and returns where each old slot went ([`NO_OUTPUT`]: away).
    /// The caller applies it to whatever is indexed by slot.
    pub fn compact(&mut self, view: &View) -> Vec<u32> {
        let old = std::mem::take(&mut self.index);
        let mut catalog = Catalog::default();
        let mut moved = vec![NO_OUTPUT; view.source.len()];
        self.index.types = old.types;
        for (key, slot) in old.spellings {
            if view.source.is_present(slot as usize) {
                let placed = self.index.place(&key, &mut catalog, &self.mapping, &self.params);
                if let (Ok(new), Some(entry)) = (placed, moved.get_mut(slot as usize)) {
                    *entry = new;
                    self.index.spellings.insert(key, new);
                }
            }
        }
        self.catalog = Arc::new(catalog);
        moved
    }

    /// Reads one exposition.
    pub fn read(&mut self, text: &[u8]) -> View {
        let mut ledger = Ledger::default();
        let mut column = Column::new(self.catalog.slots.len());
        let mut unknown: Vec<Unknown<'_>> = Vec::new();
        let mut types: HashMap<String, (FamilyType, String)> = HashMap::new();
        let mut helps: HashMap<String, String> = HashMap::new();
        ledger.unterminated = text.last().is_some_and(|byte| *byte != b'\n');
        // The key of the last line, if that is a sample.
        let mut last: Option<&[u8]> = None;
        let (mut rest, mut number) = (text, 0);
        while let Some((line, next)) = lex::cut_line(rest) {
            rest = next;
            number += 1;
            last = None;
            if line.len() > self.params.limits.line_bytes {
                ledger.samples += 1;
                ledger.add(Fate::OverLimit, 1);
                continue;
            }
            match lex::line(line) {
                Ok(Line::Nothing) => {}
                Ok(Line::Help { name, text }) => {
                    if let Some(name) = decode_name(name) {
                        helps.entry(name.into_owned()).or_insert_with(|| decode_help(text).into_owned());
                    }
                }
                Ok(Line::Type { name, kind }) => {
                    if let Some(name) = decode_name(name) {
                        types.entry(name.into_owned()).or_insert((kind, String::new()));
                    }
                }
                Ok(Line::Sample(sample)) => {
                    ledger.samples += 1;
                    if ledger.samples > self.params.limits.samples as u64 {
                        ledger.add(Fate::OverLimit, 1);
                        continue;
                    }
                    last = Some(sample.key);
                    match self.index.spellings.get(sample.key) {
                        Some(&slot) => store(&mut column, &mut ledger, slot, sample.value),
                        None => unknown.push(Unknown { line: number, key: sample.key, value: sample.value }),
                    }
                }
                Err(error) => ledger.refuse(Refusal { line: number, column: error.at + 1, reason: error.reason }),
            }
        }
        for (name, help) in helps {
            if let Some((_, known)) = types.get_mut(&name) {
                *known = help;
            }
        }
        self.retype(types, &column);
        self.resolve(unknown, &mut column, &mut ledger);
        let in_doubt = last.filter(|_| ledger.unterminated).and_then(|key| self.index.spellings.get(key));
        let in_doubt = in_doubt.map(|slot| *slot as usize);
        self.fold(column, in_doubt, ledger)
    }

    /// Takes over this exposition's types, and places again what a changed type moves.
    fn retype(&mut self, types: HashMap<String, (FamilyType, String)>, column: &Column) {
        let changed = self.index.changed(&types, &self.catalog, column);
        if !types.is_empty() {
            self.index.types.extend(types);
        }
        for name in &changed.gone {
            self.index.types.remove(name);
        }
        if changed.names.is_empty() || self.index.spellings.is_empty() {
            return;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        let affected: Vec<Box<[u8]>> = self.index.spelled_by(&changed.names);
        for key in affected {
            // The key was accepted before, and its slot stays: only its row may be another one now.
            let _same_slot = self.index.place(&key, catalog, &self.mapping, &self.params);
        }
    }

    fn resolve(&mut self, unknown: Vec<Unknown<'_>>, column: &mut Column, ledger: &mut Ledger) {
        if unknown.is_empty() {
            return;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        for Unknown { line, key, value } in unknown {
            // A key that stands twice among the unknown is known the second time.
            let known = self.index.spellings.get(key).copied();
            let placed = match known {
                Some(slot) => Ok(slot),
                None => self.index.place(key, catalog, &self.mapping, &self.params),
            };
            match placed {
                Ok(slot) => {
                    if known.is_none() {
                        self.index.spellings.insert(key.into(), slot);
                    }
                    column.grow(catalog.slots.len());
                    store(column, ledger, slot, value);
                }
                Err(place::Error::OverLimit) => ledger.add(Fate::OverLimit, 1),
                Err(place::Error::Line(error)) => {
                    ledger.samples -= 1;
                    ledger.refuse(Refusal { line, column: error.at + 1, reason: error.reason });
                }
            }
        }
    }

    /// Folds the source's numbers into the output's, and gives every sample its fate.
    fn fold(&self, source: Column, in_doubt: Option<usize>, mut ledger: Ledger) -> View {
        let catalog = Arc::clone(&self.catalog);
        let winners = winners(&catalog, &source);
        let mut folded = Column::new(catalog.slots.len());
        let mut output = Column::new(catalog.out_slots.len());
        for (id, value) in source.iter() {
            let slot = &catalog.slots[id];
            let row = catalog.row(slot);
            let fate = match row.route {
                Route::Unmapped(_) => Fate::Unmapped,
                Route::Excluded => Fate::Excluded,
                Route::Collided => Fate::Collided,
                Route::Mapped { rule, precedence, .. } if winners.get(&rule).is_some_and(|best| *best < precedence) => {
                    Fate::Shadowed
                }
                Route::Mapped { .. } if slot.out == NO_OUTPUT => Fate::Unmapped,
                Route::Mapped { .. } => fold_one(&catalog, &mut output, slot.out, value, || folded.set(id, 1.0)),
            };
            ledger.add(fate, 1);
        }
        debug_assert!(ledger.balances(), "every sample has one fate: {ledger:?}");
        View { catalog, source, folded, output, in_doubt, ledger }
    }
}

fn store(column: &mut Column, ledger: &mut Ledger, slot: u32, value: f64) {
    if column.is_present(slot as usize) {
        ledger.add(Fate::Duplicate, 1);
    } else {
        column.set(slot as usize, value);
    }
}

fn fold_one(catalog: &Catalog, output: &mut Column, out: u32, value: f64, mark: impl FnOnce()) -> Fate {
    let (out_slot, _, family) = catalog.output(out as usize);
    let out = out as usize;
    if out_slot.part.is_cumulative(family.kind) {
        if !value.is_finite() {
            return Fate::NotANumber;
        }
        output.add(out, value);
    } else if output.is_present(out) {
        return Fate::Collided;
    } else {
        output.set(out, value);
    }
    mark();
    if value.is_finite() { Fate::Mapped } else { Fate::NotANumber }
}

/// For each rule with aliases that more than one family feeds in this exposition: the precedence that wins.
fn winners(catalog: &Catalog, source: &Column) -> HashMap<RuleId, u32> {
    let mut seen: HashMap<RuleId, u32> = HashMap::new();
    let contested = catalog.rows.iter().any(|row| matches!(row.route, Route::Mapped { precedence: 1.., .. }));
    if !contested {
        return seen;
    }
    for (id, _) in source.iter() {
        if let Route::Mapped { rule, precedence, .. } = catalog.row(&catalog.slots[id]).route {
            seen.entry(rule).and_modify(|best| *best = precedence.min(*best)).or_insert(precedence);
        }
    }
    seen
}

/// The reasons why lines were refused, as one text for a log line: `line 7, column 3: expected …`.
#[must_use]
pub fn describe_refusals(ledger: &Ledger) -> String {
    let one = |refusal: &Refusal| format!("line {}, column {}: {}", refusal.line, refusal.column, refusal.reason);
    let cut = ledger.unterminated.then(|| "nothing ends the last line, so the page may have been cut".to_owned());
    ledger.refusals.iter().map(one).chain(cut).collect::<Vec<_>>().join("; ")
}

/// Whether a reason says that the document is no exposition at all rather than one with a bad line.
#[must_use]
pub fn looks_foreign(ledger: &Ledger) -> bool {
    ledger.samples == 0
        && ledger.refused_lines > 0
        && ledger.refusals.iter().all(|refusal| refusal.reason != Reason::Type)
}
