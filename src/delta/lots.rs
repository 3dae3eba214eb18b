//! Totals of series that have left the catalogue. What left together is a lot: sorted, never changed, shared with whoever
//! stores it, and dropped as a whole. A series that has come back may still be in a lot: the newest total is the right one,
//! and while the series lives nobody asks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::column::Bits;
use crate::time::UnixMillis;

const HOUR_MILLIS: i64 = 3600 * 1000;
/// How long a lot is kept after the last of it has left: as long as Datadog's Agent keeps a total.
const KEEP_MILLIS: i64 = 25 * HOUR_MILLIS;
/// Room for marks, for each entry of a lot. So one search in eight is for nothing, of a series that is not there.
const MARKS: usize = 8;

fn hour(time: UnixMillis) -> i64 {
    time.0.div_euclid(HOUR_MILLIS)
}

/// An identity, the higher half first: a `u128` would be aligned to 16 bytes, and an [`Retired`] take 32.
type Halves = [u64; 2];

fn halves(identity: u128) -> Halves {
    [(identity >> 64) as u64, identity as u64]
}

/// The last total of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retired {
    identity: Halves,
    pub total: f64,
}

impl Retired {
    #[must_use]
    pub fn new(identity: u128, total: f64) -> Self {
        Self { identity: halves(identity), total }
    }

    #[must_use]
    pub fn identity(&self) -> u128 {
        let [high, low] = self.identity;
        u128::from(high) << 64 | u128::from(low)
    }
}

/// What left together, of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Lot {
    /// When the last of it left.
    pub left: UnixMillis,
    /// The process that counted it has been replaced since: where totals start again with the process, it says nothing.
    pub replaced: bool,
    held: Arc<Held>,
}

#[derive(Debug, Default, PartialEq)]
struct Held {
    hash: u64,
    /// By identity.
    retired: Vec<Retired>,
    /// Where identities are, since most series that are asked for are in no lot.
    marks: Bits,
}

impl Held {
    fn new(hash: u64, retired: Vec<Retired>) -> Self {
        let mut marks = Bits::new(retired.len() * MARKS);
        retired.iter().for_each(|entry| marks.set(mark(entry.identity, retired.len())));
        Self { hash, retired, marks }
    }
}

/// The mark of an identity, one of a lot of so many. Identities are hashes, and so spread evenly.
fn mark([high, _]: Halves, length: usize) -> usize {
    ((u128::from(high) * (length * MARKS) as u128) >> 64) as usize
}

impl Lot {
    /// Of entries in any order, each identity once.
    #[must_use]
    pub fn new(left: UnixMillis, replaced: bool, mut retired: Vec<Retired>) -> Self {
        retired.sort_unstable_by_key(|entry| entry.identity);
        retired.shrink_to_fit();
        Self::sorted(left, replaced, retired)
    }

    fn sorted(left: UnixMillis, replaced: bool, retired: Vec<Retired>) -> Self {
        let mut hasher = Xxh3::new();
        for Retired { identity: [high, low], total } in &retired {
            [*high, *low, total.to_bits()].iter().for_each(|word| hasher.update(&word.to_le_bytes()));
        }
        Self { left, replaced, held: Arc::new(Held::new(hasher.digest(), retired)) }
    }

    /// One that is read back under its hash, and nothing said of it; `None` if these are not the entries of a lot.
    #[must_use]
    pub fn read(hash: u64, retired: Vec<Retired>) -> Option<Self> {
        let sorted = retired.windows(2).all(|pair| pair[0].identity < pair[1].identity);
        (sorted && !retired.is_empty()).then(|| Self {
            left: UnixMillis::default(),
            replaced: false,
            held: Arc::new(Held::new(hash, retired)),
        })
    }

    /// Of its entries: what tells it from any other lot.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.held.hash
    }

    #[must_use]
    pub fn retired(&self) -> &[Retired] {
        &self.held.retired
    }

    /// Whether the two may be one.
    fn belongs_to(&self, other: &Self) -> bool {
        self.replaced == other.replaced && hour(self.left) == hour(other.left)
    }

    /// Both in one. What is in both has left again with the newer one.
    fn and(&self, newer: &Self) -> Self {
        let mut both = Vec::with_capacity(self.retired().len() + newer.retired().len());
        let mut left = self.retired().iter().peekable();
        for entry in newer.retired() {
            while let Some(older) = left.next_if(|older| older.identity < entry.identity) {
                both.push(*older);
            }
            left.next_if(|older| older.identity == entry.identity);
            both.push(*entry);
        }
        both.extend(left);
        both.shrink_to_fit();
        Self::sorted(newer.left.max(self.left), self.replaced, both)
    }

    /// Tells of what it holds, takes that off the list, and returns where it stands. The list is sorted.
    fn find(&self, wanted: &mut Vec<Wanted>, mut found: impl FnMut(usize, f64)) -> Vec<u32> {
        let Held { retired, marks, .. } = &*self.held;
        let mut places = Vec::new();
        let mut at = 0;
        wanted.retain(|Wanted { identity, slot }| {
            if !marks.get(mark(*identity, retired.len())) {
                return true;
            }
            at += behind(&retired[at..], *identity);
            match retired.get(at) {
                Some(entry) if entry.identity == *identity => {
                    found(*slot as usize, entry.total);
                    places.push(at as u32);
                    false
                }
                Some(_) | None => true,
            }
        });
        places
    }

    /// Without the entries that stand there.
    fn without(&self, places: &[u32]) -> Self {
        let mut places = places.iter().peekable();
        let stays = |(at, _): &(usize, &Retired)| places.next_if(|place| **place as usize == *at).is_none();
        let rest = self.retired().iter().enumerate().filter(stays).map(|(_, entry)| *entry).collect();
        Self::sorted(self.left, self.replaced, rest)
    }
}

