//! Lists that grow while those who read an older version keep it: chunks behind `Arc`, of which only one that is shared and
//! changes is copied.

use std::ops::Index;
use std::sync::Arc;

/// Items of a chunk, as a power of two.
const BITS: u32 = 12;
const ITEMS: usize = 1 << BITS;
/// Bytes of a chunk of text, unless one text alone is longer.
const TEXT_BYTES: usize = 1 << 16;

/// How much a chunk grows by: to twice what it has, not beyond what it may have, but by what it needs.
fn room(has: usize, needs: usize, most: usize) -> usize {
    has.min(most.saturating_sub(has)).max(needs)
}

/// A list of plain values.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunks<T> {
    chunks: Vec<Arc<Vec<T>>>,
    length: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), length: 0 }
    }
}

impl<T> Chunks<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> Chunks<T> {
    pub fn push(&mut self, item: T) {
        match self.chunks.last_mut().filter(|last| last.len() < ITEMS) {
            Some(last) => {
                let last = Arc::make_mut(last);
                if last.len() == last.capacity() {
                    last.reserve_exact(room(last.len(), 1, ITEMS));
                }
                last.push(item);
            }
            None => self.chunks.push(Arc::new(vec![item])),
        }
        self.length += 1;
    }

    /// # Panics
    /// Beyond the end.
    pub fn get_mut(&mut self, at: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.chunks[at >> BITS])[at % ITEMS]
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.chunks[at >> BITS][at % ITEMS]
    }
}

impl<T: Clone> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

/// Texts without a home of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts(Vec<Arc<String>>);

/// Where a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    chunk: u32,
    start: u32,
    length: u32,
}

impl Texts {
    /// Keeps a text.
    ///
    /// # Panics
    /// If it is longer than 4 GiB, or the 2^32nd chunk.
    pub fn push(&mut self, text: &str) -> Text {
        if self.0.last().is_none_or(|last| !last.is_empty() && last.len() + text.len() > TEXT_BYTES) {
            self.0.push(Arc::default());
        }
        let chunk = self.0.len() - 1;
        let last = Arc::make_mut(&mut self.0[chunk]);
        let start = last.len();
        if last.capacity() - start < text.len() {
            last.reserve_exact(room(start, text.len(), TEXT_BYTES));
        }
        last.push_str(text);
        let short = |number: usize| u32::try_from(number).expect("tags of a row are short");
        Text { chunk: short(chunk), start: short(start), length: short(text.len()) }
    }

    #[must_use]
    pub fn get(&self, text: Text) -> &str {
        let start = text.start as usize;
        &self.0[text.chunk as usize][start..start + text.length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunks, ITEMS, TEXT_BYTES, Texts};

    #[test]
    fn an_older_list_keeps_what_it_had() {
        let mut list: Chunks<usize> = (0..ITEMS + 10).collect();
        let older = list.clone();
        list.push(7);
        *list.get_mut(3) = 1000;
        assert_eq!((older.len(), older[3], list.len(), list[3]), (ITEMS + 10, 3, ITEMS + 11, 1000));
        assert_eq!(older.iter().copied().collect::<Vec<_>>(), (0..ITEMS + 10).collect::<Vec<_>>());
        assert_eq!((list[ITEMS - 1], list[ITEMS], list[ITEMS + 10]), (ITEMS - 1, ITEMS, 7));
    }

    #[test]
    fn chunks_have_no_room_that_is_never_used() {
        let (mut list, mut texts) = (Chunks::default(), Texts::default());
        let mut older = (list.clone(), texts.clone());
        for at in 0..3 * ITEMS {
            list.push(at);
            texts.push("a tag of a row, of which many make a chunk");
            // Whoever keeps an older list makes the newer one copy its last chunk.
            older = (list.clone(), texts.clone());
        }
        assert_eq!((&list, &texts), (&older.0, &older.1));
        assert!(list.chunks.iter().all(|chunk| chunk.capacity() == ITEMS), "of items");
        let texts = &texts.0[..texts.0.len() - 1];
        assert!(texts.len() > 2 && texts.iter().all(|chunk| chunk.capacity() <= TEXT_BYTES), "of text");
    }

    #[test]
    fn texts_of_any_length_are_kept_whole() {
        let mut texts = Texts::default();
        let long = "x".repeat(TEXT_BYTES + 5);
        let kept: Vec<_> = ["", "a", &long, "b", &long[..TEXT_BYTES], ""].map(|text| (text, texts.push(text))).into();
        let older = texts.clone();
        texts.push("later");
        for (text, at) in kept {
            assert_eq!((texts.get(at), older.get(at)), (text, text));
        }
    }
}
