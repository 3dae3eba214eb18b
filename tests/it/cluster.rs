//! The watched inventory against a mock Kubernetes API that fails in every way the real one does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use promdog::cluster::inventories::Inventories;
use promdog::cluster::watch::{self, Snapshot};
use promdog::cluster::{Params, Scope, Source};
use promdog::inventory::{Inventory, Vm};
use promdog::mock::kubernetes::{self, Cut, Kubernetes, Rule, Seen};
use promdog::mock::serve::{Setup, Tls};
use promdog::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gate::{Gate, Way};
use crate::stage::PATIENCE;

/// A cluster whose bookmarks come often.
fn cluster() -> kubernetes::Params {
    kubernetes::Params { bookmark_every: Duration::from_millis(50), ..kubernetes::Params::default() }
}

async fn start(params: kubernetes::Params) -> Kubernetes {
    Kubernetes::start(params).await.expect("a free port")
}

fn source(url: &str) -> Source {
    let url = url.parse().expect("a URL");
    Source::Url { url, token_file: None, ca_file: None, insecure_skip_verify: false }
}

fn params(source: Source) -> Params {
    Params { source, page_size: 5, timeout: PATIENCE, watch: Duration::from_secs(60) }
}

/// Both watches, running.
struct Watching {
    inventories: Inventories,
    metrics: Metrics,
    _tasks: JoinSet<()>,
}

impl Watching {
    fn start(params: &Params, keep: Duration) -> Self {
        let (metrics, mut tasks) = (Metrics::default(), JoinSet::new());
        let inventories = Inventories::watch(params, keep, &metrics, &mut tasks);
        Self { inventories, metrics, _tasks: tasks }
    }

    fn of(mock: &Kubernetes) -> Self {
        Self::start(&params(source(&mock.running.url("/"))), PATIENCE)
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Inventory) -> bool) {
        let reached = async {
            while !wanted(&self.inventories.latest()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let known = || (count(&self.inventories.latest()), self.metrics.page());
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what}: not with {:?}", known()));
    }

    async fn until_same(&self, what: &str, mock: &Kubernetes) {
        self.until(what, |inventory| summary(inventory) == truth(mock)).await;
    }

    async fn until_counted(&self, what: &str, line: &str) {
        self.until(what, |_| self.metrics.page().contains(line)).await;
    }
}

fn count(inventory: &Inventory) -> (Option<usize>, Option<usize>) {
    (inventory.vms.as_ref().map(|vms| vms.len()), inventory.vmis.as_ref().map(|vmis| vmis.len()))
}

/// What is known, as `kind namespace/name uid phase`, sorted.
fn summary(inventory: &Inventory) -> Vec<String> {
    let vms = inventory.vms.iter().flat_map(|vms| vms.iter());
    let vms = vms.map(|vm| format!("vm {}/{} {}", vm.namespace, vm.name, vm.uid));
    let vmis = inventory.vmis.iter().flat_map(|vmis| vmis.iter());
    let vmis = vmis.map(|vmi| {
        format!("vmi {}/{} {} {}", vmi.namespace, vmi.name, vmi.uid, vmi.phase.as_deref().unwrap_or_default())
    });
    let mut lines: Vec<String> = vms.chain(vmis).collect();
    lines.sort();
    lines
}

/// The same of what the mock holds. Objects that churn broke make sense as far as what we need of them does.
fn truth(mock: &Kubernetes) -> Vec<String> {
    let line = |kind: &str, object: &Value, phase: &str| {
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        Some(format!("{kind} {}/{} {}{phase}", text("namespace")?, text("name")?, text("uid")?))
    };
    let vms = mock.objects("virtualmachines");
    let vms = vms.iter().filter(|vm| !vm["spec"].is_array()).filter_map(|vm| line("vm", vm, ""));
    let vmis = mock.objects("virtualmachineinstances");
    let whole = |vmi: &&Arc<Value>| !vmi["status"].is_string() && !vmi["metadata"]["labels"].is_number();
    let phase = |vmi: &Value| format!(" {}", vmi["status"]["phase"].as_str().unwrap_or_default());
    let vmis = vmis.iter().filter(whole).filter_map(|vmi| line("vmi", vmi, &phase(vmi)));
    let mut lines: Vec<String> = vms.chain(vmis).collect();
    lines.sort();
    lines
}

