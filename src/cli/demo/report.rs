//! What the demo shows: the integration's 19 names with what arrived, and what the integration would have sent.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::catalog::Output;
use crate::cli::demo::Demo;
use crate::mock::intake::Intake;
use crate::mock::intake::judge::Received;
use crate::mock::virt_api::VirtApi;
use crate::mock::virt_api::simulation::Version;

/// The integration's names, under `kubevirt_api.`.
const NAMES: [&str; 19] = [
    "can_connect",
    "process.cpu_seconds.count",
    "process.max_fds",
    "process.open_fds",
    "process.resident_memory_bytes",
    "process.start_time_seconds",
    "process.virtual_memory_bytes",
    "process.virtual_memory_max_bytes",
    "promhttp.metric_handler_requests.count",
    "promhttp.metric_handler_requests_in_flight",
    "rest.client_rate_limiter_duration_seconds.bucket",
    "rest.client_rate_limiter_duration_seconds.count",
    "rest.client_rate_limiter_duration_seconds.sum",
    "rest.client_request_latency_seconds.bucket",
    "rest.client_request_latency_seconds.count",
    "rest.client_request_latency_seconds.sum",
    "rest.client_requests.count",
    "vm.count",
    "vmi.count",
];

/// The first pod alone: the second may just be restarting.
const POD: &str = "pod_name:virt-api-0";

pub(super) fn table(demo: &Demo) -> String {
    let points = demo.intake.points();
    let sources = sources(demo);
    let mut out = format!(
        "what arrived last of the first pod (sums over tags), and the running totals that the integration sends as counts:\n\n{:<55} {:<63} {:>6} {:>20}  {}\n",
        "source family", "  Datadog name", "type", "arrived", "the integration"
    );
    for name in NAMES {
        let full = format!("kubevirt_api.{name}");
        let (source, total) = match name {
            "can_connect" => ("GET /healthz".to_owned(), None),
            "vm.count" | "vmi.count" => ("Kubernetes API".to_owned(), None),
            _ => sources.get(&full).cloned().unwrap_or_default(),
        };
        let (kind, value) = latest(&points, &full).unwrap_or(("missing", f64::NAN));
        let integration = match (kind, total) {
            ("count", _) if demo.version == Version::V1_6 && name.starts_with("rest.") => {
                "nothing: it maps the name KubeVirt dropped in 1.3".to_owned()
            }
            ("count", Some(total)) => shown(total),
            _ => "the same".to_owned(),
        };
        let _ = writeln!(out, "{source:<55} → {full:<61} {kind:>6} {:>20}  {integration}", shown(value));
    }
    out
}

/// Type and value that arrived last of a name: of the first pod, where there are pods, summed over its series.
fn latest(points: &[Received], name: &str) -> Option<(&'static str, f64)> {
    let of_pod = |point: &&Received| {
        !point.tags.iter().any(|tag| tag.starts_with("pod_name:")) || point.tags.iter().any(|tag| tag == POD)
    };
    let of_name: Vec<&Received> = points.iter().filter(|point| point.name == name).filter(of_pod).collect();
    let last = of_name.iter().map(|point| point.timestamp).max()?;
    let of_last = of_name.into_iter().filter(|point| point.timestamp == last);
    of_last.fold(None, |sum, point| Some((point.kind, sum.map_or(0.0, |(_, sum)| sum) + point.value)))
}

/// By Datadog name: the family it came from, and the running total of all its series at the last pull.
fn sources(demo: &Demo) -> BTreeMap<String, (String, Option<f64>)> {
    let mut sources = BTreeMap::new();
    let Some(view) = demo
        .promdog
        .targets
        .now()
        .first()
        .and_then(|target| target.latest())
        .and_then(|pulled| pulled.view.clone().ok())
    else {
        return sources;
    };
    for (id, value) in view.source.iter() {
        let slot = view.catalog.slots[id];
        if !view.folded.get(id) || !view.catalog.part(slot).is_pushed() {
            continue;
        }
        let Some(Output { part, family, .. }) = view.catalog.output(slot.out as usize) else { continue };
        let name = format!("{}{}", family.name, family.kind.suffix(part));
        let source = view.catalog.family(view.catalog.row(slot)).name.clone();
        let (_, total) = sources.entry(name).or_insert((source, Some(0.0)));
        *total = total.map(|total| total + value);
    }
    sources
}

/// What has arrived in all, and whether that is as it should be.
pub(super) fn summary(pods: &[VirtApi], intake: &Intake) -> (String, bool) {
    let points = intake.points();
    let missing: Vec<&str> =
        NAMES.into_iter().filter(|name| latest(&points, &format!("kubevirt_api.{name}")).is_none()).collect();
    let counted: f64 = pods
        .iter()
        .flat_map(VirtApi::served)
        .filter(|(name, _)| name.contains("rest_client_requests_total"))
        .map(|(_, growth)| growth)
        .sum();
    let requests = points.iter().filter(|point| point.name == "kubevirt_api.rest.client_requests.count");
    let arrived: f64 = requests.map(|point| point.value).sum();
    let rejections = intake.rejections();
    let mut out = format!(
        "{} points in {} requests; {} requests refused; {} of 19 names\n",
        points.len(),
        intake.requests(),
        rejections.len(),
        NAMES.len() - missing.len(),
    );
    let _ = writeln!(
        out,
        "kubevirt_api.rest.client_requests.count: {} arrived; by the mocks' own count it grew by {} between the pages they served",
        shown(arrived),
        shown(counted)
    );
    for rejection in &rejections {
        let _ = writeln!(out, "refused with {}: {}", rejection.status, rejection.errors.join("; "));
    }
    if !missing.is_empty() {
        let _ = writeln!(out, "missing: {}", missing.join(", "));
    }
    // Whole numbers, so exactly equal.
    (out, missing.is_empty() && rejections.is_empty() && arrived == counted)
}

fn shown(value: f64) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    ((value * 1e6).round() / 1e6).to_string()
}
