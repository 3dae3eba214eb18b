//! Wiring: a configuration becomes running tasks, and they end in order.

mod found;
pub mod mappings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use crate::cluster::inventories::Inventories;
use crate::config::Config;
use crate::config::kubernetes::Kubernetes;
use crate::datadog::stats::Stats;
use crate::datadog::{Drained, Sender};
use crate::push::{Demand, Pusher, Sink};
use crate::server::{self, Surface};
use crate::targets::Targets;
use crate::telemetry::metrics::Metrics;
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
    /// The sender's counters; `None` without a key and in a dry run.
    pub stats: Option<Arc<Stats>>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    pusher: Option<JoinHandle<Sink>>,
    /// Watches and discoveries; they end when this is dropped.
    watching: JoinSet<()>,
}

/// Starts everything a configuration asks for. Targets need not be up.
///
/// # Errors
/// What can never work: mappings that are wrong, certificate files that cannot be used, an address that is taken.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    tls::install_provider();
    let metrics = Metrics::default();
    let mut watching = JoinSet::new();
    let targets = found::start(&config, &metrics, &mut watching)?;
    let listener = listen(&config.web.listen).await?;
    let address = listener.local_addr()?;

    let Kubernetes { keep, counts, .. } = config.kubernetes.clone();
    let inventories = match config.kubernetes.counts_machines() {
        true => Inventories::watch(&config.kubernetes.cluster_params(), keep, &metrics, &mut watching),
        false => Inventories::default(),
    };

    let demand = Demand::default();
    let (sink, stats) = sink(&config)?;
    let (stop, stopping) = watch::channel(false);
    let pusher = sink.map(|sink| {
        let (params, targets, inventories) = (config.push_params(), targets.clone(), inventories.clone());
        let pusher = Pusher::new(params, targets, inventories, counts.clone(), sink, metrics.clone(), demand.clone());
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
        let drained = match pusher {
            None => Drained::default(),
            Some(pusher) => match tokio::time::timeout(GRACE, pusher).await {
                Ok(Ok(Sink::Datadog(sender))) => sender.drain(GRACE).await,
                Ok(Ok(Sink::DryRun) | Err(_)) | Err(_) => Drained::default(),
            },
        };
        if tokio::time::timeout(GRACE, server).await.is_err() {
            warn!("requests were still under way");
        }
        if drained.left > 0 {
            warn!(points = drained.left, "points that could not be sent are lost");
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

/// Where batches go; `None` if push is off.
fn sink(config: &Config) -> anyhow::Result<(Option<Sink>, Option<Arc<Stats>>)> {
    if config.push.dry_run {
        info!("dry run: request bodies are printed, nothing is sent");
        return Ok((Some(Sink::DryRun), None));
    }
    let Some(params) = config.datadog.sender_params(&config.push) else {
        info!("nothing is pushed: there is no API key; set DD_API_KEY, or try --dry-run");
        return Ok((None, None));
    };
    let endpoint = params.endpoint.clone();
    let stats = Arc::new(Stats::default());
    let sender = Sender::start(params, Arc::clone(&stats))?;
    info!(endpoint = %crate::config::url::mask_url(&endpoint), "points go to Datadog");
    Ok((Some(Sink::Datadog(sender)), Some(stats)))
}
