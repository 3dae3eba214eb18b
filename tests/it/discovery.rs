//! Targets that are discovered: pods, names and files; they come, go, return and are replaced.

use std::path::Path;

use promdog::app::Running;
use promdog::mock::intake::Intake;
use promdog::mock::kubernetes::{self, Cut, Kubernetes, Rule};
use promdog::mock::serve::{Setup, Tls};
use promdog::mock::virt_api::{self, VirtApi};
use serde_json::{Value, json};

use crate::stage::{KEY, PATIENCE, arrived, expect, get, get_until, intake, lines, promdog, virt_api};

/// A process that started at this second, and has answered so many requests.
fn page(start: u64, requests: u64) -> String {
    format!(
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n\
         # TYPE rest_client_requests_total counter\nrest_client_requests_total{{code=\"200\"}} {requests}\n"
    )
}

const REQUESTS: &str = "kubevirt_api.rest.client_requests.count";

/// Seconds since 1970: a process that starts then is younger than any promdog that runs now.
fn young() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_secs() + 60
}

pub fn pod(name: &str, uid: &str, mock: &VirtApi) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "kubevirt", "uid": uid, "labels": {"kubevirt.io": "virt-api"}},
        "spec": {
            "nodeName": "node-1",
            "containers": [{"ports": [{"name": "metrics", "containerPort": mock.running.address.port()}]}],
        },
        "status": {"phase": "Running", "podIP": mock.running.address.ip().to_string()},
    })
}

pub async fn cluster() -> Kubernetes {
    let params = kubernetes::Params { pods: 0, vms: 0, vmis: 0, ..kubernetes::Params::default() };
    Kubernetes::start(params).await.expect("a free port")
}

/// promdog that finds virt-api's pods; they speak plain HTTP.
async fn finder(cluster: &Kubernetes, intake: &Intake) -> Running {
    let configuration = format!(
        "targets:\n  - kubernetes: {{ selector: kubevirt.io=virt-api, port: metrics, scheme: http }}\n    \
         health_url: off\npush: {{ every: 1s }}\nweb: {{ max_age: 0s }}\nkubernetes: {{ url: '{}' }}\n",
        cluster.running.url("")
    );
    promdog(&configuration, Some((intake, KEY))).await
}

fn up(name: &str) -> String {
    format!("promdog_target_up{{target=\"virt-api/{name}\"}} 1\n")
}

