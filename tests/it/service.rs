//! The service between its mocks: what a pull on demand answers, what arrives at the intake, and what goes on while
//! something is down.

use std::collections::BTreeSet;

use promdog::mock::intake::Intake;
use promdog::mock::intake::judge::Received;
use promdog::mock::kubernetes::{self, Cut, Kubernetes};
use promdog::mock::serve::{Setup, Tls};
use promdog::mock::virt_api::simulation::Version;
use promdog::mock::virt_api::{self, VirtApi};

use crate::stage::{KEY, PATIENCE, arrived, expect, get, get_until, get_with, intake, lines, promdog, virt_api};

/// One target under this name, pushed every second.
fn one_target(mock: &VirtApi, more: &str) -> String {
    let url = mock.running.url("/metrics");
    format!(
        "targets: [{{ name: t, url: '{url}', endpoint: e{more} }}]\npush: {{ every: 1s }}\nweb: {{ max_age: 0s }}\n"
    )
}

/// What the integration's 19 names are: type, unit, and the keys of their tags beside `endpoint`.
const CONTRACT: [(&str, &str, Option<&str>, &[&str]); 19] = [
    ("can_connect", "gauge", None, &["kube_namespace", "pod_name"]),
    ("process.cpu_seconds.count", "count", Some("second"), &["kube_namespace", "pod_name"]),
    ("process.max_fds", "gauge", Some("file"), &["kube_namespace", "pod_name"]),
    ("process.open_fds", "gauge", Some("file"), &["kube_namespace", "pod_name"]),
    ("process.resident_memory_bytes", "gauge", Some("byte"), &["kube_namespace", "pod_name"]),
    ("process.start_time_seconds", "gauge", Some("second"), &["kube_namespace", "pod_name"]),
    ("process.virtual_memory_bytes", "gauge", Some("byte"), &["kube_namespace", "pod_name"]),
    ("process.virtual_memory_max_bytes", "gauge", Some("byte"), &["kube_namespace", "pod_name"]),
    ("promhttp.metric_handler_requests.count", "count", Some("request"), &["code", "kube_namespace", "pod_name"]),
    ("promhttp.metric_handler_requests_in_flight", "gauge", Some("request"), &["kube_namespace", "pod_name"]),
    (
        "rest.client_rate_limiter_duration_seconds.bucket",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "upper_bound", "url", "verb"],
    ),
    (
        "rest.client_rate_limiter_duration_seconds.count",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "url", "verb"],
    ),
    (
        "rest.client_rate_limiter_duration_seconds.sum",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "url", "verb"],
    ),
    (
        "rest.client_request_latency_seconds.bucket",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "upper_bound", "url", "verb"],
    ),
    (
        "rest.client_request_latency_seconds.count",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "url", "verb"],
    ),
    (
        "rest.client_request_latency_seconds.sum",
        "count",
        Some("second"),
        &["kube_namespace", "pod_name", "url", "verb"],
    ),
    (
        "rest.client_requests.count",
        "count",
        Some("request"),
        &["code", "kube_namespace", "kubevirt_api_host", "method", "pod_name", "resource", "verb"],
    ),
    ("vm.count", "gauge", None, &["kube_namespace", "vm_name", "vm_uid"]),
    ("vmi.count", "gauge", None, &["kube_namespace", "vmi_name", "vmi_uid"]),
];

