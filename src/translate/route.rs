//! The output side of the catalogue: which output row a source row feeds, and what it is called there.

use std::collections::HashMap;

use crate::catalog::{Catalog, NO_OUTPUT, OutFamily, OutRow, OutSlot, OutputKind, Part, Route, Unmapped};
use crate::exposition::family::FamilyType;
use crate::exposition::write;
use crate::mapping::{Find, HistogramMode, Hit, Mapping, Rule};
use crate::payload::points::{json_resources, json_tags};
use crate::translate::identity::{hash, index};
use crate::translate::{Params, names};
use crate::view::page_labels;

/// The look-ups of the output side.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    families: HashMap<(String, OutputKind), u32>,
    /// Every name that is taken, as `/metrics` spells it, and by which family.
    names: HashMap<String, u32>,
    rows: HashMap<u128, u32>,
}

impl Outputs {
    /// Decides where a source row leads, making the output family and row where they are new.
    pub(super) fn route(
        &mut self,
        catalog: &mut Catalog,
        family: u32,
        labels: &[(String, String)],
        mapping: &Mapping,
        params: &Params,
    ) -> Route {
        let source = &catalog.families[family as usize];
        let Hit { rule, id, name, precedence } = match mapping.find(&source.name, source.kind) {
            Find::Mapped(hit) => hit,
            Find::Excluded => return Route::Excluded,
            Find::Unmapped => return Route::Unmapped(Unmapped::NoRule),
        };
        let kind = match output_kind(source.kind, rule.kind) {
            Ok(kind) => kind,
            Err(why) => return Route::Unmapped(why),
        };
        let name = match params.namespace.as_deref().or(mapping.namespace()) {
            Some(namespace) => format!("{namespace}.{name}"),
            None => name,
        };
        let Some(name) = names::metric(&name) else { return Route::Collided };
        let help = help(rule, &source.help, &source.name);
        let Some(out_family) = self.family(catalog, name, kind, help, rule, id) else { return Route::Collided };
        let borrowed: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut tags: Vec<String> =
            mapping.labels(id, &borrowed).iter().map(|(key, value)| names::tag(key, value)).collect();
        tags.extend(params.tags.iter().map(|(key, value)| names::tag(key, value)));
        tags.sort_unstable();
        tags.dedup();
        let out_row = self.row(catalog, out_family, tags);
        Route::Mapped { out_row, rule: id, precedence: u32::try_from(precedence).unwrap_or(u32::MAX) }
    }

    fn family(
        &mut self,
        catalog: &mut Catalog,
        name: String,
        kind: OutputKind,
        help: String,
        rule: &Rule,
        id: crate::mapping::RuleId,
    ) -> Option<u32> {
        if let Some(&known) = self.families.get(&(name.clone(), kind)) {
            return Some(known);
        }
        let suffixes: &[&str] = match kind {
            OutputKind::Gauge => &[""],
            OutputKind::Counter => &[".count"],
            OutputKind::Histogram => &[".bucket", ".sum", ".count", ""],
            OutputKind::Summary => &[".quantile", ".sum", ".count", ""],
        };
        let taken: Vec<String> = suffixes.iter().map(|suffix| write::metric_name(&format!("{name}{suffix}"))).collect();
        if taken.iter().any(|name| self.names.contains_key(name)) {
            return None;
        }
        let family = index(catalog.out_families.len());
        self.names.extend(taken.into_iter().map(|name| (name, family)));
        let page_name = match kind {
            OutputKind::Counter => write::metric_name(&format!("{name}.count")),
            OutputKind::Gauge | OutputKind::Histogram | OutputKind::Summary => write::metric_name(&name),
        };
        self.families.insert((name.clone(), kind), family);
        let unit = rule.unit.clone();
        catalog.out_families.push(OutFamily { name, page_name, kind, help, unit, rule: id, rows: Vec::new() });
        Some(family)
    }

    fn row(&mut self, catalog: &mut Catalog, family: u32, tags: Vec<String>) -> u32 {
        let stored: Vec<(String, &str)> = tags.iter().map(|tag| (names::stored_tag(tag), "")).collect();
        let key = hash(&[&family.to_le_bytes()[..]], &stored);
        if let Some(&row) = self.rows.get(&key) {
            return row;
        }
        let row = index(catalog.out_rows.len());
        let page_labels = page_labels(&tags);
        let (json_tags, json_resources) = (json_tags(&tags), json_resources(&tags));
        catalog.out_rows.push(OutRow { family, tags, page_labels, json_tags, json_resources, slots: Vec::new() });
        catalog.out_families[family as usize].rows.push(row);
        self.rows.insert(key, row);
        row
    }

    /// Finds or makes the output slot of a part.
    pub(super) fn slot(&mut self, catalog: &mut Catalog, out_row: u32, part: Part, rule: &Rule) -> u32 {
        if matches!((part, rule.histogram), (Part::Bucket(_), HistogramMode::Sums)) {
            return NO_OUTPUT;
        }
        let row = &catalog.out_rows[out_row as usize];
        if let Some(&slot) = row.slots.iter().find(|slot| catalog.out_slots[**slot as usize].part == part) {
            return slot;
        }
        let order = |slot: &u32| catalog.out_slots[*slot as usize].part.order();
        let before = row.slots.partition_point(|slot| order(slot) < part.order());
        let slot = index(catalog.out_slots.len());
        catalog.out_slots.push(OutSlot { row: out_row, part });
        catalog.out_rows[out_row as usize].slots.insert(before, slot);
        slot
    }
}

fn help(rule: &Rule, source_help: &str, source_name: &str) -> String {
    let text = rule.description.as_deref().unwrap_or(source_help).trim_end_matches('.');
    if text.is_empty() { format!("From {source_name}.") } else { format!("{text} (from {source_name}).") }
}

/// What a family becomes, by its own type and the rule's.
fn output_kind(source: FamilyType, wanted: Option<FamilyType>) -> Result<OutputKind, Unmapped> {
    let single = matches!(source, FamilyType::Counter | FamilyType::Gauge | FamilyType::Untyped);
    match (source, wanted) {
        (FamilyType::Counter, None) => Ok(OutputKind::Counter),
        (FamilyType::Gauge, None) => Ok(OutputKind::Gauge),
        (_, Some(FamilyType::Counter)) if single => Ok(OutputKind::Counter),
        (_, Some(FamilyType::Gauge)) if single => Ok(OutputKind::Gauge),
        (FamilyType::Histogram, None | Some(FamilyType::Histogram)) => Ok(OutputKind::Histogram),
        (FamilyType::Summary, None | Some(FamilyType::Summary)) => Ok(OutputKind::Summary),
        (_, None) => Err(Unmapped::NoType),
        (_, Some(_)) => Err(Unmapped::TypeDoesNotFit),
    }
}
