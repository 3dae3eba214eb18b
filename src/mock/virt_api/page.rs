//! The simulation as an exposition, and its running totals by sample.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::mock::virt_api::simulation::{CALLS, Counts, HOST, LATENCY, LIMITER, Simulation, Version};
use crate::number;

/// A family on its way to the page: samples as suffix, labels and value.
struct Family {
    kind: &'static str,
    help: &'static str,
    samples: Vec<(&'static str, String, f64)>,
}

impl Simulation {
    /// The page, families by name.
    #[must_use]
    pub fn page(&self) -> String {
        let mut out = String::new();
        for (name, Family { kind, help, samples }) in self.families() {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (suffix, labels, value) in samples {
                let _ = write!(out, "{name}{suffix}{} ", braced(&labels));
                number::go(&mut out, value);
                out.push('\n');
            }
        }
        out
    }

    /// Every running total, by sample as spelled on the page.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, f64> {
        let mut totals = BTreeMap::new();
        for (name, Family { kind, samples, .. }) in self.families() {
            let grows =
                |suffix: &str| kind == "counter" || kind == "histogram" || (kind == "summary" && !suffix.is_empty());
            let kept = samples.into_iter().filter(|(suffix, _, _)| grows(suffix));
            totals.extend(kept.map(|(suffix, labels, value)| (format!("{name}{suffix}{}", braced(&labels)), value)));
        }
        totals
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.version {
            Version::V1_2 => "text/plain; version=0.0.4; charset=utf-8",
            Version::V1_6 => "text/plain; version=0.0.4; charset=utf-8; escaping=values",
        }
    }

    fn families(&self) -> BTreeMap<String, Family> {
        let mut families = BTreeMap::new();
        self.process(&mut families);
        self.runtime(&mut families);
        self.calls(&mut families);
        self.connected(&mut families);
        // A vector that was never used is not on the page.
        families.retain(|_, family: &mut Family| !family.samples.is_empty());
        families
    }

    fn process(&self, families: &mut BTreeMap<String, Family>) {
        let mut add = |name: &str, kind, help, value| one(families, name, kind, help, value);
        add("process_cpu_seconds_total", "counter", "CPU time spent.", (self.cpu * 100.0).round() / 100.0);
        add("process_max_fds", "gauge", "Limit of open files.", 1_048_576.0);
        add("process_open_fds", "gauge", "Open files.", self.open_fds);
        add("process_resident_memory_bytes", "gauge", "Resident memory.", self.resident);
        add("process_start_time_seconds", "gauge", "Start of the process.", self.start);
        add("process_virtual_memory_bytes", "gauge", "Virtual memory.", 1.915_973_632e9);
        add("process_virtual_memory_max_bytes", "gauge", "Limit of virtual memory.", 1.844_674_407_370_955_2e19);
        add("promhttp_metric_handler_requests_in_flight", "gauge", "Scrapes now.", 1.0);
        let samples = [("200", self.scrapes as f64), ("500", 0.0), ("503", 0.0)];
        let samples = samples.map(|(code, count)| ("", format!("code=\"{code}\""), count)).to_vec();
        let family = Family { kind: "counter", help: "Scrapes by status.", samples };
        families.insert("promhttp_metric_handler_requests_total".to_owned(), family);
    }

    fn runtime(&self, families: &mut BTreeMap<String, Family>) {
        let mut add = |name: &str, kind, help, value| one(families, name, kind, help, value);
        add("go_goroutines", "gauge", "Goroutines.", self.goroutines);
        add("go_threads", "gauge", "Threads.", 12.0);
        // A gauge and a counter whose names differ by `_total` alone.
        add("go_memstats_alloc_bytes", "gauge", "Heap in use.", (self.resident * 0.4).round());
        add("go_memstats_alloc_bytes_total", "counter", "Heap ever used.", self.allocated);
        add("go_memstats_heap_objects", "gauge", "Objects.", (self.resident / 160.0).round());
        add("go_memstats_last_gc_time_seconds", "gauge", "Last collection.", self.now.floor());
        add("go_memstats_mallocs_total", "counter", "Allocations.", (self.allocated / 150.0).round());
        let go = match self.version {
            Version::V1_2 => "go1.21.8",
            Version::V1_6 => "go1.23.9",
        };
        let info =
            Family { kind: "gauge", help: "The version of Go.", samples: vec![("", format!("version=\"{go}\""), 1.0)] };
        families.insert("go_info".to_owned(), info);
        let quantiles = [("0", 4.4e-5), ("0.5", 0.0004), ("1", 0.0031)];
        let mut samples: Vec<_> =
            quantiles.into_iter().map(|(quantile, value)| ("", format!("quantile=\"{quantile}\""), value)).collect();
        samples.push(("_sum", String::new(), self.collecting));
        samples.push(("_count", String::new(), self.collections as f64));
        let pauses = Family { kind: "summary", help: "Pauses of the collector.", samples };
        families.insert("go_gc_duration_seconds".to_owned(), pauses);
    }

