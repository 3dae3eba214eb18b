//! Columns in chunks, of which only those that have changed are written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::{StorageError, Table};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::KEEP;
use super::record::{ChunkKey, Kind, seal, target_key};
use crate::delta::saved::{Checkpoint, Kept};
use crate::delta::{Last, Retired};
use crate::time::UnixMillis;

/// Of a chunk, without its checksum.
const CHUNK_BYTES: usize = 64 << 10;

/// What a target's columns mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Milliseconds; of the last commit that knew the target.
    pub(super) seen: i64,
    pub(super) last_good: Option<i64>,
    /// The one seen last is last.
    pub(super) processes: Vec<ProcessHead>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessHead {
    /// The bits of its start time.
    pub(super) start: u64,
    /// Whether its last pull was complete.
    pub(super) last: bool,
}

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Hashes of the chunks that are on disk, and when each target was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    targets: HashMap<String, Target>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    seen: UnixMillis,
    chunks: BTreeMap<ChunkKey, u64>,
}

impl Written {
    /// Takes note of a chunk that is on disk.
    pub(super) fn note(&mut self, name: &str, key: ChunkKey, value: &[u8]) {
        self.targets.entry(name.to_owned()).or_default().chunks.insert(key, xxh3_64(value));
    }

    pub(super) fn note_seen(&mut self, name: &str, seen: UnixMillis) {
        self.targets.entry(name.to_owned()).or_default().seen = seen;
    }

    /// Chunks that are not the same in both.
    #[cfg(test)]
    pub(super) fn differing(&self, other: &Self) -> usize {
        let chunks = |written: &Self| -> BTreeSet<(String, ChunkKey, u64)> {
            let of = |(name, target): (&String, &Target)| {
                target.chunks.iter().map(|(key, hash)| (name.clone(), *key, *hash)).collect::<Vec<_>>()
            };
            written.targets.iter().flat_map(of).collect()
        };
        chunks(self).difference(&chunks(other)).count()
    }

    /// Writes what has changed of a target.
    pub(super) fn target(
        &mut self,
        heads: &mut Rows<'_>,
        columns: &mut Rows<'_>,
        name: &str,
        checkpoint: &Checkpoint,
        now: UnixMillis,
    ) -> Result<(), StorageError> {
        let Checkpoint { catalog, last_good, processes, merged } = checkpoint;
        let target = self.targets.entry(name.to_owned()).or_default();
        target.seen = now;
        let mut writer =
            Writer { name, columns, chunks: &mut target.chunks, there: BTreeSet::new(), buffer: Vec::new() };
        writer.column(0, Kind::Identities, catalog.identities.iter().map(|identity| identity.to_le_bytes()))?;
        let of_output = |(identity, total): (&u128, &f64)| {
            let mut row = [0; 24];
            row[..16].copy_from_slice(&identity.to_le_bytes());
            row[16..].copy_from_slice(&total.to_le_bytes());
            row
        };
        writer.column(0, Kind::Merged, merged.iter().map(of_output))?;
        for Kept { start, totals, last, retired } in processes {
            let start = start.to_bits();
            let total = |slot: usize| totals.get(slot).unwrap_or(f64::NAN).to_le_bytes();
            writer.column(start, Kind::Totals, (0..totals.len()).map(total))?;
            match last {
                Last::Unknown => {}
                Last::Slots(slots) => {
                    writer.column(start, Kind::Last, slots.words().iter().map(|word| word.to_le_bytes()))?;
                }
                Last::Identities(identities) => {
                    writer.column(
                        start,
                        Kind::LastIdentities,
                        identities.iter().map(|identity| identity.to_le_bytes()),
                    )?;
                }
            }
            writer.column(
                start,
                Kind::Retired,
                retired.iter().map(|(identity, Retired { total, left, start })| {
                    let mut row = [0; 40];
                    row[..16].copy_from_slice(&identity.to_le_bytes());
                    row[16..24].copy_from_slice(&total.to_le_bytes());
                    row[24..32].copy_from_slice(&left.0.to_le_bytes());
                    row[32..].copy_from_slice(&start.unwrap_or(f64::NAN).to_le_bytes());
                    row
                }),
            )?;
        }
        writer.remove_others()?;
        let head = Head {
            seen: now.0,
            last_good: last_good.map(|time| time.0),
            processes: processes
                .iter()
                .map(|kept| ProcessHead { start: kept.start.to_bits(), last: kept.last != Last::Unknown })
                .collect(),
        };
        let key = target_key(b"target", name);
        // A struct of numbers has a JSON text.
        let json = serde_json::to_vec(&head).unwrap_or_default();
        heads.insert(key.as_slice(), seal(&key, &json).as_slice())?;
        Ok(())
    }

    /// Removes targets that nobody has seen for long.
    pub(super) fn prune(
        &mut self,
        heads: &mut Rows<'_>,
        columns: &mut Rows<'_>,
        now: UnixMillis,
    ) -> Result<(), StorageError> {
        let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        let old = |target: &Target| now.0.saturating_sub(target.seen.0) > keep;
        let gone: Vec<String> =
            self.targets.iter().filter(|(_, target)| old(target)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            for key in self.targets.remove(&name).unwrap_or_default().chunks.into_keys() {
                columns.remove(key.bytes(&name).as_slice())?;
            }
            heads.remove(target_key(b"target", &name).as_slice())?;
        }
        Ok(())
    }
}

/// The columns of one target.
struct Writer<'w, 't> {
    name: &'w str,
    columns: &'w mut Rows<'t>,
    chunks: &'w mut BTreeMap<ChunkKey, u64>,
    /// What there is now.
    there: BTreeSet<ChunkKey>,
    buffer: Vec<u8>,
}

impl Writer<'_, '_> {
    fn column<const N: usize>(
        &mut self,
        start: u64,
        kind: Kind,
        rows: impl Iterator<Item = [u8; N]>,
    ) -> Result<(), StorageError> {
        let mut chunk = 0;
        for row in rows {
            self.buffer.extend_from_slice(&row);
            if self.buffer.len() + N > CHUNK_BYTES {
                self.chunk(ChunkKey { start, kind, chunk })?;
                chunk += 1;
            }
        }
        if !self.buffer.is_empty() {
            self.chunk(ChunkKey { start, kind, chunk })?;
        }
        Ok(())
    }

    fn chunk(&mut self, key: ChunkKey) -> Result<(), StorageError> {
        let hash = xxh3_64(&self.buffer);
        if self.chunks.insert(key, hash) != Some(hash) {
            let bytes = key.bytes(self.name);
            self.columns.insert(bytes.as_slice(), seal(&bytes, &self.buffer).as_slice())?;
        }
        self.there.insert(key);
        self.buffer.clear();
        Ok(())
    }

    fn remove_others(self) -> Result<(), StorageError> {
        let Self { name, columns, chunks, there, .. } = self;
        let others: Vec<ChunkKey> = chunks.keys().filter(|key| !there.contains(key)).copied().collect();
        for key in others {
            chunks.remove(&key);
            columns.remove(key.bytes(name).as_slice())?;
        }
        Ok(())
    }
}
