//! Keeps on disk what a batch has taken and what waits to be sent, where there is a state directory.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use crate::clock;
use crate::datadog::Queued;
use crate::delta::saved::Checkpoint;
use crate::store::outbox::{Entry, Outbox};
use crate::store::{Commit, Store};
use crate::telemetry::metrics::Metrics;
use crate::time::UnixMillis;

/// The store, and what belongs into its next transaction.
#[derive(Debug)]
pub struct Keeper {
    /// `None`: nothing is kept.
    store: Option<Store>,
    outbox: Outbox,
    /// Since when each entry of the configuration's targets has been watched.
    since: BTreeMap<String, UnixMillis>,
    metrics: Metrics,
    failing: bool,
}

impl Keeper {
    #[must_use]
    pub fn new(store: Option<Store>, outbox: Outbox, since: BTreeMap<String, UnixMillis>, metrics: Metrics) -> Self {
        let mut keeper = Self { store, outbox, since, metrics, failing: false };
        if let Some(problem) = keeper.store.as_ref().and_then(|store| store.problem().map(str::to_owned)) {
            keeper.failed(&problem);
        } else if keeper.store.is_some() {
            keeper.metrics.state_writable(true);
        }
        keeper
    }

    /// Whether checkpoints are wanted.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.store.is_some()
    }

    /// The number of a new body.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.outbox.number()
    }

    /// Stores a batch: what was taken of each target and the bodies that it became, or neither. If that fails, what is in
    /// memory goes on.
    pub async fn commit(&mut self, second: Option<i64>, targets: Vec<(String, Checkpoint)>, bodies: &[Queued]) {
        let Some(mut store) = self.store.take() else { return };
        let entry = |queued: &Queued| Entry { id: queued.id.clone(), body: queued.body.clone() };
        let changes = self.outbox.take();
        let commit = Commit {
            now: clock::now(),
            second,
            since: self.since.clone(),
            targets,
            bodies: bodies.iter().map(entry).collect(),
            changes: changes.clone(),
        };
        let work = tokio::task::spawn_blocking(move || {
            let result = store.commit(commit);
            (store, result)
        });
        match work.await {
            Ok((store, Ok(()))) => {
                self.store = Some(store);
                self.metrics.state_writable(true);
                if std::mem::take(&mut self.failing) {
                    info!("the state is on disk again");
                }
            }
            Ok((store, Err(error))) => {
                self.store = Some(store);
                self.outbox.put_back(changes);
                self.failed(&error.to_string());
            }
            Err(error) => {
                error!(%error, "the state is given up until the next start");
                self.metrics.state_writable(false);
            }
        }
    }

    /// Stores what has become of bodies since the last batch.
    pub async fn flush(&mut self) {
        self.commit(None, Vec::new(), &[]).await;
    }

    fn failed(&mut self, problem: &str) {
        self.metrics.state_writable(false);
        if !std::mem::replace(&mut self.failing, true) {
            warn!(
                problem,
                "the state cannot be written: pulls and pushes go on from memory, but a restart now begins with baselines, and \
                 what waits to be sent would be lost with the process"
            );
        }
    }
}
