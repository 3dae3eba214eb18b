//! Running totals become increases, proven and never guessed: the rules of ARCHITECTURE.md, "Increases".
//!
//! Works on source slots, before anything is merged, and keeps its totals per process identity
//! (`process_start_time_seconds`), so that a restart, a reset of one row, a load-balanced URL and an exporter whose
//! objects outlive it all come out right. [`saved`] is what of it survives promdog's own restart.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

use self::lots::{Lot, Lots, Retired, Wanted};
use self::merged::{Merged, Part};
use crate::catalog::{self, Catalog, NONE, Route, Slot};
use crate::column::{Bits, Column, Moved};
use crate::exposition::family::FamilyType;
use crate::mapping::{Epoch, Mapping};
use crate::time::UnixMillis;
use crate::view::{Increases, View};

pub mod lots;
mod merged;
pub mod saved;

/// Starts closer than this are one process if nothing fell: Go derives the start from the boot time, so a step of the
/// clock moves it.
pub const SAME_START_SECONDS: f64 = 5.0;
/// Processes remembered behind one URL.
const MAX_PROCESSES: usize = 16;

/// What the first value of a series is worth when nothing earlier is known of its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstValue {
    /// Its full value if the process demonstrably started after the target was first watched; else a baseline.
    #[default]
    Prove,
    /// Always its full value.
    Always,
    /// Always a baseline.
    Never,
}

/// When a pull was made, by the target's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The response's `Date`, or our clock where it has none.
    pub date: UnixMillis,
    /// When this target was first watched.
    pub watching_since: UnixMillis,
}

/// What a pull meant for the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Rows that fell within one process.
    pub resets: u64,
    /// Series whose first value was withheld.
    pub baselines: u64,
    /// Another process answered than the one before.
    pub process: ProcessChange,
}

/// Which process answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessChange {
    /// The first pull, or one without a start time.
    #[default]
    First,
    Same,
    /// It started after the last good pull: the target restarted.
    Replaced,
    /// It was running before: another process behind the same URL.
    Another,
}

#[derive(Clone, Debug)]
struct Process {
    start: Option<f64>,
    /// The last finite value of each source slot.
    totals: Column,
    last: Last,
    /// Totals of series that have left the catalogue.
    retired: Lots,
}

/// The series of a process' last pull, if that was complete: what is missing there did not exist then.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Last {
    #[default]
    Unknown,
    Slots(Bits),
    /// Of a pull that an earlier promdog made; sorted.
    Identities(Arc<Vec<u128>>),
}

impl Last {
    /// Whether the pull is known, and the series was not there.
    fn lacked(&self, catalog: &Catalog, slot: usize) -> bool {
        match self {
            Self::Unknown => false,
            Self::Slots(slots) => !slots.get(slot),
            Self::Identities(identities) => identities.binary_search(&catalog.identities[slot]).is_err(),
        }
    }
}

impl Process {
    fn new(start: Option<f64>) -> Self {
        Self { start, totals: Column::default(), last: Last::Unknown, retired: Lots::default() }
    }

    /// Whether what this process has counted is needed to tell if it is the one that started then.
    fn resembles(&self, start: Option<f64>) -> bool {
        match (self.start, start) {
            (Some(known), Some(start)) => known != start && (known - start).abs() < SAME_START_SECONDS,
            (None, _) | (_, None) => true,
        }
    }

    /// Makes room for the view's slots, and finds the totals of series that have come back. What a predecessor counted says
    /// nothing about them where totals start again with the process.
    fn meet(&mut self, view: &View, mapping: &Mapping) {
        let Self { totals, retired, .. } = self;
        let catalog = &view.catalog;
        totals.grow(catalog.slots.len());
        if retired.is_empty() {
            return;
        }
        let counts =
            |id: &usize| view.source.get(*id).is_some_and(f64::is_finite) && grows(catalog, catalog.slots[*id]);
        let new = || view.source.present().without(totals.present()).filter(counts);
        let mut wanted = Vec::with_capacity(new().count());
        wanted.extend(new().map(|id| Wanted::new(catalog.identities[id], id)));
        retired.find(wanted, |id, total, replaced| {
            if !replaced || epoch_of(view, mapping, id) != Epoch::Process {
                totals.set(id, total);
            }
        });
    }
}

/// The totals handed on so far, and the increases not handed on yet, of one target.
#[derive(Clone, Debug)]
pub struct Cursor {
    first_value: FirstValue,
    /// The one seen last is last.
    processes: Vec<Process>,
    last_good: Option<UnixMillis>,
    owed: Column,
    merged: Merged,
}

impl Cursor {
    #[must_use]
    pub fn new(first_value: FirstValue) -> Self {
        Self { first_value, processes: Vec::new(), last_good: None, owed: Column::default(), merged: Merged::default() }
    }

    /// Makes counters that several sources feed grow by what was proven, instead of showing the sum of what is there.
    /// After [`Cursor::advance`].
    pub fn merge(&self, view: &mut View) {
        self.merged.show(view);
    }

