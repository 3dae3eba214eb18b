//! One pull of one target: fetch, translate, advance the cursor. The one place where the flow is spelled out.
//!
//! Requests for `/metrics` and pushes come at different times and may come together: a pull that is running is joined,
//! never doubled, and every good pull passes through the cursor once.

pub mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tracing::{info, warn};

use crate::clock;
use crate::column::Bits;
use crate::cpu;
use crate::delta::saved::{Checkpoint, Saved};
use crate::delta::{Cursor, FirstValue, Moment, ProcessChange};
use crate::mapping::Mapping;
use crate::pull::turns::Turns;
use crate::scrape::{self, Scraper};
use crate::telemetry::metrics::Metrics;
use crate::time::UnixMillis;
use crate::translate::{self, Reading, Translator, describe_refusals, looks_foreign};
use crate::view::{Extra, Increases, View};

/// About what a series costs at the end of a pull, where it was known and where it was not.
const NANOS_KNOWN: usize = 30;
const NANOS_NEW: usize = 600;

/// What a target needs; made from the configuration by `app`.
#[derive(Debug)]
pub struct Params {
    pub name: String,
    /// What it is called over restarts of promdog: name, and what tells it from others of that name.
    pub key: String,
    pub mapping: Arc<Mapping>,
    pub translate: translate::Params,
    pub first_value: FirstValue,
    /// Name and tags of the health gauge, if a health URL is probed.
    pub health: Option<Health>,
    pub host: Option<String>,
    pub timeout: Duration,
    pub turns: Turns,
}

/// The gauge that says whether the health URL answers.
#[derive(Clone, Debug)]
pub struct Health {
    /// Dotted, with the namespace.
    pub name: String,
    /// `key:value`, sorted.
    pub tags: Vec<String>,
}

impl Health {
    fn gauge(&self, value: f64) -> Extra {
        let Self { name, tags } = self.clone();
        let help = "Whether the health URL answers with a status below 400: 1 or 0.".into();
        Extra { name: name.into(), help, unit: None, tags, value }
    }
}

/// One pull, good or not.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub started: Instant,
    pub finished: Instant,
    pub view: Result<Arc<View>, Arc<Failure>>,
    /// `can_connect`.
    pub health: Option<Extra>,
}

/// Why a pull yielded nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Scrape(#[from] crate::scrape::error::Error),
    #[error("the answer is no exposition: {0}")]
    Foreign(String),
    #[error("the pull ended without a result")]
    Aborted,
}

impl Failure {
    /// The value of the `reason` label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Scrape(error) => error.label(),
            Self::Foreign(_) => "foreign",
            Self::Aborted => "aborted",
        }
    }
}

type Running = Shared<BoxFuture<'static, Arc<Pulled>>>;

/// A target and what is known of it.
#[derive(Debug)]
pub struct Target {
    pub params: Params,
    scraper: Scraper,
    metrics: Metrics,
    /// Whatever process started later has been counted by nobody else.
    watching_since: UnixMillis,
    running: Mutex<Option<Running>>,
    /// Whoever pulls has it for so long.
    translator: Arc<tokio::sync::Mutex<Translator>>,
    /// Held while a large page is taken in: not for those who have to answer soon.
    progress: Mutex<Progress>,
    state: Mutex<State>,
}

/// What a push takes.
#[derive(Debug)]
struct Progress {
    cursor: Cursor,
    /// The view of the latest good pull: the cursor's slots are its catalogue's.
    view: Option<Arc<View>>,
}

#[derive(Debug)]
struct State {
    latest: Option<Arc<Pulled>>,
    last_good: Option<Arc<View>>,
    /// The last pull failed.
    failing: bool,
    /// The last good page had lines that were refused, or was cut.
    refusing: bool,
    /// It is no longer one of the targets: our own metrics do not speak of it.
    left: bool,
}

/// Increases taken from a target, with the view that names them.
pub struct Taken {
    pub view: Arc<View>,
    pub increases: Increases,
    /// Where that leaves the target, if it is wanted.
    pub checkpoint: Option<Checkpoint>,
}

/// What is known of a target before its first pull.
#[derive(Debug)]
pub struct History {
    /// Since when it would have been pulled, had it been there.
    pub watching_since: UnixMillis,
    /// Where an earlier promdog was.
    pub saved: Option<Saved>,
}

