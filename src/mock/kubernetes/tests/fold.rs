//! What a client makes of lists and watches is what is there, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{Events, Kubernetes, Params, VMIS, VMS, ask, mock, soon, version};

/// A list of all pages, by namespace and name, and its version. `None`: it expired.
async fn list(mock: &Kubernetes, path: &str) -> Option<(BTreeMap<String, Value>, u64)> {
    let (mut all, mut token) = (BTreeMap::new(), String::new());
    loop {
        let (status, page) = ask(mock, &format!("{path}?limit=70&continue={token}")).await;
        if status == 410 {
            return None;
        }
        all.extend(page["items"].as_array().expect("items").iter().map(|item| (key(item), item.clone())));
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return Some((all, version(&page))),
        }
    }
}

fn key(object: &Value) -> String {
    format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"])
}

/// Lists and watches, again and again, until churn has made its changes and the fold is the truth.
async fn follow(mock: &Kubernetes, path: &str, plural: &str, changes: u64) {
    loop {
        let Some((mut fold, from)) = list(mock, path).await else { continue };
        let path = format!("{path}?watch=true&resourceVersion={from}&allowWatchBookmarks=true");
        let mut events = Events::of(mock, &path).await;
        while let Ok(Some(event)) = events.next().await {
            let (kind, object) = (event["type"].as_str().expect("a type"), &event["object"]);
            match kind {
                "ADDED" => assert!(fold.insert(key(object), object.clone()).is_none(), "added once"),
                "MODIFIED" => assert!(fold.insert(key(object), object.clone()).is_some(), "it was there"),
                "DELETED" => assert!(fold.remove(&key(object)).is_some(), "it was there"),
                "BOOKMARK" => {
                    if ask(mock, "/mock/summary").await.1["changes"].as_u64() < Some(changes) {
                        continue;
                    }
                    mock.set_churn(0.0);
                    let truth = mock.objects(plural);
                    if truth.iter().map(|object| (key(object), (**object).clone())).eq(fold.clone()) {
                        return;
                    }
                }
                _ => break,
            }
        }
    }
}

/// Changes a second: far fewer than a busy machine can follow.
const CHURN: f64 = 1500.0;

#[tokio::test]
async fn churn_keeps_the_truth() {
    for churn_trouble in [false, true] {
        let bookmark_every = Duration::from_millis(20);
        let params = Params { vms: 300, vmis: 200, churn: CHURN, churn_trouble, bookmark_every, ..Params::default() };
        let mock = mock(params).await;
        soon(follow(&mock, VMS, "virtualmachines", 1000)).await;
        mock.set_churn(CHURN);
        soon(follow(&mock, VMIS, "virtualmachineinstances", 2000)).await;
        assert!((250..350).contains(&mock.objects("virtualmachines").len()));
        assert!((150..250).contains(&mock.objects("virtualmachineinstances").len()));
    }
}
