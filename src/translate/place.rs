//! The look-up side of the catalogue: from a key's bytes to its slot. Belongs to the pull alone; views never see it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::catalog::{Catalog, Family, NO_OUTPUT, Part, Route, Row, Slot};
use crate::exposition::family::FamilyType;
use crate::exposition::lex::LineError;
use crate::exposition::{lex, series};
use crate::mapping::Mapping;
use crate::translate::Params;
use crate::translate::identity::{hash, identity, index};
use crate::translate::route::Outputs;
use crate::view::Column;

/// Why a key has no slot.
#[derive(Debug)]
pub(super) enum Error {
    OverLimit,
    Line(LineError),
}

/// Every look-up of one catalogue.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A key's bytes as the source spells them.
    pub(super) spellings: HashMap<Box<[u8]>, u32>,
    /// What the source's `TYPE` lines say: type and help.
    pub(super) types: HashMap<String, (FamilyType, String)>,
    /// A sample's name and labels, whatever the spelling and the type.
    identities: HashMap<u128, u32>,
    families: HashMap<(String, FamilyType), u32>,
    rows: HashMap<u128, u32>,
    outputs: Outputs,
}

/// Families whose type is not what it was.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) names: HashSet<String>,
    /// Those that lost their `TYPE` line.
    pub(super) gone: Vec<String>,
}

/// A sample's place: its family, and which number it is.
struct Place<'a> {
    family: Cow<'a, str>,
    kind: FamilyType,
    part: Part,
}

impl Index {
    /// Compares this exposition's types with what was known.
    pub(super) fn changed(
        &self,
        types: &HashMap<String, (FamilyType, String)>,
        catalog: &Catalog,
        column: &Column,
    ) -> Changed {
        let mut changed = Changed::default();
        for (name, (kind, _)) in types {
            if self.types.get(name).is_none_or(|(known, _)| known != kind) {
                changed.names.insert(name.clone());
            }
        }
        let silent: Vec<&String> = self.types.keys().filter(|name| !types.contains_key(*name)).collect();
        if !silent.is_empty() {
            let mut alive: HashSet<&str> = HashSet::new();
            for (slot, _) in column.iter() {
                alive.insert(&catalog.family(catalog.row(&catalog.slots[slot])).name);
            }
            for name in silent.into_iter().filter(|name| alive.contains(name.as_str())) {
                changed.names.insert(name.clone());
                changed.gone.push(name.clone());
            }
        }
        changed
    }

    /// The keys of samples that belong to one of these families, or might.
    pub(super) fn spelled_by(&self, names: &HashSet<String>) -> Vec<Box<[u8]>> {
        let belongs = |key: &[u8]| {
            let Ok(series) = series::decode(key) else { return false };
            let name: &str = &series.name;
            let bases = ["", "_bucket", "_sum", "_count", "_total"];
            bases.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|base| names.contains(base)))
        };
        self.spellings.keys().filter(|key| belongs(key)).cloned().collect()
    }

    /// Finds or makes the slot of a key, and puts it into the row its family's type asks for.
    pub(super) fn place(
        &mut self,
        key: &[u8],
        catalog: &mut Catalog,
        mapping: &Mapping,
        params: &Params,
    ) -> Result<u32, Error> {
        let series = series::decode(key).map_err(Error::Line)?;
        let limits = &params.limits;
        let too_long = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
            name.len() > limits.label_name_bytes || value.len() > limits.label_value_bytes
        };
        if series.labels.len() > limits.labels
            || series.name.len() > limits.label_value_bytes
            || series.labels.iter().any(too_long)
        {
            return Err(Error::OverLimit);
        }
        let mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            series.labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort_unstable();
        let identity = identity(&series.name, &labels);
        let Place { family, kind, part } = self.classify(&series.name, &mut labels);
        let row = self.row(&family, kind, &labels, catalog, mapping, params);
        let slot = match self.identities.get(&identity) {
            Some(&slot) => slot,
            None => {
                let slot = u32::try_from(catalog.slots.len()).map_err(|_| Error::OverLimit)?;
                catalog.slots.push(Slot { row, part, out: NO_OUTPUT });
                catalog.identities.push(identity);
                self.identities.insert(identity, slot);
                slot
            }
        };
        let out = match catalog.rows[row as usize].route {
            Route::Mapped { out_row, rule, .. } => self.outputs.slot(catalog, out_row, part, mapping.rule(rule)),
            Route::Unmapped(_) | Route::Excluded | Route::Collided => NO_OUTPUT,
        };
        catalog.slots[slot as usize] = Slot { row, part, out };
        Ok(slot)
    }

    /// Which family a sample belongs to, by the types declared; takes `le` or `quantile` out of the labels.
    fn classify<'a>(&self, name: &'a str, labels: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) -> Place<'a> {
        let kind_of = |name: &str| self.types.get(name).map(|(kind, _)| *kind);
        let mut bound = |label: &str| {
            let at = labels.iter().position(|(name, _)| name == label)?;
            let value = lex::float(labels[at].1.as_bytes()).ok()?;
            labels.remove(at);
            Some(value)
        };
        let untyped = |kind| Place { family: Cow::Borrowed(name), kind, part: Part::Value };
        match kind_of(name) {
            Some(FamilyType::Summary) => {
                return match bound("quantile") {
                    Some(quantile) => {
                        Place { family: name.into(), kind: FamilyType::Summary, part: Part::Quantile(quantile) }
                    }
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
            return Place { family: base.into(), kind, part };
        }
        match name.strip_suffix("_total").and_then(kind_of) {
            Some(FamilyType::Counter) => untyped(FamilyType::Counter),
            Some(_) | None => untyped(FamilyType::Untyped),
        }
    }

    fn row(
        &mut self,
        name: &str,
        kind: FamilyType,
        labels: &[(Cow<'_, str>, Cow<'_, str>)],
        catalog: &mut Catalog,
        mapping: &Mapping,
        params: &Params,
    ) -> u32 {
        let family = match self.families.get(&(name.to_owned(), kind)) {
            Some(&family) => family,
            None => {
                let help = self.types.get(name).map(|(_, help)| help.clone()).unwrap_or_default();
                let family = index(catalog.families.len());
                catalog.families.push(Family { name: name.to_owned(), kind, help });
                self.families.insert((name.to_owned(), kind), family);
                family
            }
        };
        let key = hash(&[&family.to_le_bytes()[..]], labels);
        if let Some(&row) = self.rows.get(&key) {
            return row;
        }
        let labels: Vec<(String, String)> =
            labels.iter().map(|(name, value)| (name.clone().into_owned(), value.clone().into_owned())).collect();
        let route = self.outputs.route(catalog, family, &labels, mapping, params);
        let row = index(catalog.rows.len());
        catalog.rows.push(Row { family, labels, route });
        self.rows.insert(key, row);
        row
    }
}
