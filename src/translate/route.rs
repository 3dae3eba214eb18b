//! The output side of the catalogue: which output row a source row feeds, and what it is called there.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::{Catalog, NONE, OutFamily, OutRow, OutSlot, OutputKind, Part, Route, Unmapped};
use crate::exposition::family::FamilyType;
use crate::exposition::series::Labels;
use crate::exposition::write;
use crate::mapping::{Find, HistogramMode, Hit, Rule, RuleId};
use crate::tags;
use crate::translate::identity::{self, Hashes, index};
use crate::translate::names;
use crate::translate::place::Ground;

/// The look-ups of the output side.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    families: HashMap<(String, OutputKind), u32>,
    /// Every name that is taken, as `/metrics` spells it, and by which family.
    names: HashMap<String, u32>,
    rows: Hashes,
    /// Room for what is hashed.
    text: Vec<u8>,
    stored: String,
}

impl Outputs {
    /// Decides where a source family leads, making the output family where it is new.
    /// `source` is its name, type and help.
    pub(super) fn route(&mut self, source: (&str, FamilyType, &str), ground: &mut Ground<'_>) -> Route {
        let Ground { catalog, mapping, params } = ground;
        let (source_name, source_kind, source_help) = source;
        let Hit { rule, id, name, precedence } = match mapping.find(source_name, source_kind) {
            Find::Mapped(hit) => hit,
            Find::Excluded => return Route::Excluded,
            Find::Unmapped => return Route::Unmapped(Unmapped::NoRule),
        };
        let kind = match output_kind(source_kind, rule.kind) {
            Ok(kind) => kind,
            Err(why) => return Route::Unmapped(why),
        };
        let name = match params.namespace.as_deref().or(mapping.namespace()) {
            Some(namespace) => format!("{namespace}.{name}"),
            None => name,
        };
        let Some(name) = names::metric(&name) else { return Route::Collided };
        let help = help(rule, source_help, source_name);
        let Some(out_family) = self.family(catalog, name, kind, help, rule, id) else { return Route::Collided };
        Route::Mapped { out_family, rule: id, precedence: u32::try_from(precedence).unwrap_or(u32::MAX) }
    }

    fn family(
        &mut self,
        catalog: &mut Catalog,
        name: String,
        kind: OutputKind,
        help: String,
        rule: &Rule,
        id: RuleId,
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
        let rows = (NONE, NONE);
        catalog.out_families.push(Arc::new(OutFamily {
            name,
            page_name,
            kind,
            help,
            unit,
            rule: id,
            rows,
            plain: true,
        }));
        Some(family)
    }

    /// Finds or makes the output row that labels become.
    pub(super) fn row(&mut self, family: u32, rule: RuleId, labels: &Labels<'_>, ground: &mut Ground<'_>) -> u32 {
        let Ground { catalog, mapping, params } = ground;
        let borrowed: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut tags: Vec<String> =
            mapping.labels(rule, &borrowed).iter().map(|(key, value)| names::tag(key, value)).collect();
        tags.extend(params.tags.iter().map(|(key, value)| names::tag(key, value)));
        tags.sort_unstable();
        tags.dedup();
        let Self { text, stored, .. } = self;
        text.clear();
        text.extend_from_slice(&family.to_le_bytes());
        for tag in &tags {
            stored.clear();
            names::push_stored_tag(stored, tag);
            identity::write(text, stored.as_bytes());
        }
        let key = xxh3_128(text);
        if let Some(row) = self.rows.find(key) {
            return row;
        }
        let row = self.rows.insert(key);
        let resources = tags::json_resources(&tags);
        if !resources.is_empty() {
            Arc::make_mut(&mut catalog.resources).insert(row, resources);
        }
        let text = catalog.tags.push(&tags::json(&tags));
        catalog.out_rows.push(OutRow { family, next: NONE, slots: (NONE, NONE), tags: text });
        let family = Arc::make_mut(&mut catalog.out_families[family as usize]);
        family.plain &= tags::are_plain(&tags);
        match family.rows.1 {
            NONE => family.rows = (row, row),
            last => {
                catalog.out_rows.get_mut(last as usize).next = row;
                family.rows.1 = row;
            }
        }
        row
    }

    /// Lets a source slot feed the output slot of its part, which is made where it is new. The slot's own entry must say
    /// already what part it is, and that it feeds nothing.
    pub(super) fn feed(&mut self, catalog: &mut Catalog, slot: u32, out_row: u32, rule: &Rule) {
        let part = catalog.part(catalog.slots[slot as usize]);
        if matches!((part, rule.histogram), (Part::Bucket(_), HistogramMode::Sums)) {
            return;
        }
        let out = match find(catalog, out_row, part) {
            Some(out) => {
                if catalog.out_slots[out as usize].source != slot {
                    catalog.share(out);
                }
                out
            }
            None => append(catalog, slot, out_row, part),
        };
        catalog.slots.get_mut(slot as usize).out = out;
    }
}

/// The output slot of a part of a row, if something feeds it.
fn find(catalog: &Catalog, out_row: u32, part: Part) -> Option<u32> {
    let last = catalog.out_rows[out_row as usize].slots.1;
    // A page nearly always has its parts in order: what is new comes last.
    if last != NONE && catalog.output(last as usize).is_some_and(|output| output.part.order() < part.order()) {
        return None;
    }
    let found = catalog.slots_of(out_row).find(|out| catalog.output(*out).is_some_and(|output| output.part == part))?;
    Some(index(found))
}

/// Makes an output slot, at its place in the row.
fn append(catalog: &mut Catalog, source: u32, out_row: u32, part: Part) -> u32 {
    let new = index(catalog.out_slots.len());
    let (first, last) = catalog.out_rows[out_row as usize].slots;
    let comes_before = |out: usize| catalog.output(out).is_some_and(|output| output.part.order() <= part.order());
    let before = match last {
        NONE => None,
        last if comes_before(last as usize) => Some(last as usize),
        // What nothing feeds has no place of its own, and does not end the search.
        _ => catalog.slots_of(out_row).filter(|out| comes_before(*out)).last(),
    };
    let row = catalog.out_rows.get_mut(out_row as usize);
    let next = match before {
        Some(before) => std::mem::replace(&mut catalog.out_slots.get_mut(before).next, new),
        None => std::mem::replace(&mut row.slots.0, new),
    };
    debug_assert!(before.is_some() || next == first);
    if next == NONE {
        row.slots.1 = new;
    }
    catalog.out_slots.push(OutSlot { source, next });
    new
}

/// The help of an output family.
pub(super) fn help(rule: &Rule, source_help: &str, source_name: &str) -> String {
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