    /// How many totals are kept of series that are not in the catalogue.
    #[must_use]
    pub fn retired(&self) -> usize {
        self.processes.iter().map(|process| process.retired.retired()).sum()
    }

    /// How many processes have answered; more than one at a time means that the URL is load-balanced.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Takes one good pull in; call it once for each, in order.
    pub fn advance(&mut self, view: &View, mapping: &Mapping, moment: Moment) -> Advance {
        let slots = view.catalog.slots.len();
        self.owed.grow(slots);
        let start = start_time(view);
        self.processes.iter_mut().filter(|known| known.resembles(start)).for_each(|known| known.meet(view, mapping));
        let (mut process, change, mut rule) = self.identify(view, start, moment);
        if change == ProcessChange::Replaced {
            process.retired.replace();
        }
        process.meet(view, mapping);
        let fallen = Fallen::find(view, &process.totals);
        let mut advance = Advance { process: change, ..Advance::default() };
        let mut parts = Vec::new();
        if change == ProcessChange::Same {
            advance.resets = fallen.rows.iter().filter(|fell| **fell).count() as u64;
        }
        if let (First::Unproven, FirstValue::Always) = (rule, self.first_value) {
            rule = First::Full;
        }
        for (id, value) in view.source.iter() {
            if !value.is_finite() || !grows(&view.catalog, view.catalog.slots[id]) {
                continue;
            }
            let epoch = if change == ProcessChange::Replaced { epoch_of(view, mapping, id) } else { Epoch::Auto };
            if view.in_doubt == Some(id) && process.totals.get(id).is_some_and(|total| value < total) {
                // Cut short rather than fallen; the next pull tells.
                continue;
            }
            let increase = increase(view, &process, &fallen, rule, epoch, id, value);
            process.totals.set(id, value);
            let out = view.catalog.slots[id].out as usize;
            if !view.folded.get(id) {
                continue;
            }
            if view.catalog.shared.get(out) {
                parts.push(Part { out, value, increase });
            }
            match increase {
                Some(increase) => self.owed.add(id, increase),
                None => advance.baselines += 1,
            }
        }
        self.merged.take_in(&view.catalog, &parts, change == ProcessChange::First);
        if change == ProcessChange::Replaced {
            // What the predecessor had counted of series that are still to come says nothing about them.
            let left = process.totals.iter().map(|(id, _)| id).filter(|id| !view.source.is_present(*id));
            let left: Vec<usize> = left.filter(|id| epoch_of(view, mapping, *id) == Epoch::Process).collect();
            left.into_iter().for_each(|id| process.totals.clear(id));
        }
        process.start = start.or(process.start);
        process.last =
            if view.ledger.is_complete() { Last::Slots(view.source.present().clone()) } else { Last::Unknown };
        self.processes.push(process);
        if self.processes.len() > MAX_PROCESSES {
            self.processes.remove(0);
        }
        self.last_good = Some(moment.date);
        self.processes.iter_mut().for_each(|process| process.retired.expire(moment.date));
        advance
    }

    /// Finds the totals to compare with, takes them out of the list, and says how series without a total count.
    fn identify(&mut self, view: &View, start: Option<f64>, moment: Moment) -> (Process, ProcessChange, First) {
        let known = |process: &Process| match (process.start, start) {
            (Some(known), Some(start)) if known == start => true,
            (Some(known), Some(start)) => {
                (known - start).abs() < SAME_START_SECONDS && !Fallen::find(view, &process.totals).any()
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if let Some(at) = self.processes.iter().rposition(known) {
            let process = self.processes.remove(at);
            let rule = if process.last == Last::Unknown { First::Baseline } else { First::IfAbsentBefore };
            return (process, ProcessChange::Same, rule);
        }
        let fresh = Process::new(start);
        let started = start.map(|start| UnixMillis((start * 1000.0) as i64));
        match (self.processes.last(), started, self.last_good) {
            (None, started, _) => {
                let proven = started.is_some_and(|started| started > moment.watching_since);
                let rule = match self.first_value {
                    FirstValue::Always => First::Full,
                    FirstValue::Prove if proven => First::Full,
                    FirstValue::Prove | FirstValue::Never => First::Baseline,
                };
                (fresh, ProcessChange::First, rule)
            }
            (Some(_), Some(started), Some(last_good)) if started > last_good => {
                // Of several processes behind one URL nobody knows which one it replaces; it is new all the same.
                let only = if self.processes.len() == 1 { self.processes.pop() } else { None };
                (only.unwrap_or(fresh), ProcessChange::Replaced, First::Full)
            }
            // A start time that came or went with the totals going on is the same process.
            (Some(last), _, _)
                if (last.start.is_none() || start.is_none()) && !Fallen::find(view, &last.totals).any() =>
            {
                let process = self.processes.pop().unwrap_or(fresh);
                (process, ProcessChange::Same, First::IfAbsentBefore)
            }
            (Some(_), _, _) => (fresh, ProcessChange::Another, First::Unproven),
        }
    }

    /// Hands the increases over: of the source slots that were measured since the last call.
    pub fn take(&mut self, catalog: &Catalog) -> Increases {
        Increases::new(std::mem::take(&mut self.owed), catalog)
    }

    /// What a source slot has grown by since the last [`Cursor::take`]; `None` if that is not known.
    #[must_use]
    pub fn owed(&self, slot: usize) -> Option<f64> {
        self.owed.get(slot)
    }

    /// The source slots of which something waits to be taken, if only that it did not grow.
    #[must_use]
    pub fn owes_of(&self) -> Bits {
        self.owed.present().clone()
    }

    /// Whether increases wait to be taken.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.iter().any(|(_, increase)| increase > 0.0)
    }

    /// Follows a compaction of the catalogue `old` to `new`. The totals of what is gone are kept for 25 hours, in case it comes back.
    pub fn remap(&mut self, old: &Catalog, new: &Catalog, moved: &Moved) {
        let now = self.last_good.unwrap_or_default();
        for process in &mut self.processes {
            let gone = process.totals.iter().filter(|(id, _)| moved.get(*id).is_none());
            let gone = gone.map(|(id, total)| Retired::new(old.identities[id], total)).collect();
            process.retired.add(Lot::new(now, false, gone));
            process.totals = process.totals.moved(moved);
            if let Last::Slots(last) = &mut process.last {
                *last = last.moved(moved);
            }
        }
        self.owed = self.owed.moved(moved);
        self.merged = self.merged.moved(old, new);
    }
}

/// How a series without a total counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// Its full value: the process is new.
    Full,
    /// Its full value if it was absent from the process' last complete pull.
    IfAbsentBefore,
    Baseline,
    /// As [`First::Baseline`], unless the operator wants first values always.
    Unproven,
}

