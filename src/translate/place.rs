//! The look-up side of the catalogue: from a sample's name and labels to its slot. Belongs to the pull alone; views never see
//! it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::{Bound, Catalog, Family, NONE, Part, Route, Row, Slot};
use crate::column::Column;
use crate::exposition::family::FamilyType;
use crate::exposition::lex::{self, LineError};
use crate::exposition::series::{self, Labels, Series};
use crate::mapping::Mapping;
use crate::translate::Params;
use crate::translate::identity::{Lookup, Scratch, identity, index, write_pairs};
use crate::translate::keys::Keys;
use crate::translate::route::{self, Outputs};

/// Why a key has no slot.
#[derive(Debug)]
pub(super) enum Error {
    OverLimit,
    Line(LineError),
}

/// Every look-up of one catalogue.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) keys: Keys,
    /// What the source's `TYPE` lines say.
    pub(super) types: HashMap<String, Declared>,
    /// A sample's name and labels, whatever the spelling and the type.
    identities: Lookup,
    /// By name: the types it had.
    families: HashMap<String, Vec<(FamilyType, u32)>>,
    /// Those that have several numbers, by a hash of family and labels: its bytes, which lie without gaps.
    rows: HashMap<[u8; 16], u32>,
    /// The row found last, and what it was found by: a page has the numbers of a row one after another.
    last_row: Option<(Vec<u8>, u32)>,
    parts: HashMap<(Discriminant<Part>, u64), u32>,
    outputs: Outputs,
    scratch: Scratch,
}

/// What places are made in, and by which rules.
pub(super) struct Ground<'g> {
    pub(super) catalog: &'g mut Catalog,
    pub(super) mapping: &'g Mapping,
    pub(super) params: &'g Params,
}

/// A family's metadata.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) kind: FamilyType,
    pub(super) help: String,
    /// The number of the reading that found its type last, and of the one that found this help.
    pub(super) read: u64,
    pub(super) helped: u64,
}

impl Declared {
    /// Its help as far as a page says it again.
    pub(super) fn help_on_page(&self, reading: u64) -> &str {
        if self.helped == reading { &self.help } else { "" }
    }
}

/// A sample's key, decoded.
pub(super) struct Decoded<'k> {
    name: Cow<'k, str>,
    /// Sorted, none empty.
    labels: Vec<(Cow<'k, str>, Cow<'k, str>)>,
    pub(super) identity: u128,
}

/// A sample's place: its family, and which number it is.
struct Place<'a> {
    family: &'a str,
    kind: FamilyType,
    part: Part,
}

