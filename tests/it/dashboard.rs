//! docs/dashboard.md, line by line, against what a whole cluster's promdog has sent.

use std::collections::BTreeSet;

use promdog::mock::intake::judge::Received;
use promdog::mock::kubernetes::{self, Kubernetes};
use promdog::mock::virt_api::simulation::Version;
use promdog::mock::virt_api::{self, VirtApi};
use serde_json::{Value, json};

use crate::stage::{KEY, PATIENCE, intake, promdog, virt_api};

const TABLE: &str = include_str!("../../docs/dashboard.md");

/// A query, and where it is answered from.
#[derive(Debug)]
struct Query<'t> {
    metric: &'t str,
    tags: BTreeSet<&'t str>,
}

/// The rows that promdog answers, and how many are the Agent's.
fn table() -> (Vec<Query<'static>>, usize) {
    let (mut ours, mut agents) = (Vec::new(), 0);
    for row in TABLE.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, metric, tags, answer] = cells[..] else { panic!("five cells: {row}") };
        if answer == "the Agent" {
            assert!(metric.split('`').skip(1).step_by(2).all(|name| name.starts_with("kubernetes")), "{row}");
            agents += 1;
        } else {
            assert!(answer.starts_with("data"), "{row}");
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
            ours.push(Query { metric: metric.trim_matches('`'), tags });
        }
    }
    (ours, agents)
}

/// One series of this name has all these tags.
fn answers(points: &[Received], Query { metric, tags }: &Query<'_>) -> bool {
    let has = |point: &&Received| {
        let keys: BTreeSet<String> =
            point.tags.iter().filter_map(|tag| Some(tag.split_once(':')?.0.to_lowercase())).collect();
        tags.iter().all(|tag| keys.contains(*tag))
    };
    points.iter().filter(|point| point.name == *metric).any(|point| has(&point))
}

fn pod(component: &str, mock: &VirtApi) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{component}-1"), "namespace": "kubevirt", "uid": format!("uid-{component}"),
                     "labels": {"kubevirt.io": component}},
        "spec": {"nodeName": "node-1", "containers": [{"ports": [
            {"name": "metrics", "containerPort": mock.running.address.port()}]}]},
        "status": {"phase": "Running", "podIP": mock.running.address.ip().to_string()},
    })
}

/// Seven families of work queues, as client-go's.
fn workqueues(start: u32) -> String {
    let gauge = |family: &str| {
        format!("# TYPE kubevirt_workqueue_{family} gauge\nkubevirt_workqueue_{family}{{name=\"q\"}} 1\n")
    };
    let counter = |family: &str| {
        format!("# TYPE kubevirt_workqueue_{family}_total counter\nkubevirt_workqueue_{family}_total{{name=\"q\"}} 5\n")
    };
    let histogram = |family: &str| {
        format!(
            "# TYPE kubevirt_workqueue_{family} histogram\nkubevirt_workqueue_{family}_bucket{{name=\"q\",le=\"+Inf\"}} 5\n\
             kubevirt_workqueue_{family}_sum{{name=\"q\"}} 1.5\nkubevirt_workqueue_{family}_count{{name=\"q\"}} 5\n"
        )
    };
    let gauges = ["depth", "unfinished_work_seconds", "longest_running_processor_seconds"].map(gauge).concat();
    let histograms = ["queue_duration_seconds", "work_duration_seconds"].map(histogram).concat();
    format!(
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n{gauges}{histograms}{}",
        ["adds", "retries"].map(counter).concat()
    )
}

const CONTROLLER: &str = "# TYPE kubevirt_virt_controller_ready_status gauge\nkubevirt_virt_controller_ready_status 1\n\
    # TYPE kubevirt_virt_controller_leading_status gauge\nkubevirt_virt_controller_leading_status 1\n\
    # TYPE kubevirt_vmi_number_of_outdated gauge\nkubevirt_vmi_number_of_outdated 0\n\
    # TYPE kubevirt_vmi_non_evictable gauge\nkubevirt_vmi_non_evictable{name=\"vm-1\",namespace=\"a\",node=\"node-1\"} 1\n";
/// Of KubeVirt 1.2, which counts by phase itself.
const PHASES: &str =
    "# TYPE kubevirt_vmi_phase_count gauge\nkubevirt_vmi_phase_count{node=\"of-the-page\",phase=\"running\"} 3\n";

async fn whole_cluster(version: Version) {
    let (queries, agents) = table();
    assert_eq!((queries.len(), agents), (33, 2));
    let api = VirtApi::start(virt_api::Params { version, speed: 100.0, ..virt_api::Params::default() }).await;
    let (api, controller, handler) = (api.expect("a free port"), virt_api().await, virt_api().await);
    let phases = if version == Version::V1_2 { PHASES } else { "" };
    controller.set_page(Some(format!("{}{CONTROLLER}{phases}", workqueues(1000))));
    handler.set_page(Some(workqueues(1000)));
    let cluster =
        Kubernetes::start(kubernetes::Params { pods: 0, ..kubernetes::Params::default() }).await.expect("a free port");
    let intake = intake().await;
    let mut targets = String::new();
    for (component, mock) in [("virt-api", &api), ("virt-controller", &controller), ("virt-handler", &handler)] {
        cluster.apply(pod(component, mock));
        let mapping = component.replace("virt-", "kubevirt_");
        targets.push_str(&format!(
            "  - {{ mapping: {mapping}, kubernetes: {{ selector: kubevirt.io={component}, port: metrics, scheme: http }} }}\n"
        ));
    }
    let url = cluster.running.url("");
    let configuration = format!(
        "targets:\n{targets}push: {{ every: 1s }}\ndatadog: {{ cluster_name: c }}\nkubernetes: {{ url: '{url}' }}\n"
    );
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    // An increase needs a pull that is a baseline, and one more.
    let done = intake.wait_for(PATIENCE, |points| queries.iter().all(|query| answers(points, query))).await;
    let points = intake.points();
    let unanswered: Vec<&Query<'_>> = queries.iter().filter(|query| !answers(&points, query)).collect();
    assert!(done, "{unanswered:#?}\nrefused: {:?}", intake.rejections());
    running.stop().await;

    // By phase: the page's own where there is one, and never both at a time.
    let counted = points.iter().filter(|point| point.name == "kubevirt_controller.vmi.phase_count");
    let last = counted.clone().map(|point| point.timestamp).max().expect("it has arrived");
    let of_last: Vec<&Received> = counted.filter(|point| point.timestamp == last).collect();
    let of_page = of_last.iter().filter(|point| point.tags.contains(&"node:of-the-page".to_owned())).count();
    let total: f64 = of_last.iter().map(|point| point.value).sum();
    match version {
        Version::V1_2 => assert_eq!((of_last.len(), of_page, total), (1, 1, 3.0)),
        Version::V1_6 => assert_eq!((of_page, total), (0, cluster.objects("virtualmachineinstances").len() as f64)),
    }
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn every_query_of_the_dashboard_is_answered_with_kubevirt_1_2() {
    whole_cluster(Version::V1_2).await;
}

#[tokio::test]
async fn every_query_of_the_dashboard_is_answered_with_kubevirt_1_6() {
    whole_cluster(Version::V1_6).await;
}