async fn the_contract_of(version: Version) {
    let params = virt_api::Params {
        setup: Setup { tls: Some(Tls::default()), ..Setup::default() },
        version,
        ..virt_api::Params::default()
    };
    let mock = VirtApi::start(params).await.expect("a free port");
    let cluster = Kubernetes::start(kubernetes::Params::default()).await.expect("a free port");
    let intake = intake().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, mock.running.ca_pem.as_ref().expect("it speaks TLS")).expect("written");
    // By address, verified against a name, as a pod is.
    let configuration = format!(
        "targets:\n  - {{ url: '{}', kube_namespace: kubevirt, pod_name: p, tls: {{ ca_file: {}, server_name: virt-api.kubevirt.svc }} }}\n\
         push: {{ every: 1s }}\nkubernetes: {{ url: '{}' }}\n",
        mock.running.url("/metrics"),
        ca.display(),
        cluster.running.url("")
    );
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    let of_name = |points: &[Received], name: &str| {
        points.iter().find(|point| point.name == format!("kubevirt_api.{name}")).cloned()
    };
    let all =
        intake.wait_for(PATIENCE, |points| CONTRACT.iter().all(|(name, ..)| of_name(points, name).is_some())).await;
    let points = intake.points();
    let missing: Vec<&str> =
        CONTRACT.iter().map(|(name, ..)| *name).filter(|name| of_name(&points, name).is_none()).collect();
    assert!(all, "missing: {missing:?}");
    for (name, kind, unit, keys) in CONTRACT {
        let point = of_name(&points, name).expect("it has arrived");
        assert_eq!((point.kind, point.unit.as_deref()), (kind, unit), "{name}");
        assert_eq!(point.interval, (kind == "count").then_some(1), "{name}");
        let found: BTreeSet<&str> = point.tags.iter().filter_map(|tag| Some(tag.split_once(':')?.0)).collect();
        let scraped = !matches!(name, "vm.count" | "vmi.count");
        let keys: BTreeSet<&str> = keys.iter().copied().chain(scraped.then_some("endpoint")).collect();
        let optional = ["vm_domain", "vm_size", "vmi_domain", "vmi_nodeName", "vmi_phase", "vmi_size"];
        let found: BTreeSet<&str> = found.into_iter().filter(|key| !optional.contains(key)).collect();
        assert_eq!(found, keys, "{name}");
    }
    assert_eq!(intake.rejections(), []);
    running.stop().await;
}

#[tokio::test]
async fn the_integrations_19_names_arrive_from_kubevirt_1_2() {
    the_contract_of(Version::V1_2).await;
}

#[tokio::test]
async fn the_integrations_19_names_arrive_from_kubevirt_1_6() {
    the_contract_of(Version::V1_6).await;
}

/// The mock's page, by hand.
fn page(counter: &str, histogram: Option<[u32; 3]>, gauge: &str, more: &str) -> String {
    let histogram = histogram.map_or_else(String::new, |[one, all, sum]| {
        let name = "kubevirt_rest_client_request_latency_seconds";
        format!(
            "# TYPE {name} histogram\n{name}_bucket{{verb=\"GET\",le=\"1\"}} {one}\n{name}_bucket{{verb=\"GET\",le=\"+Inf\"}} {all}\n\
             {name}_sum{{verb=\"GET\"}} {sum}\n{name}_count{{verb=\"GET\"}} {all}\n"
        )
    });
    format!(
        "process_start_time_seconds 1.7e+09\n# TYPE kubevirt_rest_client_requests_total counter\n\
         kubevirt_rest_client_requests_total{{code=\"200\"}} {counter}\n{more}\
         # TYPE process_open_fds gauge\nprocess_open_fds {gauge}\n{histogram}"
    )
}

const REQUESTS: &str = "kubevirt_api.rest.client_requests.count";
const LATENCY: &str = "kubevirt_api.rest.client_request_latency_seconds";

