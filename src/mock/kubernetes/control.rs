//! `/mock/…`: the handle's methods for scripts, over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::shared::{Cut, Shared};
use crate::mock::kubernetes::store::{Key, Object};
use crate::mock::lock;

type Mock = State<Arc<Shared>>;

pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/mock/summary", get(summary))
        .route("/mock/objects/{plural}", get(objects))
        .route("/mock/objects/{plural}/{namespace}/{name}", delete(remove))
        .route("/mock/apply", put(apply))
        .route("/mock/forget-history", post(async |State(shared): Mock| lock(&shared.store).forget()))
        .route("/mock/expire-continue", post(async |State(shared): Mock| lock(&shared.snapshots).expired = true))
        .route("/mock/cut-watches", post(cut))
        .route("/mock/churn", post(churn))
        .route("/mock/token", put(token))
}

/// Objects as they are now, in the order of a list.
pub fn truth(shared: &Shared, plural: &str) -> Option<Vec<Arc<Value>>> {
    let resource = Resource::of_plural(plural)?;
    let objects: Vec<Arc<Object>> = lock(&shared.store).table(resource).values().cloned().collect();
    Some(objects.iter().map(|object| Arc::new(object.value())).collect())
}

/// Creates or replaces an object by its kind, namespace and name.
///
/// # Errors
/// An object of no known kind, or without a name.
pub fn put_object(shared: &Shared, object: Value) -> Result<(), String> {
    let kind = object["kind"].as_str().unwrap_or("");
    let resource = Resource::of_kind(kind).ok_or_else(|| format!("the mock knows no kind `{kind}`"))?;
    shared.change(|store| store.put(resource, object)).map(drop)
}

/// Whether it was there.
pub fn delete_object(shared: &Shared, plural: &str, key: &Key) -> bool {
    Resource::of_plural(plural).is_some_and(|resource| shared.change(|store| store.delete(resource, key)))
}

async fn summary(State(shared): Mock) -> Json<Value> {
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    let store = lock(&shared.store);
    for vmi in store.table(Resource::Vmis).values() {
        *phases.entry(vmi.phase.clone().unwrap_or_default()).or_default() += 1;
    }
    let count = |resource: Resource| (resource.plural(), store.table(resource).len());
    let objects: BTreeMap<&str, usize> = Resource::ALL.into_iter().map(count).collect();
    let (changes, version) = (store.changes, store.version);
    drop(store);
    Json(json!({
        "objects": objects,
        "vmis_by_phase": phases,
        "bytes_sent": shared.bytes.load(Ordering::Relaxed),
        "requests": lock(&shared.log).counts,
        "watchers": shared.watchers.load(Ordering::Relaxed),
        "changes": changes,
        "resource_version": version,
    }))
}

async fn objects(State(shared): Mock, Path(plural): Path<String>) -> Response {
    truth(&shared, &plural).map_or(StatusCode::NOT_FOUND.into_response(), |objects| {
        let objects: Vec<&Value> = objects.iter().map(AsRef::as_ref).collect();
        Json(objects).into_response()
    })
}

async fn remove(State(shared): Mock, Path((plural, namespace, name)): Path<(String, String, String)>) -> StatusCode {
    let was_there = delete_object(&shared, &plural, &Key { namespace, name });
    if was_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn apply(State(shared): Mock, Json(object): Json<Value>) -> Response {
    match put_object(&shared, object) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct Where {
    /// In the middle of an event.
    #[serde(default)]
    mid_object: bool,
}

async fn cut(State(shared): Mock, Query(Where { mid_object }): Query<Where>) {
    shared.cut(if mid_object { Cut::MidObject } else { Cut::BetweenEvents });
}

#[derive(Debug, Deserialize)]
struct Rate {
    per_second: f64,
    /// Absent: as it was.
    trouble: Option<bool>,
}

async fn churn(State(shared): Mock, Json(Rate { per_second, trouble }): Json<Rate>) {
    if let Some(trouble) = trouble {
        shared.trouble.store(trouble, Ordering::Relaxed);
    }
    shared.churn.send_replace(per_second);
}

async fn token(State(shared): Mock, text: String) {
    let text = text.trim();
    *lock(&shared.token) = (!text.is_empty()).then(|| text.to_owned());
}