    fn calls(&self, families: &mut BTreeMap<String, Family>) {
        let prefix = match self.version {
            Version::V1_2 => "",
            Version::V1_6 => "kubevirt_",
        };
        let histogram = |counts: &BTreeMap<usize, Counts>, bounds: &[f64], help| {
            let samples =
                counts.iter().flat_map(|(at, counts)| buckets(&self.call_labels(*at), counts, bounds)).collect();
            Family { kind: "histogram", help, samples }
        };
        let latency = histogram(&self.latency, &LATENCY, "Time of a call.");
        families.insert(format!("{prefix}rest_client_request_latency_seconds"), latency);
        let limiter = histogram(&self.limiter, &LIMITER, "Time waited for the rate limiter.");
        families.insert(format!("{prefix}rest_client_rate_limiter_duration_seconds"), limiter);
        let samples = self.requests.iter().map(|((at, code), count)| {
            let (_, verb, method, resource, _, _) = CALLS[*at];
            let labels =
                format!("code=\"{code}\",host=\"{HOST}\",method=\"{method}\",resource=\"{resource}\",verb=\"{verb}\"");
            (labels, *count as f64)
        });
        // Calls that differ by path alone are one series.
        let mut merged: BTreeMap<String, f64> = BTreeMap::new();
        samples.for_each(|(labels, count)| *merged.entry(labels).or_default() += count);
        let samples = merged.into_iter().map(|(labels, count)| ("", labels, count)).collect();
        families
            .insert(format!("{prefix}rest_client_requests_total"), Family { kind: "counter", help: "Calls.", samples });
    }

    fn call_labels(&self, at: usize) -> String {
        let (path, verb, method, ..) = CALLS[at];
        // Up to 1.3 the histograms carry the HTTP method.
        let verb = if self.version == Version::V1_2 { method } else { verb };
        format!("url=\"https://{HOST}{path}\",verb=\"{verb}\"")
    }

    fn connected(&self, families: &mut BTreeMap<String, Family>) {
        for ((kind, namespace, instance), open) in &self.connections {
            let name = match *kind {
                "portforward" => "kubevirt_portforward_active_tunnels".to_owned(),
                kind => format!("kubevirt_{kind}_active_connections"),
            };
            let empty = || Family { kind: "gauge", help: "Open connections.", samples: Vec::new() };
            let family = families.entry(name).or_insert_with(empty);
            family.samples.push(("", format!("namespace=\"{namespace}\",vmi=\"{instance}\""), *open as f64));
        }
        let created =
            self.created.iter().map(|(namespace, count)| ("", format!("namespace=\"{namespace}\""), *count as f64));
        let created = Family { kind: "counter", help: "VMs created.", samples: created.collect() };
        if self.version == Version::V1_2 {
            families.insert("kubevirt_vm_created_total".to_owned(), created);
            return;
        }
        families.insert("kubevirt_vm_created_by_pod_total".to_owned(), created);
        let last = self.last_connection.iter();
        let samples =
            last.map(|((namespace, instance), at)| ("", format!("namespace=\"{namespace}\",vmi=\"{instance}\""), *at));
        let family = Family { kind: "gauge", help: "End of the last connection.", samples: samples.collect() };
        families.insert("kubevirt_vmi_last_api_connection_timestamp_seconds".to_owned(), family);
    }
}

fn one(families: &mut BTreeMap<String, Family>, name: &str, kind: &'static str, help: &'static str, value: f64) {
    families.insert(name.to_owned(), Family { kind, help, samples: vec![("", String::new(), value)] });
}

fn buckets(labels: &str, counts: &Counts, bounds: &[f64]) -> Vec<(&'static str, String, f64)> {
    let mut samples = Vec::new();
    let mut total = 0;
    for (bound, count) in bounds.iter().copied().chain([f64::INFINITY]).zip(&counts.per_bucket) {
        total += count;
        let mut le = String::new();
        number::go(&mut le, bound);
        samples.push(("_bucket", format!("{labels},le=\"{le}\""), total as f64));
    }
    samples.push(("_sum", labels.to_owned(), counts.sum));
    samples.push(("_count", labels.to_owned(), total as f64));
    samples
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}
