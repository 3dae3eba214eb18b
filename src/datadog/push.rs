//! The task of one endpoint: takes bodies in, sends them one at a time, and waits when it should.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::answer::Answer;
use super::key::ReadKey;
use super::log::Log;
use super::queue::{Dropped, Queue};
use super::retry::{self, Verdict};
use super::stats::{RequestClass, State, Stats};
use super::transport::Transport;
use super::{Drained, Params, Queued, split};
use crate::backoff::{Backoff, random};
use crate::clock;
use crate::store::outbox::{Change, Entry, Id, Outbox};

/// The waits; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) base: Duration,
    pub(super) max: Duration,
    /// How often a refused key is tried again.
    pub(super) key_probe: Duration,
    /// How often a key file is looked at while its key is refused.
    pub(super) key_poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(2),
            max: Duration::from_secs(64),
            key_probe: Duration::from_secs(300),
            key_poll: Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Submit(Vec<Queued>),
    Drain { deadline: Instant, reply: oneshot::Sender<Drained> },
}

/// Whether the next body may be sent.
enum Gate {
    Open,
    Until(Instant),
    /// No usable key. `refused` is the one that was not accepted.
    Key {
        refused: Option<ReadKey>,
        probe_at: Instant,
        /// When to see whether the key has changed.
        poll_at: Instant,
    },
}

struct UnderWay {
    queued: Queued,
    answer: Pin<Box<dyn Future<Output = (Answer, Option<ReadKey>)> + Send>>,
}

struct Draining {
    deadline: Instant,
    reply: oneshot::Sender<Drained>,
    accepted: u64,
}

pub(super) struct Worker {
    transport: Arc<Transport>,
    host: String,
    stats: Arc<Stats>,
    outbox: Outbox,
    timing: Timing,
    queue: Queue,
    backoff: Backoff,
    gate: Gate,
    under_way: Option<UnderWay>,
    draining: Option<Draining>,
    log: Log,
}

