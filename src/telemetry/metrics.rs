//! Our own metric families, served under `/internal/metrics`: what pulls and pushes did.

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
struct OfResult {
    result: &'static str,
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
    pull_seconds: Family<OfTarget, Counter<f64, std::sync::atomic::AtomicU64>>,
    target_up: Family<OfTarget, Gauge>,
    resets: Family<OfTarget, Counter>,
    baselines: Family<OfTarget, Counter>,
    late: Counter,
    lists: Family<OfResult, Counter>,
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
        let late: Counter =
            family!("late_pushes", "Pushes that carry more than one interval, because pulls were missed");
        let points: Family<OfFate, Gauge> = family!("points", "Points by what became of them, since the start");
        let lists: Family<OfResult, Counter> =
            family!("inventory_lists", "Lists of the Kubernetes API, by how they ended");
        let pending_bytes: Gauge = family!("pending_bytes", "Compressed bytes that wait to be sent");
        let requests: Family<OfClass, Gauge> = family!("requests", "Requests to Datadog by outcome, since the start");
        let endpoint_state: Family<OfState, Gauge> =
            family!("endpoint_state", "What the sender is about: 1 for the state it is in");
        Self {
            registry: Arc::new(Mutex::new(registry)),
            samples,
            refused_lines,
            pulls,
            pull_seconds,
            target_up,
            resets,
            baselines,
            late,
            lists,
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
        self.pulls.get_or_create(&ResultOfTarget { target: target.to_owned(), result }).inc();
        self.pull_seconds.get_or_create(&labels).inc_by(took.as_secs_f64());
        self.target_up.get_or_create(&labels).set(i64::from(result == "ok"));
    }

    /// Counts a push whose increases cover more than one interval.
    pub fn late(&self) {
        self.late.inc();
    }

    /// Counts a list of the Kubernetes API.
    pub fn listed(&self, good: bool) {
        self.lists.get_or_create(&OfResult { result: if good { "ok" } else { "failed" } }).inc();
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
