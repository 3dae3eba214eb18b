//! The API's paths: who asks, for what, and whether they may; then a GET, a LIST or a WATCH.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::mock::kubernetes::list::Paging;
use crate::mock::kubernetes::rbac::{self, Attempt};
use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::selector::Filter;
use crate::mock::kubernetes::shared::{Seen, Shared};
use crate::mock::kubernetes::status::Failure;
use crate::mock::kubernetes::store::Key;
use crate::mock::kubernetes::watch::{self, Wish};
use crate::mock::lock;

/// A watch that names no end has this one.
const LONGEST_WATCH: u64 = 2400;

/// What a path names.
#[derive(Debug, Deserialize)]
struct Place {
    #[serde(default)]
    group: String,
    version: String,
    namespace: Option<String>,
    plural: String,
    name: Option<String>,
}

type Asked = HashMap<String, String>;

pub fn routes() -> Router<Arc<Shared>> {
    let mut router = Router::new();
    for root in ["/api/{version}", "/apis/{group}/{version}"] {
        for rest in ["{plural}", "namespaces/{namespace}/{plural}", "namespaces/{namespace}/{plural}/{name}"] {
            router = router.route(&format!("{root}/{rest}"), get(answer));
        }
    }
    router
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(place): Path<Place>,
    Query(query): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer "));
    respond(&shared, place, query, token).unwrap_or_else(|failure| {
        let text = failure.status().to_string();
        json(&shared, failure.code, text.into())
    })
}

fn json(shared: &Shared, code: StatusCode, body: Bytes) -> Response {
    shared.count_bytes(body.len());
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn respond(shared: &Arc<Shared>, place: Place, query: Asked, token: Option<&str>) -> Result<Response, Failure> {
    let Place { group, version, namespace, plural, name } = place;
    let verb = match &name {
        Some(_) => "get",
        None if flag(&query, "watch")? => "watch",
        None => "list",
    };
    shared.saw(Seen {
        verb,
        resource: plural.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        query: query.clone(),
        token: token.map(str::to_owned),
    });
    if lock(&shared.token).as_deref().is_some_and(|wanted| token != Some(wanted)) {
        return Err(Failure::unauthorized());
    }
    let resource = Resource::of_plural(&plural)
        .filter(|resource| resource.group() == group && version == "v1")
        .ok_or_else(Failure::no_resource)?;
    let filter = Filter::new(resource, namespace, &query)?;
    if let Some(rules) = &*lock(&shared.rules) {
        let name = name.as_deref().or(filter.name.as_deref());
        rbac::allow(rules, Attempt { verb, resource, namespace: filter.namespace.as_deref(), name })?;
    }
    match name {
        Some(name) => one(shared, filter, name),
        None if verb == "watch" => watch::open(shared, wish(filter, &query)?),
        None => list(shared, &filter, &query),
    }
}

fn one(shared: &Shared, filter: Filter, name: String) -> Result<Response, Failure> {
    let Filter { resource, namespace, .. } = filter;
    let key = Key { namespace: namespace.unwrap_or_default(), name };
    let object = lock(&shared.store).table(resource).get(&key).cloned();
    let object = object.ok_or_else(|| Failure::no_object(resource, &key.name))?;
    let mut body = Vec::new();
    object.write(&mut body);
    Ok(json(shared, StatusCode::OK, body.into()))
}

fn list(shared: &Shared, filter: &Filter, query: &Asked) -> Result<Response, Failure> {
    let token = query.get("continue").filter(|token| !token.is_empty()).cloned();
    let limit = number(query, "limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let paging = Paging { limit, token, version: number(query, "resourceVersion")? };
    let page = lock(&shared.snapshots).page(&lock(&shared.store), filter, &paging)?;
    Ok(json(shared, StatusCode::OK, page.write().into()))
}

fn wish(filter: Filter, query: &Asked) -> Result<Wish, Failure> {
    let seconds = number(query, "timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(LONGEST_WATCH);
    Ok(Wish {
        filter,
        version: number(query, "resourceVersion")?,
        time_out: Duration::from_secs(seconds.min(86_400)),
        bookmarks: flag(query, "allowWatchBookmarks")?,
        initial_events: flag(query, "sendInitialEvents")?,
    })
}

fn number(query: &Asked, name: &str) -> Result<Option<u64>, Failure> {
    let text = query.get(name).filter(|text| !text.is_empty());
    let wrong = |text: &String| Failure::bad_request(format!("{name}: Invalid value: {text:?}: no number"));
    text.map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

fn flag(query: &Asked, name: &str) -> Result<bool, Failure> {
    match query.get(name).map_or("", String::as_str) {
        "true" | "True" | "1" | "t" => Ok(true),
        "false" | "False" | "0" | "f" | "" => Ok(false),
        other => Err(Failure::bad_request(format!("{name}: {other:?} is no boolean"))),
    }
}
