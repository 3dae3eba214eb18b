mod fold;

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{Cut, Kubernetes, Params, Rule};

const PATIENCE: Duration = Duration::from_secs(20);
const VMS: &str = "/apis/kubevirt.io/v1/virtualmachines";
const VMIS: &str = "/apis/kubevirt.io/v1/virtualmachineinstances";

async fn mock(params: Params) -> Kubernetes {
    Kubernetes::start(params).await.expect("a free port")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

async fn open(mock: &Kubernetes, path: &str) -> Response {
    soon(Client::new().get(mock.running.url(path)).send()).await.expect("an answer")
}

/// Status and JSON.
async fn ask(mock: &Kubernetes, path: &str) -> (u16, Value) {
    let response = open(mock, path).await;
    let status = response.status().as_u16();
    let body = soon(response.bytes()).await.expect("a whole body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn vm(name: &str, labels: Value) -> Value {
    json!({"kind": "VirtualMachine", "metadata": {"name": name, "namespace": "default", "labels": labels}})
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a version")
}

/// The lines of a watch.
struct Events {
    response: Response,
    rest: Vec<u8>,
}

impl Events {
    async fn of(mock: &Kubernetes, path: &str) -> Self {
        let response = open(mock, path).await;
        assert_eq!(response.status(), 200);
        Self { response, rest: Vec::new() }
    }

    /// `None`: the stream has ended well. An error: it was cut.
    async fn next(&mut self) -> Result<Option<Value>, reqwest::Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).expect("JSON")));
            }
            match soon(self.response.chunk()).await? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// Kind and name of the next event.
    async fn short(&mut self) -> (String, String) {
        let event = self.next().await.expect("no cut").expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn pages_are_of_one_snapshot() {
    let mock = mock(Params { vms: 10, ..Params::default() }).await;
    let (_, whole) = ask(&mock, VMS).await;
    let (_, first) = ask(&mock, &format!("{VMS}?limit=4")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 6);
    assert!(mock.delete("virtualmachines", "default", "vm-9"));
    mock.apply(vm("a-new-one", json!({})));
    let mut seen: Vec<String> = names(&first).into_iter().map(str::to_owned).collect();
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = ask(&mock, &format!("{VMS}?limit=4&continue={token}")).await.1;
        assert_eq!(version(&page), version(&first));
        seen.extend(names(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, names(&whole));
    let (_, later) = ask(&mock, VMS).await;
    assert_eq!(version(&later), version(&first) + 2);
    assert_ne!(names(&later), names(&whole));

    mock.expire_continue();
    let token = first["metadata"]["continue"].as_str().expect("more");
    let (status, body) = ask(&mock, &format!("{VMS}?limit=4&continue={token}")).await;
    assert_eq!((status, &body["reason"]), (410, &json!("Expired")));
    assert_eq!(ask(&mock, &format!("{VMS}?continue=nonsense")).await.0, 400);
}

#[tokio::test]
async fn a_watch_tells_changes_in_order_and_bookmarks() {
    let mock = mock(Params { bookmark_every: Duration::from_millis(50), ..Params::default() }).await;
    let from = version(&ask(&mock, VMS).await.1);
    mock.apply(vm("x", json!({})));
    let path = format!("{VMS}?watch=true&resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds=1");
    let mut events = Events::of(&mock, &path).await;
    assert_eq!(events.short().await, pair("ADDED", "x"));
    assert_eq!(mock.watchers(), 1);
    mock.apply(vm("x", json!({"a": "b"})));
    mock.delete("virtualmachines", "default", "x");
    let (mut kinds, mut last) = (Vec::new(), from);
    let mut ended_with = Value::Null;
    while let Some(event) = events.next().await.expect("no cut") {
        assert!(version(&event["object"]) >= last, "versions never go back");
        last = version(&event["object"]);
        ended_with = event["type"].clone();
        kinds.extend((ended_with != "BOOKMARK").then(|| ended_with.clone()));
    }
    assert_eq!(kinds, ["MODIFIED", "DELETED"]);
    assert_eq!((ended_with, last), (json!("BOOKMARK"), from + 3));
    let seen = mock.requests().pop().expect("a request");
    assert_eq!(
        (seen.verb, seen.resource.as_str(), seen.query["timeoutSeconds"].as_str()),
        ("watch", "virtualmachines", "1")
    );
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let mock = mock(Params { vms: 2, ..Params::default() }).await;
    let mut events = Events::of(&mock, &format!("{VMS}?watch=1")).await;
    assert_eq!(events.short().await, pair("ADDED", "vm-0"));
    assert_eq!(events.short().await, pair("ADDED", "vm-1"));
    let path = "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::of(&mock, path).await;
    assert_eq!(events.short().await, pair("ADDED", "virt-api-mock-0"));
    assert_eq!(events.short().await, pair("ADDED", "virt-api-mock-1"));
    let bookmark = events.next().await.expect("no cut").expect("an event");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_forgotten_version_is_gone() {
    for gone_by_status in [false, true] {
        let mock = mock(Params { history: 3, gone_by_status, ..Params::default() }).await;
        let old = version(&ask(&mock, VMS).await.1);
        mock.forget_history();
        let new = version(&ask(&mock, VMS).await.1);
        let path = format!("{VMS}?watch=true&resourceVersion=");
        let (status, body) = ask(&mock, &format!("{path}{old}")).await;
        let failure = if gone_by_status { &body } else { &body["object"] };
        assert_eq!(status, if gone_by_status { 410 } else { 200 });
        assert_eq!((&failure["code"], &failure["reason"]), (&json!(410), &json!("Expired")));
        assert_eq!(body["type"] == "ERROR", !gone_by_status);
        // The version of a list that follows is good, until the ring has turned.
        let mut events = Events::of(&mock, &format!("{path}{new}")).await;
        mock.apply(vm("a", json!({})));
        assert_eq!(events.short().await, pair("ADDED", "a"));
        for name in ["b", "c", "d"] {
            mock.apply(vm(name, json!({})));
        }
        assert_eq!(open(&mock, &format!("{path}{new}")).await.status() == 410, gone_by_status);
    }
}

#[tokio::test]
async fn selectors_choose() {
    let mock = mock(Params { vms: 0, ..Params::default() }).await;
    mock.apply(vm("a", json!({"app": "web", "tier": "1"})));
    mock.apply(vm("b", json!({"app": "db"})));
    mock.apply(vm("c", json!({})));
    for (query, expected) in [
        ("labelSelector=app%3Dweb", vec!["a"]),
        ("labelSelector=app%3D%3Dweb,tier", vec!["a"]),
        ("labelSelector=app!%3Dweb", vec!["b", "c"]),
        ("labelSelector=app+in+(web,+db),!tier", vec!["b"]),
        ("labelSelector=app+notin+(web)", vec!["b", "c"]),
        ("fieldSelector=metadata.name%3Dc", vec!["c"]),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
    ] {
        assert_eq!(names(&ask(&mock, &format!("{VMS}?{query}")).await.1), expected, "{query}");
    }
    assert_eq!(ask(&mock, &format!("{VMS}?fieldSelector=status.phase%3DRunning")).await.0, 400);
    let (_, list) = ask(&mock, VMS).await;
    let path = format!("{VMS}?watch=true&resourceVersion={}&labelSelector=app%3Dweb", version(&list));
    let mut events = Events::of(&mock, &path).await;
    mock.apply(vm("c", json!({"app": "web"})));
    mock.apply(vm("b", json!({"app": "mail"})));
    mock.apply(vm("a", json!({"app": "db"})));
    assert_eq!(events.short().await, pair("ADDED", "c"));
    let gone = events.next().await.expect("no cut").expect("an event");
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["labels"]["app"]), (&json!("DELETED"), &json!("web")));
    assert_eq!(version(&gone["object"]), version(&list) + 3);
}

#[tokio::test]
async fn rights_are_refused_in_kubernetes_words() {
    let rule = |text: Value| serde_json::from_value::<Rule>(text).expect("a rule");
    let rules = vec![
        rule(json!({"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["list"]})),
        rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "namespace": "kubevirt"})),
        rule(
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "watch"], "resourceNames": ["kubevirt-ca"]}),
        ),
    ];
    let ca_bundle = Some("PEM".to_owned());
    let mock = mock(Params { rules: Some(rules), ca_bundle, ..Params::default() }).await;
    let user = r#"User "system:serviceaccount:promdog:promdog" cannot"#;
    let vms = r#"resource "virtualmachines" in API group "kubevirt.io""#;
    for (path, message) in [
        (VMIS.to_owned(), None),
        ("/api/v1/namespaces/kubevirt/pods".to_owned(), None),
        ("/api/v1/namespaces/kubevirt/configmaps/kubevirt-ca".to_owned(), None),
        (
            VMS.to_owned(),
            Some(format!("virtualmachines.kubevirt.io is forbidden: {user} list {vms} at the cluster scope")),
        ),
        (
            "/apis/kubevirt.io/v1/namespaces/kubevirt/virtualmachines/x".to_owned(),
            Some(format!(
                r#"virtualmachines.kubevirt.io "x" is forbidden: {user} get {vms} in the namespace "kubevirt""#
            )),
        ),
        (
            "/api/v1/pods".to_owned(),
            Some(format!(r#"pods is forbidden: {user} list resource "pods" in API group "" at the cluster scope"#)),
        ),
        (
            format!("{VMIS}?watch=true"),
            Some(format!(
                r#"virtualmachineinstances.kubevirt.io is forbidden: {user} watch resource "virtualmachineinstances" in API group "kubevirt.io" at the cluster scope"#
            )),
        ),
    ] {
        let (status, body) = ask(&mock, &path).await;
        match message {
            None => assert_eq!(status, 200, "{path}: {body}"),
            Some(message) => {
                assert_eq!((status, &body["reason"], &body["message"]), (403, &json!("Forbidden"), &json!(message)));
            }
        }
    }
    let one = "/api/v1/namespaces/kubevirt/configmaps?watch=true&fieldSelector=metadata.name%3Dkubevirt-ca";
    assert_eq!(Events::of(&mock, one).await.short().await, pair("ADDED", "kubevirt-ca"));
    mock.set_token(Some("secret".to_owned()));
    assert_eq!(ask(&mock, VMIS).await.0, 401);
}

#[tokio::test]
async fn watches_are_cut_between_events_and_in_the_middle_of_one() {
    let mock = mock(Params { vms: 1, ..Params::default() }).await;
    for cut in [Cut::BetweenEvents, Cut::MidObject] {
        let mut events = Events::of(&mock, &format!("{VMS}?watch=true")).await;
        assert_eq!(events.short().await, pair("ADDED", "vm-0"));
        mock.cut_watches(cut);
        assert!(events.next().await.is_err(), "{cut:?} is no end");
        assert_eq!(events.rest.starts_with(b"{\"type\":\"ADDED\","), cut == Cut::MidObject);
    }
}

#[tokio::test]
async fn objects_that_are_given_replace_those_made_up() {
    let item = json!({"metadata": {"name": "mine", "namespace": "n"}});
    let list = json!({"kind": "VirtualMachineList", "items": [item]});
    let mock = mock(Params { objects: vec![list], realistic: true, ..Params::default() }).await;
    let (_, vms) = ask(&mock, VMS).await;
    assert_eq!((names(&vms), &vms["items"][0]["kind"]), (vec!["mine"], &json!("VirtualMachine")));
    let (_, vmis) = ask(&mock, VMIS).await;
    let sizes = vmis["items"].as_array().expect("items").iter().map(|item| item.to_string().len());
    assert!(sizes.clone().all(|size| (4000..5000).contains(&size)), "{:?}", sizes.collect::<Vec<_>>());
    assert_eq!(ask(&mock, "/apis/kubevirt.io/v1/namespaces/n/virtualmachines/mine").await.1["kind"], "VirtualMachine");
    assert_eq!(ask(&mock, "/apis/kubevirt.io/v1/namespaces/n/virtualmachines/other").await.0, 404);
    let vm = super::objects::vm(super::objects::Recipe { at: 1, serial: 1, realistic: true });
    assert!((3500..4600).contains(&vm.to_string().len()), "{}", vm.to_string().len());
}

#[tokio::test]
async fn scripts_control_it() {
    let mock = mock(Params::default()).await;
    let client = Client::new();
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
    let put = client.put(mock.running.url("/mock/apply")).header("content-type", "application/json");
    let done = soon(put.body(object.to_string()).send()).await.expect("an answer");
    assert_eq!(done.status(), 204);
    assert_eq!(ask(&mock, "/mock/objects/configmaps").await.1[0]["metadata"]["name"], "c");
    let gone = soon(client.delete(mock.running.url("/mock/objects/configmaps/n/c")).send()).await.expect("an answer");
    assert_eq!(gone.status(), 204);
    let (_, list) = ask(&mock, VMS).await;
    let (_, summary) = ask(&mock, "/mock/summary").await;
    assert_eq!(summary["objects"]["virtualmachines"], names(&list).len());
    assert_eq!((&summary["changes"], &summary["requests"]["virtualmachines"]["list"]), (&json!(2), &json!(1)));
    assert!(mock.bytes_sent() > 1000);
}
