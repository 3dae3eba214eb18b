//! What identifies a sample, a row and a tag set: 128-bit hashes, and indices into the catalogue's lists.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::chunks::Chunks;
use crate::exposition::lex;
use crate::exposition::series::Labels;
use crate::number;

/// The next index of a list of identities.
///
/// # Panics
/// Beyond 2^32 identities, which the limits on samples keep far away.
pub(super) fn index(length: usize) -> u32 {
    u32::try_from(length).expect("the limit on samples keeps identities far below 2^32")
}

/// Indices by the 128-bit hash of what they stand for, which is kept elsewhere.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    indices: HashTable<u32>,
    /// A secret of this process: whoever chooses labels cannot choose places in the table.
    secret: DefaultHashBuilder,
}

impl Lookup {
    /// `key_of` gives the hash that an index stands for.
    pub(super) fn find(&self, key: u128, key_of: impl Fn(u32) -> u128) -> Option<u32> {
        self.indices.find(self.secret.hash_one(key), |index| key_of(*index) == key).copied()
    }

    /// Adds an index that is not there.
    pub(super) fn insert(&mut self, key: u128, index: u32, key_of: impl Fn(u32) -> u128) {
        let Self { indices, secret } = self;
        indices.insert_unique(secret.hash_one(key), index, |index| secret.hash_one(key_of(*index)));
    }
}

/// Consecutive indices by hash.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    keys: Chunks<u128>,
    lookup: Lookup,
}

impl Hashes {
    pub(super) fn find(&self, key: u128) -> Option<u32> {
        self.lookup.find(key, |index| self.keys[index as usize])
    }

    /// Gives a key that is not there the next index.
    pub(super) fn insert(&mut self, key: u128) -> u32 {
        let index = index(self.keys.len());
        self.keys.push(key);
        self.lookup.insert(key, index, |index| self.keys[index as usize]);
        index
    }
}

/// Room for text that is hashed or compared, and used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) bytes: Vec<u8>,
    bound: String,
}

/// The canonical identity of a sample: its name and its labels, sorted and none empty, bounds by number.
pub(super) fn identity(scratch: &mut Scratch, name: &str, labels: &Labels<'_>) -> u128 {
    let Scratch { bytes, bound } = scratch;
    bytes.clear();
    write(bytes, name.as_bytes());
    for (label, value) in labels {
        write(bytes, label.as_bytes());
        let number = (label == "le" || label == "quantile").then(|| lex::float(value.as_bytes()).ok()).flatten();
        match number {
            Some(number) => {
                bound.clear();
                number::bound(bound, number);
                write(bytes, bound.as_bytes());
            }
            None => write(bytes, value.as_bytes()),
        }
    }
    xxh3_128(bytes)
}

/// Appends texts with their lengths, so that no two lists of them can be confused.
pub(super) fn write_pairs(out: &mut Vec<u8>, pairs: &Labels<'_>) {
    for (name, value) in pairs {
        write(out, name.as_bytes());
        write(out, value.as_bytes());
    }
}

/// Appends a text with its length.
pub(super) fn write(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}
