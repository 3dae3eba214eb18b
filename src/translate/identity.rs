//! What identifies a sample, a row and a tag set: 128-bit hashes, and indices into the catalogue's lists.

use std::borrow::Cow;

use xxhash_rust::xxh3::Xxh3;

use crate::exposition::lex;
use crate::number;

/// The next index of a list of identities.
///
/// # Panics
/// Beyond 2^32 identities, which the limits on samples keep far away.
pub(super) fn index(length: usize) -> u32 {
    u32::try_from(length).expect("the limit on samples keeps identities far below 2^32")
}

/// The canonical identity of a sample: its name and non-empty labels, bounds by number.
pub(super) fn identity(name: &str, labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> u128 {
    let canonical: Vec<(Cow<'_, str>, Cow<'_, str>)> = labels
        .iter()
        .map(|(label, value)| {
            let bound = (label == "le" || label == "quantile").then(|| lex::float(value.as_bytes()).ok()).flatten();
            (Cow::Borrowed(label.as_ref()), bound.map_or(Cow::Borrowed(value.as_ref()), |b| number::bound(b).into()))
        })
        .collect();
    hash(&[name.as_bytes()], &canonical)
}

/// Hashes parts and pairs with their lengths, so that no two lists of them can be confused.
pub(super) fn hash<N: AsRef<str>, V: AsRef<str>>(parts: &[&[u8]], pairs: &[(N, V)]) -> u128 {
    let mut hasher = Xxh3::new();
    let mut feed = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for part in parts {
        feed(part);
    }
    for (name, value) in pairs {
        feed(name.as_ref().as_bytes());
        feed(value.as_ref().as_bytes());
    }
    hasher.digest128()
}
