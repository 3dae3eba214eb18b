//! What of a cursor survives promdog: as slots on the way out, since they are there; as identities on the way in, since
//! another promdog has another catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::merged::Merged;
use super::{Cursor, FirstValue, Last, Process, Retired};
use crate::catalog::Catalog;
use crate::column::Column;
use crate::time::UnixMillis;

/// A cursor's totals at the moment when all that it owed had been taken.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its identities name the slots.
    pub catalog: Arc<Catalog>,
    pub last_good: Option<UnixMillis>,
    /// The one seen last is last. Processes without a start time are left out: nothing would tell them again.
    pub processes: Vec<Kept>,
    /// Totals of counters that several sources feed, by what tells the output.
    pub merged: BTreeMap<u128, f64>,
}

/// One process of a checkpoint.
#[derive(Clone, Debug)]
pub struct Kept {
    pub start: f64,
    /// By slot, finite.
    pub totals: Column,
    pub last: Last,
    /// Totals of series that are not in the catalogue.
    pub retired: BTreeMap<u128, Retired>,
}

/// The same, as it is read back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    pub last_good: Option<UnixMillis>,
    pub processes: Vec<SavedProcess>,
    pub merged: BTreeMap<u128, f64>,
}

/// One process of [`Saved`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedProcess {
    pub start: f64,
    /// By identity. Those that were in the catalogue have left it with the last good pull.
    pub totals: BTreeMap<u128, Retired>,
    /// Series of its last pull, if that was complete.
    pub last: Option<BTreeSet<u128>>,
}

impl Checkpoint {
    /// What another promdog will read: for tests, and for what is kept in memory alone.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let now = self.last_good.unwrap_or_default();
        let identity = |slot: usize| self.catalog.identities[slot];
        let process = |kept: &Kept| {
            let mut totals = kept.retired.clone();
            let start = Some(kept.start);
            let retire = |(slot, total)| (identity(slot), Retired { total, left: now, start });
            totals.extend(kept.totals.iter().map(retire));
            let last = match &kept.last {
                Last::Unknown => None,
                Last::Slots(slots) => Some(slots.iter().map(identity).collect()),
                Last::Identities(identities) => Some(identities.clone()),
            };
            SavedProcess { start: kept.start, totals, last }
        };
        Saved {
            last_good: self.last_good,
            processes: self.processes.iter().map(process).collect(),
            merged: self.merged.clone(),
        }
    }
}

impl Cursor {
    /// A cursor that goes on where an earlier promdog was.
    #[must_use]
    pub fn restored(first_value: FirstValue, saved: Saved) -> Self {
        let Saved { last_good, processes, merged } = saved;
        let process = |SavedProcess { start, totals, last }: SavedProcess| Process {
            last: last.map_or(Last::Unknown, Last::Identities),
            retired: totals,
            ..Process::new(Some(start))
        };
        Self {
            processes: processes.into_iter().map(process).collect(),
            last_good,
            merged: Merged::restored(merged),
            ..Self::new(first_value)
        }
    }

    /// What another promdog needs to go on from here. What is owed is not in it: take that first.
    #[must_use]
    pub fn checkpoint(&self, catalog: &Arc<Catalog>) -> Checkpoint {
        let kept = |process: &Process| {
            let Process { start, totals, last, retired } = process.clone();
            Some(Kept { start: start?, totals, last, retired })
        };
        Checkpoint {
            catalog: Arc::clone(catalog),
            last_good: self.last_good,
            processes: self.processes.iter().filter_map(kept).collect(),
            merged: self.merged.by_identity(catalog),
        }
    }
}
