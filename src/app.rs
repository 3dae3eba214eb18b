//! Wiring: a configuration becomes running tasks, and they end in order.

mod found;
pub mod mappings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use self::found::Past;
use crate::clock;
use crate::cluster::inventories::Inventories;
use crate::config::Config;
use crate::config::kubernetes::Kubernetes;
use crate::datadog::stats::Stats;
use crate::datadog::{Drained, Queued, Sender};
use crate::push::keeper::Keeper;
use crate::push::{Demand, Pusher, Sink};
use crate::server::{self, Surface};
use crate::store::outbox::{Change, Entry, Outbox};
use crate::store::{self, Store};
use crate::targets::Targets;
use crate::telemetry::metrics::Metrics;
use crate::time::UnixMillis;
use crate::tls;

/// How long a shutdown may go on sending.
const GRACE: Duration = Duration::from_secs(10);

/// A running promdog.
#[derive(Debug)]
pub struct Running {
    /// Where it listens: with the port that port 0 became.
    pub address: SocketAddr,
    pub targets: Targets,
    pub metrics: Metrics,
    /// The senders' counters, one for each endpoint; none without a key and in a dry run.
    pub stats: Vec<Arc<Stats>>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    pusher: Option<JoinHandle<(Sink, Keeper)>>,
    /// Watches and discoveries; they end when this is dropped.
    watching: JoinSet<()>,
}

/// Starts everything a configuration asks for. Targets need not be up.
///
/// # Errors
/// What can never work: mappings that are wrong, certificate files that cannot be used, an address that is taken, a state
/// directory that another process holds.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    tls::install_provider();
    let metrics = Metrics::default();
    let mut watching = JoinSet::new();
    let Kept { store, state, since, outbox } = kept(&config).await?;
    let store::State { last_second, targets, queue, since: _ } = state;
    let past = Past::new(since.clone(), targets);
    let targets = found::start(&config, &past, &metrics, &mut watching)?;
    let listener = listen(&config.web.listen).await?;
    let address = listener.local_addr()?;

    let Kubernetes { keep, counts, .. } = config.kubernetes.clone();
    let inventories = match config.kubernetes.counts_machines() {
        true => Inventories::watch(&config.kubernetes.cluster_params(), keep, &metrics, &mut watching),
        false => Inventories::default(),
    };

    let demand = Demand::default();
    let (sink, stats) = sink(&config, &outbox, queue)?;
    metrics.show_senders(stats.clone());
    let keeper = Keeper::new(store, outbox, since, metrics.clone());
    let (stop, stopping) = watch::channel(false);
    let pusher = sink.map(|sink| {
        let (params, targets, inventories) = (config.push_params(), targets.clone(), inventories.clone());
        let (counts, metrics, demand) = (counts.clone(), metrics.clone(), demand.clone());
        let pusher = Pusher::new(params, targets, inventories, counts, sink, metrics, demand, keeper, last_second);
        tokio::spawn(pusher.run(stopped(stopping.clone())))
    });
    let surface = Surface {
        targets: targets.clone(),
        inventories,
        counts,
        max_age: config.web.max_age,
        metrics: metrics.clone(),
        stats: stats.clone(),
        demand,
    };
    let serving = axum::serve(listener, server::router(surface)).with_graceful_shutdown(stopped(stopping));
    let server = tokio::spawn(async move { serving.await });
    info!(%address, targets = config.targets.len(), "promdog is ready");
    Ok(Running { address, targets, metrics, stats, stop, server, pusher, watching })
}

