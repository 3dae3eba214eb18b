//! The database read back: all of it, or a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::columns::{Head, ProcessHead, Written};
use super::record::{Broken, ChunkKey, Kind, queue_entry, target_name, unseal};
use super::{COLUMNS, FORMAT, KEEP, META, QUEUE, State, TARGETS};
use crate::delta::Retired;
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
    let mut columns: BTreeMap<String, BTreeMap<ChunkKey, Vec<u8>>> = BTreeMap::new();
    each(database, COLUMNS, |key, value| {
        let (name, key) = ChunkKey::read(key)?;
        written.note(name, key, value);
        columns.entry(name.to_owned()).or_default().insert(key, value.to_vec());
        Ok(())
    })?;
    each(database, QUEUE, |key, value| {
        state.queue.push(queue_entry(key, value)?);
        Ok(())
    })?;
    let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
    let old = |time: i64| now.0.saturating_sub(time) > keep;
    for (name, head) in heads {
        let chunks = columns.remove(&name).unwrap_or_default();
        if !old(head.seen) {
            state.targets.insert(name, saved(&head, &chunks)?);
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
    load(database, &mut written, UnixMillis::default())?;
    Ok(written)
}

/// A column put together.
fn column(chunks: &BTreeMap<ChunkKey, Vec<u8>>, start: u64, kind: Kind) -> Vec<u8> {
    let first = ChunkKey { start, kind, chunk: 0 };
    let last = ChunkKey { start, kind, chunk: u32::MAX };
    chunks.range(first..=last).flat_map(|(_, bytes)| bytes).copied().collect()
}

fn rows<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], Broken> {
    match bytes.as_chunks::<N>() {
        (rows, []) => Ok(rows),
        _ => Err(Broken::Shape),
    }
}

fn identities(bytes: &[u8]) -> Result<impl Iterator<Item = u128> + '_, Broken> {
    Ok(rows::<16>(bytes)?.iter().map(|row| u128::from_le_bytes(*row)))
}

fn saved(head: &Head, chunks: &BTreeMap<ChunkKey, Vec<u8>>) -> Result<Saved, Broken> {
    let last_good = head.last_good.map(UnixMillis);
    let known: Vec<u128> = identities(&column(chunks, 0, Kind::Identities))?.collect();
    let process = |ProcessHead { start, last }: &ProcessHead| {
        let mut totals: BTreeMap<u128, Retired> = BTreeMap::new();
        for row in rows::<40>(&column(chunks, *start, Kind::Retired))? {
            let (identity, rest) = row.split_first_chunk::<16>().ok_or(Broken::Shape)?;
            let [total, left, start] = rows::<8>(rest)? else { return Err(Broken::Shape) };
            let start = Some(f64::from_le_bytes(*start)).filter(|start| !start.is_nan());
            let left = UnixMillis(i64::from_le_bytes(*left));
            totals.insert(u128::from_le_bytes(*identity), Retired { total: f64::from_le_bytes(*total), left, start });
        }
        let bytes = column(chunks, *start, Kind::Totals);
        let by_slot = rows::<8>(&bytes)?;
        if by_slot.len() > known.len() {
            return Err(Broken::Shape);
        }
        let present =
            known.iter().zip(by_slot.iter().map(|row| f64::from_le_bytes(*row))).filter(|(_, total)| !total.is_nan());
        let left = last_good.unwrap_or_default();
        let counted_by = Some(f64::from_bits(*start));
        totals.extend(present.map(|(identity, total)| (*identity, Retired { total, left, start: counted_by })));
        let last = if *last {
            let bits = column(chunks, *start, Kind::Last);
            let bits = rows::<8>(&bits)?;
            let set =
                |slot: usize| bits.get(slot / 64).is_some_and(|word| u64::from_le_bytes(*word) >> (slot % 64) & 1 == 1);
            let by_slot = known.iter().enumerate().filter(|(slot, _)| set(*slot)).map(|(_, identity)| *identity);
            let bytes = column(chunks, *start, Kind::LastIdentities);
            Some(by_slot.chain(identities(&bytes)?).collect::<BTreeSet<u128>>())
        } else {
            None
        };
        Ok(SavedProcess { start: f64::from_bits(*start), totals, last })
    };
    let mut merged = BTreeMap::new();
    for row in rows::<24>(&column(chunks, 0, Kind::Merged))? {
        let (identity, total) = row.split_first_chunk::<16>().ok_or(Broken::Shape)?;
        let total = <[u8; 8]>::try_from(total).map_err(|_| Broken::Shape)?;
        merged.insert(u128::from_le_bytes(*identity), f64::from_le_bytes(total));
    }
    Ok(Saved { last_good, processes: head.processes.iter().map(process).collect::<Result<_, Broken>>()?, merged })
}
