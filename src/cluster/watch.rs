//! Keeps up with the objects of one kind: one paged list, then their changes, and over again where the API server has
//! forgotten what we missed. Ends only by being dropped.

use std::time::Duration;

use futures::StreamExt;
use kube::api::WatchEvent;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::connection::{Connection, Raw};
use super::error::Error;
use super::index::Index;
use super::object::Object;
use super::{Params, Scope};
use crate::backoff::{Backoff, random};
use crate::inventory::Objects;
use crate::telemetry::metrics::Metrics;

/// Changes are shown together, this long after the first of them.
const GATHER: Duration = Duration::from_millis(500);
/// How much longer than it should last a watch may be silent.
const OVERTIME: Duration = Duration::from_secs(5);
/// Watches that bring nothing, one after the other, before everything is listed anew.
const MAX_FRUITLESS: u32 = 3;

/// What is known of one kind of objects.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// `None` before the first list.
    pub objects: Option<Objects<T>>,
    /// Since when the API server has not answered, so that they may be out of date.
    pub lost: Option<Instant>,
    /// Why it has not.
    pub problem: Option<String>,
}

impl<T> Snapshot<T> {
    /// The objects, unless the connection has been lost for longer than that.
    #[must_use]
    pub fn within(&self, keep: Duration) -> Option<Objects<T>> {
        self.objects.clone().filter(|_| self.lost.is_none_or(|lost| lost.elapsed() < keep))
    }
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self { objects: None, lost: None, problem: None }
    }
}

/// The latest snapshot, and notice of the next one.
pub type Latest<T> = watch::Receiver<Snapshot<T>>;

/// Keeps `out` up to date. `name` is what our own metrics and log call this watch.
pub async fn run<T: Object>(
    params: Params,
    scope: Scope,
    name: String,
    out: watch::Sender<Snapshot<T>>,
    metrics: Metrics,
) {
    let watcher = Watcher {
        params,
        scope,
        name,
        out,
        metrics,
        connection: None,
        index: Index::default(),
        version: None,
        backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
        fruitless: 0,
        failing: false,
    };
    watcher.run().await;
}

struct Watcher<T> {
    params: Params,
    scope: Scope,
    name: String,
    out: watch::Sender<Snapshot<T>>,
    metrics: Metrics,
    /// Kept while it works: a rotated identity is read again.
    connection: Option<Connection>,
    index: Index<T>,
    /// What the index is up to; `None`: a list is needed.
    version: Option<String>,
    backoff: Backoff,
    /// Watches in a row that brought nothing.
    fruitless: u32,
    /// The operator has been told.
    failing: bool,
}

/// How a step ended that did not fail.
enum Step {
    Done,
    /// The connection or our place in the history was lost, as happens: go on, but not in a hot loop.
    Interrupted,
}

impl<T: Object> Watcher<T> {
    async fn run(mut self) {
        loop {
            match self.step().await {
                Ok(Step::Done) => {}
                Ok(Step::Interrupted) => sleep(self.backoff.failed(random(), None)).await,
                Err(error) => {
                    self.lost(&error);
                    sleep(self.backoff.failed(random(), error.retry_after())).await;
                }
            }
        }
    }

