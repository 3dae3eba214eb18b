//! The state directory: held by one process, and its database opened, or set aside where it is no good.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::Database;
use tracing::{info, warn};

use crate::clock;

const DATABASE: &str = "state.redb";
const LOCK: &str = "lock";
/// What the database may hold of itself in memory. Its own default is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;
/// Databases that were set aside, kept for whoever wants to look.
const KEPT_ASIDE: usize = 2;
const POLL: Duration = Duration::from_millis(100);

/// Another process holds the state directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state directory {} is held by {holder}, since more than {after:?}; end that process, or give this one another `--state-dir`",
    dir.display()
)]
pub struct Locked {
    dir: PathBuf,
    holder: String,
    after: Duration,
}

/// A state directory that we hold.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// `None` where there can be no lock so far: then there is no state either.
    lock: Option<File>,
    /// Why nothing can be written.
    pub(super) problem: Option<String>,
}

/// Why there is no lock.
enum NoLock {
    Held(File),
    Cannot(std::io::Error),
}

impl Folder {
    /// Makes the directory and waits for its lock. A directory that cannot be written is a problem, and no error.
    pub(super) async fn lock(dir: PathBuf, patience: Duration) -> Result<Self, Locked> {
        let started = tokio::time::Instant::now();
        let mut told = false;
        let (lock, problem) = loop {
            match lock(&dir) {
                Ok(file) => break (Some(file), None),
                Err(NoLock::Cannot(error)) => break (None, Some(format!("{}: {error}", dir.display()))),
                Err(NoLock::Held(mut file)) if started.elapsed() >= patience => {
                    return Err(Locked { holder: holder(&mut file), dir, after: patience });
                }
                Err(NoLock::Held(mut file)) => {
                    if !std::mem::replace(&mut told, true) {
                        info!(dir = %dir.display(), holder = holder(&mut file), "waiting for the state directory");
                    }
                    tokio::time::sleep(POLL).await;
                }
            }
        };
        Ok(Self { dir, lock, problem })
    }

    /// Opens the database, and makes one where there is none. One that is no good is set aside.
    pub(super) fn open(&mut self) -> Option<Database> {
        if self.lock.is_none() {
            match lock(&self.dir) {
                Ok(file) => self.lock = Some(file),
                Err(NoLock::Cannot(error)) => self.problem = Some(format!("{}: {error}", self.dir.display())),
                Err(NoLock::Held(mut file)) => self.problem = Some(format!("it is held by {}", holder(&mut file))),
            }
        }
        self.lock.as_ref()?;
        let path = self.dir.join(DATABASE);
        for _attempt in 0..2 {
            let created = quietly(|| {
                let mut builder = Database::builder();
                builder.set_cache_size(CACHE_BYTES);
                match builder.create(&path) {
                    // These are the disk's, and not the content's.
                    Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
                        if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
                    {
                        Ok::<_, redb::DatabaseError>(Err(error))
                    }
                    created => created.map(Ok),
                }
            });
            match created {
                Ok(Ok(database)) => {
                    self.problem = None;
                    return Some(database);
                }
                Ok(Err(error)) => {
                    self.problem = Some(format!("{}: {error}", path.display()));
                    return None;
                }
                Err(reason) => self.set_aside(&reason),
            }
        }
        None
    }

    /// Puts a database that cannot be used out of the way, and says so.
    pub(super) fn set_aside(&mut self, reason: &str) {
        let path = self.dir.join(DATABASE);
        let aside = self.dir.join(format!("{DATABASE}.bad-{}", clock::now().0));
        match fs::rename(&path, &aside) {
            Ok(()) => warn!(
                kept = %aside.display(),
                reason, "the state cannot be used; starting without it, so counters begin with baselines"
            ),
            Err(error) => {
                warn!(state = %path.display(), reason, %error, "the state can neither be used nor set aside");
                self.problem = Some(format!("{}: {reason}", path.display()));
            }
        }
        self.forget_old();
    }

    fn forget_old(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let bad =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state.redb.bad-"));
        let mut aside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| bad(path)).collect();
        aside.sort();
        for path in aside.iter().rev().skip(KEPT_ASIDE) {
            // What cannot be removed stays: it is in nobody's way.
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the directory, and takes its lock if nobody has it.
fn lock(dir: &Path) -> Result<File, NoLock> {
    fs::create_dir_all(dir).map_err(NoLock::Cannot)?;
    let options = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK));
    let mut file = options.map_err(NoLock::Cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(NoLock::Held(file)),
        Err(TryLockError::Error(error)) => return Err(NoLock::Cannot(error)),
    }
    let name = format!("promdog, process {}", std::process::id());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(name.as_bytes()));
    written.map_err(NoLock::Cannot)?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(200).read_to_string(&mut text));
    if read.is_ok() && !text.trim().is_empty() { text.trim().to_owned() } else { "another process".to_owned() }
}

/// Does work on a database. Bytes that nobody wrote may make it panic, which is one more way to say that it is no good.
pub(super) fn quietly<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        }
    }
}