/// How many entries come before an identity. Those that are asked for stand in order too, so the next one is near.
fn behind(retired: &[Retired], identity: Halves) -> usize {
    let before = |entry: &Retired| entry.identity < identity;
    let mut reach = 1;
    while retired.get(reach).is_some_and(before) {
        reach *= 2;
    }
    let from = reach / 2;
    let to = retired.len().min(reach + 1);
    from.min(to) + retired[from.min(to)..to].partition_point(before)
}

/// A series that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    identity: Halves,
    slot: u32,
}

impl Wanted {
    pub(super) fn new(identity: u128, slot: usize) -> Self {
        Self { identity: halves(identity), slot: slot as u32 }
    }
}

/// What has left the catalogue of one process' series; the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lots(Vec<Lot>);

impl Lots {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Lot> + '_ {
        self.0.iter()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Entries in all.
    #[must_use]
    pub fn retired(&self) -> usize {
        self.0.iter().map(|lot| lot.retired().len()).sum()
    }

    /// Adds a lot that is to stay as it is.
    pub fn push(&mut self, lot: Lot) {
        if !lot.retired().is_empty() {
            self.0.push(lot);
        }
    }

    /// Adds what has just left. There is one lot for each hour, so that there are never many.
    pub(super) fn add(&mut self, lot: Lot) {
        self.push(lot);
        self.settle();
    }

    /// Lots of the same hour become one.
    fn settle(&mut self) {
        let lots = std::mem::take(&mut self.0);
        for lot in lots {
            match self.0.last_mut().filter(|last| lot.belongs_to(last)) {
                Some(last) => *last = last.and(&lot),
                None => self.0.push(lot),
            }
        }
    }

    /// Drops the lots that are too old.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        let old = |lot: &Lot| now.0.saturating_sub(lot.left.0) >= KEEP_MILLIS;
        if self.0.first().is_some_and(old) {
            self.0.retain(|lot| !old(lot));
        }
    }

    /// Another process takes the place of the one that counted all this.
    pub(super) fn replace(&mut self) {
        self.0.iter_mut().for_each(|lot| lot.replaced = true);
    }

    /// Tells the newest total of each series, and whether its process has been replaced since. A lot of which most has come
    /// back shrinks: so does the one that an earlier promdog's catalogue has become.
    pub(super) fn find(&mut self, mut wanted: Vec<Wanted>, mut found: impl FnMut(usize, f64, bool)) {
        wanted.sort_unstable_by_key(|wanted| wanted.identity);
        let mut shrunk = false;
        for lot in self.0.iter_mut().rev() {
            if wanted.is_empty() {
                break;
            }
            let places = lot.find(&mut wanted, |slot, total| found(slot, total, lot.replaced));
            if places.len() > lot.retired().len() / 2 {
                *lot = lot.without(&places);
                shrunk = true;
            }
        }
        if shrunk {
            self.0.retain(|lot| !lot.retired().is_empty());
            self.settle();
        }
    }
}

impl FromIterator<Lot> for Lots {
    fn from_iter<I: IntoIterator<Item = Lot>>(lots: I) -> Self {
        let mut all = Self::default();
        lots.into_iter().for_each(|lot| all.push(lot));
        all
    }
}