fn vm(name: &str) -> Value {
    json!({"kind": "VirtualMachine", "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")}})
}

fn asked(mock: &Kubernetes, verb: &str, resource: &str) -> Vec<Seen> {
    let of = |seen: &Seen| seen.verb == verb && seen.resource == resource;
    mock.requests().into_iter().filter(of).collect()
}

/// Pages of one complete list.
const VM_PAGES: usize = 3;

#[tokio::test]
async fn one_paged_list_and_then_changes_only() {
    let mock = start(cluster()).await;
    let watching = Watching::of(&mock);
    watching.until_same("the first list", &mock).await;
    mock.apply(vm("new"));
    assert!(mock.delete("virtualmachines", "default", "new"));
    mock.apply(vm("another"));
    watching.until_same("changes", &mock).await;
    let lists = asked(&mock, "list", "virtualmachines");
    let limits: Vec<_> = lists.iter().map(|seen| seen.query.get("limit").map(String::as_str)).collect();
    assert_eq!(limits, [Some("5"); VM_PAGES]);
    assert!(!lists[0].query.contains_key("continue") && lists[2].query.contains_key("continue"));
    let watches = asked(&mock, "watch", "virtualmachines");
    let asked_for = |key: &str| watches[0].query.get(key).map(String::as_str);
    assert_eq!((asked_for("allowWatchBookmarks"), asked_for("timeoutSeconds")), (Some("true"), Some("60")));
    assert!(asked_for("resourceVersion").is_some_and(|version| version != "0"));
    let page = watching.metrics.page();
    for line in [
        "promdog_kubernetes_watch_up{watch=\"virtualmachines\"} 1",
        "promdog_kubernetes_lists_total{watch=\"virtualmachines\",result=\"ok\"} 1",
        "promdog_kubernetes_objects{watch=\"virtualmachineinstances\"} 8",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
}

#[tokio::test]
async fn an_expired_continue_token_restarts_the_list() {
    let mock = start(cluster()).await;
    mock.expire_continue();
    let watching = Watching::of(&mock);
    watching.until_same("a list that was restarted", &mock).await;
    let lists = asked(&mock, "list", "virtualmachines").len() + asked(&mock, "list", "virtualmachineinstances").len();
    assert_eq!(lists, VM_PAGES + 2 + 2, "pages of both lists, one page in vain, and one first page again");
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let mock = start(cluster()).await;
    let watching = Watching::of(&mock);
    watching.until_same("the first list", &mock).await;
    for (round, cut) in [Cut::MidObject, Cut::BetweenEvents, Cut::MidObject].into_iter().enumerate() {
        watching.until("both watches are open", |_| mock.watchers() == 2).await;
        mock.apply(vm(&format!("before-{round}")));
        mock.cut_watches(cut);
        mock.apply(vm(&format!("after-{round}")));
        watching.until_same("a cut", &mock).await;
    }
    assert_eq!(asked(&mock, "list", "virtualmachines").len(), VM_PAGES, "nothing is listed again");
}

#[tokio::test]
async fn a_version_that_is_too_old_lists_again_however_it_is_told() {
    for gone_by_status in [false, true] {
        let mock = start(kubernetes::Params { gone_by_status, ..cluster() }).await;
        let gate = Gate::start(Way::To(mock.running.address)).await;
        let watching = Watching::start(&params(source(&format!("http://{}/", gate.address))), PATIENCE);
        watching.until_same("the first list", &mock).await;
        watching.until("both watches are open", |_| mock.watchers() == 2).await;
        gate.turn(Way::Closed);
        watching.until("both watches have ended", |_| mock.watchers() == 0).await;
        mock.apply(vm("missed"));
        assert!(mock.delete("virtualmachines", "default", "missed"));
        mock.apply(vm("missed-too"));
        mock.forget_history();
        gate.turn(Way::To(mock.running.address));
        watching.until_same("a new list", &mock).await;
        assert_eq!(asked(&mock, "list", "virtualmachines").len(), 2 * VM_PAGES);
    }
}

#[tokio::test]
async fn an_api_server_may_be_away_at_the_start() {
    let mock = start(cluster()).await;
    let gate = Gate::start(Way::Closed).await;
    let watching = Watching::start(&params(source(&format!("http://{}/", gate.address))), PATIENCE);
    watching.until_counted("it is told", "lists_total{watch=\"virtualmachines\",result=\"unreachable\"}").await;
    assert_eq!(count(&watching.inventories.latest()), (None, None), "unknown is not 0");
    gate.turn(Way::To(mock.running.address));
    watching.until_same("it has come", &mock).await;
    watching.until_counted("all is well", "watch_up{watch=\"virtualmachines\"} 1").await;
}

#[tokio::test]
async fn counts_outlive_a_lost_connection_for_a_while_and_come_back() {
    let mock = start(cluster()).await;
    let gate = Gate::start(Way::To(mock.running.address)).await;
    let there = format!("http://{}/", gate.address);
    let short = Watching::start(&params(source(&there)), Duration::from_millis(100));
    let long = Watching::start(&params(source(&there)), PATIENCE);
    short.until_same("the first list", &mock).await;
    long.until_same("the first list", &mock).await;
    gate.turn(Way::Closed);
    mock.apply(vm("unseen"));
    short.until("they are gone", |inventory| count(inventory) == (None, None)).await;
    assert_eq!(count(&long.inventories.latest()), (Some(12), Some(8)), "the other still knows them");
    gate.turn(Way::To(mock.running.address));
    short.until_same("they are back", &mock).await;
}

#[tokio::test]
async fn a_connection_that_dies_silently_is_noticed() {
    let mock = start(cluster()).await;
    let gate = Gate::start(Way::To(mock.running.address)).await;
    let params = Params { watch: Duration::from_secs(1), ..params(source(&format!("http://{}/", gate.address))) };
    let watching = Watching::start(&params, PATIENCE);
    watching.until_same("the first list", &mock).await;
    watching.until("both watches are open", |_| mock.watchers() == 2).await;
    gate.turn(Way::Frozen(mock.running.address));
    mock.apply(vm("new"));
    watching.until_same("a new watch", &mock).await;
    assert_eq!(asked(&mock, "list", "virtualmachines").len(), VM_PAGES);
}

#[tokio::test]
async fn a_right_that_is_missing_costs_only_what_it_is_for() {
    let may = |resource: &str| Rule {
        api_groups: vec!["kubevirt.io".to_owned()],
        resources: vec![resource.to_owned()],
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        ..Rule::default()
    };
    let rules = Some(vec![may("virtualmachines")]);
    let mock = start(kubernetes::Params { rules, ..cluster() }).await;
    let watching = Watching::of(&mock);
    watching.until("virtual machines are counted", |inventory| count(inventory) == (Some(12), None)).await;
    watching.until_counted("it is told", "lists_total{watch=\"virtualmachineinstances\",result=\"forbidden\"}").await;
    mock.set_rules(Some(vec![may("virtualmachines"), may("virtualmachineinstances")]));
    watching.until_same("both are counted", &mock).await;
}

#[tokio::test]
async fn an_api_server_that_is_busy_is_asked_again() {
    let mock = start(cluster()).await;
    mock.running.faults.set(vec!["status=429*3".parse().expect("a fault"), "status=500*1".parse().expect("a fault")]);
    let watching = Watching::of(&mock);
    watching.until_same("it has answered", &mock).await;
}

#[tokio::test]
async fn an_object_that_makes_no_sense_is_counted_apart_and_spoils_no_other() {
    let mock = start(cluster()).await;
    let broken = |uid: Value| json!({"kind": "VirtualMachine", "metadata": {"name": "broken", "namespace": "default", "uid": uid}});
    mock.apply(broken(json!({"no": "text"})));
    let watching = Watching::of(&mock);
    watching.until("the good ones", |inventory| count(inventory) == (Some(12), Some(8))).await;
    let unreadable = "unreadable_objects{watch=\"virtualmachines\"} ";
    watching.until_counted("one is told", &format!("{unreadable}1\n")).await;
    mock.apply(broken(json!("u1")));
    watching.until("it is well", |inventory| count(inventory) == (Some(13), Some(8))).await;
    watching.until_counted("none is told", &format!("{unreadable}0\n")).await;
    mock.apply(broken(json!(7)));
    watching.until("it is broken again", |inventory| count(inventory) == (Some(12), Some(8))).await;
    mock.delete("virtualmachines", "default", "broken");
    watching.until_counted("it is gone", &format!("{unreadable}0\n")).await;
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    std::fs::write(&file, "one\n").expect("written");
    let mock = start(kubernetes::Params { token: Some("one".to_owned()), ..cluster() }).await;
    let Source::Url { url, ca_file, .. } = source(&mock.running.url("/")) else { unreachable!("it is a URL") };
    let source = Source::Url { url, token_file: Some(file.clone()), ca_file, insecure_skip_verify: false };
    let watching = Watching::start(&params(source), PATIENCE);
    watching.until_same("the first token", &mock).await;
    mock.set_token(Some("two".to_owned()));
    mock.cut_watches(Cut::BetweenEvents);
    watching.until_counted("it is refused", "watch_up{watch=\"virtualmachines\"} 0").await;
    std::fs::write(&file, "two\n").expect("written");
    mock.apply(vm("new"));
    watching.until_same("the second token", &mock).await;
    assert_eq!(asked(&mock, "list", "virtualmachines").len(), VM_PAGES, "and nothing is listed again");
}

#[tokio::test]
async fn a_ca_that_was_replaced_is_read_at_once() {
    let tls = || Setup { tls: Some(Tls::default()), ..Setup::default() };
    let (old, new) = (
        start(kubernetes::Params { setup: tls(), ..cluster() }).await,
        start(kubernetes::Params { setup: tls(), ..cluster() }).await,
    );
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("ca.pem");
    let pem = |mock: &Kubernetes| mock.running.ca_pem.clone().expect("it speaks TLS");
    std::fs::write(&file, pem(&old)).expect("written");
    let gate = Gate::start(Way::To(old.running.address)).await;
    let url = format!("https://{}/", gate.address).parse().expect("a URL");
    let source = Source::Url { url, token_file: None, ca_file: Some(file.clone()), insecure_skip_verify: false };
    let watching = Watching::start(&params(source), PATIENCE);
    watching.until_same("the old CA", &old).await;
    new.apply(vm("new"));
    gate.turn(Way::To(new.running.address));
    watching.until_counted("it is refused", "watch_up{watch=\"virtualmachines\"} 0").await;
    std::fs::write(&file, pem(&new)).expect("written");
    watching.until_counted("it is trusted", "watch_up{watch=\"virtualmachines\"} 1").await;
}

/// Two thousand changes a second for a while, with all that can go wrong.
#[tokio::test]
async fn counts_are_right_after_churn_and_trouble() {
    let mock = start(kubernetes::Params { churn: 2000.0, churn_trouble: true, vms: 200, vmis: 200, ..cluster() }).await;
    let watching = Watching::of(&mock);
    watching.until("thousands of changes", |_| changes(&watching.metrics) > 6000).await;
    mock.set_churn(0.0);
    watching.until_same("after the churn", &mock).await;
    let lists =
        asked(&mock, "list", "virtualmachines").iter().filter(|seen| !seen.query.contains_key("continue")).count();
    assert!(lists > 1, "history was forgotten on the way");
}

fn changes(metrics: &Metrics) -> u64 {
    let page = metrics.page();
    let counts =
        page.lines().filter_map(|line| line.strip_prefix("promdog_kubernetes_changes_total{")?.rsplit_once(' '));
    counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// What is told of a watch that cannot begin.
async fn problem(params: Params) -> String {
    let (sender, mut latest) = tokio::sync::watch::channel(Snapshot::<Vm>::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(watch::run(params, Scope::default(), "virtualmachines".to_owned(), sender, Metrics::default()));
    let told = tokio::time::timeout(PATIENCE, latest.wait_for(|snapshot| snapshot.problem.is_some())).await;
    told.expect("in time").expect("it goes on").problem.clone().expect("a problem")
}

/// What is told of an API server that answers everything like this.
async fn told(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> String {
    let router = Router::new().fallback(async move || answer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    problem(params(source(&format!("http://{address}/")))).await
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
    (StatusCode::from_u16(code).expect("a status"), body.to_string()).into_response()
}

#[tokio::test]
async fn refusals_name_what_to_do() {
    let text = told(|| {
        let user = "User \"system:serviceaccount:mon:promdog\" cannot list resource";
        status(403, &format!("virtualmachines.kubevirt.io is forbidden: {user}"))
    });
    let text = text.await;
    assert!(
        text.contains("does not let us list virtualmachines (403): grant the cluster role kubevirt.io:view"),
        "{text}"
    );
    assert!(text.contains("--clusterrole=kubevirt.io:view --serviceaccount=mon:promdog`"), "{text}");
    let text = told(|| status(401, "Unauthorized")).await;
    assert!(text.contains("does not know us (401)"), "{text}");
    for text in [
        told(|| status(404, "the server could not find the requested resource")).await,
        told(|| (StatusCode::NOT_FOUND, "404 page not found\n").into_response()).await,
    ] {
        assert!(text.contains("KubeVirt is not installed"), "{text}");
    }
    let text = told(|| status(503, "starting")).await;
    assert!(text.contains("answered 503 when asked to list virtualmachines: starting"), "{text}");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told() {
    for body in ["<html>", "{}", r#"{"metadata":{},"items":[]}"#] {
        let text = told(move || body.into_response()).await;
        assert!(text.contains("asked for virtualmachines, gave an answer that makes no sense"), "{text}");
    }
    let endless = r#"{"metadata":{"resourceVersion":"1","continue":"same"},"items":[]}"#;
    let text = told(move || endless.into_response()).await;
    assert!(text.contains("the list does not end"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_used_of_the_configuration_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    // Nobody listens on port 1.
    let nowhere = || "http://127.0.0.1:1/".parse().expect("a URL");
    let with = |token_file: Option<PathBuf>, ca_file: Option<PathBuf>| Source::Url {
        url: nowhere(),
        token_file,
        ca_file,
        insecure_skip_verify: false,
    };
    let text = problem(params(with(None, None))).await;
    assert!(text.contains("cannot reach http://127.0.0.1:1/") && text.contains("refused"), "{text}");
    let text = problem(params(with(Some(path("token")), None))).await;
    assert!(text.starts_with("token file ") && text.contains("No such file"), "{text}");
    std::fs::write(path("token"), " \n").expect("written");
    let text = problem(params(with(Some(path("token")), None))).await;
    assert!(text.ends_with("it is empty"), "{text}");
    let text = problem(params(with(None, Some(path("ca.pem"))))).await;
    assert!(text.starts_with("cannot read CA file"), "{text}");
    let text = problem(params(Source::Kubeconfig(path("config")))).await;
    assert!(text.contains("config cannot be used"), "{text}");
}

#[tokio::test]
async fn a_kubeconfig_names_server_and_token() {
    let mock = start(kubernetes::Params { token: Some("secret".to_owned()), ..cluster() }).await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters:\n- name: k\n  cluster:\n    server: {}\n    proxy-url: http://127.0.0.1:1\n\
         users:\n- name: u\n  user:\n    token: secret\n\
         contexts:\n- name: c\n  context:\n    cluster: k\n    user: u\n",
        mock.running.url("")
    );
    std::fs::write(&path, text).expect("written");
    let watching = Watching::start(&params(Source::Kubeconfig(path)), PATIENCE);
    watching.until_same("by the kubeconfig", &mock).await;
}

#[tokio::test]
async fn the_api_servers_certificate_is_verified() {
    let setup = Setup { tls: Some(Tls::default()), ..Setup::default() };
    let mock = start(kubernetes::Params { setup, ..cluster() }).await;
    let dir = tempfile::tempdir().expect("a folder");
    let stranger =
        start(kubernetes::Params { setup: Setup { tls: Some(Tls::default()), ..Setup::default() }, ..cluster() }).await;
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, stranger.running.ca_pem.clone().expect("it speaks TLS")).expect("written");
    let url = mock.running.url("/").parse().expect("a URL");
    let source = Source::Url { url, token_file: None, ca_file: Some(file), insecure_skip_verify: false };
    let text = problem(params(source)).await;
    assert!(text.contains("give the cluster's CA file"), "{text}");
}