impl Running {
    /// Ends it: the last batch is made and sent, requests under way are answered, within ten seconds.
    pub async fn stop(self) -> Drained {
        let Self { stop, server, pusher, watching, .. } = self;
        // Nobody may be listening any more, if a task has ended early.
        let _ = stop.send(true);
        drop(watching);
        let mut drained = Drained::default();
        let mut kept = false;
        if let Some(pusher) = pusher
            && let Ok(Ok((sink, mut keeper))) = tokio::time::timeout(GRACE, pusher).await
        {
            if let Sink::Datadog(senders) = sink {
                for one in join_all(senders.into_iter().map(|sender| sender.drain(GRACE))).await {
                    drained.accepted += one.accepted;
                    drained.left += one.left;
                }
            }
            keeper.flush().await;
            kept = keeper.keeps();
        }
        if tokio::time::timeout(GRACE, server).await.is_err() {
            warn!("requests were still under way");
        }
        match drained.left {
            0 => {}
            points if kept => info!(points, "points that could not be sent are kept for the next start"),
            points => warn!(points, "points that could not be sent are lost"),
        }
        drained
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone: that is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn listen(addresses: &[SocketAddr]) -> anyhow::Result<TcpListener> {
    let mut failed = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("{address} is in use; is another promdog running? choose another with `--web.listen-address`")
            }
            // A machine without IPv6, say.
            Err(error) => failed = Some((address, error)),
        }
    }
    match failed {
        Some((address, error)) => Err(error).with_context(|| format!("cannot listen on {address}")),
        None => bail!("no address to listen on"),
    }
}

/// What outlives us, and what an earlier promdog has left.
struct Kept {
    store: Option<Store>,
    state: store::State,
    /// Since when each entry of the configuration has been watched.
    since: BTreeMap<String, UnixMillis>,
    outbox: Outbox,
}

async fn kept(config: &Config) -> anyhow::Result<Kept> {
    let now = clock::now();
    // What is only looked at is not stored, and takes nothing from what is.
    let pushes = !config.push.dry_run && !config.datadog.sender_params(&config.push).is_empty();
    let (store, state) = match config.store_params().filter(|_| pushes) {
        Some(params) => {
            let dir = params.dir.display().to_string();
            let (store, state) = Store::open(params, now).await?;
            info!(dir, targets = state.targets.len(), bodies = state.queue.len(), "the state has been read");
            (Some(store), state)
        }
        None => (None, store::State::default()),
    };
    if store.is_none() && pushes {
        info!("there is no --state-dir: a restart begins with baselines");
    }
    let since = config.targets.iter().map(|group| {
        let name = group.target.name.clone();
        let since = state.since.get(&name).copied().unwrap_or(now);
        (name, since)
    });
    let outbox = match &store {
        Some(_) => Outbox::new(state.queue.iter().map(|entry| entry.id.number + 1).max().unwrap_or_default()),
        None => Outbox::default(),
    };
    Ok(Kept { since: since.collect(), store, state, outbox })
}

/// Where batches go; `None` if push is off. Each endpoint begins with what is left of its queue.
fn sink(config: &Config, outbox: &Outbox, queue: Vec<Entry>) -> anyhow::Result<(Option<Sink>, Vec<Arc<Stats>>)> {
    if config.push.dry_run {
        info!("dry run: request bodies are printed, nothing is sent");
        return Ok((Some(Sink::DryRun), Vec::new()));
    }
    let endpoints = config.datadog.sender_params(&config.push);
    if endpoints.is_empty() {
        info!("nothing is pushed: there is no API key; set DD_API_KEY, or try --dry-run");
        return Ok((None, Vec::new()));
    }
    let mut queues: BTreeMap<String, Vec<Queued>> = BTreeMap::new();
    for Entry { id, body } in queue {
        // A request with it may have been under way when the process ended.
        queues.entry(id.endpoint.clone()).or_default().push(Queued { id, body, uncertain: true });
    }
    let (mut senders, mut all) = (Vec::new(), Vec::new());
    for params in endpoints {
        let pending = queues.remove(&params.name).unwrap_or_default();
        info!(endpoint = %crate::config::url::mask_url(&params.endpoint), pending = pending.len(), "points go to Datadog");
        let stats = Arc::new(Stats::new(&params.name));
        senders.push(Sender::start(params, Arc::clone(&stats), outbox.clone(), pending)?);
        all.push(stats);
    }
    for (endpoint, queue) in queues {
        let points: usize = queue.iter().map(|queued| queued.body.points).sum();
        warn!(endpoint, points, "what waits for an endpoint that is no longer configured is dropped");
        queue.into_iter().for_each(|queued| outbox.note(Change::Gone(queued.id)));
    }
    Ok((Some(Sink::Datadog(senders)), all))
}