async fn until_gone(running: &Running, what: &str) {
    let gone = async {
        while get(running, "/metrics").await.1.contains(what) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{what} stays"));
}

#[tokio::test]
async fn pods_that_come_and_go_appear_and_disappear() {
    let (cluster, intake) = (cluster().await, intake().await);
    let (one, two) = (virt_api().await, virt_api().await);
    one.set_page(Some(page(1000, 50)));
    cluster.apply(pod("one", "u1", &one));
    let running = finder(&cluster, &intake).await;
    let found = get_until(&running, "/metrics", &up("one")).await;
    let series = lines(&found, "kubevirt_api_rest_client_requests_count");
    let url = one.running.url("/metrics");
    assert_eq!(
        series,
        [format!(
            "kubevirt_api_rest_client_requests_count{{code=\"200\",endpoint=\"{url}\",kube_namespace=\"kubevirt\",\
             kube_node=\"node-1\",pod_name=\"one\"}} 50"
        )]
    );
    // Younger than promdog: it counts in full from its first pull.
    two.set_page(Some(page(young(), 7)));
    cluster.apply(pod("two", "u2", &two));
    get_until(&running, "/metrics", &up("two")).await;
    expect(&intake, REQUESTS, &["pod_name:two"], &[7.0]).await;
    let (_, only) = get(&running, "/metrics?target=virt-api/two").await;
    assert!(only.contains("pod_name=\"two\"") && !only.contains("pod_name=\"one\""), "{only}");
    let (_, group) = get(&running, "/metrics?target=virt-api").await;
    assert!(group.contains("pod_name=\"two\"") && group.contains("pod_name=\"one\""), "{group}");

    // What it owes when it leaves is sent.
    one.set_page(Some(page(1000, 55)));
    get_until(&running, "/metrics", "pod_name=\"one\"} 55\n").await;
    assert!(cluster.delete("pods", "kubevirt", "one"));
    until_gone(&running, "pod_name=\"one\"").await;
    expect(&intake, REQUESTS, &["pod_name:one"], &[5.0]).await;
    let (_, internal) = get(&running, "/internal/metrics").await;
    assert!(internal.contains("promdog_discovered_targets{group=\"virt-api\"} 1\n"), "{internal}");
    assert!(!internal.contains("virt-api/one"), "{internal}");
    running.stop().await;
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn a_pod_replaced_at_the_same_address_is_a_new_process_and_no_reset() {
    let (cluster, intake, mock) = (cluster().await, intake().await, virt_api().await);
    mock.set_page(Some(page(1000, 100)));
    cluster.apply(pod("old", "u1", &mock));
    let running = finder(&cluster, &intake).await;
    get_until(&running, "/metrics", &up("old")).await;
    mock.set_page(Some(page(1000, 110)));
    expect(&intake, REQUESTS, &["pod_name:old"], &[10.0]).await;
    // The new pod is there before anybody has pulled it at the old one's name, and has counted further than the old.
    cluster.delete("pods", "kubevirt", "old");
    until_gone(&running, "pod_name=\"old\"").await;
    mock.set_page(Some(page(young(), 300)));
    cluster.apply(pod("new", "u2", &mock));
    expect(&intake, REQUESTS, &["pod_name:new"], &[300.0]).await;
    assert_eq!(arrived(&intake.points(), REQUESTS, &["pod_name:old"]), [10.0]);
    let (_, internal) = get(&running, "/internal/metrics").await;
    assert!(internal.contains("promdog_counter_resets_total{target=\"virt-api/new\"} 0\n"), "{internal}");
    running.stop().await;
}

#[tokio::test]
async fn pods_stay_while_the_api_server_does_not_answer() {
    let (cluster, intake, mock) = (cluster().await, intake().await, virt_api().await);
    mock.set_page(Some(page(1000, 1)));
    cluster.apply(pod("one", "u1", &mock));
    let running = finder(&cluster, &intake).await;
    get_until(&running, "/metrics", &up("one")).await;
    cluster.running.faults.set(vec!["status=503".parse().expect("a fault")]);
    cluster.cut_watches(Cut::BetweenEvents);
    let landing = get_until(&running, "/", "1 targets discovered; ").await;
    assert!(landing.contains("answered 503 when asked to watch pods in namespace kubevirt"), "{landing}");
    assert!(get(&running, "/metrics").await.1.contains(&up("one")));
    running.stop().await;
}

#[tokio::test]
async fn a_missing_right_to_list_pods_names_the_rule_and_the_rest_works() {
    let view = |resource: &str| Rule {
        api_groups: vec!["kubevirt.io".to_owned()],
        resources: vec![resource.to_owned()],
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        ..Rule::default()
    };
    let params = kubernetes::Params {
        rules: Some(vec![view("virtualmachines"), view("virtualmachineinstances")]),
        ..kubernetes::Params::default()
    };
    let (cluster, intake) = (Kubernetes::start(params).await.expect("a free port"), intake().await);
    let running = finder(&cluster, &intake).await;
    // Not `403`: a port may have it too.
    get_until(&running, "/", "kubectl -n kubevirt create role promdog-pods --verb=list,watch --resource=pods").await;
    let page = get_until(&running, "/metrics", "kubevirt_api_vm_count{").await;
    assert_eq!(lines(&page, "kubevirt_api_vm_count{").len(), 12);
    let (status, text) = get(&running, "/metrics?target=virt-api").await;
    assert_eq!(status, 503);
    assert!(text.contains("`virt-api` has no targets: ") && text.contains("(403)"), "{text}");
    running.stop().await;
}

/// The CA comes out of the ConfigMap, and is read anew when KubeVirt has renewed it.
#[tokio::test]
async fn certificates_are_verified_by_the_ca_in_the_config_map_as_it_rotates() {
    let tls = || async {
        let setup = Setup {
            tls: Some(Tls { names: vec!["virt-api.kubevirt.svc".to_owned()], ..Tls::default() }),
            ..Setup::default()
        };
        let mock =
            VirtApi::start(virt_api::Params { setup, ..virt_api::Params::default() }).await.expect("a free port");
        mock.freeze();
        mock
    };
    let (cluster, before, after) = (cluster().await, tls().await, tls().await);
    let ca = |mock: &VirtApi| {
        let pem = mock.running.ca_pem.clone().expect("it speaks TLS");
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubevirt-ca", "namespace": "kubevirt"},
               "data": {"ca-bundle": pem}})
    };
    cluster.apply(pod("before", "u1", &before));
    let configuration = format!(
        "targets:\n  - kubernetes: {{ selector: kubevirt.io=virt-api, port: metrics }}\nweb: {{ max_age: 0s }}\n\
         kubernetes: {{ url: '{}', inventory: off }}\n",
        cluster.running.url("")
    );
    let running = promdog(&configuration, None).await;
    // No ConfigMap yet: the pod is there and cannot be verified.
    let page = get_until(&running, "/metrics?target=virt-api/before", "there are no CA certificates").await;
    assert!(page.contains("there is no kubevirt-ca in namespace kubevirt"), "{page}");
    cluster.apply(ca(&before));
    get_until(&running, "/metrics", &up("before")).await;
    // The CA is renewed, and a pod has a certificate of the new one.
    cluster.apply(pod("after", "u2", &after));
    get_until(&running, "/metrics?target=virt-api/after", "unknown authority").await;
    cluster.apply(ca(&after));
    get_until(&running, "/metrics", &up("after")).await;
    running.stop().await;
}