    /// A list, or a watch until its end.
    async fn step(&mut self) -> Result<Step, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.params).await?,
        };
        let step = match self.version.clone() {
            None => self.list(&connection).await,
            Some(version) => self.watch(&connection, &version).await,
        };
        self.connection = Some(connection).filter(|_| !step.as_ref().is_err_and(Error::concerns_identity));
        step
    }

    async fn list(&mut self, connection: &Connection) -> Result<Step, Error> {
        let listed = list::<T>(connection, &self.scope).await;
        self.metrics.kubernetes_list(&self.name, listed.as_ref().map_or_else(Error::label, |_| "ok"));
        let (index, version) = listed?;
        let (had, has) = (self.index.unreadable(), index.unreadable());
        if has > had {
            warn!(
                watch = self.name,
                unreadable = has,
                "objects of the Kubernetes API that cannot be read are not counted"
            );
        }
        (self.index, self.version, self.fruitless) = (index, Some(version), 0);
        self.works();
        self.show();
        Ok(Step::Done)
    }

    async fn watch(&mut self, connection: &Connection, version: &str) -> Result<Step, Error> {
        let started = Instant::now();
        let end = started + self.params.watch + OVERTIME;
        let changes = match connection.changes::<T>(&self.scope, version, self.params.watch).await {
            Err(Error::Expired { .. }) => return Ok(self.expired()),
            changes => changes?,
        };
        self.works();
        self.fruitless += 1;
        let mut changes = std::pin::pin!(changes);
        let mut show_at: Option<Instant> = None;
        let step = loop {
            let next = async {
                match show_at {
                    Some(at) => timeout_at(at, changes.next()).await.ok(),
                    None => Some(changes.next().await),
                }
            };
            let event = tokio::select! {
                event = next => event,
                () = sleep_until(end) => {
                    debug!(watch = self.name, "a watch that should have ended is silent");
                    break Ok(Step::Interrupted);
                }
            };
            match event {
                // Enough has been gathered.
                None => {
                    self.show();
                    show_at = None;
                }
                Some(Some(Ok(WatchEvent::Error(status)))) if status.code == 410 => break Ok(self.expired()),
                Some(Some(Ok(WatchEvent::Error(status)))) => break Err(connection.refused::<T>(&self.scope, &status)),
                Some(Some(Ok(event))) => {
                    self.fruitful();
                    if self.take(event) {
                        show_at.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                }
                Some(Some(Err(error))) => {
                    debug!(watch = self.name, %error, "a watch was cut");
                    break Ok(Step::Interrupted);
                }
                // The API server ends it when it was asked to.
                Some(None) if started.elapsed() >= self.params.watch / 2 => {
                    self.fruitful();
                    break Ok(Step::Done);
                }
                Some(None) => break Ok(Step::Interrupted),
            }
        };
        if show_at.is_some() {
            self.show();
        }
        if self.fruitless >= MAX_FRUITLESS {
            self.version = None;
        }
        step
    }

    /// The watch has told something, or has lasted.
    fn fruitful(&mut self) {
        self.backoff.succeeded();
        self.fruitless = 0;
    }

    /// Takes in an event; whether it may have changed anything.
    fn take(&mut self, event: WatchEvent<Raw>) -> bool {
        let (version, changed) = match &event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (self.index.put(object.get()), true),
            WatchEvent::Deleted(object) => (self.index.remove(object.get()), true),
            WatchEvent::Bookmark(bookmark) => (Some(bookmark.metadata.resource_version.clone()), false),
            WatchEvent::Error(_) => (None, false),
        };
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.version = Some(version);
        }
        self.metrics.kubernetes_changes(&self.name, u64::from(changed));
        changed
    }

    /// The API server has forgotten what came after our version.
    fn expired(&mut self) -> Step {
        debug!(watch = self.name, "the history is gone; listing anew");
        self.version = None;
        Step::Interrupted
    }

    /// Shows what is known.
    fn show(&self) {
        let objects = self.index.objects();
        self.metrics.kubernetes_objects(&self.name, objects.len() as u64, self.index.unreadable());
        self.out.send_modify(|snapshot| snapshot.objects = Some(objects));
    }

    /// The API server answers.
    fn works(&mut self) {
        self.metrics.kubernetes_up(&self.name, true);
        self.out.send_if_modified(|snapshot| snapshot.problem.take().is_some() | snapshot.lost.take().is_some());
        if std::mem::take(&mut self.failing) {
            info!(watch = self.name, "the Kubernetes API answers again");
        }
    }

    /// The API server does not answer, or not as it should.
    fn lost(&mut self, error: &Error) {
        self.metrics.kubernetes_up(&self.name, false);
        self.out.send_modify(|snapshot| {
            snapshot.lost.get_or_insert_with(Instant::now);
            snapshot.problem = Some(error.to_string());
        });
        if !std::mem::replace(&mut self.failing, true) {
            warn!(watch = self.name, %error, "the Kubernetes API tells nothing new of these; everything else goes on");
        }
    }
}

/// One page, its objects unread.
#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Everything, and the version that it is of; never half of it.
async fn list<T: Object>(connection: &Connection, scope: &Scope) -> Result<(Index<T>, String), Error> {
    let malformed = |problem: String| Error::Malformed { host: connection.host.clone(), kind: T::PLURAL, problem };
    let mut index = Index::default();
    let mut next: Option<String> = None;
    let mut restarted = false;
    loop {
        let text = match connection.page::<T>(scope, next.as_deref()).await {
            // The rest of the list is no longer kept for us (about 5 minutes): begin again, once.
            Err(Error::Expired { .. }) if next.is_some() && !restarted => {
                (index, next, restarted) = (Index::default(), None, true);
                continue;
            }
            text => text?,
        };
        let page: Page<'_> = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        for item in page.items.into_iter().flatten() {
            index.put(item.get());
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            None => return Ok((index, page.metadata.resource_version)),
            Some(token) if next.as_ref() == Some(&token) => return Err(malformed("the list does not end".to_owned())),
            Some(token) => next = Some(token),
        }
    }
}
