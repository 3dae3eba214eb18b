//! The source's own text of every series, and what comes after what: a page is read by comparing it with the last one.

use hashbrown::HashMap;

use crate::catalog::NONE;

/// Keys by slot, in one piece of text.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The keys one after another; behind them, those of a page that is being read and has slots for them only at its end.
    text: Vec<u8>,
    /// By slot: where its key ends in `text`.
    ends: Vec<u32>,
    /// What came next on the page, by slot, where that is not the slot after it; by [`NONE`], what came first.
    next: HashMap<u32, u32>,
}

impl Keys {
    pub(super) fn slots(&self) -> u32 {
        self.ends.len() as u32
    }

    fn start(&self, slot: usize) -> usize {
        slot.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize)
    }

    /// The key of a slot; of [`NONE`], none.
    pub(super) fn get(&self, slot: u32) -> Option<&[u8]> {
        let end = *self.ends.get(slot as usize)?;
        self.text.get(self.start(slot as usize)..end as usize)
    }

    /// What came after a slot, or first for [`NONE`]; a slot that is not there stands for nothing.
    pub(super) fn after(&self, slot: u32) -> u32 {
        // NONE and one more is the first slot.
        self.next.get(&slot).copied().unwrap_or(slot.wrapping_add(1))
    }

    /// Takes note of what came after a slot, or first for [`NONE`].
    pub(super) fn follow(&mut self, slot: u32, next: u32) {
        if next == slot.wrapping_add(1) {
            self.next.remove(&slot);
        } else {
            self.next.insert(slot, next);
        }
    }

    /// Sets a key aside; where it ends, or `None` if there is too much text.
    pub(super) fn set_aside(&mut self, key: &[u8]) -> Option<u32> {
        let end = u32::try_from(self.text.len() + key.len()).ok()?;
        self.text.extend_from_slice(key);
        Some(end)
    }

    /// Forgets what was set aside.
    pub(super) fn forget_aside(&mut self) {
        self.text.truncate(self.start(self.ends.len()));
    }

    /// Takes what was set aside out, to look at it while slots are made.
    pub(super) fn take_aside(&mut self) -> Aside {
        let end = self.start(self.ends.len());
        Aside { text: std::mem::take(&mut self.text), at: end, kept: end }
    }

    /// Puts it back: what was kept of it are the keys of the newest slots.
    pub(super) fn put_back(&mut self, aside: Aside) {
        let Aside { mut text, kept, .. } = aside;
        text.truncate(kept);
        self.text = text;
        // After the first page there is half as much room as text, and little to come.
        if self.text.capacity() - kept > kept / 4 {
            self.text.shrink_to(kept + kept / 32);
            self.ends.shrink_to(self.ends.len() + self.ends.len() / 32);
        }
    }

    /// Gives the key that was kept last to the next slot.
    pub(super) fn push(&mut self, aside: &Aside) {
        // Text that is longer was not set aside.
        self.ends.push(aside.kept as u32);
    }

    /// Gives a key to the next slot, while none is set aside.
    pub(super) fn append(&mut self, key: &[u8]) {
        self.text.extend_from_slice(key);
        // It was set aside once, beside more than there is here.
        self.ends.push(self.text.len() as u32);
    }

    /// Slots in the order of the page, then those that are not on it.
    pub(super) fn in_order(&self) -> Vec<u32> {
        let mut seen = vec![false; self.ends.len()];
        let mut order = Vec::with_capacity(self.ends.len());
        let mut at = self.after(NONE);
        while let Some(seen) = seen.get_mut(at as usize).filter(|seen| !**seen) {
            *seen = true;
            order.push(at);
            at = self.after(at);
        }
        order.extend((0..self.slots()).filter(|slot| !seen[*slot as usize]));
        order
    }
}

/// Keys that wait for a slot, in the order in which they came.
#[derive(Debug)]
pub(super) struct Aside {
    text: Vec<u8>,
    /// Where the next one begins.
    at: usize,
    /// Up to here, keys have a slot.
    kept: usize,
}

impl Aside {
    /// The next key, which ends at `end`.
    pub(super) fn next(&mut self, end: u32) -> &[u8] {
        let start = std::mem::replace(&mut self.at, end as usize);
        self.text.get(start..end as usize).unwrap_or_default()
    }

    /// Keeps a key of this length that [`Aside::next`] has just returned.
    pub(super) fn keep(&mut self, length: usize) {
        let start = self.at - length;
        self.text.copy_within(start..self.at, self.kept);
        self.kept += length;
    }
}
