//! What of a cursor survives promdog: as slots on the way out, since they are there; as identities on the way in, since
//! another promdog has another catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lots::{Lot, Lots, Retired};
use super::merged::Merged;
use super::{Cursor, FirstValue, Last, Process};
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
    /// Totals of series that have left the catalogue; shared with the cursor.
    pub retired: Lots,
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
    /// What was in the catalogue has left it with the last good pull, and is a lot of its own.
    pub retired: Lots,
    /// Series of its last pull, if that was complete; sorted.
    pub last: Option<Arc<Vec<u128>>>,
}

impl SavedProcess {
    /// Of what had left the catalogue, the totals of what was in it, and the series of the last pull, in any order.
    #[must_use]
    pub fn new(
        start: f64,
        retired: Lots,
        totals: Vec<Retired>,
        last: Option<Vec<u128>>,
        last_good: UnixMillis,
    ) -> Self {
        let mut retired = retired;
        retired.push(Lot::new(last_good, false, totals));
        let last = last.map(|mut last| {
            last.sort_unstable();
            last.shrink_to_fit();
            Arc::new(last)
        });
        Self { start, retired, last }
    }
}

impl Checkpoint {
    /// What another promdog will read: for tests, and for what is kept in memory alone.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let now = self.last_good.unwrap_or_default();
        let identity = |slot: usize| self.catalog.identities[slot];
        let process = |Kept { start, totals, last, retired }: &Kept| {
            let totals = totals.iter().map(|(slot, total)| Retired::new(identity(slot), total)).collect();
            let last = match last {
                Last::Unknown => None,
                Last::Slots(slots) => Some(slots.iter().map(identity).collect()),
                Last::Identities(identities) => Some(identities.to_vec()),
            };
            SavedProcess::new(*start, retired.clone(), totals, last, now)
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
        let process = |SavedProcess { start, retired, last }: SavedProcess| Process {
            last: last.map_or(Last::Unknown, Last::Identities),
            retired,
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
