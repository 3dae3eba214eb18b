//! One exposition and a mapping become a [`View`].
//!
//! A page is read as it comes, piece by piece. A line that follows what it followed last time is compared with it, and only
//! its number is read; any other is decoded and looked up. What is new waits for the last line, because the first `TYPE` of a
//! family wins wherever it stands. The second sample of a series in one exposition is a duplicate: the first wins. Reads no
//! clock and touches no network.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod counts;
mod fold;
mod identity;
mod keys;
pub mod missing;
pub mod names;
mod place;
mod reading;
mod route;

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::{Catalog, NONE};
use crate::column::{Column, Moved};
use crate::exposition::lex::Reason;
use crate::ledger::{Ledger, Refusal};
use crate::mapping::Mapping;
use crate::translate::fold::Folded;
use crate::translate::place::{Declared, Ground, Index};
pub use crate::translate::reading::Reading;
use crate::translate::reading::{Last, Unknown};
use crate::view::View;

/// Identities that have to be dead before the catalogue is built anew.
const MIN_DEAD_SLOTS: usize = 4096;

/// What a target adds to every series, and what it may cost.
#[derive(Clone, Debug)]
pub struct Params {
    /// Replaces the mapping's namespace.
    pub namespace: Option<String>,
    /// `key:value`; on every series of the target.
    pub tags: Vec<(String, String)>,
    pub limits: Limits,
}

/// What one exposition may hold; the rest is ledgered as [`crate::ledger::Fate::OverLimit`].
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
    /// The number of the reading that was begun last.
    readings: u64,
}

