//! What requests, control and churn share: the store, who may ask, and what was asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::mock::kubernetes::list::Snapshots;
use crate::mock::kubernetes::rbac::Rule;
use crate::mock::kubernetes::store::Store;
use crate::mock::lock;

/// Requests that are remembered in full.
const REMEMBERED: usize = 100_000;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    BetweenEvents,
    /// In the middle of an event's JSON.
    MidObject,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// `get`, `list` or `watch`.
    pub verb: &'static str,
    pub resource: String,
    pub namespace: Option<String>,
    /// Of a single object.
    pub name: Option<String>,
    pub query: HashMap<String, String>,
    /// The bearer token.
    pub token: Option<String>,
}

#[derive(Debug, Default)]
pub struct Log {
    pub requests: VecDeque<Seen>,
    /// By resource, then by verb.
    pub counts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

#[derive(Debug)]
pub struct Shared {
    pub store: Mutex<Store>,
    pub snapshots: Mutex<Snapshots>,
    pub token: Mutex<Option<String>>,
    /// Absent: everything is allowed.
    pub rules: Mutex<Option<Vec<Rule>>>,
    pub log: Mutex<Log>,
    /// The store has changed.
    pub changed: watch::Sender<()>,
    pub cuts: watch::Sender<Cut>,
    /// Changes per second.
    pub churn: watch::Sender<f64>,
    /// Churn makes trouble too.
    pub trouble: AtomicBool,
    pub watchers: AtomicUsize,
    pub bytes: AtomicU64,
    pub bookmark_every: Duration,
    pub gone_by_status: bool,
}

impl Shared {
    /// Changes the store, and wakes those who watch.
    pub fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let result = change(&mut lock(&self.store));
        self.changed.send_replace(());
        result
    }

    pub fn cut(&self, cut: Cut) {
        self.cuts.send_replace(cut);
    }

    pub fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn saw(&self, seen: Seen) {
        let mut log = lock(&self.log);
        *log.counts.entry(seen.resource.clone()).or_default().entry(seen.verb).or_default() += 1;
        if log.requests.len() == REMEMBERED {
            log.requests.pop_front();
        }
        log.requests.push_back(seen);
    }
}
