//! Numbers and marks by slot: dense, and cheap to go through in order.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

/// What a compaction has moved where.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// By old slot: the new one, absent if it is gone.
    pub to: Vec<Option<u32>>,
    /// Slots there are now.
    pub slots: usize,
}

impl Moved {
    /// Where a slot is now.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<usize> {
        self.to.get(slot).copied().flatten().map(|slot| slot as usize)
    }
}

/// A mark for each slot, set or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Room for so many slots, none marked.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(vec![0; slots.div_ceil(64)])
    }

    /// Makes room for slots that were not known before.
    pub fn grow(&mut self, slots: usize) {
        self.0.resize(slots.div_ceil(64).max(self.0.len()), 0);
    }

    /// Whether a slot is marked; one that there is no room for is not.
    #[must_use]
    pub fn get(&self, slot: usize) -> bool {
        self.0.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Marks a slot that there is room for.
    pub fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub fn clear(&mut self, slot: usize) {
        if let Some(word) = self.0.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// How many are marked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The slots that are marked, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| slots(at, *word))
    }

    /// The slots that are marked here and not there, in order.
    pub fn without<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = usize> + 'b {
        let there = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0.iter().zip(there).enumerate().flat_map(|(at, (word, there))| slots(at, word & !there))
    }

    /// The same marks after a compaction.
    #[must_use]
    pub fn moved(&self, moved: &Moved) -> Self {
        let mut new = Self::new(moved.slots);
        self.iter().filter_map(|slot| moved.get(slot)).for_each(|slot| new.set(slot));
        new
    }

    /// 64 slots a word, the first one lowest.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

/// The slots of a word.
fn slots(at: usize, mut left: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(at * 64 + bit)
    })
}

/// A number for each slot, present or not. NaN is a present number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    values: Vec<f64>,
    present: Bits,
}

impl Column {
    /// A column of `slots` absent numbers.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { values: vec![0.0; slots], present: Bits::new(slots) }
    }

    /// Makes room for slots that were not known when the column was made.
    pub fn grow(&mut self, slots: usize) {
        self.values.resize(slots.max(self.values.len()), 0.0);
        self.present.grow(self.values.len());
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[must_use]
    pub fn get(&self, slot: usize) -> Option<f64> {
        self.present.get(slot).then(|| self.values[slot])
    }

    #[must_use]
    pub fn is_present(&self, slot: usize) -> bool {
        self.present.get(slot)
    }

    /// Which slots hold a number.
    #[must_use]
    pub fn present(&self) -> &Bits {
        &self.present
    }

    /// Stores a number, replacing what was there.
    pub fn set(&mut self, slot: usize, value: f64) {
        self.values[slot] = value;
        self.present.set(slot);
    }

    /// Stores a number where there is none; `false` if there is one, which stays.
    pub fn set_new(&mut self, slot: usize, value: f64) -> bool {
        let word = &mut self.present.0[slot / 64];
        let bit = 1 << (slot % 64);
        let new = *word & bit == 0;
        if new {
            *word |= bit;
            self.values[slot] = value;
        }
        new
    }

    /// Adds to a number; an absent one counts as 0.
    pub fn add(&mut self, slot: usize, value: f64) {
        let sum = self.get(slot).unwrap_or(0.0) + value;
        self.set(slot, sum);
    }

    pub fn clear(&mut self, slot: usize) {
        self.present.clear(slot);
    }

    /// Present numbers in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.present.iter().map(|slot| (slot, self.values[slot]))
    }

    /// The same numbers after a compaction.
    #[must_use]
    pub fn moved(&self, moved: &Moved) -> Self {
        let mut new = Self::new(moved.slots);
        let there = self.iter().filter_map(|(slot, value)| Some((moved.get(slot)?, value)));
        there.for_each(|(slot, value)| new.set(slot, value));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Column, Moved};

    #[test]
    fn marks_are_gone_through_in_order_over_words() {
        let mut bits = Bits::new(200);
        let marked = [0, 63, 64, 127, 130, 199];
        marked.iter().for_each(|slot| bits.set(*slot));
        assert_eq!(bits.iter().collect::<Vec<_>>(), marked);
        bits.clear(64);
        assert_eq!((bits.count(), bits.get(64), bits.get(63), bits.get(5000)), (5, false, true, false));
        let mut others = Bits::new(130);
        [1, 63, 127].iter().for_each(|slot| others.set(*slot));
        assert_eq!(bits.without(&others).collect::<Vec<_>>(), [0, 130, 199], "also where the others have no room");
    }

    #[test]
    fn the_first_number_of_a_slot_stays_and_zero_is_a_number() {
        let mut column = Column::new(3);
        assert!(column.set_new(1, 0.0) && !column.set_new(1, 5.0));
        column.grow(70);
        column.add(69, 2.0);
        column.add(69, 2.5);
        assert_eq!(column.iter().collect::<Vec<_>>(), [(1, 0.0), (69, 4.5)]);
        let moved = Moved { to: vec![None, Some(0)], slots: 1 };
        assert_eq!(column.moved(&moved).iter().collect::<Vec<_>>(), [(0, 0.0)]);
        assert_eq!(column.present().moved(&moved).iter().collect::<Vec<_>>(), [0]);
    }
}