impl Target {
    #[must_use]
    pub fn new(params: Params, scraper: Scraper, metrics: Metrics, history: History) -> Arc<Self> {
        let History { watching_since, saved } = history;
        let translator = Translator::new(Arc::clone(&params.mapping), params.translate.clone());
        let cursor = Cursor::restored(params.first_value, saved.unwrap_or_default());
        let translator = Arc::new(tokio::sync::Mutex::new(translator));
        let state = State { latest: None, last_good: None, failing: false, refusing: false, left: false };
        let (running, state) = (Mutex::new(None), Mutex::new(state));
        let progress = Mutex::new(Progress { cursor, view: None });
        Arc::new(Self { params, scraper, metrics, watching_since, running, translator, progress, state })
    }

    /// A pull that is not older than `max_age`: the latest one, a running one, or a new one.
    pub async fn pull_within(self: &Arc<Self>, max_age: Duration) -> Arc<Pulled> {
        match self.latest() {
            Some(latest) if latest.finished.elapsed() < max_age => latest,
            Some(_) | None => self.pull().await,
        }
    }

    /// The latest pull, good or not.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Pulled>> {
        lock(&self.state).latest.clone()
    }

    /// A pull made now, or the one that is running.
    pub fn pull(self: &Arc<Self>) -> impl Future<Output = Arc<Pulled>> + use<> {
        let mut running = lock(&self.running);
        match running.as_ref().filter(|pull| pull.peek().is_none()) {
            Some(pull) => pull.clone(),
            None => {
                let target = Arc::clone(self);
                // A task of its own: whoever gives up waiting does not cut it short for the others.
                let task = tokio::spawn(async move { target.run().await });
                let pull = async move { task.await.unwrap_or_else(|_| Arc::new(aborted())) }.boxed().shared();
                *running = Some(pull.clone());
                pull
            }
        }
    }

    /// The pull that is running, if one is.
    pub fn under_way(&self) -> Option<impl Future<Output = Arc<Pulled>> + use<>> {
        lock(&self.running).as_ref().filter(|pull| pull.peek().is_none()).cloned()
    }

    /// The view of the latest good pull.
    #[must_use]
    pub fn last_good(&self) -> Option<Arc<View>> {
        lock(&self.state).last_good.clone()
    }

    async fn run(self: Arc<Self>) -> Arc<Pulled> {
        let started = Instant::now();
        let timeout = self.params.timeout;
        let mut translator = Arc::clone(&self.translator).lock_owned().await;
        let mut reading = translator.begin();
        // Read while it comes. A health URL that hangs may not hold up the numbers.
        let read = async {
            let _turn = self.params.turns.wait().await;
            self.scraper.read(timeout, |text| translator.feed(&mut reading, text)).await
        };
        let (read, health) = tokio::join!(read, self.health(timeout / 3));
        let view = match read {
            Ok(head) => {
                let target = Arc::clone(&self);
                let nanos = reading.known_slots() * NANOS_KNOWN + reading.new_samples() * NANOS_NEW;
                let view = cpu::run(nanos, move || target.take_in(&mut translator, reading, &head)).await;
                view.map_err(Arc::new)
            }
            Err(error) => Err(Arc::new(error.into())),
        };
        let pulled = Arc::new(Pulled { started, finished: Instant::now(), view, health });
        self.report(&pulled);
        lock(&self.state).latest = Some(Arc::clone(&pulled));
        pulled
    }

    async fn health(&self, timeout: Duration) -> Option<Extra> {
        let health = self.params.health.as_ref()?;
        let answer = self.scraper.health(timeout).await;
        Some(health.gauge(if answer.is_ok() { 1.0 } else { 0.0 }))
    }

    /// The health gauge of a target that did not answer in time.
    #[must_use]
    pub fn unreachable(&self) -> Option<Extra> {
        self.params.health.as_ref().map(|health| health.gauge(0.0))
    }

    /// Ends a reading and advances the cursor.
    fn take_in(
        &self,
        translator: &mut Translator,
        reading: Reading,
        head: &scrape::Head,
    ) -> Result<Arc<View>, Failure> {
        let mut view = translator.finish(reading);
        if looks_foreign(&view.ledger) {
            return Err(Failure::Foreign(describe_refusals(&view.ledger)));
        }
        let now = clock::now();
        // A `Date` is cut to the second: the target's clock may be this much further.
        let (date, blur) = head.date.map_or((now, 0), |date| (date, 999));
        // The target's clock, not ours, says whether its process is younger than our watch.
        let watched = (now.0 - self.watching_since.0).max(0);
        let watching_since = UnixMillis(date.0 + blur - watched);
        let mapping = Arc::clone(translator.mapping());
        let mut progress = lock(&self.progress);
        let advance = progress.cursor.advance(&view, &mapping, Moment { date, watching_since });
        let processes = progress.cursor.processes();
        progress.cursor.merge(&mut view);
        let wasteful = translate::is_wasteful(&view);
        let owed = if wasteful { progress.cursor.owes_of() } else { Bits::default() };
        let mut view = Arc::new(view);
        progress.view = Some(Arc::clone(&view));
        drop(progress);
        if wasteful {
            // What is owed of those that are gone is still to be taken.
            let (mut compacted, moved) = translator.compact(&view, |slot| owed.get(slot));
            let mut progress = lock(&self.progress);
            progress.cursor.remap(&view.catalog, &compacted.catalog, &moved);
            progress.cursor.merge(&mut compacted);
            view = Arc::new(compacted);
            progress.view = Some(Arc::clone(&view));
        }
        let mut state = lock(&self.state);
        state.last_good = Some(Arc::clone(&view));
        if !state.left {
            self.metrics.pulled(&self.params.name, &view.ledger, &advance);
        }
        drop(state);
        if advance.process == ProcessChange::Another {
            warn!(
                target_name = self.params.name,
                processes,
                "several processes answer at this URL; give each one a target of its own, or counters will have gaps"
            );
        }
        if advance.process == ProcessChange::Replaced {
            info!(target_name = self.params.name, "the target has restarted; its totals start again from 0");
        }
        Ok(view)
    }

    /// Logs a change between good and bad once.
    fn report(&self, pulled: &Pulled) {
        let took = pulled.finished - pulled.started;
        let failure = pulled.view.as_ref().err();
        let mut state = lock(&self.state);
        if !state.left {
            self.metrics.pull_ended(&self.params.name, failure.map_or("ok", |failure| failure.label()), took);
        }
        let was = std::mem::replace(&mut state.failing, failure.is_some());
        match (was, &pulled.view) {
            (false, Err(failure)) => warn!(target_name = self.params.name, error = %failure, "pull failed"),
            (true, Ok(_)) => info!(target_name = self.params.name, "pulls succeed again"),
            (true, Err(_)) | (false, Ok(_)) => {}
        }
        let Ok(view) = &pulled.view else { return };
        let ledger = &view.ledger;
        let refusing = !ledger.is_whole();
        if refusing && !state.refusing {
            let told = describe_refusals(ledger);
            let lines = ledger.refused_lines;
            warn!(
                target_name = self.params.name,
                lines, "not all of the page can be read: {told}; `promdog parse` tells more"
            );
        }
        state.refusing = refusing;
    }

    /// It is no longer one of the targets, or is again. Our own metrics forget it, unless another one has its name.
    pub fn leave(&self, left: bool, forget: bool) {
        let mut state = lock(&self.state);
        state.left = left;
        if forget {
            self.metrics.forget(&self.params.name);
        }
    }

    /// Hands over what has grown since the last call, with the view it refers to, and where that leaves the target if
    /// `keep`; `None` before the first good pull.
    pub fn take(&self, keep: bool) -> Option<Taken> {
        let mut progress = lock(&self.progress);
        let view = progress.view.clone()?;
        let increases = progress.cursor.take(&view.catalog);
        let checkpoint = keep.then(|| progress.cursor.checkpoint(&view.catalog));
        Some(Taken { view, increases, checkpoint })
    }
}

fn aborted() -> Pulled {
    let now = Instant::now();
    Pulled { started: now, finished: now, view: Err(Arc::new(Failure::Aborted)), health: None }
}

/// A lock whose holder panicked still holds whole values: every writer replaces them as one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
