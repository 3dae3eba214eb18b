//! The push loop: on a fixed grid, pull every target, and make one batch of what has grown and what is.
//!
//! A batch's points carry the grid second. A second is used once, and never one before: what cannot be sent now stays
//! owed and goes with the next batch. Sending, retrying and forgetting are `datadog`'s.

mod batch;
pub mod keeper;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::clock;
use crate::cluster::inventories::Inventories;
use crate::cpu;
use crate::datadog::{Queued, Sender};
use crate::delta::saved::Checkpoint;
use crate::payload::points::Gauges;
use crate::payload::{Body, Encoding, Limits};
use crate::pull::Target;
use crate::push::batch::{Batch, Part};
use crate::push::keeper::Keeper;
use crate::store::outbox::Id;
use crate::targets::Targets;
use crate::telemetry::metrics::Metrics;
use crate::translate::counts;

/// At the end, pulls that are under way are waited for this long.
const LAST_PULLS: Duration = Duration::from_secs(2);
/// A clock that is more seconds behind the last batch was set back.
const CLOCK_BEHIND: i64 = 60;

/// When and how to push.
#[derive(Clone, Debug)]
pub struct Params {
    /// The grid's period, whole seconds.
    pub every: Duration,
    pub on: On,
    pub zero_increases: ZeroIncreases,
    /// Onto every pushed series, and onto no page.
    pub tags: Vec<String>,
    /// Of what is sent.
    pub encoding: Encoding,
    pub limits: Limits,
}

/// What makes a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The grid alone: each count's `interval` is its period.
    Grid,
    /// The grid, and each pull on demand, this far apart at least: `interval` is the time since the last push.
    Pull { min_spacing: Duration },
}

/// What becomes of counts that have not grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroIncreases {
    Send,
    /// Fewer points, and gaps rather than zeros in a graph.
    Omit,
}

/// Where batches go.
#[derive(Debug)]
pub enum Sink {
    /// Each endpoint gets every batch, and has a queue of its own.
    Datadog(Vec<Sender>),
    /// Bodies are printed to standard output as JSON, one a line.
    DryRun,
}

/// A pull on demand tells the loop through this.
#[derive(Clone, Debug, Default)]
pub struct Demand(Arc<Notify>);

impl Demand {
    /// Says that a pull was made on demand.
    pub fn pulled(&self) {
        self.0.notify_one();
    }
}

/// The loop's state.
pub struct Pusher {
    params: Params,
    targets: Targets,
    members: Vec<Member>,
    inventories: Inventories,
    counts: counts::Params,
    sink: Sink,
    metrics: Metrics,
    demand: Demand,
    keeper: Keeper,
    /// The second of the last batch, and when it was made.
    last: Option<(i64, Instant)>,
    /// The operator knows that the clock is.
    behind: bool,
}

/// A target and what the last batches held of it.
struct Member {
    target: Arc<Target>,
    /// It is pulled no more; what it owes is sent, and then it is forgotten.
    left: bool,
    /// Whether the last grid pull failed, so that the next increases span more than one interval.
    missed: bool,
    /// The second of the last batch that held increases of it.
    counted: Option<i64>,
}

impl Pusher {
    #[must_use]
    pub fn new(
        params: Params,
        targets: Targets,
        inventories: Inventories,
        counts: counts::Params,
        sink: Sink,
        metrics: Metrics,
        demand: Demand,
        keeper: Keeper,
        last_second: Option<i64>,
    ) -> Self {
        let last = last_second.map(|second| (second, Instant::now()));
        Self {
            params,
            targets,
            members: Vec::new(),
            inventories,
            counts,
            sink,
            metrics,
            demand,
            keeper,
            last,
            behind: false,
        }
    }

