//! Sends bodies to one Datadog endpoint: a bounded queue, newest first, and one task that works it off under Datadog's
//! retry rules. Makes no bodies (that is `payload`), reads no environment, and keeps nothing on disk (that is `store`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};

use self::push::{Command, Timing, Worker};
use self::stats::Stats;
use self::transport::Transport;
use crate::payload::Body;
use crate::store::outbox::{Id, Outbox};
use crate::tls;

mod answer;
mod key;
mod log;
#[cfg(feature = "datadog-api")]
mod official;
mod push;
pub mod queue;
pub mod retry;
mod split;
pub mod stats;
#[cfg(test)]
mod tests;
mod transport;

/// One endpoint. Several endpoints are several [`Sender`]s, so that a slow one does not hold the others.
#[derive(Clone, Debug)]
pub struct Params {
    /// What our own metrics and the stored queue call it; not its key, which may change.
    pub name: String,
    /// The base, for example `https://api.datadoghq.com/`; a path prefix is kept.
    pub endpoint: Url,
    pub key: Key,
    /// Absent: a direct connection, whatever the environment says.
    pub proxy: Option<Proxy>,
    pub tls: tls::ClientParams,
    /// For a whole request; Datadog's own senders use 20 s.
    pub timeout: Duration,
    /// Compressed bytes waiting to be sent, over which the oldest are dropped.
    pub queue_max_bytes: usize,
    /// Age of a point over which it is dropped: Datadog takes nothing older than an hour.
    pub queue_max_age: Duration,
    pub client: Client,
}

/// Where the API key comes from.
#[derive(Clone, Debug)]
pub enum Key {
    Static(SecretString),
    /// Read before each request and trimmed, so that it may be rotated.
    File(PathBuf),
}

/// An HTTP proxy on the way to the endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// May hold user and password.
    pub url: Url,
    /// Hosts to reach directly, in `NO_PROXY`'s syntax; may be empty.
    pub no_proxy: String,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, no_proxy } = self;
        f.debug_struct("Proxy").field("host", &url.host_str()).field("no_proxy", no_proxy).finish_non_exhaustive()
    }
}

/// Who speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Own,
    /// Datadog's own crate; needs a build with the feature `datadog-api`.
    Official,
}

/// A body on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// With the grid second that its points carry.
    pub id: Id,
    pub body: Body,
    /// A request with it ended without an answer, or may have: its points may have arrived.
    pub uncertain: bool,
}

/// Why an endpoint cannot be sent to at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Datadog endpoint {0} is no http:// or https:// URL; set DD_SITE or DD_URL")]
    Endpoint(String),
    #[error("the API key cannot be sent in a header: it is empty or holds odd characters; check DD_API_KEY")]
    Key,
    #[error("the proxy URL cannot be used: {0}")]
    Proxy(String),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    #[error("this build has no official Datadog client; build it with `cargo build --features datadog-api`")]
    NoOfficialClient,
}

/// What became of the queue at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Points accepted while draining.
    pub accepted: u64,
    /// Points that are left, for the next promdog if they are stored. One request may have been under way, so some may have
    /// arrived after all.
    pub left: u64,
}

/// The handle of an endpoint's task. Dropping it stops the task and forgets the queue.
#[derive(Debug)]
pub struct Sender {
    name: String,
    commands: mpsc::UnboundedSender<Command>,
    stats: Arc<Stats>,
}

impl Sender {
    /// Starts the task on the current Tokio runtime, with what an earlier promdog could not send. Connects to nothing
    /// yet; a key file need not exist yet. What becomes of bodies is noted in the outbox.
    ///
    /// # Errors
    /// Parameters that can never work.
    pub fn start(params: Params, stats: Arc<Stats>, outbox: Outbox, pending: Vec<Queued>) -> Result<Self, Error> {
        Self::start_with(params, stats, outbox, pending, Timing::default())
    }

    fn start_with(
        params: Params,
        stats: Arc<Stats>,
        outbox: Outbox,
        pending: Vec<Queued>,
        timing: Timing,
    ) -> Result<Self, Error> {
        let transport = Transport::new(&params)?;
        // Unbounded, because the task empties it at once into the queue, which is bounded.
        let (commands, receiver) = mpsc::unbounded_channel();
        let worker = Worker::new(&params, transport, Arc::clone(&stats), outbox, timing);
        tokio::spawn(worker.run(receiver));
        let sender = Self { name: params.name, commands, stats };
        sender.submit(pending);
        Ok(sender)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands bodies over. Never waits and never fails: what cannot be kept is dropped and counted.
    pub fn submit(&self, bodies: Vec<Queued>) {
        let points: usize = bodies.iter().map(|queued| queued.body.points).sum();
        self.stats.submitted(points);
        // The task ends only with this handle.
        let _ = self.commands.send(Command::Submit(bodies));
    }

    /// Sends what is left, for at most `grace`; ends early if the endpoint is down or refuses the key.
    pub async fn drain(self, grace: Duration) -> Drained {
        let (reply, drained) = oneshot::channel();
        let deadline = tokio::time::Instant::now() + grace;
        let _ = self.commands.send(Command::Drain { deadline, reply });
        drained.await.unwrap_or_default()
    }
}
