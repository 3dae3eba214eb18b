//! The configuration's targets, and the discoveries that find more of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::watch::channel;
use tokio::task::JoinSet;

use super::mappings;
use crate::clock;
use crate::cluster::{self, Scope, ca, watch};
use crate::config::Config;
use crate::config::discovery::{Discovery, Pods};
use crate::config::target::Target as Configured;
use crate::delta::saved::Saved;
use crate::mapping::Mapping;
use crate::pull::turns::Turns;
use crate::pull::{self, Health, History, Target};
use crate::scrape::Scraper;
use crate::targets::{Entry, Found, Make, Targets, dns, files, pods};
use crate::telemetry::metrics::Metrics;
use crate::time::UnixMillis;
use crate::tls::bundle::Bundle;
use crate::{inventory, translate};

/// Makes the targets, and starts what discovers more. Nothing need be up.
pub(super) fn start(
    config: &Config,
    past: &Past,
    metrics: &Metrics,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Targets> {
    let mut bundles = Bundles { params: config.kubernetes.cluster_params(), known: Vec::new() };
    let (turns, mut entries) = (Turns::default(), Vec::new());
    for group in &config.targets {
        let mut target = group.target.clone();
        let mapping = Arc::new(mappings::load(&target.mappings)?);
        if let Some(Discovery::Pods(pods)) = &group.discovery {
            target.tls.ca_bundle = pods.ca.clone().map(|place| bundles.get(place, tasks));
        }
        entries.push(match &group.discovery {
            None => {
                let key = format!("{}\n{}", target.name, target.url);
                let history = past.of(&key, past.since(&target.name));
                Entry::Fixed(build(&target, key, &mapping, metrics, &turns, history)?)
            }
            Some(_) => {
                let name = target.name.clone();
                let since = past.since(&name);
                // What is wrong with it for every target shall be told now.
                let history = History { watching_since: since, saved: None };
                build(&target, String::new(), &mapping, metrics, &turns, history)?;
                let make = make(target, mapping, metrics.clone(), turns.clone(), past.clone());
                Entry::Discovered { name, make, since }
            }
        });
    }
    let targets = Targets::new(entries, metrics.clone());
    for (at, group) in config.targets.iter().enumerate() {
        let targets = targets.clone();
        match group.discovery.clone() {
            None => {}
            Some(Discovery::Dns(params)) => drop(tasks.spawn(dns::run(params, targets, at))),
            Some(Discovery::Files(params)) => drop(tasks.spawn(files::run(params, targets, at))),
            Some(Discovery::Pods(Pods { namespace, selector, pull, ca: _ })) => {
                let (sender, latest) = channel(watch::Snapshot::<inventory::Pod>::default());
                let scope = Scope { namespace: Some(namespace), selector: Some(selector) };
                let name = format!("pods/{}", group.target.name);
                let params = config.kubernetes.cluster_params();
                tasks.spawn(watch::run(params, scope, name, sender, metrics.clone()));
                tasks.spawn(pods::run(pull, latest, targets, at));
            }
        }
    }
    Ok(targets)
}

/// The CAs of ConfigMaps, each read once for all who trust it.
struct Bundles {
    params: cluster::Params,
    known: Vec<(ca::Place, Bundle)>,
}

impl Bundles {
    fn get(&mut self, place: ca::Place, tasks: &mut JoinSet<()>) -> Bundle {
        if let Some((_, bundle)) = self.known.iter().find(|(known, _)| *known == place) {
            return bundle.clone();
        }
        let bundle = Bundle::default();
        tasks.spawn(ca::run(self.params.clone(), place.clone(), bundle.clone()));
        self.known.push((place, bundle.clone()));
        bundle
    }
}

fn make(template: Configured, mapping: Arc<Mapping>, metrics: Metrics, turns: Turns, past: Past) -> Make {
    Box::new(move |found: &Found, since| {
        let target = template.at_found(found);
        let key = format!("{}\n{}", target.name, found.id);
        let history = past.of(&key, since);
        build(&target, key, &mapping, &metrics, &turns, history)
    })
}

/// What an earlier promdog knew; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    since: BTreeMap<String, UnixMillis>,
    /// Each is handed out once: a target that is made again has another past.
    targets: Mutex<BTreeMap<String, Saved>>,
}

impl Past {
    /// `since` has every entry of the configuration.
    pub(super) fn new(since: BTreeMap<String, UnixMillis>, targets: BTreeMap<String, Saved>) -> Self {
        Self(Arc::new(Known { since, targets: Mutex::new(targets) }))
    }

    /// Since when an entry of the configuration has been watched.
    fn since(&self, name: &str) -> UnixMillis {
        self.0.since.get(name).copied().unwrap_or_else(clock::now)
    }

    fn of(&self, key: &str, watching_since: UnixMillis) -> History {
        let saved = self.0.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        History { watching_since, saved }
    }
}

fn build(
    target: &Configured,
    key: String,
    mapping: &Arc<Mapping>,
    metrics: &Metrics,
    turns: &Turns,
    history: History,
) -> anyhow::Result<Arc<Target>> {
    let name = target.name.clone();
    let scrape = target.scrape_params(mapping.health().map(|health| health.path.as_str()));
    let namespace = target.namespace.as_deref().or(mapping.namespace());
    let health = mapping.health().zip(scrape.health_url.as_ref()).map(|(health, url)| Health {
        name: namespace.map_or_else(|| health.name.clone(), |namespace| format!("{namespace}.{}", health.name)),
        tags: target.health_tags(url),
    });
    let params = pull::Params {
        name: name.clone(),
        key,
        mapping: Arc::clone(mapping),
        translate: translate::Params {
            namespace: target.namespace.clone(),
            tags: target.tags(),
            limits: target.limits.translate,
        },
        first_value: target.first_value,
        health,
        host: target.host.clone(),
        timeout: target.timeout,
        turns: turns.clone(),
    };
    let scraper = Scraper::new(scrape).with_context(|| format!("target `{name}`"))?;
    Ok(Target::new(params, scraper, metrics.clone(), history))
}