    /// Pushes until `stop` is ready, then once more, and returns where the last batch went and what keeps it.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> (Sink, Keeper) {
        tokio::pin!(stop);
        info!(every = ?self.params.every, "pushing");
        loop {
            let grid = next_grid_second(self.params.every);
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(until(grid)) => tokio::select! {
                    // A target that hangs does not hold up the end.
                    () = &mut stop => break,
                    () = self.pull_all() => self.push(grid).await,
                },
                () = demanded(&self.demand, self.params.on, self.last) => {
                    self.meet();
                    self.push(clock::now().seconds()).await;
                }
            }
        }
        // What was pulled since the last batch is not lost with us, nor what is being pulled, unless the target hangs.
        self.meet();
        let under_way = self.members.iter().filter_map(|member| member.target.under_way());
        let _whatever_came = tokio::time::timeout(LAST_PULLS, join_all(under_way)).await;
        // That may be the last batch's second, which is used.
        let unused = self.last.map_or(0, |(last, _)| last + 1);
        self.push(clock::now().seconds().max(unused)).await;
        (self.sink, self.keeper)
    }

    /// Meets targets that have come. Those that have left stay until what they owe has been taken.
    fn meet(&mut self) {
        let now = self.targets.now();
        for member in &mut self.members {
            member.left = !now.iter().any(|target| Arc::ptr_eq(target, &member.target));
        }
        for target in now.iter() {
            if !self.members.iter().any(|member| Arc::ptr_eq(target, &member.target)) {
                let target = Arc::clone(target);
                self.members.push(Member { target, left: false, missed: false, counted: None });
            }
        }
    }

    /// Pulls every target that is there.
    async fn pull_all(&mut self) {
        self.meet();
        let present = || self.members.iter().filter(|member| !member.left);
        let pulled = join_all(present().map(|member| member.target.pull())).await;
        for (member, pulled) in self.members.iter_mut().filter(|member| !member.left).zip(&pulled) {
            let failed = pulled.view.is_err();
            if member.missed && !failed {
                self.metrics.late();
            }
            member.missed = failed;
        }
    }

    /// Makes one batch of whatever was pulled since the last one.
    async fn push(&mut self, second: i64) {
        if let Some((last, _)) = self.last.filter(|(last, _)| second <= *last) {
            let behind = last - second;
            if behind > CLOCK_BEHIND && !std::mem::replace(&mut self.behind, true) {
                warn!(seconds = behind, "the clock is behind the last batch; nothing is pushed until it has caught up");
            }
            return;
        }
        self.behind = false;
        let since = self.last.map(|(_, made)| made);
        let (on, every) = (self.params.on, self.params.every);
        let mut checkpoints = Vec::new();
        let keeps = self.keeper.keeps();
        let parts: Vec<Part> = (self.members.iter_mut())
            .map(|member| {
                let mut taken = member.target.take(keeps);
                let checkpoint = taken.as_mut().and_then(|taken| taken.checkpoint.take());
                checkpoints.extend(checkpoint.map(|checkpoint| (member.target.params.key.clone(), checkpoint)));
                let interval = interval(on, every, member.counted, second);
                if taken.as_ref().is_some_and(|taken| !taken.increases.is_empty()) {
                    member.counted = Some(second);
                }
                let fresh = member.target.latest().filter(|_| !member.left);
                let fresh = fresh.filter(|pulled| since.is_none_or(|since| pulled.finished > since));
                Part {
                    gauges: if fresh.as_ref().is_some_and(|pulled| pulled.view.is_ok()) {
                        Gauges::Send
                    } else {
                        Gauges::Withhold
                    },
                    health: fresh.and_then(|pulled| pulled.health.clone()),
                    taken,
                    host: member.target.params.host.clone(),
                    interval,
                }
            })
            .collect();
        self.members.retain(|member| !member.left || member.target.under_way().is_some());
        let batch = self.batch(second, parts);
        match cpu::run(batch.nanos(), move || batch.encode()).await {
            Ok(bodies) => {
                self.last = Some((second, Instant::now()));
                self.hand_over(second, checkpoints, bodies).await;
            }
            Err(error) => error!(%error, "cannot encode a batch; its increases are lost"),
        }
    }

    fn batch(&self, second: i64, parts: Vec<Part>) -> Batch {
        let Params { every: _, on: _, zero_increases, tags, encoding, limits } = self.params.clone();
        let encoding = match &self.sink {
            Sink::Datadog(_) => encoding,
            Sink::DryRun => Encoding::Json,
        };
        let exposes = self.targets.expose(counts::PHASE_COUNT);
        let extras = counts::extras(&self.inventories.latest(), &self.counts, exposes);
        Batch { second, encoding, zero_increases, tags, limits, parts, extras }
    }

    /// Stores what was taken with what it became, then sends it.
    async fn hand_over(&mut self, second: i64, checkpoints: Vec<(String, Checkpoint)>, bodies: Vec<Body>) {
        match &self.sink {
            Sink::Datadog(senders) => {
                let mut queues = Vec::new();
                for sender in senders {
                    let queued = |body: &Body| {
                        let id = Id { endpoint: sender.name().to_owned(), second, number: self.keeper.number() };
                        Queued { id, body: body.clone(), uncertain: false }
                    };
                    queues.push(bodies.iter().map(queued).collect::<Vec<Queued>>());
                }
                self.keeper.commit(Some(second), checkpoints, &queues.concat()).await;
                for (sender, queued) in senders.iter().zip(queues) {
                    sender.submit(queued);
                }
            }
            Sink::DryRun => {
                for body in &bodies {
                    match body.text() {
                        // Whoever read our output may have seen enough; serving goes on.
                        Ok(text) => drop(writeln!(std::io::stdout(), "{text}")),
                        Err(error) => error!(%error, "a body cannot be read back"),
                    }
                }
            }
        }
    }
}

/// The seconds an increase covers: the grid's period, or with pushes on demand the time since the last one.
fn interval(on: On, every: Duration, counted: Option<i64>, second: i64) -> u32 {
    let since_last = counted.and_then(|last| u32::try_from(second - last).ok());
    match (on, since_last) {
        (On::Pull { .. }, Some(seconds)) => seconds.max(1),
        (On::Pull { .. }, None) | (On::Grid, _) => u32::try_from(every.as_secs()).unwrap_or(u32::MAX).max(1),
    }
}

/// Ready when a pull on demand asks for a push, and the last one is long enough ago.
async fn demanded(demand: &Demand, on: On, last: Option<(i64, Instant)>) {
    let On::Pull { min_spacing } = on else { return std::future::pending().await };
    demand.0.notified().await;
    if let Some((_, made)) = last {
        tokio::time::sleep_until((made + min_spacing).into()).await;
    }
}

/// The next whole multiple of the period.
fn next_grid_second(every: Duration) -> i64 {
    let period = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
    (clock::now().seconds().div_euclid(period) + 1) * period
}

fn until(second: i64) -> Duration {
    let at = Duration::from_secs(u64::try_from(second).unwrap_or(0));
    at.saturating_sub(clock::since_1970())
}
