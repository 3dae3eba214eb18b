//! The HTTP surface: the translated view, our own metrics, and what probes ask. Pulls on demand; never fetches a URL
//! that a request names.

mod landing;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures::future::join_all;
use futures::stream;
use serde::Deserialize;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

use crate::cluster::inventories::Inventories;
use crate::datadog::stats::Stats;
use crate::exposition::write;
use crate::pull::{Failure, Pulled, Target};
use crate::push::Demand;
use crate::targets::Targets;
use crate::telemetry::metrics::Metrics;
use crate::translate::counts;
use crate::translate::missing::missing;
use crate::view::{Extra, Page, View};

/// Prometheus says how long it will wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Of that time, left for writing the page and sending it.
const RESERVE: Duration = Duration::from_millis(250);
/// Pages written at a time; a page may be large, and whoever comes next waits.
const MAX_PAGES: usize = 32;
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What requests are answered from.
#[derive(Clone, Debug)]
pub struct Surface {
    pub targets: Targets,
    pub inventories: Inventories,
    pub counts: counts::Params,
    /// A view younger than this is answered again.
    pub max_age: Duration,
    pub metrics: Metrics,
    /// The senders' counters, one for each endpoint.
    pub stats: Vec<Arc<Stats>>,
    pub demand: Demand,
}

/// The routes.
pub fn router(surface: Surface) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics).layer(GlobalConcurrencyLimitLayer::new(MAX_PAGES)))
        .route("/internal/metrics", get(internal))
        .route("/-/healthy", get(async || "promdog is healthy\n"))
        .route("/-/ready", get(async || "promdog is ready\n"))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "not found; try /metrics, /internal/metrics, /-/healthy or /-/ready\n")
        })
        .layer(ServiceBuilder::new().layer(TraceLayer::new_for_http()).layer(CompressionLayer::new()))
        .with_state(surface)
}

#[derive(Debug, Deserialize)]
struct Selection {
    target: Option<String>,
}

/// How a target answered this request.
struct Answer {
    name: String,
    view: Result<Arc<View>, String>,
    health: Option<Extra>,
}

async fn metrics(State(surface): State<Surface>, Query(selection): Query<Selection>, headers: HeaderMap) -> Response {
    let wanted = selection.target.as_deref();
    let targets = match wanted {
        None => surface.targets.now().to_vec(),
        Some(name) => surface.targets.named(name),
    };
    if let (Some(name), true) = (wanted, targets.is_empty()) {
        return nobody(&surface.targets, name);
    }
    let patience = patience(&headers);
    let answers = join_all(targets.iter().map(|target| ask(target, surface.max_age, patience))).await;
    surface.demand.pulled();
    if let (Some(name), [Answer { view: Err(reason), .. }]) = (wanted, answers.as_slice()) {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("target `{name}` is down: {reason}\n")).into_response();
    }
    let mut extras: Vec<Extra> =
        answers.iter().flat_map(|answer| [Some(up(answer)), answer.health.clone()]).flatten().collect();
    if wanted.is_none() {
        let exposes = surface.targets.expose(counts::PHASE_COUNT);
        extras.extend(counts::extras(&surface.inventories.latest(), &surface.counts, exposes));
    }
    let views: Vec<Arc<View>> = answers.into_iter().filter_map(|answer| answer.view.ok()).collect();
    let pieces = stream::iter(Page::new(views, extras).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, write::CONTENT_TYPE)], Body::from_stream(pieces)).into_response()
}

/// No target has this name: a mistake, or a group in which nobody has been found.
fn nobody(targets: &Targets, name: &str) -> Response {
    let known = targets.status();
    if let Some(status) = known.iter().find(|status| status.name == name) {
        let problem = status.problem.as_deref().unwrap_or("nobody has been found yet");
        return (StatusCode::SERVICE_UNAVAILABLE, format!("`{name}` has no targets: {problem}\n")).into_response();
    }
    let known: Vec<&str> = known.iter().map(|status| status.name.as_str()).collect();
    (StatusCode::NOT_FOUND, format!("no target named `{name}`; there are: {}\n", known.join(", "))).into_response()
}

/// How long the client will wait for its targets; `None`: as long as it takes.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(SCRAPE_TIMEOUT)?.to_str().ok()?.parse().ok()?;
    let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())?;
    Some(timeout.saturating_sub(RESERVE).max(timeout / 2))
}

async fn ask(target: &Arc<Target>, max_age: Duration, patience: Option<Duration>) -> Answer {
    let name = target.params.name.clone();
    let pull = target.pull_within(max_age);
    let pulled = match patience {
        None => Some(pull.await),
        Some(patience) => tokio::time::timeout(patience, pull).await.ok(),
    };
    match pulled.as_deref() {
        Some(Pulled { view, health, .. }) => {
            Answer { name, view: view.clone().map_err(|failure| shown(&failure)), health: health.clone() }
        }
        None => Answer {
            name,
            view: Err("no answer within the scraper's time-out".to_owned()),
            health: target.unreachable(),
        },
    }
}

fn shown(failure: &Failure) -> String {
    failure.to_string()
}

fn up(answer: &Answer) -> Extra {
    Extra {
        name: "promdog_target_up".into(),
        help: "Whether the target answered this pull: 1 or 0.".into(),
        unit: None,
        tags: vec![format!("target:{}", answer.name)],
        value: if answer.view.is_ok() { 1.0 } else { 0.0 },
    }
}

async fn internal(State(surface): State<Surface>) -> Response {
    for target in surface.targets.now().iter() {
        if let Some(view) = target.last_good() {
            let missing = missing(&view, &target.params.mapping);
            surface.metrics.unmatched(&target.params.name, missing.rules.len());
        }
    }
    ([(header::CONTENT_TYPE, OPENMETRICS)], surface.metrics.page()).into_response()
}

async fn index(State(surface): State<Surface>) -> Html<String> {
    Html(landing::page(&surface))
}