impl Translator {
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, params: Params) -> Self {
        Self { mapping, params, catalog: Arc::default(), index: Index::default(), readings: 0 }
    }

    #[must_use]
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// A series as its source spelled it first.
    #[must_use]
    pub fn spelling(&self, slot: usize) -> &[u8] {
        u32::try_from(slot).ok().and_then(|slot| self.index.keys.get(slot)).unwrap_or_default()
    }

    /// All identities so far.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Reads one exposition that is there as a whole.
    pub fn read(&mut self, text: &[u8]) -> View {
        let mut reading = self.begin();
        self.feed(&mut reading, text);
        self.finish(reading)
    }

    /// Ends a reading: gives what is new its place, and every sample its fate.
    pub fn finish(&mut self, mut reading: Reading) -> View {
        self.end_of_text(&mut reading);
        self.retype(&mut reading);
        self.resolve(&mut reading);
        let Reading { column, ledger, last, .. } = reading;
        let in_doubt = match last {
            Last::Slot(slot) if ledger.unterminated => Some(slot as usize),
            Last::Slot(_) | Last::Other | Last::Unknown => None,
        };
        fold::fold(&self.catalog, &column).view(&self.catalog, column, in_doubt, ledger)
    }

    /// Takes over this exposition's types, and places again what a changed type moves.
    fn retype(&mut self, reading: &mut Reading) {
        let Reading { number, column, types, helps, .. } = reading;
        let mut changed: HashSet<String> = types.keys().cloned().collect();
        for (name, declared) in &self.index.types {
            let help = declared.help_on_page(*number);
            if help != declared.help || types.contains_key(name) {
                helps.entry(name.clone()).or_insert_with(|| help.to_owned());
            }
        }
        // What is not said on this page is not known of it.
        self.index.types.retain(|name, declared| declared.read == *number && !types.contains_key(name));
        for (name, kind) in types.drain() {
            helps.entry(name.clone()).or_default();
            self.index
                .types
                .insert(name.clone(), Declared { kind, help: String::new(), read: *number, helped: *number });
        }
        changed.extend(self.index.undeclared(&self.catalog, column));
        for (name, help) in helps.drain() {
            if self.index.knows_family(&name) {
                self.index.rehelp(&name, &help, Arc::make_mut(&mut self.catalog), &self.mapping);
            }
            if let Some(declared) = self.index.types.get_mut(&name) {
                declared.help = help;
            }
        }
        if changed.is_empty() || self.index.keys.slots() == 0 {
            return;
        }
        let affected = place::belonging(&changed, &self.catalog);
        if affected.is_empty() {
            return;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        let ground = &mut Ground { catalog, mapping: &self.mapping, params: &self.params };
        for slot in affected {
            let key = self.index.keys.get(slot).unwrap_or_default().to_vec();
            // It was accepted before.
            if let Ok(decoded) = self.index.decode(&key, &self.params) {
                self.index.place_again(slot, decoded, ground);
            }
        }
    }

    /// Gives every sample that is new a slot.
    fn resolve(&mut self, reading: &mut Reading) {
        let unknown = std::mem::take(&mut reading.unknown);
        if unknown.is_empty() {
            return;
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        reading.column.grow(catalog.slots.len() + unknown.len());
        let ground = &mut Ground { catalog, mapping: &self.mapping, params: &self.params };
        let mut aside = self.index.keys.take_aside();
        // What the new ones come after, and what known one comes after them.
        let (mut before, mut behind, known) = ((NONE, NONE), NONE, self.index.keys.slots());
        for Unknown { end, after, value } in unknown {
            let key = aside.next(end);
            let length = key.len();
            // It was accepted a moment ago.
            let Ok(decoded) = self.index.decode(key, &self.params) else { continue };
            let slot = match self.index.find(decoded.identity, ground.catalog) {
                // It stands twice in this exposition.
                Some(slot) => slot,
                None => {
                    let slot = self.index.add(decoded, ground);
                    aside.keep(length);
                    self.index.keys.push(&aside);
                    slot
                }
            };
            if before.0 != after || before.1 == NONE {
                behind = self.index.keys.after(after);
                before.1 = after;
            }
            self.index.keys.follow(before.1, slot);
            if behind < known {
                self.index.keys.follow(slot, behind);
            }
            before = (after, slot);
            reading.store(slot, value);
            if reading.last == Last::Unknown && end == reading.aside {
                reading.last = Last::Slot(slot);
            }
        }
        self.index.keys.put_back(aside);
    }

    /// Forgets every identity that neither a view nor `keep` holds. The view is the same afterwards, by the new slots.
    pub fn compact(&mut self, view: &View, keep: impl Fn(usize) -> bool) -> (View, Moved) {
        let old = std::mem::take(&mut self.index);
        let mut catalog = Catalog::default();
        let mut to = vec![None; view.catalog.slots.len()];
        let mut column = Column::default();
        self.index.types = old.types;
        let mut before = NONE;
        for slot in old.keys.in_order() {
            let Some(key) = old.keys.get(slot) else { continue };
            let at = slot as usize;
            if !view.source.is_present(at) && !keep(at) {
                continue;
            }
            let Ok(decoded) = self.index.decode(key, &self.params) else { continue };
            let ground = &mut Ground { catalog: &mut catalog, mapping: &self.mapping, params: &self.params };
            let new = self.index.add(decoded, ground);
            self.index.keys.append(key);
            self.index.keys.follow(before, new);
            before = new;
            share_again(&view.catalog, at, &mut catalog, new as usize);
            column.grow(catalog.slots.len());
            if let Some(value) = view.source.get(at) {
                column.set(new as usize, value);
            }
            if let Some(entry) = to.get_mut(at) {
                *entry = Some(new);
            }
        }
        self.catalog = Arc::new(catalog);
        let in_doubt = view.in_doubt.and_then(|slot| to[slot]).map(|slot| slot as usize);
        let catalog = Arc::clone(&self.catalog);
        let Folded { folded, shared, .. } = fold::fold(&catalog, &column);
        let view = View { catalog, source: column, folded, shared, in_doubt, ledger: view.ledger.clone() };
        (view, Moved { to, slots: self.catalog.slots.len() })
    }
}

/// Whether a view's catalogue holds more that is gone than what is there, so that a compaction pays.
#[must_use]
pub fn is_wasteful(view: &View) -> bool {
    let (slots, rows) = (view.catalog.slots.len(), view.catalog.rows.len());
    let alive = view.source.present().count();
    // A family that goes on changing its type leaves rows behind.
    slots - alive > alive.max(MIN_DEAD_SLOTS) || rows > 2 * slots + MIN_DEAD_SLOTS
}

/// An output slot that several sources have fed stays one of those: its total is more than the last of them.
fn share_again(old: &Catalog, old_slot: usize, new: &mut Catalog, new_slot: usize) {
    let (was, is) = (old.slots[old_slot].out, new.slots[new_slot].out);
    if was != NONE && is != NONE && old.shared.get(was as usize) {
        new.share(is);
    }
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