/// The increase of one number; `None` makes it a baseline.
fn increase(
    view: &View,
    process: &Process,
    fallen: &Fallen,
    rule: First,
    epoch: Epoch,
    id: usize,
    value: f64,
) -> Option<f64> {
    let slot = view.catalog.slots[id];
    let replaced = rule == First::Full && process.totals.get(id).is_some();
    let Some(total) = process.totals.get(id) else {
        return match (rule, epoch) {
            (First::Full, Epoch::Object) => None,
            (First::Full, Epoch::Process | Epoch::Auto) => Some(value),
            (First::IfAbsentBefore, _) => process.last.lacked(&view.catalog, id).then_some(value),
            (First::Baseline | First::Unproven, _) => None,
        };
    };
    let fell = fallen.rows[slot.row as usize];
    let family = view.catalog.row(slot).family as usize;
    let reset = match (replaced, epoch) {
        (true, Epoch::Process) => true,
        (true, Epoch::Auto) => fallen.families[family],
        (true, Epoch::Object) | (false, _) => fell,
    };
    Some(if reset { value } else { value - total })
}

/// Which rows and families hold a number below its total.
struct Fallen {
    rows: Vec<bool>,
    families: Vec<bool>,
}

impl Fallen {
    fn find(view: &View, totals: &Column) -> Self {
        let catalog = &view.catalog;
        let mut fallen = Self { rows: vec![false; catalog.rows.len()], families: vec![false; catalog.families.len()] };
        for (id, value) in view.source.iter() {
            let slot = catalog.slots[id];
            if view.in_doubt != Some(id) && grows(catalog, slot) && totals.get(id).is_some_and(|total| value < total) {
                fallen.rows[slot.row as usize] = true;
                fallen.families[catalog.row(slot).family as usize] = true;
            }
        }
        fallen
    }

    fn any(&self) -> bool {
        self.families.iter().any(|fell| *fell)
    }
}

/// Whether a source number is a running total: by what it feeds, or by its family's type if it feeds nothing.
fn grows(catalog: &Catalog, slot: Slot) -> bool {
    let family = catalog.family(catalog.row(slot));
    let part = catalog.part(slot);
    match (family.route, family.kind) {
        (Route::Mapped { out_family, .. }, _) if slot.out != NONE => {
            part.is_cumulative(catalog.out_families[out_family as usize].kind)
        }
        (_, FamilyType::Counter | FamilyType::Histogram) => true,
        (_, FamilyType::Summary) => !matches!(part, catalog::Part::Quantile(_)),
        (
            _,
            FamilyType::Gauge
            | FamilyType::Untyped
            | FamilyType::GaugeHistogram
            | FamilyType::Info
            | FamilyType::StateSet,
        ) => false,
    }
}

fn epoch_of(view: &View, mapping: &Mapping, id: usize) -> Epoch {
    let catalog = &view.catalog;
    match catalog.family(catalog.row(catalog.slots[id])).route {
        Route::Mapped { rule, .. } => mapping.rule(rule).epoch,
        Route::Unmapped(_) | Route::Excluded | Route::Collided => Epoch::Auto,
    }
}

/// `process_start_time_seconds`, in seconds since 1970, if the exposition holds it.
#[must_use]
pub fn start_time(view: &View) -> Option<f64> {
    view.source.get(view.catalog.start? as usize).filter(|start| start.is_finite())
}
