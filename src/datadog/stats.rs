//! What happened to the points of one endpoint, as counters that anybody may read at any time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use super::Queued;
use super::queue::{DropReason, Dropped, Queue};
use crate::payload::Body;
use crate::time::UnixMillis;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestClass {
    Success,
    Redirection,
    ClientError,
    ServerError,
    Timeout,
    /// No answer: connection, name or TLS.
    Broken,
}

impl RequestClass {
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Redirection, Self::ClientError, Self::ServerError, Self::Timeout, Self::Broken];

    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }

    pub(super) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

/// What the endpoint's task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sending, or nothing to send.
    Flowing,
    /// Waiting after a failure.
    BackingOff,
    /// Holding everything until the API key works.
    KeyRefused,
}

impl State {
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Flowing => "flowing",
            Self::BackingOff => "backing_off",
            Self::KeyRefused => "key_refused",
        }
    }
}

/// Over how long the rate is measured at which the queue fills.
const RATE_SECONDS: i64 = 900;

/// Live counters. Submitted = accepted + refused + dropped + uncertain + pending, as soon as the task has seen what was
/// submitted.
#[derive(Debug, Default)]
pub struct Stats {
    name: String,
    submitted: AtomicU64,
    /// Of those submitted, what the task has seen.
    seen: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    uncertain: AtomicU64,
    /// By metric and reason.
    lost: Mutex<BTreeMap<(String, &'static str), f64>>,
    /// Seconds, and the bytes that came then.
    came: Mutex<VecDeque<(i64, usize)>>,
    queue_free_bytes: AtomicU64,
    pending_points: AtomicU64,
    pending_bytes: AtomicU64,
    /// 0: none.
    oldest_pending_second: AtomicI64,
    requests: [AtomicU64; RequestClass::ALL.len()],
    sent_bytes: AtomicU64,
    splits: AtomicU64,
    /// 0: never.
    last_success_millis: AtomicI64,
    last_error: ArcSwapOption<String>,
    state: AtomicU8,
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Points handed to [`super::Sender::submit`].
    pub submitted: u64,
    pub accepted: u64,
    /// Points that Datadog will never take.
    pub refused: u64,
    /// Points given up here, by reason, that cannot have arrived.
    pub dropped: Vec<(DropReason, u64)>,
    /// Points given up here that may have arrived.
    pub uncertain: u64,
    /// Increases that Datadog has not seen and will not see, by metric and reason.
    pub lost: Vec<(String, &'static str, f64)>,
    /// For how many seconds of an outage the queue has room, at the rate of the last quarter of an hour; `None` while
    /// nothing comes.
    pub capacity_seconds: Option<f64>,
    /// Points waiting or under way.
    pub pending_points: u64,
    /// Their compressed size.
    pub pending_bytes: u64,
    pub oldest_pending_second: Option<i64>,
    pub requests: Vec<(RequestClass, u64)>,
    /// Compressed bytes of all requests, repeated ones included.
    pub sent_bytes: u64,
    /// Bodies halved after a 413.
    pub splits: u64,
    pub last_success: Option<UnixMillis>,
    /// The last failure and what to do about it; gone after the next success.
    pub last_error: Option<Arc<String>>,
    pub state: State,
}

impl Stats {
    /// Of the endpoint of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let some = |value: i64| (value != 0).then_some(value);
        Snapshot {
            submitted: load(&self.submitted),
            accepted: load(&self.accepted),
            refused: load(&self.refused),
            dropped: DropReason::ALL.into_iter().zip(self.dropped.iter().map(load)).collect(),
            uncertain: load(&self.uncertain),
            lost: lock(&self.lost).iter().map(|((name, reason), sum)| (name.clone(), *reason, *sum)).collect(),
            capacity_seconds: self.capacity(),
            pending_points: load(&self.pending_points),
            pending_bytes: load(&self.pending_bytes),
            oldest_pending_second: some(self.oldest_pending_second.load(Ordering::Relaxed)),
            requests: RequestClass::ALL.into_iter().zip(self.requests.iter().map(load)).collect(),
            sent_bytes: load(&self.sent_bytes),
            splits: load(&self.splits),
            last_success: some(self.last_success_millis.load(Ordering::Relaxed)).map(UnixMillis),
            last_error: self.last_error.load_full(),
            state: match self.state.load(Ordering::Relaxed) {
                0 => State::Flowing,
                1 => State::BackingOff,
                _ => State::KeyRefused,
            },
        }
    }

    pub(super) fn submitted(&self, points: usize) {
        add(&self.submitted, points);
    }

    pub(super) fn accepted(&self, points: usize, now: UnixMillis) {
        add(&self.accepted, points);
        self.last_success_millis.store(now.0, Ordering::Relaxed);
        self.last_error.store(None);
    }

    pub(super) fn refused(&self, queued: &Queued) {
        self.give_up(queued, &self.refused, "refused");
    }

    pub(super) fn dropped(&self, Dropped { reason, bodies }: &Dropped) {
        let index = match reason {
            DropReason::QueueFull => 0,
            DropReason::TooOld => 1,
        };
        bodies.iter().for_each(|queued| self.give_up(queued, &self.dropped[index], reason.label()));
    }

    /// A body that may have arrived is uncertain, whatever ends it; of others the increases are lost.
    fn give_up(&self, Queued { body, uncertain, .. }: &Queued, counter: &AtomicU64, reason: &'static str) {
        let (counter, reason) = if *uncertain { (&self.uncertain, "uncertain") } else { (counter, reason) };
        add(counter, body.points);
        self.lose(body, reason);
    }

    fn lose(&self, body: &Body, reason: &'static str) {
        match body.increases() {
            Ok(increases) => {
                let mut lost = lock(&self.lost);
                for (metric, increase) in increases {
                    *lost.entry((metric, reason)).or_default() += increase;
                }
            }
            Err(error) => tracing::error!(%error, "a dropped body cannot be read back; its increases are not told"),
        }
    }

    /// Takes note of what came, for the rate.
    pub(super) fn arrived(&self, bodies: &[Queued], now_seconds: i64) {
        add(&self.seen, bodies.iter().map(|queued| queued.body.points).sum());
        let bytes = bodies.iter().map(|queued| queued.body.zstd.len()).sum();
        let mut came = lock(&self.came);
        came.push_back((now_seconds, bytes));
        while came.front().is_some_and(|(second, _)| now_seconds - second > RATE_SECONDS) {
            came.pop_front();
        }
    }

    fn capacity(&self) -> Option<f64> {
        let came = lock(&self.came);
        let ((first, _), (last, last_bytes)) = (came.front()?, came.back()?);
        let bytes: usize = came.iter().map(|(_, bytes)| bytes).sum();
        // The last ones fill the time that is still to come.
        let (bytes, seconds) = ((bytes - last_bytes) as f64, (last - first) as f64);
        let rate = bytes / seconds;
        (seconds > 0.0 && rate > 0.0).then(|| self.queue_free_bytes.load(Ordering::Relaxed) as f64 / rate)
    }

    pub(super) fn split(&self) {
        add(&self.splits, 1);
    }

    pub(super) fn request(&self, class: RequestClass, bytes: usize) {
        if let Some(index) = RequestClass::ALL.iter().position(|other| *other == class) {
            add(&self.requests[index], 1);
        }
        add(&self.sent_bytes, bytes);
    }

    pub(super) fn failed(&self, text: String) {
        self.last_error.store(Some(Arc::new(text)));
    }

    pub(super) fn state(&self, state: State) {
        let code = match state {
            State::Flowing => 0,
            State::BackingOff => 1,
            State::KeyRefused => 2,
        };
        self.state.store(code, Ordering::Relaxed);
    }

    /// `under_way`: points, bytes and second of the body that is being sent.
    pub(super) fn pending(&self, queue: &Queue, under_way: Option<(usize, usize, i64)>) {
        let (points, bytes, second) = under_way.map_or((0, 0, None), |(points, bytes, at)| (points, bytes, Some(at)));
        self.pending_points.store((queue.points() + points) as u64, Ordering::Relaxed);
        self.pending_bytes.store((queue.bytes() + bytes) as u64, Ordering::Relaxed);
        self.queue_free_bytes.store(queue.free_bytes() as u64, Ordering::Relaxed);
        let oldest = queue.oldest_second().into_iter().chain(second).min();
        self.oldest_pending_second.store(oldest.unwrap_or(0), Ordering::Relaxed);
        debug_assert!(self.balances(), "every point has one fate: {self:?}");
    }

    /// Whether every point that the task has seen has one fate. The task alone may ask: it alone changes them.
    fn balances(&self) -> bool {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let settled = [&self.accepted, &self.refused, &self.uncertain, &self.pending_points];
        load(&self.seen) == settled.into_iter().chain(&self.dropped).map(load).sum::<u64>()
    }
}

/// A lock whose holder panicked still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
