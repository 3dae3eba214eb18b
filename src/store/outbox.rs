//! Bodies on disk, and what became of them since the last transaction. Dropping a body from the disk can wait: one that is
//! sent again carries the same points at the same seconds, which changes nothing at Datadog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::payload::Body;

/// What tells a stored body from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The endpoint's name; not its key, which may change.
    pub endpoint: String,
    /// The grid second of its points.
    pub second: i64,
    pub number: u64,
}

/// A stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: Id,
    pub body: Body,
}

/// What became of a stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Accepted, or dropped and counted.
    Gone(Id),
    /// One half of a body that was too large.
    Here(Entry),
}

/// Numbers bodies and gathers changes; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    /// `None` where nothing is stored.
    changes: Option<Mutex<Vec<Change>>>,
}

impl Outbox {
    /// Of bodies that are stored; [`Outbox::default`] is of those that are not. `next`: above all numbers in use.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self(Arc::new(Inner { next: AtomicU64::new(next), changes: Some(Mutex::default()) }))
    }

    pub fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn note(&self, change: Change) {
        if let Some(changes) = &self.0.changes {
            lock(changes).push(change);
        }
    }

    /// Hands the changes over; [`Outbox::put_back`] if they could not be written.
    #[must_use]
    pub fn take(&self) -> Vec<Change> {
        self.0.changes.as_ref().map(|changes| std::mem::take(&mut *lock(changes))).unwrap_or_default()
    }

    /// In front of those that have been noted since.
    pub fn put_back(&self, changes: Vec<Change>) {
        if let Some(now) = &self.0.changes {
            lock(now).splice(..0, changes);
        }
    }
}

fn lock(changes: &Mutex<Vec<Change>>) -> MutexGuard<'_, Vec<Change>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}