#[tokio::test]
async fn a_name_may_have_several_addresses_and_a_file_several_targets() {
    let (one, two) = (virt_api().await, virt_api().await);
    let dir = tempfile::tempdir().expect("a folder");
    let write = |mocks: &[&VirtApi]| {
        let targets: Vec<String> = mocks.iter().map(|mock| mock.running.address.to_string()).collect();
        let text = json!([{"targets": targets, "labels": {"team": "virt"}}]).to_string();
        std::fs::write(dir.path().join("sd.json"), text).expect("written");
    };
    write(&[&one]);
    let configuration = format!(
        "targets:\n  - files: {{ paths: ['{}'], every: 100ms }}\n  - dns: {{ name: localhost, port: {}, every: 100ms }}\n\
         web: {{ max_age: 0s }}\n",
        dir.path().join("*.json").display(),
        two.running.address.port()
    );
    let running = promdog(&configuration, None).await;
    let up =
        |group: &str, mock: &VirtApi| format!("promdog_target_up{{target=\"{group}/{}\"}} 1\n", mock.running.address);
    let page = get_until(&running, "/metrics", &up("files", &one)).await;
    assert!(page.contains("team=\"virt\""), "{page}");
    get_until(&running, "/metrics", &up("localhost", &two)).await;
    write(&[&one, &two]);
    get_until(&running, "/metrics", &up("files", &two)).await;
    std::fs::write(dir.path().join("sd.json"), "- targets: [nonsense]\n").expect("written");
    let landing = get_until(&running, "/", "2 targets discovered; ").await;
    assert!(landing.contains("a target is `host:port`"), "{landing}");
    write(&[&two]);
    until_gone(&running, &up("files", &one)).await;
    running.stop().await;
}

/// The rules that deploy/kubernetes grants, and KubeVirt's own `kubevirt.io:view`, are enough, and are all that is asked for.
#[tokio::test]
async fn the_rights_of_the_manifests_are_enough_and_none_too_many() {
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/base/rbac.yaml");
    let text = std::fs::read_to_string(rbac).expect("the manifests");
    let mut granted: Vec<Rule> = rules_of(&text);
    assert_eq!(granted.len(), 2, "pods, and the CA");
    // As KubeVirt installs it, as far as it concerns us.
    granted.push(Rule {
        api_groups: vec!["kubevirt.io".to_owned()],
        resources: vec!["virtualmachines".to_owned(), "virtualmachineinstances".to_owned()],
        verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        ..Rule::default()
    });
    let mock = virt_api::Params {
        setup: Setup { tls: Some(Tls::default()), ..Setup::default() },
        ..virt_api::Params::default()
    };
    let mock = VirtApi::start(mock).await.expect("a free port");
    let params = kubernetes::Params {
        rules: Some(granted.clone()),
        ca_bundle: mock.running.ca_pem.clone(),
        pods: 0,
        ..kubernetes::Params::default()
    };
    let cluster = Kubernetes::start(params).await.expect("a free port");
    cluster.apply(pod("one", "u1", &mock));
    let configuration = format!(
        "targets:\n  - kubernetes: {{ selector: kubevirt.io=virt-api, port: metrics }}\nweb: {{ max_age: 0s }}\n\
         kubernetes: {{ url: '{}' }}\n",
        cluster.running.url("")
    );
    let running = promdog(&configuration, None).await;
    get_until(&running, "/metrics", &up("one")).await;
    let page = get_until(&running, "/metrics", "kubevirt_api_vmi_count{").await;
    assert!(page.contains("kubevirt_api_vm_count{"), "{page}");
    running.stop().await;
    for rule in granted.iter().filter(|rule| rule.namespace.is_some()) {
        for (resource, verb) in rule.resources.iter().flat_map(|r| rule.verbs.iter().map(move |verb| (r, verb))) {
            let used = cluster.requests().iter().any(|seen| seen.verb == verb && seen.resource == *resource);
            assert!(used, "{verb} {resource} is granted and not needed");
        }
    }
}

/// The rules of a file's Role, by our own YAML reader.
fn rules_of(text: &str) -> Vec<Rule> {
    use promdog::yaml::Document;
    use promdog::yaml::node::Node;
    let role = text.split("\n---\n").find(|part| part.contains("\nkind: Role\n")).expect("a Role");
    let document = Document::parse("rbac.yaml", role);
    let mut fields = document.root().fields().expect("a map");
    let mut metadata = fields.required("metadata").and_then(Node::fields).expect("a map");
    let namespace = metadata.required("namespace").and_then(Node::string);
    let rule = |node: Node<'_>| {
        let mut fields = node.fields().expect("a map");
        let mut strings = |key| {
            fields.optional(key).and_then(Node::list).unwrap_or_default().into_iter().filter_map(Node::string).collect()
        };
        Rule {
            api_groups: strings("apiGroups"),
            resources: strings("resources"),
            verbs: strings("verbs"),
            names: strings("resourceNames"),
            namespace: namespace.clone(),
        }
    };
    fields.required("rules").and_then(Node::list).expect("a list").into_iter().map(rule).collect()
}
