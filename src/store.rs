//! What outlives promdog, in one embedded database of the state directory: the totals that were handed on, and the
//! bodies that wait to be sent. A batch's totals and its bodies are one transaction, so an increase is taken and queued
//! or neither. Knows no target and sends nothing.

mod columns;
mod file;
mod load;
pub mod outbox;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use redb::{Database, TableDefinition};

use self::columns::Written;
use self::file::Folder;
use self::outbox::{Change, Entry};
use self::record::{queue_key, queue_value, seal, target_key};
use crate::delta::saved::{Checkpoint, Saved};
use crate::time::UnixMillis;

pub use self::file::Locked;

/// Sealed values by key: what is known of a promdog as a whole, of a target, of a target's columns, and what waits.
const META: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("meta");
const TARGETS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("targets");
const COLUMNS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("columns");
const QUEUE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("queue");

/// Of the tables and their values; 2 since bodies may be protobuf. Earlier ones are read, a later one is not.
const FORMAT: u32 = 2;
/// Totals that nobody has updated for this long are dropped: as long as Datadog's Agent keeps its.
const KEEP: Duration = Duration::from_secs(25 * 3600);
/// After a failure the database is opened again, but not more often than this.
const REOPEN: Duration = Duration::from_secs(30);

/// Where the state is.
#[derive(Clone, Debug)]
pub struct Params {
    pub dir: PathBuf,
    /// How long another process may hold it before we give up.
    pub lock_timeout: Duration,
}

/// What was there at the start.
#[derive(Debug, Default)]
pub struct State {
    /// Of the last batch: no later one may have it.
    pub last_second: Option<i64>,
    /// Since when each entry of the configuration's targets has been watched.
    pub since: BTreeMap<String, UnixMillis>,
    /// By [`Commit::targets`]' keys.
    pub targets: BTreeMap<String, Saved>,
    /// In no order.
    pub queue: Vec<Entry>,
}

/// One transaction.
#[derive(Debug, Default)]
pub struct Commit {
    pub now: UnixMillis,
    /// Of the batch; `None`: none was made.
    pub second: Option<i64>,
    /// All that is known; written where it is new.
    pub since: BTreeMap<String, UnixMillis>,
    /// By what a target is called over restarts.
    pub targets: Vec<(String, Checkpoint)>,
    pub bodies: Vec<Entry>,
    /// What became of bodies that were stored before.
    pub changes: Vec<Change>,
}

/// Why the state could not be written. What is in memory goes on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The open state directory; held alone until it is dropped.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    /// `None` after a failure, until it can be opened again.
    database: Option<Database>,
    /// When it failed, if it has.
    failed: Option<std::time::Instant>,
    written: Written,
    since: BTreeMap<String, UnixMillis>,
}

impl Store {
    /// Waits for the lock, opens the database and reads it. State that cannot be used is set aside, and said; a folder that
    /// cannot be written is said too, and tried again with each commit.
    ///
    /// # Errors
    /// Another process holds it.
    pub async fn open(params: Params, now: UnixMillis) -> Result<(Self, State), Locked> {
        let folder = Folder::lock(params.dir, params.lock_timeout).await?;
        let opened = tokio::task::spawn_blocking(move || {
            let mut store =
                Self { folder, database: None, failed: None, written: Written::default(), since: BTreeMap::new() };
            let state = store.read(now);
            (store, state)
        });
        match opened.await {
            Ok(opened) => Ok(opened),
            // A panic while it was opened or read is dealt with below; this one would be ours.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Why nothing can be written, if so.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.folder.problem.as_deref()
    }

    fn read(&mut self, now: UnixMillis) -> State {
        for _attempt in 0..2 {
            let Some(database) = self.folder.open() else { return State::default() };
            match file::quietly(|| load::load(&database, &mut self.written, now)) {
                Ok(state) => {
                    self.database = Some(database);
                    self.since.clone_from(&state.since);
                    return state;
                }
                Err(reason) => {
                    drop(database);
                    self.written = Written::default();
                    self.folder.set_aside(&reason);
                }
            }
        }
        State::default()
    }

    /// Writes a transaction, and has it on disk when it returns.
    ///
    /// # Errors
    /// It is not there: nothing of it is. The database is closed, and opened again with a later commit.
    pub fn commit(&mut self, commit: Commit) -> Result<(), Error> {
        if self.database.is_none() {
            self.reopen()?;
        }
        let Some(database) = &self.database else { return Err(Error("the state is closed".to_owned())) };
        let written = std::mem::take(&mut self.written);
        match file::quietly(|| write(database, written, &self.since, &commit)) {
            Ok(written) => {
                self.written = written;
                self.since.extend(commit.since);
                self.failed = None;
                self.folder.problem = None;
                Ok(())
            }
            Err(reason) => {
                // What redb holds in memory may be what the disk does not.
                self.database = None;
                self.failed = Some(std::time::Instant::now());
                self.folder.problem = Some(reason.clone());
                Err(Error(reason))
            }
        }
    }

    /// Opens the database after a failure. Totals are written anew; what waits there is left as it is.
    fn reopen(&mut self) -> Result<(), Error> {
        if self.failed.is_some_and(|failed| failed.elapsed() < REOPEN) {
            return Err(Error(self.folder.problem.clone().unwrap_or_default()));
        }
        self.failed = Some(std::time::Instant::now());
        let database = self.folder.open().ok_or_else(|| Error(self.folder.problem.clone().unwrap_or_default()))?;
        match file::quietly(|| load::written(&database)) {
            Ok(written) => self.written = written,
            Err(reason) => {
                drop(database);
                self.folder.set_aside(&reason);
                return Err(Error(reason));
            }
        }
        self.since = BTreeMap::new();
        self.database = Some(database);
        Ok(())
    }
}

fn write(
    database: &Database,
    mut written: Written,
    since: &BTreeMap<String, UnixMillis>,
    commit: &Commit,
) -> Result<Written, redb::Error> {
    let Commit { now, second, since: all_since, targets, bodies, changes } = commit;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let mut put = |key: &[u8], value: &[u8]| meta.insert(key, seal(key, value).as_slice()).map(|_| ());
        put(b"format", &FORMAT.to_le_bytes())?;
        put(b"now", &now.0.to_le_bytes())?;
        if let Some(second) = second {
            put(b"second", &second.to_le_bytes())?;
        }
        for (name, at) in all_since.iter().filter(|(name, at)| since.get(*name) != Some(at)) {
            put(&target_key(b"since", name), &at.0.to_le_bytes())?;
        }
    }
    {
        let mut heads = transaction.open_table(TARGETS)?;
        let mut columns = transaction.open_table(COLUMNS)?;
        for (name, checkpoint) in targets {
            written.target(&mut heads, &mut columns, name, checkpoint, *now)?;
        }
        written.prune(&mut heads, &mut columns, *now)?;
    }
    {
        let mut queue = transaction.open_table(QUEUE)?;
        // Changes first: a body that was halved is one of them, and never one of those that are new.
        for change in changes {
            match change {
                Change::Gone(id) => drop(queue.remove(queue_key(id).as_slice())?),
                Change::Here(entry) => {
                    let key = queue_key(&entry.id);
                    queue.insert(key.as_slice(), seal(&key, &queue_value(entry)).as_slice())?;
                }
            }
        }
        for entry in bodies {
            let key = queue_key(&entry.id);
            queue.insert(key.as_slice(), seal(&key, &queue_value(entry)).as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(written)
}