/// Of entries that left each by itself, and whether their process has been replaced since.
impl FromIterator<(UnixMillis, bool, Retired)> for Lots {
    fn from_iter<I: IntoIterator<Item = (UnixMillis, bool, Retired)>>(entries: I) -> Self {
        // Predecessors came first.
        let mut lots: BTreeMap<(Reverse<bool>, i64), (UnixMillis, Vec<Retired>)> = BTreeMap::new();
        for (left, replaced, entry) in entries {
            let lot = lots.entry((Reverse(replaced), hour(left))).or_insert((left, Vec::new()));
            lot.0 = lot.0.max(left);
            lot.1.push(entry);
        }
        lots.into_iter().map(|((Reverse(replaced), _), (left, entries))| Lot::new(left, replaced, entries)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lot(hours: i64, entries: &[(u128, f64)]) -> Lot {
        let entries = entries.iter().map(|(identity, total)| Retired::new(*identity, *total)).collect();
        Lot::new(UnixMillis(hours * HOUR_MILLIS), false, entries)
    }

    fn found(lots: &mut Lots, identities: &[u128]) -> Vec<(usize, f64, bool)> {
        let mut all = Vec::new();
        let wanted = identities.iter().map(|identity| Wanted::new(*identity, *identity as usize)).collect();
        lots.find(wanted, |slot, total, replaced| all.push((slot, total, replaced)));
        all.sort_by_key(|(slot, ..)| *slot);
        all
    }

    #[test]
    fn an_entry_takes_24_bytes_and_comes_back() {
        assert_eq!(size_of::<Retired>(), 24);
        let identity = u128::MAX - (1 << 64);
        assert_eq!(Retired::new(identity, 1.0).identity(), identity);
        let Held { retired, marks, .. } = &*lot(1, &(0..1000).map(|n| (n << 100, 0.0)).collect::<Vec<_>>()).held;
        assert_eq!((retired.capacity(), marks.words().len() * 8), (1000, 1000), "and a mark of one byte");
    }

    #[test]
    fn lots_of_one_hour_become_one_and_the_newest_total_counts() {
        let mut lots = Lots::default();
        lots.add(lot(1, &[(9, 1.0), (5, 1.0)]));
        lots.add(lot(1, &[(7, 2.0), (5, 2.0)]));
        lots.add(lot(2, &[(7, 3.0)]));
        assert_eq!((lots.iter().count(), lots.retired()), (2, 4));
        assert_eq!(found(&mut lots.clone(), &[5, 6, 7, 9]), [(5, 2.0, false), (7, 3.0, false), (9, 1.0, false)]);
        lots.expire(UnixMillis(26 * HOUR_MILLIS - 1));
        assert_eq!(lots.iter().count(), 2);
        lots.expire(UnixMillis(26 * HOUR_MILLIS));
        assert_eq!(found(&mut lots, &[5, 7]), [(7, 3.0, false)]);
        lots.expire(UnixMillis(27 * HOUR_MILLIS));
        assert!(lots.is_empty());
    }

    #[test]
    fn what_a_predecessor_counted_is_told_apart() {
        let mut lots = Lots::default();
        lots.add(lot(1, &[(5, 1.0), (6, 1.0), (7, 1.0)]));
        lots.replace();
        lots.add(lot(1, &[(5, 2.0)]));
        assert_eq!(lots.iter().count(), 2);
        assert_eq!(found(&mut lots, &[5, 6]), [(5, 2.0, false), (6, 1.0, true)]);
        // Both are of one predecessor now.
        lots.replace();
        lots.add(lot(3, &[(8, 1.0)]));
        assert_eq!((lots.iter().count(), lots.retired()), (2, 4));
    }

    #[test]
    fn a_lot_of_which_most_has_come_back_shrinks_and_no_other() {
        let mut lots = Lots::default();
        lots.push(lot(1, &[(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)]));
        assert_eq!(found(&mut lots, &[2, 4]).len(), 2);
        assert_eq!(lots.retired(), 4, "a half is not most");
        assert_eq!(found(&mut lots, &[1, 2, 4]).len(), 3);
        assert_eq!(found(&mut lots, &[1, 2, 3, 4, 5]), [(3, 1.0, false)]);
        assert!(lots.is_empty());
    }

    proptest! {
        /// Lots are a map whose entries are replaced by newer ones.
        #[test]
        fn whatever_leaves_is_found_as_it_left_last(
            leaving in prop::collection::vec(prop::collection::btree_map(0..300_u128, 0..100_u32, 0..40), 0..8),
            asked in prop::collection::btree_set(0..300_u128, 0..100),
        ) {
            let (mut lots, mut model) = (Lots::default(), BTreeMap::new());
            for (at, left) in leaving.iter().enumerate() {
                let entries: Vec<(u128, f64)> = left.iter().map(|(id, total)| (*id << 60, f64::from(*total))).collect();
                model.extend(entries.iter().copied());
                lots.add(lot(at as i64 / 3, &entries));
            }
            let wanted = asked.iter().map(|id| Wanted::new(*id << 60, *id as usize)).collect();
            let mut found = BTreeMap::new();
            lots.find(wanted, |slot, total, _| {
                found.insert((slot as u128) << 60, total);
            });
            model.retain(|id, _| asked.contains(&(id >> 60)));
            prop_assert_eq!(found, model);
        }
    }
}