impl Worker {
    pub(super) fn new(
        params: &Params,
        transport: Transport,
        stats: Arc<Stats>,
        outbox: Outbox,
        timing: Timing,
    ) -> Self {
        let max_age_seconds = i64::try_from(params.queue_max_age.as_secs()).unwrap_or(i64::MAX);
        Self {
            transport: Arc::new(transport),
            host: params.endpoint.host_str().unwrap_or_default().to_owned(),
            stats,
            outbox,
            timing,
            queue: Queue::new(params.queue_max_bytes, max_age_seconds),
            backoff: Backoff::new(timing.base, timing.max),
            gate: Gate::Open,
            under_way: None,
            draining: None,
            log: Log::default(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            self.expire();
            self.send_next();
            self.publish();
            if self.is_drained() {
                break;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                // New bodies first: they go before whatever is waiting.
                biased;
                command = commands.recv(), if self.draining.is_none() => match command {
                    Some(Command::Submit(bodies)) => {
                        self.stats.arrived(&bodies, clock::now().seconds());
                        bodies.into_iter().for_each(|queued| self.enqueue(queued));
                    }
                    Some(Command::Drain { deadline, reply }) => {
                        self.draining = Some(Draining { deadline, reply, accepted: 0 });
                        // One attempt, whatever we were waiting for.
                        self.gate = Gate::Open;
                    }
                    None => return,
                },
                (answer, key) = answered(&mut self.under_way) => self.settle(answer, key),
                () = tokio::time::sleep_until(wake_at) => self.look_again().await,
            }
        }
        if let Some(Draining { reply, accepted, .. }) = self.draining {
            let under_way = self.under_way.map_or(0, |under_way| under_way.queued.body.points);
            let _ = reply.send(Drained { accepted, left: (self.queue.points() + under_way) as u64 });
        }
    }

    fn enqueue(&mut self, queued: Queued) {
        if let Some(dropped) = self.queue.push(queued) {
            let points = self.give_up(dropped);
            self.log.warn("queue_full", || {
                format!(
                    "the queue is full: dropped {points} of the oldest points; raise its size or check why they are not sent"
                )
            });
        }
    }

    fn expire(&mut self) {
        if let Some(dropped) = self.queue.expire(clock::now().seconds()) {
            let points = self.give_up(dropped);
            self.log.warn("too_old", || format!("dropped {points} points that became too old for Datadog"));
        }
    }

    /// Counts what is dropped, and returns how many points that is.
    fn give_up(&mut self, dropped: Dropped) -> usize {
        self.stats.dropped(&dropped);
        let points = dropped.points();
        dropped.bodies.into_iter().for_each(|queued| self.outbox.note(Change::Gone(queued.id)));
        points
    }

    /// Starts the next request, if one may be started. There is never more than one.
    fn send_next(&mut self) {
        if self.under_way.is_some() || !matches!(self.gate, Gate::Open) {
            return;
        }
        let Some(queued) = self.queue.pop() else { return };
        let (transport, body) = (Arc::clone(&self.transport), queued.body.clone());
        let answer = Box::pin(async move { transport.send(&body).await });
        self.under_way = Some(UnderWay { queued, answer });
    }

    /// Decides about the body that was under way.
    fn settle(&mut self, answer: Answer, key: Option<ReadKey>) {
        let Some(UnderWay { queued, .. }) = self.under_way.take() else { return };
        let bytes = queued.body.zstd.len();
        match answer {
            Answer::Status { code, retry_after, text } => {
                self.stats.request(RequestClass::of_status(code), bytes);
                let asked = retry_after.and_then(|value| retry::retry_after(&value, SystemTime::now()));
                match retry::judge(code) {
                    Verdict::Accepted => self.accept(queued),
                    Verdict::Refused => self.refuse(queued, code, &text),
                    Verdict::TooLarge => self.halve(queued, &text),
                    Verdict::KeyRefused => {
                        self.hold(
                            queued,
                            key,
                            format!("the API key was refused ({}): check DD_API_KEY and DD_SITE", said(code, &text)),
                        );
                    }
                    Verdict::Retry => {
                        // Something on the way gave up: what is behind it may have heard us.
                        let uncertain = queued.uncertain || matches!(code, 408 | 502 | 504);
                        self.retry(Queued { uncertain, ..queued }, asked, "status", advice(code, &text));
                    }
                }
            }
            Answer::Timeout => {
                self.stats.request(RequestClass::Timeout, bytes);
                self.retry(Queued { uncertain: true, ..queued }, None, "timeout", "no answer in time".to_owned());
            }
            Answer::Broken { text, sent } => {
                self.stats.request(RequestClass::Broken, bytes);
                let uncertain = queued.uncertain || sent;
                self.retry(Queued { uncertain, ..queued }, None, "broken", text);
            }
            Answer::NoKey(text) => self.hold(queued, None, text),
        }
    }

    fn accept(&mut self, queued: Queued) {
        self.outbox.note(Change::Gone(queued.id));
        self.stats.accepted(queued.body.points, clock::now());
        if let Some(draining) = &mut self.draining {
            draining.accepted += queued.body.points as u64;
        }
        self.reachable();
        if self.log.failing {
            self.log.failing = false;
            self.log.info("recovered", || format!("{} accepts points again", self.host));
        }
    }

    fn refuse(&mut self, queued: Queued, code: u16, text: &str) {
        self.stats.refused(&queued);
        self.outbox.note(Change::Gone(queued.id));
        let text = match code {
            300..=399 => format!(
                "the endpoint redirects to {text} ({code}), which is not followed; set DD_SITE or DD_URL to where it should be"
            ),
            _ => format!("refused with {}", said(code, text)),
        };
        self.trouble("refused", &format!("{text}; {} points are lost", queued.body.points));
        self.reachable();
    }

    fn halve(&mut self, queued: Queued, text: &str) {
        match split::halve(&queued.body) {
            Some((first, second)) => {
                self.stats.split();
                let Queued { id, uncertain, .. } = queued;
                self.outbox.note(Change::Gone(id.clone()));
                for body in [first, second] {
                    let id = Id { number: self.outbox.number(), ..id.clone() };
                    self.outbox.note(Change::Here(Entry { id: id.clone(), body: body.clone() }));
                    self.enqueue(Queued { id, body, uncertain });
                }
                self.reachable();
            }
            None => self.refuse(queued, 413, text),
        }
    }

    fn hold(&mut self, queued: Queued, refused: Option<ReadKey>, text: String) {
        self.enqueue(queued);
        let now = Instant::now();
        self.gate = Gate::Key { refused, probe_at: now + self.timing.key_probe, poll_at: now + self.timing.key_poll };
        self.stats.state(State::KeyRefused);
        self.trouble(
            "key",
            &format!(
                "{text}; points are kept meanwhile, and tried again every {} s and when the key changes",
                self.timing.key_probe.as_secs()
            ),
        );
    }

    fn retry(&mut self, queued: Queued, asked: Option<Duration>, label: &'static str, text: String) {
        self.enqueue(queued);
        let wait = self.backoff.failed(random(), asked);
        self.gate = Gate::Until(Instant::now() + wait);
        self.stats.state(State::BackingOff);
        let failures = self.backoff.failures();
        self.trouble(label, &format!("{text}; trying again in {:.0} s (failure {failures})", wait.as_secs_f64()));
    }

    fn reachable(&mut self) {
        self.backoff.succeeded();
        self.gate = Gate::Open;
        self.stats.state(State::Flowing);
    }

    fn trouble(&mut self, label: &'static str, text: &str) {
        self.stats.failed(text.to_owned());
        self.log.failing = true;
        self.log.warn(label, || format!("{}: {text}", self.host));
    }

    /// When to look at the gate or the deadline again; far away if there is nothing to wait for.
    fn wake_at(&self) -> Instant {
        let gate = match &self.gate {
            Gate::Open => None,
            Gate::Until(at) => Some(*at),
            Gate::Key { probe_at, poll_at, .. } if self.transport.key_may_change() => Some(*probe_at.min(poll_at)),
            Gate::Key { probe_at, .. } => Some(*probe_at),
        };
        let deadline = self.draining.as_ref().map(|draining| draining.deadline);
        gate.into_iter().chain(deadline).min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    async fn look_again(&mut self) {
        let now = Instant::now();
        let open = match &mut self.gate {
            Gate::Open => true,
            Gate::Until(at) => *at <= now,
            Gate::Key { probe_at, .. } if *probe_at <= now => true,
            Gate::Key { refused, poll_at, .. } if *poll_at <= now && self.transport.key_may_change() => {
                *poll_at = now + self.timing.key_poll;
                self.transport.key().await.is_some_and(|key| Some(&key) != refused.as_ref())
            }
            Gate::Key { .. } => false,
        };
        if open {
            self.gate = Gate::Open;
        }
    }

    /// Nothing left to do, or nothing that can be done before the deadline.
    fn is_drained(&self) -> bool {
        let Some(draining) = &self.draining else { return false };
        let hopeless = match &self.gate {
            Gate::Open => self.under_way.is_none() && self.queue.is_empty(),
            Gate::Until(at) => *at >= draining.deadline,
            Gate::Key { .. } => true,
        };
        hopeless || draining.deadline <= Instant::now()
    }

    fn publish(&self) {
        let under_way = self
            .under_way
            .as_ref()
            .map(|UnderWay { queued, .. }| (queued.body.points, queued.body.zstd.len(), queued.id.second));
        self.stats.pending(&self.queue, under_way);
    }
}

async fn answered(under_way: &mut Option<UnderWay>) -> (Answer, Option<ReadKey>) {
    match under_way {
        Some(under_way) => under_way.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

fn advice(code: u16, text: &str) -> String {
    let what = match code {
        404 => "no such path there: check DD_SITE and DD_URL",
        407 => "the proxy wants a login: put it into the proxy's URL",
        429 => "too many requests",
        _ => "it cannot take points now",
    };
    format!("{what} ({})", said(code, text))
}

fn said(code: u16, text: &str) -> String {
    if text.is_empty() { code.to_string() } else { format!("{code}: {text}") }
}
