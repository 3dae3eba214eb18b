//! Columns in chunks, of which only those that have changed are written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::{StorageError, Table};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::KEEP;
use super::record::{ChunkKey, Kind, seal, target_key};
use crate::delta::Last;
use crate::delta::lots::Lot;
use crate::delta::saved::{Checkpoint, Kept};
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
    /// The oldest first.
    #[serde(default)]
    pub(super) lots: Vec<LotHead>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LotHead {
    pub(super) hash: u64,
    pub(super) entries: usize,
    /// Milliseconds.
    pub(super) left: i64,
    pub(super) replaced: bool,
}

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Hashes of the chunks that are on disk, which lots are, and when each target was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    targets: HashMap<String, Target>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    seen: UnixMillis,
    chunks: BTreeMap<ChunkKey, u64>,
    /// Lots by hash, and how many chunks each has. They never change.
    lots: BTreeMap<u64, u32>,
}

impl Written {
    /// Takes note of a chunk that is on disk.
    pub(super) fn note(&mut self, name: &str, key: ChunkKey, value: &[u8]) {
        if !self.targets.contains_key(name) {
            self.targets.insert(name.to_owned(), Target::default());
        }
        let Some(target) = self.targets.get_mut(name) else { return };
        if key.kind == Kind::Lot {
            let chunks = target.lots.entry(key.of).or_default();
            *chunks = key.chunk.saturating_add(1).max(*chunks);
        } else {
            target.chunks.insert(key, xxh3_64(value));
        }
    }

    pub(super) fn note_seen(&mut self, name: &str, seen: UnixMillis) {
        self.targets.entry(name.to_owned()).or_default().seen = seen;
    }

    /// Chunks that are not the same in both.
    #[cfg(test)]
    pub(super) fn differing(&self, other: &Self) -> usize {
        let chunks = |written: &Self| -> BTreeSet<(String, ChunkKey, u64)> {
            let of = |(name, target): (&String, &Target)| {
                let lots =
                    target.lots.iter().map(|(lot, chunks)| (ChunkKey { of: *lot, kind: Kind::Lot, chunk: *chunks }, 0));
                let chunks = target.chunks.iter().map(|(key, hash)| (*key, *hash));
                chunks.chain(lots).map(|(key, hash)| (name.clone(), key, hash)).collect::<Vec<_>>()
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
        let Target { chunks, lots, .. } = target;
        let mut writer = Writer { name, columns, chunks, there: BTreeSet::new(), buffer: Vec::new() };
        writer.column(0, Kind::Identities, catalog.identities.iter().map(|identity| identity.to_le_bytes()))?;
        writer.column(0, Kind::Merged, merged.iter().map(|(identity, total)| numbered(*identity, *total)))?;
        writer.lots(lots, processes.iter().flat_map(|kept| kept.retired.iter()))?;
        for Kept { start, totals, last, retired: _ } in processes {
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
        }
        writer.remove_others()?;
        let lot = |lot: &Lot| LotHead {
            hash: lot.hash(),
            entries: lot.retired().len(),
            left: lot.left.0,
            replaced: lot.replaced,
        };
        let process = |Kept { start, totals: _, last, retired }: &Kept| ProcessHead {
            start: start.to_bits(),
            last: *last != Last::Unknown,
            lots: retired.iter().map(lot).collect(),
        };
        let head = Head {
            seen: now.0,
            last_good: last_good.map(|time| time.0),
            processes: processes.iter().map(process).collect(),
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
            let Target { seen: _, chunks, lots } = self.targets.remove(&name).unwrap_or_default();
            for key in chunks.into_keys().chain(lots.into_iter().flat_map(chunks_of)) {
                columns.remove(key.bytes(&name).as_slice())?;
            }
            heads.remove(target_key(b"target", &name).as_slice())?;
        }
        Ok(())
    }
}

/// An identity and its total.
fn numbered(identity: u128, total: f64) -> [u8; 24] {
    let mut row = [0; 24];
    row[..16].copy_from_slice(&identity.to_le_bytes());
    row[16..].copy_from_slice(&total.to_le_bytes());
    row
}

/// The chunks of a lot.
fn chunks_of((lot, chunks): (u64, u32)) -> impl Iterator<Item = ChunkKey> {
    (0..chunks).map(move |chunk| ChunkKey { of: lot, kind: Kind::Lot, chunk })
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
        of: u64,
        kind: Kind,
        rows: impl Iterator<Item = [u8; N]>,
    ) -> Result<(), StorageError> {
        let each = |writer: &mut Self, key| writer.chunk(key);
        self.chunks(of, kind, rows, each).map(|_| ())
    }

    /// Cuts rows into chunks, and says how many those are.
    fn chunks<const N: usize>(
        &mut self,
        of: u64,
        kind: Kind,
        rows: impl Iterator<Item = [u8; N]>,
        mut each: impl FnMut(&mut Self, ChunkKey) -> Result<(), StorageError>,
    ) -> Result<u32, StorageError> {
        let mut chunk = 0;
        for row in rows {
            self.buffer.extend_from_slice(&row);
            if self.buffer.len() + N > CHUNK_BYTES {
                each(self, ChunkKey { of, kind, chunk })?;
                self.buffer.clear();
                chunk += 1;
            }
        }
        if !self.buffer.is_empty() {
            each(self, ChunkKey { of, kind, chunk })?;
            self.buffer.clear();
            chunk += 1;
        }
        Ok(chunk)
    }

    fn chunk(&mut self, key: ChunkKey) -> Result<(), StorageError> {
        let hash = xxh3_64(&self.buffer);
        if self.chunks.insert(key, hash) != Some(hash) {
            self.put(key)?;
        }
        self.there.insert(key);
        Ok(())
    }

    fn put(&mut self, key: ChunkKey) -> Result<(), StorageError> {
        let bytes = key.bytes(self.name);
        self.columns.insert(bytes.as_slice(), seal(&bytes, &self.buffer).as_slice())?;
        Ok(())
    }

    /// Writes the lots that are not on disk, and removes those that are there no longer. One that is there is not looked at.
    fn lots<'l>(
        &mut self,
        written: &mut BTreeMap<u64, u32>,
        lots: impl Iterator<Item = &'l Lot>,
    ) -> Result<(), StorageError> {
        let mut gone = std::mem::take(written);
        for lot in lots {
            let hash = lot.hash();
            if written.contains_key(&hash) {
                continue;
            }
            let chunks = match gone.remove(&hash) {
                Some(chunks) => chunks,
                None => {
                    let rows = lot.retired().iter().map(|retired| numbered(retired.identity(), retired.total));
                    self.chunks(hash, Kind::Lot, rows, Self::put)?
                }
            };
            written.insert(hash, chunks);
        }
        for key in gone.into_iter().flat_map(chunks_of) {
            self.columns.remove(key.bytes(self.name).as_slice())?;
        }
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
