//! Our own metric families, served under `/internal/metrics`: what pulls and pushes did.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::datadog::stats::Snapshot;
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
struct OfFate {
    fate: &'static str,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

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
    points: Family<OfFate, Gauge>,
    pending_bytes: Gauge,
    requests: Family<OfClass, Gauge>,
    endpoint_state: Family<OfState, Gauge>,
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
        let points: Family<OfFate, Gauge> = family!("points", "Points by what became of them, since the start");
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
        let pending_bytes: Gauge = family!("pending_bytes", "Compressed bytes that wait to be sent");
        let requests: Family<OfClass, Gauge> = family!("requests", "Requests to Datadog by outcome, since the start");
        let endpoint_state: Family<OfState, Gauge> =
            family!("endpoint_state", "What the sender is about: 1 for the state it is in");
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
            points,
            pending_bytes,
            requests,
            endpoint_state,
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

    /// Shows what has become of points so far.
    pub fn sender(&self, snapshot: &Snapshot) {
        let Snapshot {
            submitted: _, accepted, refused, dropped, pending_points, pending_bytes, requests, state, ..
        } = snapshot;
        let dropped = dropped.iter().map(|(reason, points)| (reason.label(), *points));
        let fates = [("accepted", *accepted), ("refused", *refused), ("pending", *pending_points)];
        for (fate, points) in fates.into_iter().chain(dropped) {
            self.points.get_or_create(&OfFate { fate }).set(signed(points));
        }
        for (class, count) in requests {
            self.requests.get_or_create(&OfClass { class: class.label() }).set(signed(*count));
        }
        self.pending_bytes.set(signed(*pending_bytes));
        self.endpoint_state.clear();
        self.endpoint_state.get_or_create(&OfState { state: state.label() }).set(1);
    }

    /// The page of `/internal/metrics`, as OpenMetrics text.
    #[must_use]
    pub fn page(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut out, &registry).expect("writing to a string cannot fail");
        out
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
