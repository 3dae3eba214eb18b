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
    points: Family<OfFate, Gauge>,
    pending_bytes: Gauge,
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
        let pending_bytes: Gauge = family!("pending_bytes", "Compressed bytes that wait to be sent");
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
            points,
            pending_bytes,
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

    /// Shows what has become of points so far.
    pub fn points(&self, fate: &'static str, total: u64) {
        self.points.get_or_create(&OfFate { fate }).set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    pub fn pending_bytes(&self, bytes: u64) {
        self.pending_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
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