#[tokio::test]
async fn what_arrives_are_the_increases() {
    let (mock, intake) = (virt_api().await, intake().await);
    mock.set_page(Some(page("1000", Some([5, 10, 30]), "7", "")));
    let running = promdog(&one_target(&mock, ""), Some((&intake, KEY))).await;
    let gauge = |points: &[Received]| arrived(points, "kubevirt_api.process.open_fds", &[]).last().copied();
    assert!(intake.wait_for(PATIENCE, |points| gauge(points) == Some(7.0)).await);
    // 1000 was there before us: a baseline. 1010 and 1020 are ten more each.
    mock.set_page(Some(page("1010", Some([6, 12, 33]), "NaN", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0]).await;
    // A new series counts in full; another family's rows do not matter to it.
    let new = "kubevirt_rest_client_requests_total{code=\"500\"} 3\n";
    mock.set_page(Some(page("1020", Some([6, 12, 33]), "NaN", new)));
    expect(&intake, REQUESTS, &["code:500"], &[3.0]).await;
    expect(&intake, REQUESTS, &["code:200"], &[10.0, 10.0]).await;
    // A reset: what was counted since is provable. The histogram falls in its count, so all of it has started again.
    mock.set_page(Some(page("5", Some([7, 9, 20]), "8", new)));
    expect(&intake, REQUESTS, &["code:200"], &[10.0, 10.0, 5.0]).await;
    // A series and a histogram vanish, and nothing is sent of them; they come back with what they grew by.
    mock.set_page(Some(page("6", None, "8", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0, 10.0, 5.0, 1.0]).await;
    let count = |points: &[Received]| points.iter().filter(|point| point.name == format!("{LATENCY}.count")).count();
    let before = count(&intake.points());
    mock.set_page(Some(page("7", None, "8", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0, 10.0, 5.0, 1.0, 1.0]).await;
    assert_eq!(count(&intake.points()), before, "what vanished sends nothing");
    let back = "kubevirt_rest_client_requests_total{code=\"500\"} 7\n";
    mock.set_page(Some(page("7", Some([8, 11, 21]), "8", back)));
    expect(&intake, REQUESTS, &["code:500"], &[3.0, 4.0]).await;
    expect(&intake, &format!("{LATENCY}.bucket"), &["upper_bound:1.0"], &[1.0, 7.0, 1.0]).await;
    expect(&intake, &format!("{LATENCY}.count"), &["verb:GET"], &[2.0, 9.0, 2.0]).await;
    expect(&intake, &format!("{LATENCY}.sum"), &["verb:GET"], &[3.0, 20.0, 1.0]).await;
    let drained = running.stop().await;
    assert_eq!(drained.left, 0);
    let points = intake.points();
    let gauges: BTreeSet<String> =
        arrived(&points, "kubevirt_api.process.open_fds", &[]).iter().map(f64::to_string).collect();
    assert_eq!(gauges, ["7", "8"].map(str::to_owned).into(), "NaN never arrives");
    assert!(!points.iter().any(|point| point.tags.iter().any(|tag| tag == "upper_bound:inf")));
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn what_is_owed_is_sent_before_the_end() {
    let (mock, intake) = (virt_api().await, intake().await);
    mock.set_page(Some(page("1000", None, "7", "")));
    let slow = one_target(&mock, "").replace("every: 1s", "every: 1h");
    let running = promdog(&slow, Some((&intake, KEY))).await;
    get(&running, "/metrics").await;
    mock.set_page(Some(page("1012", None, "7", "")));
    get(&running, "/metrics").await;
    assert_eq!(intake.points(), [], "the grid's second has not come");
    let drained = running.stop().await;
    assert_eq!(arrived(&intake.points(), REQUESTS, &[]), [12.0]);
    assert!(drained.accepted > 0 && drained.left == 0, "{drained:?}");
}

#[tokio::test]
async fn pulls_on_demand_push_too_if_asked() {
    let (mock, intake) = (virt_api().await, intake().await);
    let configuration = one_target(&mock, "").replace("every: 1s", "every: 1h, on: pull, min_spacing: 1s");
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    for (total, wanted) in [("100", &[][..]), ("110", &[10.0]), ("125", &[10.0, 15.0])] {
        mock.set_page(Some(page(total, None, total, "")));
        get(&running, "/metrics").await;
        let fds: f64 = total.parse().expect("a number");
        let has = |points: &[Received]| arrived(points, "kubevirt_api.process.open_fds", &[]).contains(&fds);
        assert!(intake.wait_for(PATIENCE, has).await, "{total}");
        expect(&intake, REQUESTS, &[], wanted).await;
    }
    let counts = intake.points().into_iter().filter(|point| point.kind == "count");
    let times: Vec<(i64, Option<i64>)> =
        counts.filter(|point| point.name == REQUESTS).map(|point| (point.timestamp, point.interval)).collect();
    for pair in times.windows(2) {
        assert_eq!(pair[1].1, Some(pair[1].0 - pair[0].0), "the interval is the time since the last point: {times:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_catalogue_that_was_compacted_loses_and_doubles_nothing() {
    let (mock, intake) = (virt_api().await, intake().await);
    let many: String =
        (0..9000).map(|at| format!("kubevirt_rest_client_requests_total{{code=\"n{at}\"}} 5\n")).collect();
    mock.set_page(Some(page("1", None, "7", &many)));
    let running = promdog(&one_target(&mock, ""), Some((&intake, KEY))).await;
    mock.set_page(Some(page("1", None, "7", &many)));
    get_until(&running, "/metrics", "n8999").await;
    mock.set_page(Some(page("2", None, "7", "")));
    expect(&intake, REQUESTS, &["code:200"], &[1.0]).await;
    // Pushes without a good pull in between, after the compaction.
    mock.running.faults.set(vec!["status=500*2@/metrics".parse().expect("a fault")]);
    mock.set_page(Some(page("4", None, "7", "kubevirt_rest_client_requests_total{code=\"n7\"} 8\n")));
    expect(&intake, REQUESTS, &["code:200"], &[1.0, 2.0]).await;
    expect(&intake, REQUESTS, &["code:n7"], &[3.0]).await;
    running.stop().await;
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn a_dead_target_shows_nothing_old_and_hides_nobody() {
    let (good, bad) = (virt_api().await, virt_api().await);
    let configuration = format!(
        "targets:\n  - {{ name: good, url: '{}' }}\n  - {{ name: bad, url: '{}' }}\nweb: {{ max_age: 0s }}\n",
        good.running.url("/metrics"),
        bad.running.url("/metrics")
    );
    let running = promdog(&configuration, None).await;
    let (_, page) = get(&running, "/metrics").await;
    assert_eq!(lines(&page, "kubevirt_api_process_open_fds").len(), 2);
    bad.running.faults.set(vec!["status=500".parse().expect("a fault")]);
    let (status, page) = get(&running, "/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(
        lines(&page, "promdog_target_up"),
        [r#"promdog_target_up{target="good"} 1"#, r#"promdog_target_up{target="bad"} 0"#]
    );
    let connect = lines(&page, "kubevirt_api_can_connect");
    assert!(
        connect.iter().any(|line| line.contains(&bad.running.url("/healthz")) && line.ends_with(" 0")),
        "{connect:?}"
    );
    assert_eq!(lines(&page, "kubevirt_api_process_open_fds").len(), 1, "nothing old");
    let (status, text) = get(&running, "/metrics?target=bad").await;
    assert_eq!(status, 503);
    assert!(text.contains("target `bad` is down: status 500 instead of 200"), "{text}");
    assert_eq!(get(&running, "/metrics?target=good").await.0, 200);
    let (status, text) = get(&running, "/metrics?target=nobody").await;
    assert_eq!((status, text.as_str()), (404, "no target named `nobody`; there are: good, bad\n"));
    running.stop().await;
}

#[tokio::test]
async fn a_failing_health_url_stops_nothing_else() {
    let mock = virt_api().await;
    mock.set_healthy(false);
    let running = promdog(&one_target(&mock, ""), None).await;
    let (_, page) = get(&running, "/metrics").await;
    let endpoint = mock.running.url("/healthz");
    assert_eq!(
        lines(&page, "kubevirt_api_can_connect"),
        [format!("kubevirt_api_can_connect{{endpoint=\"{endpoint}\"}} 0")]
    );
    assert_eq!(lines(&page, "promdog_target_up"), [r#"promdog_target_up{target="t"} 1"#]);
    assert_eq!(lines(&page, "kubevirt_api_process_open_fds").len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn requests_share_a_pull_and_reuse_a_young_view() {
    let mock = virt_api().await;
    mock.running.faults.set(vec!["delay=300ms*1@/metrics".parse().expect("a fault")]);
    let configuration = one_target(&mock, "").replace("max_age: 0s", "max_age: 1h");
    let running = promdog(&configuration, None).await;
    futures::future::join_all((0..8).map(|_| get(&running, "/metrics"))).await;
    get(&running, "/metrics").await;
    let scrapes = mock.page_totals();
    assert_eq!(scrapes.get("promhttp_metric_handler_requests_total{code=\"200\"}"), Some(&1.0));
    running.stop().await;
}

#[tokio::test]
async fn the_scrapers_own_time_out_ends_the_wait() {
    let mock = virt_api().await;
    // Longer than any test waits.
    mock.running.faults.set(vec!["delay=1h@/metrics".parse().expect("a fault")]);
    let running = promdog(&one_target(&mock, ", timeout: 1h"), None).await;
    let (status, page) = get_with(&running, "/metrics", &[("X-Prometheus-Scrape-Timeout-Seconds", "0.5")]).await;
    assert_eq!(status, 200);
    assert_eq!(lines(&page, "promdog_target_up"), [r#"promdog_target_up{target="t"} 0"#]);
    let (status, text) =
        get_with(&running, "/metrics?target=t", &[("X-Prometheus-Scrape-Timeout-Seconds", "0.5")]).await;
    assert_eq!(status, 503);
    assert!(text.contains("no answer within the scraper's time-out"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn without_a_key_all_but_the_push_works() {
    let mock = virt_api().await;
    let running = promdog(&one_target(&mock, ""), None).await;
    assert!(running.stats.is_empty());
    for path in ["/", "/metrics", "/internal/metrics", "/-/healthy", "/-/ready"] {
        assert_eq!(get(&running, path).await.0, 200, "{path}");
    }
    assert_eq!(get(&running, "/nothing").await.0, 404);
    running.stop().await;
}

#[tokio::test]
async fn a_refused_key_is_told_and_the_page_goes_on() {
    let (mock, intake) = (virt_api().await, intake().await);
    let running = promdog(&one_target(&mock, ""), Some((&intake, "another-key"))).await;
    let page = get_until(&running, "/internal/metrics", "state=\"key_refused\"} 1").await;
    assert!(!page.contains("another-key"));
    let error = running.stats[0].snapshot().last_error.expect("an error");
    assert!(error.contains("the API key was refused (403: Forbidden): check DD_API_KEY and DD_SITE"), "{error}");
    assert_eq!(lines(&get(&running, "/metrics").await.1, "promdog_target_up"), [r#"promdog_target_up{target="t"} 1"#]);
    assert_eq!(intake.points(), []);
    running.stop().await;
}

#[tokio::test]
async fn an_inventory_that_is_not_known_is_absent_and_not_old() {
    let mock = virt_api().await;
    let cluster = Kubernetes::start(kubernetes::Params::default()).await.expect("a free port");
    let configuration =
        format!("{}kubernetes: {{ url: '{}', keep: 0s }}\n", one_target(&mock, ""), cluster.running.url(""));
    let running = promdog(&configuration, None).await;
    let page = get_until(&running, "/metrics", "kubevirt_api_vm_count").await;
    assert_eq!((lines(&page, "kubevirt_api_vm_count").len(), lines(&page, "kubevirt_api_vmi_count").len()), (12, 8));
    cluster.running.faults.set(vec!["status=403".parse().expect("a fault")]);
    cluster.cut_watches(Cut::BetweenEvents);
    get_until(&running, "/internal/metrics", "promdog_kubernetes_watch_up{watch=\"virtualmachines\"} 0").await;
    let (_, page) = get(&running, "/metrics").await;
    assert_eq!(lines(&page, "kubevirt_api_vm_count").len(), 0);
    assert_eq!(lines(&page, "promdog_target_up"), [r#"promdog_target_up{target="t"} 1"#]);
    cluster.running.faults.set(Vec::new());
    cluster.set(Vec::new(), Vec::new());
    get_until(&running, "/metrics", "\nkubevirt_api_vm_count 0\n").await;
    running.stop().await;
}

#[tokio::test]
async fn the_front_page_tells_the_version_and_what_is_missing() {
    for (version, told) in [(Version::V1_2, "KubeVirt 1.2 or earlier"), (Version::V1_6, "KubeVirt 1.3 or later")] {
        let mock =
            VirtApi::start(virt_api::Params { version, ..virt_api::Params::default() }).await.expect("a free port");
        let running = promdog(&one_target(&mock, ""), None).await;
        get_until(&running, "/metrics", "promdog_target_up{target=\"t\"} 1").await;
        let (_, page) = get(&running, "/").await;
        assert!(page.contains(&format!("names of {told}")), "{page}");
        let (count, _) = page.split_once(" rules have met no family yet").expect("there are some");
        let count = count.rsplit_once('>').expect("a number").1;
        let (_, internal) = get(&running, "/internal/metrics").await;
        assert!(internal.contains(&format!("promdog_unmatched_rules{{target=\"t\"}} {count}\n")), "{internal}");
        running.stop().await;
    }
}

/// What arrives of two pulls with this in `push:` and this beside it: every series and value, zeros left out.
async fn delivered(push: &str, more: &str) -> (Vec<String>, Intake) {
    let (mock, intake) = (virt_api().await, intake().await);
    mock.set_page(Some(page("1000", Some([5, 10, 30]), "7", "")));
    let every = format!("every: 1s, tags: ['odd:a\"b', env:prod]{push}");
    let configuration = one_target(&mock, ", health_url: off, tags: ['device:eth0', 'é:1'], host: h");
    let running = promdog(&(configuration.replace("every: 1s", &every) + more), Some((&intake, KEY))).await;
    assert!(intake.wait_for(PATIENCE, |points| !points.is_empty()).await, "{:?}", intake.rejections());
    mock.set_page(Some(page("1010", Some([6, 12, 33]), "8", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0]).await;
    running.stop().await;
    assert_eq!(intake.rejections(), []);
    let told = |Received { received: _, name, kind, timestamp: _, value, interval, tags, host, devices, unit }| {
        format!("{name} {kind} {value} {interval:?} {tags:?} {host:?} {devices:?} {unit:?}")
    };
    let mut points: Vec<String> = intake.points().into_iter().filter(|point| point.value != 0.0).map(told).collect();
    points.sort();
    points.dedup();
    assert!(points.len() > 5);
    (points, intake)
}

#[tokio::test]
async fn protobuf_delivers_the_same_points() {
    let (json, intake) = delivered("", "").await;
    assert_eq!(intake.protobuf_requests(), 0);
    let (protobuf, intake) = delivered("", "datadog: { encoding: protobuf }\n").await;
    assert_eq!(intake.protobuf_requests(), intake.requests());
    assert_eq!(json, protobuf);
}

/// Datadog's own client sends what ours sends.
#[cfg(feature = "datadog-api")]
#[tokio::test]
async fn official_client_delivers_the_same_points() {
    assert_eq!(delivered("", "").await.0, delivered(", client: official", "").await.0);
}

#[tokio::test]
async fn protobuf_that_is_too_large_is_halved() {
    let (mock, intake) = (virt_api().await, intake().await);
    mock.set_page(Some(page("1000", Some([5, 10, 30]), "7", "")));
    let configuration = one_target(&mock, "") + "datadog: { encoding: protobuf }\n";
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    assert!(intake.wait_for(PATIENCE, |points| !points.is_empty()).await);
    intake.running.faults.set(vec!["status=413*3".parse().expect("a fault")]);
    mock.set_page(Some(page("1010", Some([6, 12, 33]), "8", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0]).await;
    expect(&intake, &format!("{LATENCY}.sum"), &["verb:GET"], &[3.0]).await;
    let stats = running.stats[0].clone();
    running.stop().await;
    let snapshot = stats.snapshot();
    assert!(snapshot.splits >= 2 && snapshot.refused <= 1, "{snapshot:?}");
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn increases_of_zero_may_be_left_out() {
    let (mock, intake) = (virt_api().await, intake().await);
    mock.set_page(Some(page("1000", None, "0", "")));
    let configuration = one_target(&mock, "").replace("every: 1s", "every: 1s, zero_increases: omit");
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    let gauges = |points: &[Received]| points.iter().filter(|point| point.name.ends_with("open_fds")).count();
    assert!(intake.wait_for(PATIENCE, |points| gauges(points) >= 3).await);
    mock.set_page(Some(page("1010", None, "0", "")));
    expect(&intake, REQUESTS, &["code:200"], &[10.0]).await;
    let before = gauges(&intake.points());
    assert!(intake.wait_for(PATIENCE, |points| gauges(points) >= before + 2).await);
    running.stop().await;
    let counts = intake.points().into_iter().filter(|point| point.kind == "count");
    let counts: Vec<(String, f64, Option<i64>)> =
        counts.map(|point| (point.name, point.value, point.interval)).collect();
    assert_eq!(counts, [(REQUESTS.to_owned(), 10.0, Some(1))], "gauges of 0 are sent, and only they");
}

/// All targets share the turns: of those that hang, the seventeenth is asked when it has waited for a second.
#[tokio::test]
async fn sixteen_targets_are_read_at_a_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let target = |at| format!("{{ name: t{at}, url: 'http://{address}/{at}', health_url: off }}");
    let targets: Vec<String> = (0..17).map(target).collect();
    let running = promdog(&format!("targets: [{}]\n", targets.join(", ")), None).await;
    let began = std::time::Instant::now();
    let mut asked = Vec::new();
    let all = async {
        while asked.len() < 17 {
            asked.push(listener.accept().await.expect("a connection"));
        }
    };
    tokio::select! {
        () = all => {}
        _ = get(&running, "/metrics") => panic!("nobody has answered"),
    }
    assert!(began.elapsed().as_secs() >= 1, "nobody had to wait");
    drop(asked);
    running.stop().await;
}