impl Index {
    /// Reads a key that the lexer has accepted.
    pub(super) fn decode<'k>(&mut self, key: &'k [u8], params: &Params) -> Result<Decoded<'k>, Error> {
        let Series { name, mut labels } = series::decode(key).map_err(Error::Line)?;
        let limits = &params.limits;
        let too_long = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
            name.len() > limits.label_name_bytes || value.len() > limits.label_value_bytes
        };
        if labels.len() > limits.labels || name.len() > limits.label_value_bytes || labels.iter().any(too_long) {
            return Err(Error::OverLimit);
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_unstable();
        let identity = identity(&mut self.scratch, &name, &labels);
        Ok(Decoded { name, labels, identity })
    }

    /// The slot of an identity that is known.
    pub(super) fn find(&self, identity: u128, catalog: &Catalog) -> Option<u32> {
        self.identities.find(identity, |slot| catalog.identities[slot as usize])
    }

    /// Makes the slot of an identity that is not known, whose key comes next in [`Index::keys`].
    pub(super) fn add(&mut self, decoded: Decoded<'_>, ground: &mut Ground<'_>) -> u32 {
        let slot = index(ground.catalog.slots.len());
        let identity = decoded.identity;
        if decoded.labels.is_empty() && decoded.name == "process_start_time_seconds" {
            ground.catalog.start = Some(slot);
        }
        let (row, part) = self.place(decoded, None, ground);
        let catalog = &mut *ground.catalog;
        catalog.slots.push(Slot { row, part, out: NONE });
        catalog.identities.push(identity);
        self.identities.insert(identity, slot, |slot| catalog.identities[slot as usize]);
        self.feed(slot, ground);
        slot
    }

    /// Puts a known slot into the row its family's type asks for now.
    pub(super) fn place_again(&mut self, slot: u32, decoded: Decoded<'_>, ground: &mut Ground<'_>) {
        let old = ground.catalog.slots[slot as usize];
        let (row, part) = self.place(decoded, Some(old.row), ground);
        if (row, part) == (old.row, old.part) {
            return;
        }
        let catalog = &mut *ground.catalog;
        *catalog.slots.get_mut(slot as usize) = Slot { row, part, out: NONE };
        if old.out != NONE && catalog.out_slots[old.out as usize].source == slot && catalog.shared.get(old.out as usize)
        {
            // Another one that feeds it stands for it from now on.
            if let Some(other) = catalog.slots.iter().position(|slot| slot.out == old.out) {
                catalog.out_slots.get_mut(old.out as usize).source = index(other);
            }
        }
        self.feed(slot, ground);
    }

    fn feed(&mut self, slot: u32, ground: &mut Ground<'_>) {
        let Ground { catalog, mapping, .. } = ground;
        let row = catalog.row(catalog.slots[slot as usize]);
        if let Route::Mapped { rule, .. } = catalog.family(row).route {
            self.outputs.feed(catalog, slot, row.out, mapping.rule(rule));
        }
    }

    /// The row and part that a sample is, by the types declared. `row` is the one it had.
    fn place(&mut self, decoded: Decoded<'_>, row: Option<u32>, ground: &mut Ground<'_>) -> (u32, u32) {
        let Decoded { name, mut labels, .. } = decoded;
        let Place { family, kind, part } = self.classify(&name, &mut labels);
        let family = self.family(family, kind, ground);
        let row = match part {
            // A row of its own: nobody else will look for it.
            Part::Value => match row.filter(|row| ground.catalog.rows[*row as usize].family == family) {
                Some(row) => row,
                None => self.add_row(family, &labels, ground),
            },
            Part::Bucket(_) | Part::Quantile(_) | Part::Sum | Part::Count => self.row(family, &labels, ground),
        };
        // A bucket and a quantile may have the same number.
        let number = (discriminant(&part), part.order().1.to_bits());
        let part = *self.parts.entry(number).or_insert_with(|| {
            ground.catalog.parts.push(part);
            ground.catalog.bounds.push(Arc::new(Bound::of(part)));
            index(ground.catalog.parts.len() - 1)
        });
        (row, part)
    }

    /// Which family a sample belongs to, by the types declared; takes `le` or `quantile` out of the labels.
    fn classify<'a>(&self, name: &'a str, labels: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) -> Place<'a> {
        let kind_of = |name: &str| self.types.get(name).map(|declared| declared.kind);
        let mut bound = |label: &str| {
            let at = labels.iter().position(|(name, _)| name == label)?;
            let value = lex::float(labels[at].1.as_bytes()).ok()?;
            labels.remove(at);
            Some(value)
        };
        let untyped = |kind| Place { family: name, kind, part: Part::Value };
        match kind_of(name) {
            Some(FamilyType::Summary) => {
                return match bound("quantile") {
                    Some(quantile) => Place { family: name, kind: FamilyType::Summary, part: Part::Quantile(quantile) },
                    None => untyped(FamilyType::Untyped),
                };
            }
            // A bare sample of a histogram belongs to no histogram.
            Some(FamilyType::Histogram | FamilyType::GaugeHistogram) => return untyped(FamilyType::Untyped),
            Some(
                kind @ (FamilyType::Counter
                | FamilyType::Gauge
                | FamilyType::Untyped
                | FamilyType::Info
                | FamilyType::StateSet),
            ) => return untyped(kind),
            None => {}
        }
        for (suffix, part) in [("_sum", Part::Sum), ("_count", Part::Count), ("_bucket", Part::Bucket(0.0))] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            let Some(kind @ (FamilyType::Histogram | FamilyType::Summary)) = kind_of(base) else { continue };
            let part = match part {
                Part::Bucket(_) if kind == FamilyType::Summary => continue,
                Part::Bucket(_) => match bound("le") {
                    Some(bound) => Part::Bucket(bound),
                    None => continue,
                },
                Part::Value | Part::Quantile(_) | Part::Sum | Part::Count => part,
            };
            return Place { family: base, kind, part };
        }
        match name.strip_suffix("_total").and_then(kind_of) {
            Some(FamilyType::Counter) => untyped(FamilyType::Counter),
            Some(_) | None => untyped(FamilyType::Untyped),
        }
    }

    fn family(&mut self, name: &str, kind: FamilyType, ground: &mut Ground<'_>) -> u32 {
        let known = self.families.get(name).and_then(|known| known.iter().find(|(known, _)| *known == kind));
        if let Some((_, family)) = known {
            return *family;
        }
        let help = self.types.get(name).map(|declared| declared.help.clone()).unwrap_or_default();
        let route = self.outputs.route((name, kind, &help), ground);
        let family = index(ground.catalog.families.len());
        ground.catalog.families.push(Arc::new(Family { name: name.to_owned(), kind, help, route }));
        self.families.entry(name.to_owned()).or_default().push((kind, family));
        family
    }

    fn row(&mut self, family: u32, labels: &Labels<'_>, ground: &mut Ground<'_>) -> u32 {
        let text = &mut self.scratch.bytes;
        text.clear();
        text.extend_from_slice(&family.to_le_bytes());
        write_pairs(text, labels);
        if let Some((last, row)) = &self.last_row
            && last == text
        {
            return *row;
        }
        let key = xxh3_128(text).to_ne_bytes();
        let row = match self.rows.get(&key) {
            Some(row) => *row,
            None => {
                let row = self.add_row(family, labels, ground);
                self.rows.insert(key, row);
                row
            }
        };
        let (text, last) = self.last_row.get_or_insert_default();
        text.clone_from(&self.scratch.bytes);
        *last = row;
        row
    }

    fn add_row(&mut self, family: u32, labels: &Labels<'_>, ground: &mut Ground<'_>) -> u32 {
        let out = match ground.catalog.families[family as usize].route {
            Route::Mapped { out_family, rule, .. } => self.outputs.row(out_family, rule, labels, ground),
            Route::Unmapped(_) | Route::Excluded | Route::Collided => NONE,
        };
        ground.catalog.rows.push(Row { family, out });
        index(ground.catalog.rows.len() - 1)
    }

    /// Families that have samples in a pull, and a type that the page did not declare.
    pub(super) fn undeclared(&self, catalog: &Catalog, column: &Column) -> HashSet<String> {
        let declared = |name: &str, kind| self.types.get(name).is_some_and(|declared| declared.kind == kind);
        let is_declared = |family: &Arc<Family>| {
            let bare = family.name.strip_suffix("_total").filter(|_| family.kind == FamilyType::Counter);
            family.kind == FamilyType::Untyped
                || declared(&family.name, family.kind)
                || bare.is_some_and(|bare| declared(bare, family.kind))
        };
        let undeclared: Vec<bool> = catalog.families.iter().map(|family| !is_declared(family)).collect();
        if !undeclared.contains(&true) {
            return HashSet::new();
        }
        let mut alive = vec![false; undeclared.len()];
        for (slot, _) in column.iter() {
            alive[catalog.row(catalog.slots[slot]).family as usize] = true;
        }
        let both = undeclared.iter().zip(&alive).map(|(undeclared, alive)| *undeclared && *alive);
        catalog.families.iter().zip(both).filter(|(_, both)| *both).map(|(family, _)| family.name.clone()).collect()
    }

    /// Whether there are families of a name.
    pub(super) fn knows_family(&self, name: &str) -> bool {
        self.families.contains_key(name)
    }

    /// Gives the families of a name another help.
    pub(super) fn rehelp(&self, name: &str, help: &str, catalog: &mut Catalog, mapping: &Mapping) {
        for (_, family) in self.families.get(name).into_iter().flatten() {
            let family = Arc::make_mut(&mut catalog.families[*family as usize]);
            help.clone_into(&mut family.help);
            if let Route::Mapped { out_family, rule, .. } = family.route {
                let out_family = Arc::make_mut(&mut catalog.out_families[out_family as usize]);
                out_family.help = route::help(mapping.rule(rule), help, name);
            }
        }
    }
}

/// The slots of samples that belong to one of these families, or might.
pub(super) fn belonging(names: &HashSet<String>, catalog: &Catalog) -> Vec<u32> {
    let might = |name: &str| {
        let bases = ["", "_bucket", "_sum", "_count", "_total"];
        bases.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|base| names.contains(base)))
    };
    let belongs = |family: &Arc<Family>| match family.kind {
        FamilyType::Histogram | FamilyType::Summary => {
            names.contains(&family.name) || {
                ["_bucket", "_sum", "_count"].iter().any(|suffix| might(&format!("{}{suffix}", family.name)))
            }
        }
        _ => might(&family.name),
    };
    let families: Vec<bool> = catalog.families.iter().map(belongs).collect();
    let belongs = |slot: &Slot| families[catalog.row(*slot).family as usize];
    (0..).zip(catalog.slots.iter()).filter(|(_, slot)| belongs(slot)).map(|(at, _)| at).collect()
}
