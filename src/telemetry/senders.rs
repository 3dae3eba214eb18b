//! What became of points, as counters and gauges of each endpoint: the senders' own numbers, read when somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::clock;
use crate::datadog::stats::{Snapshot, Stats};

/// One for each endpoint.
#[derive(Debug)]
pub(super) struct Senders(pub(super) Vec<Arc<Stats>>);

type Labels = Vec<(&'static str, String)>;

impl Collector for Senders {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshots: Vec<(String, Snapshot)> =
            self.0.iter().map(|stats| (stats.name().to_owned(), stats.snapshot())).collect();
        let mut family = |name: &str, help: &str, kind: MetricType, rows: &dyn Fn(&Snapshot) -> Vec<(Labels, f64)>| {
            let mut descriptor = encoder.encode_descriptor(name, help, None, kind)?;
            for (endpoint, snapshot) in &snapshots {
                for (mut labels, value) in rows(snapshot) {
                    labels.insert(0, ("endpoint", endpoint.clone()));
                    let row = descriptor.encode_family(&labels)?;
                    match kind {
                        MetricType::Counter => ConstCounter::new(value).encode(row)?,
                        _ => ConstGauge::new(value).encode(row)?,
                    }
                }
            }
            Ok(())
        };
        let one = |value: f64| vec![(Labels::new(), value)];
        family("points", "Points, by what became of them", MetricType::Counter, &|now| {
            let fates = [("accepted", now.accepted), ("refused", now.refused), ("uncertain", now.uncertain)];
            let dropped = now.dropped.iter().map(|(reason, points)| (reason.label(), *points));
            fates
                .into_iter()
                .chain(dropped)
                .map(|(fate, count)| (vec![("fate", fate.to_owned())], count as f64))
                .collect()
        })?;
        family("increase_lost", "Increases that were given up, by metric", MetricType::Counter, &|now| {
            let labels =
                |metric: &str, reason: &str| vec![("metric", metric.to_owned()), ("reason", reason.to_owned())];
            now.lost.iter().map(|(metric, reason, sum)| (labels(metric, reason), *sum)).collect()
        })?;
        family("requests", "Requests to Datadog, by outcome", MetricType::Counter, &|now| {
            let row = |class: &'static str, count: u64| (vec![("class", class.to_owned())], count as f64);
            now.requests.iter().map(|(class, count)| row(class.label(), *count)).collect()
        })?;
        family("sent_bytes", "Compressed bytes of all requests", MetricType::Counter, &|now| {
            one(now.sent_bytes as f64)
        })?;
        family("pending_points", "Points that wait to be sent", MetricType::Gauge, &|now| {
            one(now.pending_points as f64)
        })?;
        family("pending_bytes", "Compressed bytes that wait to be sent", MetricType::Gauge, &|now| {
            one(now.pending_bytes as f64)
        })?;
        let seconds = clock::since_1970().as_secs_f64();
        family(
            "oldest_pending_seconds",
            "Age of the oldest point that waits, 0 if none does",
            MetricType::Gauge,
            &|now| one(now.oldest_pending_second.map_or(0.0, |second| (seconds - second as f64).max(0.0))),
        )?;
        family(
            "queue_capacity_seconds",
            "Seconds of an outage that the queue has room for, at the rate of the last 15 minutes",
            MetricType::Gauge,
            &|now| now.capacity_seconds.map(|seconds| (Labels::new(), seconds)).into_iter().collect(),
        )?;
        family("endpoint_state", "What the sender is about: 1 for the state it is in", MetricType::Gauge, &|now| {
            vec![(vec![("state", now.state.label().to_owned())], 1.0)]
        })
    }
}
