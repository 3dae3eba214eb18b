//! The database read back: all of it, or a reason why not.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::columns::{Head, LotHead, ProcessHead, Written};
use super::record::{Broken, ChunkKey, Kind, queue_entry, target_name, unseal};
use super::{COLUMNS, FORMAT, KEEP, META, QUEUE, State, TARGETS};
use crate::delta::SAME_START_SECONDS;
use crate::delta::lots::{Lot, Lots, Retired};
use crate::delta::saved::{Saved, SavedProcess};
use crate::time::UnixMillis;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it is of a newer promdog (format {0}; this one knows up to {FORMAT})")]
    Newer(u32),
    #[error("it is broken: {0}")]
    Broken(#[from] Broken),
    #[error("it is broken: {0}")]
    Head(#[from] serde_json::Error),
    #[error("{0}")]
    Database(String),
}

impl<E: Into<redb::Error>> From<E> for Error
where
    E: std::error::Error + 'static,
    E: DatabaseError,
{
    fn from(error: E) -> Self {
        Self::Database(error.into().to_string())
    }
}

/// redb's errors, one for each kind of call.
pub(super) trait DatabaseError {}
impl DatabaseError for redb::StorageError {}
impl DatabaseError for redb::TableError {}
impl DatabaseError for redb::TransactionError {}

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Every value of a table, its checksum verified.
fn each(
    database: &Database,
    table: Rows,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let transaction = database.begin_read()?;
    let rows = match transaction.open_table(table) {
        Ok(rows) => rows,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for row in rows.iter()? {
        let (key, value) = row?;
        take(key.value(), unseal(key.value(), value.value())?)?;
    }
    Ok(())
}

/// Reads everything, and takes note of what is on disk. What is too old to be of use is left out.
pub(super) fn load(database: &Database, written: &mut Written, now: UnixMillis) -> Result<State, Error> {
    let mut state = State::default();
    let mut last_commit = None;
    each(database, META, |key, value| {
        let number = || <[u8; 8]>::try_from(value).map(i64::from_le_bytes).map_err(|_| Broken::Shape);
        match key {
            b"format" => {
                let format = <[u8; 4]>::try_from(value).map(u32::from_le_bytes).map_err(|_| Broken::Shape)?;
                if format > FORMAT {
                    return Err(Error::Newer(format));
                }
            }
            b"now" => last_commit = Some(UnixMillis(number()?)),
            b"second" => state.last_second = Some(number()?),
            key => {
                let name = target_name(b"since", key).ok_or(Broken::Shape)?;
                state.since.insert(name.to_owned(), UnixMillis(number()?));
            }
        }
        Ok(())
    })?;
    let mut heads: BTreeMap<String, Head> = BTreeMap::new();
    each(database, TARGETS, |key, value| {
        let name = target_name(b"target", key).ok_or(Broken::Shape)?;
        let head: Head = serde_json::from_slice(value)?;
        written.note_seen(name, UnixMillis(head.seen));
        heads.insert(name.to_owned(), head);
        Ok(())
    })?;
    let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
    let old = |time: i64| now.0.saturating_sub(time) > keep;
    heads.retain(|_, head| !old(head.seen));
    let mut stored: BTreeMap<&str, Stored> =
        heads.iter().map(|(name, head)| (name.as_str(), Stored::new(head))).collect();
    each(database, COLUMNS, |key, value| {
        let (name, key) = ChunkKey::read(key)?;
        written.note(name, key, value);
        if let Some(stored) = stored.get_mut(name) {
            stored.take(key, value)?;
        }
        Ok(())
    })?;
    each(database, QUEUE, |key, value| {
        state.queue.push(queue_entry(key, value)?);
        Ok(())
    })?;
    for (name, head) in &heads {
        if let Some(stored) = stored.remove(name.as_str()) {
            state.targets.insert(name.clone(), saved(head, stored)?);
        }
    }
    if last_commit.is_none_or(|time| old(time.0)) {
        // Nobody has watched in between.
        state.since.clear();
    }
    Ok(state)
}

/// Takes note of what is on disk, and of nothing else.
pub(super) fn written(database: &Database) -> Result<Written, Error> {
    let mut written = Written::default();
    load(database, &mut written, UnixMillis(i64::MAX))?;
    Ok(written)
}

/// The columns of a target. No row is cut in two by the end of a chunk.
struct Stored {
    chunks: BTreeMap<ChunkKey, Vec<u8>>,
    /// By hash.
    lots: BTreeMap<u64, Vec<Retired>>,
}

impl Stored {
    fn new(head: &Head) -> Self {
        let lots = head.processes.iter().flat_map(|process| &process.lots);
        let room = |lot: &LotHead| (lot.hash, Vec::with_capacity(lot.entries));
        Self { chunks: BTreeMap::new(), lots: lots.map(room).collect() }
    }

    /// A chunk, after those that come before it.
    fn take(&mut self, key: ChunkKey, value: &[u8]) -> Result<(), Broken> {
        if key.kind == Kind::Lot {
            let lot = self.lots.get_mut(&key.of).ok_or(Broken::Shape)?;
            for row in rows::<24>(value)? {
                let (identity, total) = numbered(row);
                lot.push(Retired::new(identity, total));
            }
        } else {
            self.chunks.insert(key, value.to_vec());
        }
        Ok(())
    }

    fn rows<const N: usize>(&self, of: u64, kind: Kind) -> Result<impl Iterator<Item = &[u8; N]> + Clone, Broken> {
        let first = ChunkKey { of, kind, chunk: 0 };
        let last = ChunkKey { of, kind, chunk: u32::MAX };
        let chunks = self.chunks.range(first..=last).map(|(_, bytes)| rows::<N>(bytes));
        let chunks = chunks.collect::<Result<Vec<_>, Broken>>()?;
        Ok(chunks.into_iter().flatten())
    }
}

fn rows<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], Broken> {
    match bytes.as_chunks::<N>() {
        (rows, []) => Ok(rows),
        _ => Err(Broken::Shape),
    }
}

/// An identity and its total.
fn numbered(row: &[u8; 24]) -> (u128, f64) {
    let (mut identity, mut total) = ([0; 16], [0; 8]);
    identity.copy_from_slice(&row[..16]);
    total.copy_from_slice(&row[16..]);
    (u128::from_le_bytes(identity), f64::from_le_bytes(total))
}

/// What had left the catalogue, as it was written before there were lots.
fn retired_by_itself(stored: &Stored, of: u64) -> Result<Lots, Broken> {
    let by_itself = |row: &[u8; 40]| {
        let (entry, rest) = row.split_first_chunk::<24>().ok_or(Broken::Shape)?;
        let [left, start] = rows::<8>(rest)? else { return Err(Broken::Shape) };
        let (identity, total) = numbered(entry);
        // NaN where it was not known who had counted it.
        let replaced = (f64::from_le_bytes(*start) - f64::from_bits(of)).abs() >= SAME_START_SECONDS;
        Ok((UnixMillis(i64::from_le_bytes(*left)), replaced, Retired::new(identity, total)))
    };
    stored.rows::<40>(of, Kind::Retired)?.map(by_itself).collect()
}

fn saved(head: &Head, mut stored: Stored) -> Result<Saved, Broken> {
    let last_good = head.last_good.map(UnixMillis);
    let read = |(hash, retired)| Some((hash, Lot::read(hash, retired)?));
    let lots: Option<BTreeMap<u64, Lot>> = std::mem::take(&mut stored.lots).into_iter().map(read).collect();
    let lots = lots.ok_or(Broken::Shape)?;
    let identity = |row: &[u8; 16]| u128::from_le_bytes(*row);
    let known = stored.rows::<16>(0, Kind::Identities)?.map(identity);
    let process = |ProcessHead { start, last, lots: heads }: &ProcessHead| {
        let mut retired = retired_by_itself(&stored, *start)?;
        for LotHead { hash, entries, left, replaced } in heads {
            let whole = |lot: &&Lot| lot.retired().len() == *entries;
            let mut lot = lots.get(hash).filter(whole).ok_or(Broken::Shape)?.clone();
            (lot.left, lot.replaced) = (UnixMillis(*left), *replaced);
            retired.push(lot);
        }
        let by_slot = stored.rows::<8>(*start, Kind::Totals)?.map(|row| f64::from_le_bytes(*row));
        let slots = by_slot.clone().count();
        if slots > known.clone().count() {
            return Err(Broken::Shape);
        }
        let mut totals = Vec::with_capacity(slots);
        let present = known.clone().zip(by_slot).filter(|(_, total)| !total.is_nan());
        totals.extend(present.map(|(identity, total)| Retired::new(identity, total)));
        let last = if *last {
            let words = stored.rows::<8>(*start, Kind::Last)?.map(|row| u64::from_le_bytes(*row));
            let others = stored.rows::<16>(*start, Kind::LastIdentities)?.map(identity);
            let there = words.clone().map(u64::count_ones).sum::<u32>() as usize;
            let marks = words.flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
            let by_slot = known.clone().zip(marks).filter(|(_, there)| *there).map(|(identity, _)| identity);
            let mut last = Vec::with_capacity(there + others.clone().count());
            last.extend(by_slot.chain(others));
            Some(last)
        } else {
            None
        };
        Ok(SavedProcess::new(f64::from_bits(*start), retired, totals, last, last_good.unwrap_or_default()))
    };
    let processes = head.processes.iter().map(process).collect::<Result<_, Broken>>()?;
    let merged = stored.rows::<24>(0, Kind::Merged)?.map(numbered).collect();
    Ok(Saved { last_good, processes, merged })
}
