//! Our own metric families, served under `/internal/metrics`: what pulls and pushes did.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::senders::Senders;
use crate::datadog::stats::Stats;
use crate::delta::Advance;
use crate::ledger::{Fate, Ledger};

/// Labels of what is counted per target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateOfTarget {
    target: String,
    fate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultOfTarget {
    target: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWatch {
    watch: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultOfWatch {
    watch: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}

/// Of a family that is absent until it means something.
type NoLabels = [(&'static str, &'static str); 0];

/// All families; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    samples: Family<FateOfTarget, Counter>,
    refused_lines: Family<OfTarget, Counter>,
    pulls: Family<ResultOfTarget, Counter>,
    /// How pulls have ended so far.
    results: Arc<Mutex<BTreeSet<&'static str>>>,
    pull_seconds: Family<OfTarget, Counter<f64, std::sync::atomic::AtomicU64>>,
    target_up: Family<OfTarget, Gauge>,
    resets: Family<OfTarget, Counter>,
    baselines: Family<OfTarget, Counter>,
    unmatched: Family<OfTarget, Gauge>,
    late: Counter,
    discovered: Family<OfGroup, Gauge>,
    lists: Family<ResultOfWatch, Counter>,
    changes: Family<OfWatch, Counter>,
    watch_up: Family<OfWatch, Gauge>,
    objects: Family<OfWatch, Gauge>,
    unreadable: Family<OfWatch, Gauge>,
    state_writable: Family<NoLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("promdog");
        macro_rules! family {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that is running", info);
        let samples: Family<FateOfTarget, Counter> = family!("samples", "Samples read, by what became of them");
        let refused_lines: Family<OfTarget, Counter> = family!("refused_lines", "Lines that could not be read");
        let pulls: Family<ResultOfTarget, Counter> = family!("pulls", "Pulls, by how they ended");
        let pull_seconds: Family<OfTarget, Counter<f64, std::sync::atomic::AtomicU64>> =
            family!("pull_duration_seconds", "Time spent in pulls");
        let target_up: Family<OfTarget, Gauge> = family!("target_up", "Whether the last pull succeeded");
        let resets: Family<OfTarget, Counter> = family!("counter_resets", "Rows that fell within one process");
        let baselines: Family<OfTarget, Counter> =
            family!("first_values_withheld", "First values that became a baseline, because their growth is not proven");
        let unmatched: Family<OfTarget, Gauge> =
            family!("unmatched_rules", "Rules of the mapping that no family of the target has matched yet");
        let late: Counter =
            family!("late_pushes", "Pushes that carry more than one interval, because pulls were missed");
        let discovered: Family<OfGroup, Gauge> = family!("discovered_targets", "Targets that a discovery finds");
        let lists: Family<ResultOfWatch, Counter> =
            family!("kubernetes_lists", "Lists of the Kubernetes API, by how they ended");
        let changes: Family<OfWatch, Counter> =
            family!("kubernetes_changes", "Changes of objects that the Kubernetes API has told");
        let watch_up: Family<OfWatch, Gauge> =
            family!("kubernetes_watch_up", "Whether the Kubernetes API answers as it should: 1 or 0");
        let objects: Family<OfWatch, Gauge> = family!("kubernetes_objects", "Objects that are known");
        let unreadable: Family<OfWatch, Gauge> =
            family!("kubernetes_unreadable_objects", "Objects that are there and cannot be read");
        let state_writable: Family<NoLabels, Gauge> =
            family!("state_writable", "Whether the state directory can be written: 1 or 0; absent without one");
        Self {
            registry: Arc::new(Mutex::new(registry)),
            samples,
            refused_lines,
            pulls,
            results: Arc::default(),
            pull_seconds,
            target_up,
            resets,
            baselines,
            unmatched,
            late,
            discovered,
            lists,
            changes,
            watch_up,
            objects,
            unreadable,
            state_writable,
        }
    }
}

impl Metrics {
    /// Takes in the ledger of a good pull.
    pub fn pulled(&self, target: &str, ledger: &Ledger, advance: &Advance) {
        for fate in Fate::ALL {
            let labels = FateOfTarget { target: target.to_owned(), fate: fate.label() };
            self.samples.get_or_create(&labels).inc_by(ledger.count(fate));
        }
        let labels = OfTarget { target: target.to_owned() };
        let Advance { resets, baselines, process: _ } = advance;
        self.refused_lines.get_or_create(&labels).inc_by(ledger.refused_lines);
        self.resets.get_or_create(&labels).inc_by(*resets);
        self.baselines.get_or_create(&labels).inc_by(*baselines);
    }

    /// Counts a pull; `result` is `ok` or the failure's label.
    pub fn pull_ended(&self, target: &str, result: &'static str, took: Duration) {
        let labels = OfTarget { target: target.to_owned() };
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(result);
        self.pulls.get_or_create(&ResultOfTarget { target: target.to_owned(), result }).inc();
        self.pull_seconds.get_or_create(&labels).inc_by(took.as_secs_f64());
        self.target_up.get_or_create(&labels).set(i64::from(result == "ok"));
    }

    /// Counts a push whose increases cover more than one interval.
    pub fn late(&self) {
        self.late.inc();
    }

    /// Shows how many rules have met no family.
    pub fn unmatched(&self, target: &str, rules: usize) {
        self.unmatched.get_or_create(&OfTarget { target: target.to_owned() }).set(signed(rules as u64));
    }

    /// Forgets a target that has left.
    pub fn forget(&self, target: &str) {
        let labels = OfTarget { target: target.to_owned() };
        for family in [&self.refused_lines, &self.resets, &self.baselines] {
            family.remove(&labels);
        }
        self.pull_seconds.remove(&labels);
        self.target_up.remove(&labels);
        self.unmatched.remove(&labels);
        for fate in Fate::ALL {
            self.samples.remove(&FateOfTarget { target: target.to_owned(), fate: fate.label() });
        }
        for result in self.results.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.pulls.remove(&ResultOfTarget { target: target.to_owned(), result });
        }
    }

    /// Shows how many targets a discovery finds.
    pub fn discovered(&self, group: &str, targets: usize) {
        self.discovered.get_or_create(&OfGroup { group: group.to_owned() }).set(signed(targets as u64));
    }

    /// Counts a list of the Kubernetes API; `result` is `ok` or the error's label.
    pub fn kubernetes_list(&self, watch: &str, result: &'static str) {
        self.lists.get_or_create(&ResultOfWatch { watch: watch.to_owned(), result }).inc();
    }

    /// Counts changes that the Kubernetes API told.
    pub fn kubernetes_changes(&self, watch: &str, changes: u64) {
        self.changes.get_or_create(&OfWatch { watch: watch.to_owned() }).inc_by(changes);
    }

    /// Shows whether the Kubernetes API answers.
    pub fn kubernetes_up(&self, watch: &str, up: bool) {
        self.watch_up.get_or_create(&OfWatch { watch: watch.to_owned() }).set(i64::from(up));
    }

    /// Shows what is known of the objects of a kind.
    pub fn kubernetes_objects(&self, watch: &str, objects: u64, unreadable: u64) {
        let labels = OfWatch { watch: watch.to_owned() };
        self.objects.get_or_create(&labels).set(signed(objects));
        self.unreadable.get_or_create(&labels).set(signed(unreadable));
    }

    /// Shows whether what is taken can be kept on disk.
    pub fn state_writable(&self, writable: bool) {
        self.state_writable.get_or_create(&[]).set(i64::from(writable));
    }

    /// Shows what these senders count, from now on.
    pub fn show_senders(&self, stats: Vec<Arc<Stats>>) {
        self.registry().register_collector(Box::new(Senders(stats)));
    }

    /// The page of `/internal/metrics`, as OpenMetrics text.
    #[must_use]
    pub fn page(&self) -> String {
        let mut out = String::new();
        encode(&mut out, &self.registry()).expect("writing to a string cannot fail");
        out
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
